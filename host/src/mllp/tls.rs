//! TLS around MLLP in both directions: certificates from files, trust by authority or by pinned certificate.
//!
//! There is no STARTTLS in MLLP: TLS is spoken from the first byte or not at all. TLS 1.2 and 1.3, ring, no
//! configuration of ciphers. This file knows sockets and files; `tls/facts.rs` says what stands in a certificate,
//! `tls/verify.rs` decides whom to trust.
//! Start at [`Acceptor`] for listeners and [`Connector`] for senders.

mod facts;
mod verify;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tracing::{info, warn};

pub use facts::{Expiry, Facts, Fingerprint, NotAFingerprint};
use verify::{ClientVerifier, Seen, ServerVerifier};

/// Why TLS cannot be set up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Not there, not readable, or not PEM.
    #[error("{file} cannot be read as PEM: {cause}")]
    File {
        /// Its path.
        file: String,
        /// What the library says.
        cause: String,
    },
    /// PEM, but of something else.
    #[error("{file} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate {
        /// Its path.
        file: String,
    },
    /// Certificate and key do not fit each other, or are of a kind that is not supported.
    #[error("certificate {file} and its key cannot be used: {cause}")]
    Unusable {
        /// Its path.
        file: String,
        /// What the library says.
        cause: String,
    },
    /// A certificate of an authority that cannot be one.
    #[error("{file} holds no usable certificate of an authority: {cause}")]
    Authority {
        /// Its path.
        file: String,
        /// What the library says.
        cause: String,
    },
    /// The system's own authorities are asked for, and there are none.
    #[error("this machine has no certificates of authorities; name a file of your own")]
    NoSystemAuthorities,
    /// Client certificates are asked for, and nothing says which.
    #[error(
        "client certificates are asked for, but neither an authority nor a pinned certificate is named"
    )]
    NoTrust,
    /// Neither a DNS name nor an address.
    #[error("\"{0}\" is no server name: write a DNS name or an IP address without port")]
    ServerName(String),
    /// Something that cannot happen with the settings above.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Oldest {
    /// What hospitals are asked for by IHE ITI-19.
    #[default]
    Tls12,
    /// Refuses peers that know 1.2 only.
    Tls13,
}

impl Oldest {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        match self {
            Self::Tls12 => BOTH,
            Self::Tls13 => &BOTH[..1],
        }
    }
}

/// A certificate with the chain above it, and its private key, each a PEM file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The own certificate first.
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Which certificates of a peer are trusted. Empty trusts none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// A PEM file of authorities; what they signed is trusted while it is valid.
    pub authorities: Option<PathBuf>,
    /// Certificates of peers that are trusted as they are, whatever name they bear, whoever signed them, and even when
    /// they have expired, which is said in the log: hospitals' certificates are often their own.
    pub pinned: Vec<Fingerprint>,
}

impl Trust {
    /// Trusts what a PEM file holds, whatever that is: authorities for what they sign, and every certificate of the file
    /// for itself.
    ///
    /// A certificate that signed itself is mostly both. rustls takes no authority as a server's own certificate, and most
    /// tools make authorities of such; the pin is what lets it through, and trusts nothing but the very certificate.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn of_file(file: &Path) -> Result<Self, Error> {
        let certificates = certificates_of(file)?;
        Ok(Self {
            authorities: certificates
                .iter()
                .any(|one| facts::may_sign(one))
                .then(|| file.to_owned()),
            pinned: certificates
                .iter()
                .map(|one| Fingerprint::of(one))
                .collect(),
        })
    }
}

impl Trust {
    /// Trusts the first certificate of a PEM file for itself and nothing else: a listener's own, with or without the chain
    /// above it.
    ///
    /// # Errors
    /// As [`Trust::of_file`].
    pub fn of_the_first(file: &Path) -> Result<Self, Error> {
        let certificates = certificates_of(file)?;
        let first = certificates.first().into_iter();
        Ok(Self {
            authorities: None,
            pinned: first.map(|one| Fingerprint::of(one)).collect(),
        })
    }
}

/// What a client of another protocol than MLLP trusts; empty trusts the authorities of the machine.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn client(trust: &Trust) -> Result<ClientConfig, Error> {
    let verifier = trust.server_verifier(Seen::default())?;
    let builder = trusting(verifier, Oldest::default())?;
    Ok(builder.with_no_client_auth())
}

/// What is wrong with the certificate that a server showed, if that is why no connection came about.
pub fn refusal<'a>(fault: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = fault.downcast_ref() {
        return matches!(found, rustls::Error::InvalidCertificate(_)).then_some(found);
    }
    // An error of input and output does not name the one inside as its source.
    match fault.downcast_ref().and_then(io::Error::get_ref) {
        Some(inner) => refusal(inner),
        None => refusal(fault.source()?),
    }
}

