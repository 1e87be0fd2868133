//! The TLS options that all commands share that connect to a listener.

use std::path::PathBuf;

use anyhow::Context;

use crate::mllp::tls::{Connecting, Connector, Fingerprint, Identity, Oldest, Trust};

/// How to speak TLS.
#[derive(Debug, Clone, clap::Args)]
pub struct Tls {
    /// Speak TLS from the first byte.
    #[arg(long)]
    tls: bool,
    /// PEM file of the authorities to trust instead of this machine's; implies --tls.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// SHA-256 fingerprint of the listener's certificate, trusted whoever signed it; implies --tls.
    #[arg(long, value_name = "SHA256")]
    tls_pin: Vec<Fingerprint>,
    /// PEM file of our certificate, for listeners that ask for one; implies --tls.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The name that the listener's certificate must bear, if it is not the host that is connected to; implies --tls.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

impl Tls {
    /// What the options ask for; `None` for a plain connection.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn connector(&self) -> anyhow::Result<Option<Connector>> {
        let identity = self.cert.clone().zip(self.key.clone());
        let settings = Connecting {
            identity: identity.map(|(certificate, key)| Identity { certificate, key }),
            trust: Trust {
                authorities: self.tls_ca.clone(),
                pinned: self.tls_pin.clone(),
            },
            server_name: self.server_name.clone(),
            oldest: Oldest::default(),
        };
        if !self.tls && settings == Connecting::default() {
            return Ok(None);
        }
        let connector = Connector::load(&settings).context("TLS cannot be spoken")?;
        Ok(Some(connector))
    }
}
