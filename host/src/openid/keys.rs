//! A provider's public keys (RFC 7517) and the signatures made with them (RFC 7515, RFC 7518, RFC 8037).
//!
//! Only signatures of key pairs are taken: neither `none` nor anything that a shared secret signs. The kind of the key
//! decides what a signature is read as, and the token's own word only has to agree.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

use super::Error;
use super::token::{Header, Parts};

/// The keys that a provider signs with.
#[derive(Debug, Deserialize)]
pub(super) struct Keys {
    keys: Vec<Key>,
}

/// One key; members of kinds that are none of ours are left alone.
#[derive(Debug, Deserialize)]
struct Key {
    #[serde(rename = "kty")]
    kind: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    #[serde(rename = "kid")]
    id: Option<String>,
    #[serde(rename = "alg")]
    algorithm: Option<String>,
    #[serde(rename = "crv")]
    curve: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Whether one of them can be what a token was signed with.
    pub(super) fn knows(&self, header: &Header) -> bool {
        self.of(header).next().is_some()
    }

    fn of<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(|key| key.may_have_signed(header))
    }

    /// # Errors
    /// No key has signed it.
    pub(super) fn verify(&self, token: &Parts<'_>) -> Result<(), Error> {
        let mut keys = self.of(&token.header);
        let signed = keys.any(|key| key.has_signed(token).is_some());
        match signed {
            true => Ok(()),
            false => Err(Error::Untrue("none of its keys has signed it")),
        }
    }
}

impl Key {
    fn may_have_signed(&self, header: &Header) -> bool {
        let is_for_signing = self.purpose.as_deref().is_none_or(|word| word == "sig");
        let is_named = match (&header.key, &self.id) {
            (Some(named), Some(own)) => named == own,
            // Without a name, each is tried.
            _ => true,
        };
        let agrees = self
            .algorithm
            .as_ref()
            .is_none_or(|own| *own == header.algorithm);
        is_for_signing && is_named && agrees
    }

    /// Some where it has.
    fn has_signed(&self, token: &Parts<'_>) -> Option<()> {
        let algorithm = token.header.algorithm.as_str();
        let (signed, signature) = (token.signed, token.signature.as_slice());
        match (self.kind.as_str(), self.curve.as_deref(), algorithm) {
            ("RSA", _, _) => {
                let parameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return None,
                };
                let key = RsaPublicKeyComponents {
                    n: bytes(self.n.as_ref())?,
                    e: bytes(self.e.as_ref())?,
                };
                key.verify(parameters, signed, signature).ok()
            }
            ("EC", Some("P-256"), "ES256") => {
                let key = self.point(32)?;
                is_of(&signature::ECDSA_P256_SHA256_FIXED, &key, signed, signature)
            }
            ("EC", Some("P-384"), "ES384") => {
                let key = self.point(48)?;
                is_of(&signature::ECDSA_P384_SHA384_FIXED, &key, signed, signature)
            }
            ("OKP", Some("Ed25519"), "EdDSA" | "Ed25519") => {
                let key = bytes(self.x.as_ref())?;
                is_of(&signature::ED25519, &key, signed, signature)
            }
            _ => None,
        }
    }

    /// A point of a curve without compression (SEC 1, section 2.3.3); each half has `long` bytes.
    fn point(&self, long: usize) -> Option<Vec<u8>> {
        let (x, y) = (bytes(self.x.as_ref())?, bytes(self.y.as_ref())?);
        let is_whole = x.len() == long && y.len() == long;
        is_whole.then(|| [&[4], x.as_slice(), &y].concat())
    }
}

fn is_of(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Option<()> {
    let key = UnparsedPublicKey::new(algorithm, key);
    key.verify(signed, signature).ok()
}

fn bytes(text: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}
