//! Whom to trust: a pinned certificate as it is, anything else by its authority.
//!
//! rustls checks signatures and chains; what is added here is the pin, and a note of what a listener showed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use tracing::warn;

use super::{Facts, Fingerprint};

/// Says that a pinned certificate has expired; it is trusted all the same.
fn is_pinned(pinned: &[Fingerprint], certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    if !pinned.contains(&Fingerprint::of(certificate)) {
        return false;
    }
    if let Some(facts) = Facts::of(certificate)
        && facts.not_after.as_second() < now.as_secs().cast_signed()
    {
        warn!(subject = %facts.subject, not_after = %facts.not_after, "a pinned certificate has expired; it is trusted because it is pinned");
    }
    true
}

fn not_pinned() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// What rustls asks of both verifiers, through two traits: how signatures of a handshake are checked.
macro_rules! signatures_as_rustls_checks_them {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            let algorithms = &self.provider.signature_verification_algorithms;
            algorithms.supported_schemes()
        }
    };
}

/// Checks the certificates that peers of a listener show.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    pinned: Vec<Fingerprint>,
    required: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientVerifier {
    pub(super) fn new(
        roots: Option<RootCertStore>,
        pinned: Vec<Fingerprint>,
        required: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let verifier = |roots| {
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()
        };
        Ok(Self {
            authorities: roots.map(verifier).transpose()?,
            pinned,
            required,
            provider,
        })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    /// With pins none are named: a peer that finds its own issuer missing would show nothing at all.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.authorities {
            Some(authorities) if self.pinned.is_empty() => authorities.root_hint_subjects(),
            _ => &[],
        }
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if is_pinned(&self.pinned, certificate, now) {
            return Ok(ClientCertVerified::assertion());
        }
        match &self.authorities {
            Some(authorities) => authorities.verify_client_cert(certificate, intermediates, now),
            None => Err(not_pinned()),
        }
    }

    signatures_as_rustls_checks_them!();
}

/// The certificates that a listener showed last.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<Facts>>>);

impl Seen {
    pub(super) fn facts(&self) -> Vec<Facts> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, certificate: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) {
        let chain = std::iter::once(certificate).chain(intermediates);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            chain.filter_map(Facts::of).collect();
    }
}

/// Checks the certificate that a listener shows.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    authorities: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<Fingerprint>,
    provider: Arc<CryptoProvider>,
    seen: Seen,
}

impl ServerVerifier {
    pub(super) fn new(
        roots: Option<RootCertStore>,
        pinned: Vec<Fingerprint>,
        provider: Arc<CryptoProvider>,
        seen: Seen,
    ) -> Result<Self, VerifierBuilderError> {
        let verifier = |roots| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()
        };
        Ok(Self {
            authorities: roots.map(verifier).transpose()?,
            pinned,
            provider,
            seen,
        })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.seen.note(certificate, intermediates);
        if is_pinned(&self.pinned, certificate, now) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(
                certificate,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(not_pinned()),
        }
    }

    signatures_as_rustls_checks_them!();
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seen({} certificates)", self.facts().len())
    }
}
