//! A client of the host's interface: a token, requests with JSON, answers with their status.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::site::Site;

/// A caller with one token, or with none.
#[derive(Debug, Clone)]
pub struct Interface {
    base: String,
    token: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub tag: Option<String>,
    pub body: Value,
}

impl Site {
    /// Makes a token by the command line, while no host runs on the site.
    pub fn token(&self, rights: &str) -> anyhow::Result<Interface> {
        let output = self.ligature(&["token", "add", rights, "--rights", rights], &[])?;
        let token = output.trim().to_owned();
        ensure!(token.starts_with("lig_"), "not a token: {token:?}");
        Ok(Interface {
            base: format!("http://{}", self.http),
            token: Some(token),
        })
    }

    /// A caller without a token.
    pub fn stranger(&self) -> Interface {
        Interface {
            base: format!("http://{}", self.http),
            token: None,
        }
    }
}

impl Interface {
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            base: self.base.clone(),
            token: Some(token.to_owned()),
        }
    }

    /// The token's text.
    pub fn bearer(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send("GET", path, None, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send("POST", path, Some(body), None).await
    }

    pub async fn put(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send("PUT", path, Some(body), None).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send("DELETE", path, None, None).await
    }

    /// Sends a request; `seen` is the version in `If-Match`.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        seen: Option<i64>,
    ) -> anyhow::Result<Answer> {
        let body = body.map(|body| body.to_string().into_bytes());
        self.send_bytes(method, path, body, seen).await
    }

    /// The same with any bytes.
    pub async fn send_bytes(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
        seen: Option<i64>,
    ) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = crate::http().request(method.parse()?, url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(seen) = seen {
            request = request.header("if-match", format!("\"{seen}\""));
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let tag = answer.headers().get("etag");
        let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let bytes = answer.bytes().await?;
        let body = match bytes.as_ref() {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes)
                .with_context(|| format!("{method} {path} answered {status} with no JSON"))?,
        };
        Ok(Answer { status, tag, body })
    }
}

impl Answer {
    /// The body, if the status is `status`.
    ///
    /// # Errors
    /// When it is another one.
    pub fn expect(self, status: u16) -> anyhow::Result<Value> {
        ensure!(
            self.status == status,
            "status {} instead of {status}: {}",
            self.status,
            self.body
        );
        Ok(self.body)
    }

    /// The code of an error and the paths of its fields, such as `invalid flows.event`.
    pub fn problem(&self) -> String {
        let error = &self.body["error"];
        let mut words = vec![
            self.status.to_string(),
            error["code"].as_str().unwrap_or("no code").to_owned(),
        ];
        let fields = error["fields"].as_array().into_iter().flatten();
        words.extend(fields.filter_map(|field| Some(field["path"].as_str()?.to_owned())));
        words.join(" ")
    }
}
