//! A running host, asked by its interface.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

/// How long a host on this machine may take to say that it is there.
const HELLO: Duration = Duration::from_secs(2);

/// How long one request may take; listing and counting take seconds, trying a component minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// The interface of a host.
pub(super) struct Interface {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Interface {
    /// The host at `base`, such as `http://127.0.0.1:8080`.
    pub(super) fn at(base: &str) -> anyhow::Result<Self> {
        // reqwest asks for the process's provider; the first to install one wins, and all of ours are ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        // On this machine nobody needs the world's authorities.
        let http = match base.starts_with("https:") {
            true => http,
            false => http.tls_certs_only([]),
        };
        Ok(Self {
            http: http.build().context("an HTTP client cannot be made")?,
            base: base.trim_end_matches('/').to_owned(),
            token: String::new(),
        })
    }

    /// The same with a token.
    pub(super) fn with(self, token: String) -> Self {
        Self { token, ..self }
    }

    /// Whether a host answers.
    pub(super) async fn is_there(&self) -> bool {
        let hello = self.http.get(format!("{}/healthz", self.base));
        let hello = hello.timeout(HELLO).send().await;
        hello.is_ok_and(|answer| answer.status().is_success())
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
        let answer = request.send().await.context("the host does not answer")?;
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