/// Whether a listener asks its peers for certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// Not asked for.
    #[default]
    None,
    /// Asked for; none is accepted, one that is not trusted is not.
    Want(Trust),
    /// No connection without a trusted one.
    Require(Trust),
}

/// What a listener presents and asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The listener's own certificate.
    pub identity: Identity,
    /// What peers must show.
    pub clients: ClientCertificates,
    /// The oldest version of TLS that is spoken.
    pub oldest: Oldest,
}

/// The listening side of TLS; its files can be read again while connections go on.
pub struct Acceptor {
    settings: Listening,
    current: RwLock<Arc<Loaded>>,
}

/// What the files held when they were read.
struct Loaded {
    acceptor: TlsAcceptor,
    certificates: Vec<Facts>,
    /// Of each file; a change of any reads all anew.
    changed_at: Vec<Option<SystemTime>>,
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(settings: Listening) -> Result<Self, Error> {
        let loaded = RwLock::new(Arc::new(Loaded::read(&settings)?));
        Ok(Self {
            settings,
            current: loaded,
        })
    }

    /// Reads the files anew if one of them has another modification time than before; whether one had.
    ///
    /// Connections from now on see the new certificate; those that are open go on as they are.
    ///
    /// # Errors
    /// As [`Acceptor::load`]; what was in force stays so, and the next call tries again.
    pub fn reload(&self) -> Result<bool, Error> {
        if changes(&self.settings) == self.current().changed_at {
            return Ok(false);
        }
        let loaded = Arc::new(Loaded::read(&self.settings)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(true)
    }

    /// The facts of the certificates in force: the listener's own chain, then the authorities of its peers.
    pub fn certificates(&self) -> Vec<Facts> {
        self.current().certificates.clone()
    }

    /// Says in the log which of the certificates in force run out within 30, 14 or 3 days, or have.
    pub fn warn_of_expiry(&self, now: jiff::Timestamp) {
        for facts in &self.current().certificates {
            facts.warn(now);
        }
    }

    /// Shakes hands; gives the subject of the peer's certificate, too, if it showed one.
    ///
    /// # Errors
    /// What went wrong, mostly a `rustls::Error` inside. There is no time limit here.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(server::TlsStream<TcpStream>, Option<Arc<str>>)> {
        let acceptor = self.current().acceptor.clone();
        let stream = Box::pin(acceptor.accept(stream)).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let facts = certificates.and_then(|chain| Facts::of(chain.first()?));
        Ok((stream, facts.map(|facts| facts.subject.into())))
    }

    fn current(&self) -> Arc<Loaded> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Loaded {
    fn read(settings: &Listening) -> Result<Self, Error> {
        // Taken first: a change while the files are read is noticed the next time.
        let changed_at = changes(settings);
        let (chain, key) = settings.identity.read()?;
        let mut certificates: Vec<Facts> = chain.iter().filter_map(|one| Facts::of(one)).collect();
        let setup = |cause: rustls::Error| Error::Setup(cause.to_string());
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(settings.oldest.versions())
            .map_err(setup)?;
        let (trust, required) = match &settings.clients {
            ClientCertificates::None => (None, false),
            ClientCertificates::Want(trust) => (Some(trust), false),
            ClientCertificates::Require(trust) => (Some(trust), true),
        };
        let builder = match trust {
            None => builder.with_no_client_auth(),
            Some(trust) => {
                if *trust == Trust::default() {
                    return Err(Error::NoTrust);
                }
                let authorities = trust
                    .authorities
                    .as_deref()
                    .map(certificates_of)
                    .transpose()?;
                for authority in authorities.iter().flatten() {
                    certificates.extend(Facts::of(authority));
                }
                let roots = trust.authorities.as_deref().map(roots_of).transpose()?;
                let verifier =
                    ClientVerifier::new(roots, trust.pinned.clone(), required, provider())
                        .map_err(|cause| Error::Setup(cause.to_string()))?;
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|cause| settings.identity.unusable(&cause))?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificates,
            changed_at,
        })
    }
}

/// When each file of a listener was last changed.
fn changes(settings: &Listening) -> Vec<Option<SystemTime>> {
    let authorities = match &settings.clients {
        ClientCertificates::None => None,
        ClientCertificates::Want(trust) | ClientCertificates::Require(trust) => {
            trust.authorities.as_deref()
        }
    };
    let own = [&settings.identity.certificate, &settings.identity.key];
    let files = own.into_iter().map(PathBuf::as_path).chain(authorities);
    files
        .map(|file| file.metadata().and_then(|facts| facts.modified()).ok())
        .collect()
}

