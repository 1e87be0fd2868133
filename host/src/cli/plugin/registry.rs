//! A registry of components, by the OCI distribution specification 1.1: what a reference names is fetched and checked.
//!
//! Nothing that comes is believed: the manifest must have the digest that was pinned, the component the digest and size
//! that the manifest names, and no answer is read further than it may be long. Where passwords and tokens may go is
//! decided in one place, [`Clear`]. Only reads. Start at [`Registry::component`].

pub(super) mod login;
pub(super) mod reference;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use reqwest::header::{ACCEPT, HeaderMap, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use self::login::{Challenge, Granted, Realm};
use self::reference::{Reference, Version, sha256};
use crate::config::RegistryLogin;
use crate::flow::Digest;
use crate::mapping::gate;
use crate::mllp::tls::{self, Trust};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What else a reference may name; asked for, so that it can be said.
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// What a component is called in a manifest: by the Wasm OCI artifact layout of the CNCF, and by tools before it.
const COMPONENTS: [&str; 2] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];

/// The manifest's annotation that holds the signature: tools that expect one layer in a component's manifest still read
/// it, and whoever pins the manifest pins the signature.
const SIGNATURE: &str = "ligature.component.signature";

/// The distribution specification has registries take manifests up to this.
const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// Longest answer of a server of tokens.
const MAX_TOKEN_BYTES: u64 = 256 * 1024;

/// Most places that a registry may send on to: itself, a store of files, one in between.
const MAX_REDIRECTS: usize = 4;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest silence within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How a registry is spoken to.
#[derive(Debug, clap::Args)]
pub(super) struct Reach {
    /// File of logins as `docker login`, `oras login` and `podman login` write it; without it, the variables
    /// `LIGATURE_REGISTRY_USER` and `LIGATURE_REGISTRY_PASSWORD`, or `LIGATURE_REGISTRY_TOKEN`, or nobody.
    #[arg(long, value_name = "FILE")]
    login: Option<PathBuf>,
    /// Speaks plain HTTP, which anybody on the way can read and change; a registry on this machine needs no such word.
    #[arg(long, conflicts_with = "tls_ca")]
    plain_http: bool,
    /// PEM file of the authorities to trust instead of this machine's, or of the registry's own certificate.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The proxy; without it, what `HTTPS_PROXY` and `NO_PROXY` say.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// How long all of it may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(super) timeout: u64,
}

/// Where plain HTTP may be spoken, with whatever is secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clear {
    Nowhere,
    ThisMachine,
    Anywhere,
}

impl Clear {
    fn lets(self, url: &Url) -> bool {
        match (url.scheme(), self) {
            ("https", _) | ("http", Self::Anywhere) => true,
            ("http", Self::ThisMachine) => is_this_machine(url.host_str().unwrap_or_default()),
            _ => false,
        }
    }

    /// The way of a registry that sends on.
    fn redirects(self) -> Policy {
        Policy::custom(move |attempt| {
            if attempt.previous().len() > MAX_REDIRECTS {
                return attempt.error("it sends on without end");
            }
            match self.lets(attempt.url()) {
                true => attempt.follow(),
                false => attempt.error("it sends on to plain HTTP"),
            }
        })
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The repository that a reference names, as one login sees it.
pub(super) struct Registry {
    http: Client,
    reference: Reference,
    clear: Clear,
    login: Option<RegistryLogin>,
    /// What the registry has asked for and was given.
    pass: Option<Pass>,
}

enum Pass {
    Password { user: String, password: String },
    Token(String),
}

/// What came.
pub(super) struct Fetched {
    pub(super) component: Vec<u8>,
    /// As the manifest gives it, not looked at.
    pub(super) signature: Option<String>,
    /// What it is called for ever.
    pub(super) pinned: Reference,
}

/// What is said of a component: an image manifest, or what stands in the place of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    media_type: Option<String>,
    #[serde(default)]
    layers: Vec<Layer>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    size: u64,
}

impl Registry {
    /// Makes ready to ask; opens no connection.
    pub(super) fn new(reference: Reference, reach: &Reach) -> anyhow::Result<Self> {
        let login = match &reach.login {
            Some(file) => Some(login::of_file(file, &reference)?),
            None => RegistryLogin::of_environment()?,
        };
        let is_here = is_this_machine(reference.host());
        let clear = match (reach.plain_http, is_here && reach.tls_ca.is_none()) {
            (true, _) => Clear::Anywhere,
            (false, true) => Clear::ThisMachine,
            (false, false) => Clear::Nowhere,
        };
        // reqwest asks for the process's provider; the first to install one wins, and all of ours are ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("ligature/", env!("CARGO_PKG_VERSION")))
            .redirect(clear.redirects())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT);
        if let Some(file) = &reach.tls_ca {
            let trusted = tls::client(&Trust::of_file(file)?)?;
            builder = builder.tls_backend_preconfigured(trusted);
        } else if clear == Clear::ThisMachine {
            // Nobody there shows a certificate, so a machine without authorities must do.
            builder = builder.tls_certs_only([]);
        }
        builder = match &reach.proxy {
            Some(proxy) => builder.proxy(Proxy::all(proxy).map_err(|_| {
                anyhow!("--proxy is no address like http://proxy.example.org:3128")
            })?),
            None if is_here => builder.no_proxy(),
            None => builder,
        };
        Ok(Self {
            http: builder.build().context("an HTTP client cannot be made")?,
            reference,
            clear,
            login,
            pass: None,
        })
    }

