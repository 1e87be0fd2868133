//! A running host, asked by its interface.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::config;
use crate::mllp::tls::{self, Trust};

/// How long a host on this machine may take to say that it is there.
const HELLO: Duration = Duration::from_secs(2);

/// How long one request may take; listing and counting take seconds, trying a component minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Whose certificate a host may show.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Trusted {
    /// PEM file of the authority of the console's certificate, or of that very certificate, instead of this machine's
    /// authorities; without it, what `LIGATURE_CA` names.
    #[arg(long = "ca", visible_alias = "tls-ca", value_name = "FILE")]
    pub(super) authority: Option<PathBuf>,
}

impl Trusted {
    /// The file that is named, here or by the environment.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.authority.clone().or_else(config::authority)
    }
}

/// A command's host: the configuration that it runs with, and how its console is believed to be it.
#[derive(Debug, Default, clap::Args)]
pub struct OnSite {
    /// The host's configuration file.
    #[arg(long)]
    pub(super) config: PathBuf,
    #[command(flatten)]
    pub(super) trusted: Trusted,
}

/// The interface of a host.
pub(super) struct Interface {
    http: reqwest::Client,
    base: String,
    token: String,
    /// What is said of a certificate that is not trusted.
    advice: String,
}

impl Interface {
    /// The host at `base`, such as `https://ligature.example.org`.
    ///
    /// # Errors
    /// The file cannot be used, or is named for a host without TLS.
    pub(super) fn at(base: &str, trusted: &Trusted) -> anyhow::Result<Self> {
        if trusted.authority.is_some() && !base.starts_with("https:") {
            bail!("--ca is for a console that speaks TLS: write the address with https://");
        }
        let Some(file) = trusted.file().filter(|_| base.starts_with("https:")) else {
            let advice = "its certificate is of no authority that this machine knows: name the PEM file of its authority, \
                          or of the certificate itself, by --ca FILE or LIGATURE_CA";
            return Self::trusting(base, &Trust::default(), advice.into());
        };
        let trust = Trust::of_file(&file).context("--ca or LIGATURE_CA")?;
        let advice = format!(
            "its certificate is neither in {} nor of an authority there: name the file that `http.tls` of the host names, \
             or of its authority, by --ca FILE or LIGATURE_CA, and an address that the certificate bears",
            file.display()
        );
        Self::trusting(base, &trust, advice)
    }

    /// The host whose console is to be at `address` of this machine, with the certificate of `certificate`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn beside(address: SocketAddr, certificate: &Path) -> anyhow::Result<Self> {
        // The very certificate: it is good for names of the network, which this address is none of.
        let trust = Trust::of_the_first(certificate).context("http.tls of the configuration")?;
        let advice = format!(
            "its certificate is not that of {}: wait until it has read the file anew, or name another by --ca FILE",
            certificate.display()
        );
        Self::trusting(&format!("https://{address}"), &trust, advice)
    }

    fn trusting(base: &str, trust: &Trust, advice: String) -> anyhow::Result<Self> {
        // reqwest asks for the process's provider; the first to install one wins, and all of ours are ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        // On this machine nobody needs the world's authorities.
        let http = match base.starts_with("https:") {
            true => http.tls_backend_preconfigured(tls::client(trust)?),
            false => http.tls_certs_only([]),
        };
        Ok(Self {
            http: http.build().context("an HTTP client cannot be made")?,
            base: base.trim_end_matches('/').to_owned(),
            token: String::new(),
            advice,
        })
    }

    /// The same with a token.
    pub(super) fn with(self, token: String) -> Self {
        Self { token, ..self }
    }

    /// Whether a host answers.
    ///
    /// # Errors
    /// Something does, and its certificate is not trusted.
    pub(super) async fn is_there(&self) -> anyhow::Result<bool> {
        let hello = self.http.get(format!("{}/healthz", self.base));
        match hello.timeout(HELLO).send().await {
            Ok(answer) => Ok(answer.status().is_success()),
            Err(fault) if tls::refusal(&fault).is_some() => Err(self.no_answer(fault)),
            Err(_) => Ok(false),
        }
    }

    /// Its address.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Why there is none, and what to do.
    fn no_answer(&self, fault: reqwest::Error) -> anyhow::Error {
        let text = match tls::refusal(&fault) {
            Some(cause) => format!("{} is not trusted ({cause}): {}", self.base, self.advice),
            None if fault.is_connect() || fault.is_timeout() => {
                format!("the host at {} does not answer", self.base)
            }
            None => format!(
                "what answers at {} is no console, or speaks TLS where the address says http://",
                self.base
            ),
        };
        anyhow::Error::from(fault).context(text)
    }

    /// Asks the interface.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/{path}", self.base);
        let mut request = self
            .http
            .request(method.parse()?, url)
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request
            .send()
            .await
            .map_err(|fault| self.no_answer(fault))?;
        let status = answer.status();
        let bytes = answer.bytes().await.context("the host does not answer")?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if !status.is_success() {
            let error = &value["error"];
            let fields = error["fields"].as_array().into_iter().flatten();
            let fields = fields.filter_map(|field| field["message"].as_str());
            let mut text = error["message"]
                .as_str()
                .unwrap_or("no reason given")
                .to_owned();
            fields.for_each(|field| text.push_str(&format!("\n  {field}")));
            bail!("{text}");
        }
        Ok(value)
    }
}