/// Reads an acceptor's files anew when they change, and speaks of expiry once a day; never ends by itself.
///
/// The files' modification times are looked at every `interval`: that works in every container and on every file
/// system, wants no signal and no right to send one, and sees a certificate that a tool put in place.
pub async fn keep_fresh(acceptor: Arc<Acceptor>, interval: std::time::Duration) {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
    let mut said_at = tokio::time::Instant::now();
    let mut last_fault = None;
    acceptor.warn_of_expiry(jiff::Timestamp::now());
    loop {
        tokio::time::sleep(interval).await;
        match acceptor.reload() {
            Ok(true) => {
                let first = acceptor.certificates().into_iter().next();
                let subject = first.map(|facts| facts.subject).unwrap_or_default();
                info!(%subject, "certificates were read anew; open connections go on");
                acceptor.warn_of_expiry(jiff::Timestamp::now());
                (said_at, last_fault) = (tokio::time::Instant::now(), None);
            }
            Ok(false) => {}
            Err(fault) => {
                let fault = fault.to_string();
                if last_fault.as_ref() != Some(&fault) {
                    warn!(%fault, "changed certificates are not usable; the former ones stay in force");
                    last_fault = Some(fault);
                }
            }
        }
        if said_at.elapsed() >= DAY {
            acceptor.warn_of_expiry(jiff::Timestamp::now());
            said_at = tokio::time::Instant::now();
        }
    }
}

/// What a sender presents and trusts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connecting {
    /// The sender's own certificate, where the listener asks for one.
    pub identity: Option<Identity>,
    /// Empty trusts the authorities of the machine.
    pub trust: Trust,
    /// The name that the listener's certificate must bear; by default the host that is connected to.
    pub server_name: Option<String>,
    /// The oldest version of TLS that is spoken.
    pub oldest: Oldest,
}

/// The sending side of TLS.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    seen: Seen,
}

impl Connector {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(settings: &Connecting) -> Result<Self, Error> {
        let seen = Seen::default();
        let verifier = settings.trust.server_verifier(seen.clone())?;
        let builder = trusting(verifier, settings.oldest)?;
        let config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read()?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|cause| identity.unusable(&cause))?
            }
        };
        let server_name = settings
            .server_name
            .as_deref()
            .map(server_name)
            .transpose()?;
        Ok(Self {
            config: Arc::new(config),
            server_name,
            seen,
        })
    }

    /// Shakes hands with the listener at `host`, which is the name that its certificate must bear unless the settings
    /// say another.
    ///
    /// # Errors
    /// What went wrong, mostly a `rustls::Error` inside. There is no time limit here.
    pub async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(io::Error::other)?,
        };
        let connector = TlsConnector::from(self.config.clone());
        Box::pin(connector.connect(name, stream)).await
    }

    /// The certificates that the last listener showed, its own first, whether they were trusted or not.
    pub fn seen(&self) -> Vec<Facts> {
        self.seen.facts()
    }
}

impl Trust {
    fn server_verifier(&self, seen: Seen) -> Result<ServerVerifier, Error> {
        let roots = match &self.authorities {
            Some(file) => Some(roots_of(file)?),
            None if !self.pinned.is_empty() => None,
            None => Some(system_roots()?),
        };
        ServerVerifier::new(roots, self.pinned.clone(), provider(), seen)
            .map_err(|cause| Error::Setup(cause.to_string()))
    }
}

fn trusting(
    verifier: ServerVerifier,
    oldest: Oldest,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder
        .with_protocol_versions(oldest.versions())
        .map_err(|cause| Error::Setup(cause.to_string()))?;
    let builder = builder.dangerous();
    Ok(builder.with_custom_certificate_verifier(Arc::new(verifier)))
}

fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned())
        .map_err(|_: InvalidDnsNameError| Error::ServerName(name.to_owned()))
}

impl Identity {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let chain = certificates_of(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|cause| Error::File {
            file: shown(&self.key),
            cause: cause.to_string(),
        })?;
        Ok((chain, key))
    }

    fn unusable(&self, cause: &rustls::Error) -> Error {
        Error::Unusable {
            file: shown(&self.certificate),
            cause: cause.to_string(),
        }
    }
}

fn certificates_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |cause: rustls::pki_types::pem::Error| Error::File {
        file: shown(file),
        cause: cause.to_string(),
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    match certificates.is_empty() {
        true => Err(Error::NoCertificate { file: shown(file) }),
        false => Ok(certificates),
    }
}

/// What stands in the first certificate of a PEM file; none where there is none that can be read.
pub fn first_of(file: &Path) -> Option<Facts> {
    let chain = certificates_of(file).ok()?;
    Facts::of(chain.first()?)
}

fn roots_of(file: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(file)? {
        roots.add(certificate).map_err(|cause| Error::Authority {
            file: shown(file),
            cause: cause.to_string(),
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err(Error::NoSystemAuthorities),
        false => Ok(roots),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
