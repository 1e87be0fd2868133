//! A registry of components on loopback, as far as pulling needs one, with what goes wrong at registries.
//!
//! Speaks what the OCI distribution specification has a registry answer to GET; contents are put in by the test. It also
//! answers as a proxy would for any registry's name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use ligature::flow::Digest;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::pki::Pki;

/// The one token of its server of tokens.
const TOKEN: &str = "pull-token";

/// `clinic` and `s3cret` as RFC 7617 writes them.
const PASSWORD: &str = "Basic Y2xpbmljOnMzY3JldA==";

/// A running registry.
#[derive(Debug, Clone)]
pub struct Registry {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    contents: BTreeMap<String, Content>,
    wants: Wants,
    asked: Vec<String>,
}

/// What it answers to one path.
#[derive(Debug, Clone)]
pub struct Content {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// What it wants of whoever reads: the user `clinic` with the password `s3cret`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Wants {
    #[default]
    Nothing,
    Password,
    /// A token from the address, of which it is itself one: [`Registry::realm`].
    Token(String),
}

/// A component as it is pushed.
#[derive(Debug, Clone)]
pub struct Push<'a> {
    pub component: &'a [u8],
    /// Of its layer.
    pub media_type: &'a str,
    /// Of the manifest.
    pub annotations: Value,
}

impl<'a> Push<'a> {
    /// As `wkg oci push` does it.
    pub fn new(component: &'a [u8]) -> Self {
        Self {
            component,
            media_type: "application/wasm",
            annotations: json!({}),
        }
    }

    /// The manifest: the Wasm OCI artifact layout of the CNCF.
    pub fn manifest(&self) -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.wasm.config.v0+json",
                "digest": format!("sha256:{}", Digest::of(b"{}")),
                "size": 2,
            },
            "layers": [{
                "mediaType": self.media_type,
                "digest": format!("sha256:{}", Digest::of(self.component)),
                "size": self.component.len(),
            }],
            "annotations": self.annotations,
        })
    }
}

impl Content {
    pub fn of(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body,
        }
    }

    pub fn failing(status: u16) -> Self {
        Self {
            status,
            ..Self::of(b"{\"errors\":[]}".to_vec())
        }
    }

    pub fn elsewhere(address: &str) -> Self {
        Self {
            status: 307,
            headers: vec![("location", address.to_owned())],
            body: Vec::new(),
        }
    }
}

impl Registry {
    /// An empty one over plain HTTP.
    pub async fn start() -> anyhow::Result<Self> {
        Self::listen(None).await
    }

    /// An empty one over TLS, with the certificate `listener`.
    pub async fn with_tls(pki: &Pki) -> anyhow::Result<Self> {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::pem_file_iter(pki.path("listener.pem"))?;
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(pki.path("listener.key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Self::listen(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let registry = Self {
            address: listener.local_addr()?,
            state: Arc::default(),
        };
        let own = registry.clone();
        #[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away, or shows no certificate, is no fault of the registry's.
                let _ = match &tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => own.answer(stream).await,
                        Err(_) => Ok(()),
                    },
                    None => own.answer(stream).await,
                };
            }
        });
        Ok(registry)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a component in; gives the digest of its manifest.
    pub fn push(&self, repository: &str, tag: &str, push: &Push<'_>) -> Digest {
        self.blob(repository, push.component);
        self.manifest(repository, tag, &push.manifest())
    }

    /// Puts a manifest in, by its tag and by its digest; gives the digest.
    pub fn manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Digest {
        let bytes = manifest.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let content = Content {
            headers: vec![("docker-content-digest", format!("sha256:{digest}"))],
            ..Content::of(bytes)
        };
        for name in [tag.to_owned(), format!("sha256:{digest}")] {
            self.put(
                &format!("/v2/{repository}/manifests/{name}"),
                content.clone(),
            );
        }
        digest
    }

    fn blob(&self, repository: &str, bytes: &[u8]) {
        let path = blob_path(repository, bytes);
        self.put(&path, Content::of(bytes.to_vec()));
    }

    /// Answers so from now on.
    pub fn put(&self, path: &str, content: Content) {
        self.state().contents.insert(path.to_owned(), content);
    }

    pub fn wants(&self, wants: Wants) {
        self.state().wants = wants;
    }

    /// Its own server of tokens.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// What it was asked since the last time: path, and what was shown along with it.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(stream.read_line(&mut head).await? > 0, "gone");
        }
        let target = head.split(' ').nth(1).context("no target")?;
        // A proxy is given the whole address.
        let path = match target.strip_prefix("http://") {
            Some(rest) => rest.find('/').and_then(|at| rest.get(at..)),
            None => Some(target),
        };
        let shown = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then_some(value)
        });
        let content = self.content(path.unwrap_or(target), shown);
        let mut text = format!(
            "HTTP/1.1 {} Said\r\ncontent-length: {}\r\nconnection: close\r\n",
            content.status,
            content.body.len()
        );
        for (name, value) in &content.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(text.as_bytes()).await?;
        stream.write_all(b"\r\n").await?;
        stream.write_all(&content.body).await?;
        stream.shutdown().await?;
        Ok(())
    }

    fn content(&self, path: &str, shown: Option<&str>) -> Content {
        let mut state = self.state();
        state.asked.push(match shown {
            Some(shown) => format!("{path} {shown}"),
            None => path.to_owned(),
        });
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let bearer = format!("Bearer {TOKEN}");
        let (lets, challenge) = match &state.wants {
            Wants::Nothing => (true, String::new()),
            Wants::Password => (shown == Some(PASSWORD), "Basic realm=\"clinic\"".into()),
            Wants::Token(_) if path == "/token" => (shown == Some(PASSWORD), String::new()),
            Wants::Token(realm) => (
                shown == Some(&bearer),
                format!("Bearer realm=\"{realm}\",service=\"registry\""),
            ),
        };
        // A store of files that is sent to asks for nothing.
        if !lets && !path.starts_with("/store/") {
            return Content {
                headers: vec![("www-authenticate", challenge)],
                ..Content::failing(401)
            };
        }
        if path == "/token" {
            return Content::of(json!({ "token": TOKEN }).to_string().into_bytes());
        }
        let found = state.contents.get(path).cloned();
        found.unwrap_or_else(|| Content::failing(404))
    }
}

/// Where a registry has a blob.
pub fn blob_path(repository: &str, bytes: &[u8]) -> String {
    format!("/v2/{repository}/blobs/sha256:{}", Digest::of(bytes))
}