    /// Fetches the component that the reference names.
    ///
    /// # Errors
    /// It is not to be had, is something else, or is not what was pinned.
    pub(super) async fn component(&mut self) -> anyhow::Result<Fetched> {
        let (manifest, digest) = self.manifest().await?;
        let layer = self.layer(&manifest)?;
        let component = self.blob(layer).await?;
        Ok(Fetched {
            component,
            signature: manifest
                .annotations
                .and_then(|mut all| all.remove(SIGNATURE)),
            pinned: self.reference.pinned(digest),
        })
    }

    async fn manifest(&mut self) -> anyhow::Result<(Manifest, Digest)> {
        let path = format!("manifests/{}", self.reference.version);
        let [oci, docker] = INDEXES;
        let accept = format!("{MANIFEST}, {oci}, {docker}");
        let answer = self.get(&path, &accept).await?;
        let told = header(answer.headers(), "docker-content-digest");
        let bytes = self.whole(answer, MAX_MANIFEST_BYTES).await?;
        let bytes = bytes.with_context(|| {
            format!(
                "the manifest of {} is longer than any can be",
                self.reference
            )
        })?;
        let digest = Digest::of(&bytes);
        // What was pinned decides; without a pin the registry must at least agree with itself.
        let expected = match &self.reference.version {
            Version::Pinned(pinned) => Some(pinned.clone()),
            Version::Tag(_) => told.as_deref().and_then(|told| sha256(told).ok()),
        };
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            bail!(
                "what {} gives as {} is sha256:{digest}, not sha256:{expected}: it was changed in the registry or on the \
                 way; do not use it, and tell its vendor",
                self.reference.registry,
                self.reference
            );
        }
        let manifest = serde_json::from_slice(&bytes).with_context(|| {
            let registry = &self.reference.registry;
            format!("what {registry} gives is no manifest: is it a registry, or does a proxy answer in its place?")
        })?;
        Ok((manifest, digest))
    }

    /// Where the component is, among what the manifest lists.
    fn layer<'a>(&self, manifest: &'a Manifest) -> anyhow::Result<&'a Layer> {
        let reference = &self.reference;
        let is_index = |name: &str| INDEXES.contains(&name);
        if manifest.media_type.as_deref().is_some_and(is_index) {
            bail!(
                "{reference} is a list of images for several machines, not a component: name one of its digests, or have \
                 the component pushed by itself, as with `wkg oci push`"
            );
        }
        let of_components = |layer: &&Layer| COMPONENTS.contains(&layer.media_type.as_str());
        let mut found = manifest.layers.iter().filter(of_components);
        match (found.next(), found.count()) {
            (Some(layer), 0) => Ok(layer),
            (Some(_), more) => bail!(
                "{reference} holds {} components: a reference must hold one",
                more + 1
            ),
            (None, _) => {
                let kinds: Vec<_> = manifest
                    .layers
                    .iter()
                    .map(|layer| layer.media_type.as_str())
                    .collect();
                let kinds = match kinds.as_slice() {
                    [] => "nothing".to_owned(),
                    kinds => kinds.join(", "),
                };
                bail!(
                    "{reference} holds no component, but {kinds}: it must be pushed as {}, as `wkg oci push` does, or \
                     `oras push … FILE:{}`",
                    COMPONENTS[0],
                    COMPONENTS[0]
                )
            }
        }
    }

    async fn blob(&mut self, layer: &Layer) -> anyhow::Result<Vec<u8>> {
        let expected = sha256(&layer.digest).context("the manifest")?;
        let most = gate::MAX_FILE_BYTES as u64;
        let size = layer.size;
        ensure!(
            size <= most,
            "the component has {size} bytes, more than the {most} that a host takes: ask its vendor for a smaller one"
        );
        let path = format!("blobs/{}", layer.digest);
        let answer = self.get(&path, COMPONENTS[0]).await?;
        let bytes = self.whole(answer, size).await?;
        let registry = &self.reference.registry;
        let bytes = bytes.with_context(|| {
            format!("{registry} gives more than the {size} bytes that the manifest names: tell its vendor")
        })?;
        let digest = Digest::of(&bytes);
        ensure!(
            digest == expected,
            "what {registry} gives as the component is sha256:{digest}, not the sha256:{expected} of the manifest: it was \
             changed in the registry or on the way; do not use it, and tell its vendor"
        );
        Ok(bytes)
    }

    /// Asks for a part of the repository, signing in where the registry asks for it.
    async fn get(&mut self, path: &str, accept: &str) -> anyhow::Result<Response> {
        let Reference {
            registry,
            repository,
            ..
        } = &self.reference;
        let scheme = match self.clear {
            Clear::Nowhere => "https",
            Clear::ThisMachine | Clear::Anywhere => "http",
        };
        let url = format!("{scheme}://{registry}/v2/{repository}/{path}");
        let answer = self.ask(self.http.get(&url).header(ACCEPT, accept)).await?;
        let is_first = self.pass.is_none();
        if answer.status() != StatusCode::UNAUTHORIZED || !is_first {
            return self.granted(answer);
        }
        self.pass = Some(self.sign_in(answer.headers()).await?);
        let answer = self.ask(self.http.get(&url).header(ACCEPT, accept)).await?;
        self.granted(answer)
    }

    async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let request = match &self.pass {
            Some(Pass::Password { user, password }) => request.basic_auth(user, Some(password)),
            Some(Pass::Token(token)) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.map_err(|fault| self.silent(fault))
    }

    /// What the registry wants, from what the user has.
    async fn sign_in(&self, headers: &HeaderMap) -> anyhow::Result<Pass> {
        let lines = headers.get_all(WWW_AUTHENTICATE).into_iter();
        let challenge = Challenge::find(lines.filter_map(|line| line.to_str().ok()));
        let registry = &self.reference.registry;
        match (challenge, &self.login) {
            (Some(_), Some(RegistryLogin::Token(token))) => Ok(Pass::Token(token.clone())),
            (Some(Challenge::Password), Some(RegistryLogin::Password { user, password })) => {
                Ok(Pass::Password {
                    user: user.clone(),
                    password: password.clone(),
                })
            }
            (Some(Challenge::Password), None) => bail!("{}", self.wants_login()),
            (Some(Challenge::Token(realm)), _) => self.token(&realm).await.map(Pass::Token),
            (None, _) => bail!("{registry} asks for a login in a way that is not known here"),
        }
    }

    /// A token for reading the repository, from the server that the registry names.
    async fn token(&self, realm: &Realm) -> anyhow::Result<String> {
        let registry = &self.reference.registry;
        let mut url = Url::parse(&realm.address)
            .map_err(|_| anyhow!("{registry} names no place where tokens are had"))?;
        ensure!(
            self.clear.lets(&url),
            "{registry} would have logins sent to {} over plain HTTP, where anybody can read them: tell who runs it",
            url.host_str().unwrap_or("somewhere")
        );
        let scope = format!("repository:{}:pull", self.reference.repository);
        let scope = realm.scope.as_deref().unwrap_or(&scope);
        url.query_pairs_mut().append_pair("scope", scope);
        if let Some(service) = &realm.service {
            url.query_pairs_mut().append_pair("service", service);
        }
        let request = self.http.get(url);
        let request = match &self.login {
            Some(RegistryLogin::Password { user, password }) => {
                request.basic_auth(user, Some(password))
            }
            _ => request,
        };
        let answer = request.send().await.map_err(|fault| self.silent(fault))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refused(status));
        }
        let bytes = self.whole(answer, MAX_TOKEN_BYTES).await?;
        let granted = bytes.and_then(|bytes| serde_json::from_slice::<Granted>(&bytes).ok());
        granted.and_then(Granted::token).with_context(|| {
            format!(
                "{registry} gives no token: is it a registry, or does a proxy answer in its place?"
            )
        })
    }

    fn granted(&self, answer: Response) -> anyhow::Result<Response> {
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(self.refused(status)),
        }
    }

    /// All of an answer, or nothing where it is longer than `most` bytes.
    async fn whole(&self, mut answer: Response, most: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let mut whole = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|fault| self.silent(fault))? {
            if (whole.len() + chunk.len()) as u64 > most {
                return Ok(None);
            }
            whole.extend(chunk);
        }
        Ok(Some(whole))
    }

    /// Why an answer did not come, or not to its end.
    fn silent(&self, fault: reqwest::Error) -> anyhow::Error {
        let registry = &self.reference.registry;
        let said = match (fault.is_redirect(), fault.is_connect(), self.clear) {
            (true, ..) => format!("{registry} sends on to where nothing is fetched from"),
            (false, true, Clear::Nowhere) => format!(
                "{registry} does not answer over TLS; behind a proxy it needs --proxy, with an authority of its own \
                 --tls-ca, without TLS --plain-http"
            ),
            (false, true, _) => format!("{registry} does not answer"),
            (false, false, _) => format!("{registry} breaks off: try again"),
        };
        // An address may hold what a store of files gives instead of a password.
        anyhow::Error::new(fault.without_url()).context(said)
    }

    fn refused(&self, status: StatusCode) -> anyhow::Error {
        let Reference {
            registry,
            repository,
            ..
        } = &self.reference;
        let reference = &self.reference;
        match (status.as_u16(), &self.login) {
            (401 | 403, None) => anyhow!("{}", self.wants_login()),
            (401 | 403, Some(_)) => anyhow!(
                "{registry} does not let this login read {repository}: check it, and whether it may read there"
            ),
            (404, None) => anyhow!(
                "{registry} has no {reference}, or does not show it without a login: check name and version with its \
                 vendor"
            ),
            (404, Some(_)) => {
                anyhow!("{registry} has no {reference}: check name and version with its vendor")
            }
            (429, _) => anyhow!("{registry} has been asked too often: try again later"),
            (500.., _) => anyhow!("{registry} is in trouble ({status}): try again later"),
            _ => anyhow!("{registry} answers {status}: is it a registry?"),
        }
    }

    fn wants_login(&self) -> String {
        let Reference {
            registry,
            repository,
            ..
        } = &self.reference;
        format!(
            "{registry} wants a login for {repository}: give --login FILE, or set LIGATURE_REGISTRY_USER and \
             LIGATURE_REGISTRY_PASSWORD"
        )
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_plain_http_only_where_that_was_said() {
        let check = |clear: Clear, url: &str| clear.lets(&Url::parse(url).unwrap());
        for (url, lets) in [
            ("https://registry.example.org/x", [true, true, true]),
            ("http://registry.example.org/x", [false, false, true]),
            ("http://127.0.0.1:5000/x", [false, true, true]),
            ("http://[::1]:5000/x", [false, true, true]),
            ("http://localhost/x", [false, true, true]),
            ("http://localhost.example.org/x", [false, false, true]),
            ("ftp://127.0.0.1/x", [false, false, false]),
        ] {
            let all = [Clear::Nowhere, Clear::ThisMachine, Clear::Anywhere];
            assert_eq!(all.map(|clear| check(clear, url)), lets, "{url}");
        }
    }
}
