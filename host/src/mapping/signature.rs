//! Detached Ed25519 signatures of components: who made a file, checked without any connection.
//!
//! A signature stands beside the component, in a file of one line; it is made over the digest, with what it is for.
//! Knows no accounts: which keys count is said by whoever asks. Start at [`Signature::verify`].

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::flow::Digest;
use crate::flow::account::PUBLIC_KEY_PREFIX;

const SECRET_PREFIX: &str = "ligature-signing-key:";

const SEED_BYTES: usize = 32;

/// Why a key or a signature cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("this is no signing key: `ligature plugin key FILE` makes one")]
    NotASecretKey,
    #[error("this is no public key: it has the form {PUBLIC_KEY_PREFIX} and 64 hexadecimal digits")]
    NotAPublicKey,
    #[error(
        "this is no signature: it has the form {PUBLIC_KEY_PREFIX}, 64 hexadecimal digits, a colon and 128 more"
    )]
    NotASignature,
    #[error(
        "the signature is not of this component: it was changed after it was signed, or the signature is another's"
    )]
    Wrong,
    #[error("the system gives no random numbers")]
    NoRandomNumbers,
}

/// The key of a vendor.
pub struct SigningKey {
    seed: [u8; SEED_BYTES],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`Error::NoRandomNumbers`].
    pub fn generate() -> Result<Self, Error> {
        let mut seed = [0; SEED_BYTES];
        let filled = SystemRandom::new().fill(&mut seed);
        filled.map_err(|_| Error::NoRandomNumbers)?;
        Self::of(seed)
    }

    fn of(seed: [u8; SEED_BYTES]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        let pair = pair.map_err(|_| Error::NotASecretKey)?;
        Ok(Self { seed, pair })
    }

    /// The line that is kept secret.
    pub fn to_secret(&self) -> String {
        format!("{SECRET_PREFIX}{}", hex(&self.seed))
    }

    /// The line that others may know.
    pub fn public(&self) -> String {
        format!(
            "{PUBLIC_KEY_PREFIX}{}",
            hex(self.pair.public_key().as_ref())
        )
    }

    /// Signs the component of a digest.
    pub fn sign(&self, component: &Digest) -> Signature {
        let signature = self.pair.sign(text(component).as_bytes());
        let mut signed = Signature {
            public: [0; 32],
            signature: [0; 64],
        };
        signed
            .public
            .copy_from_slice(self.pair.public_key().as_ref());
        signed.signature.copy_from_slice(signature.as_ref());
        signed
    }
}

impl FromStr for SigningKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.trim().strip_prefix(SECRET_PREFIX);
        let seed = digits.and_then(bytes).ok_or(Error::NotASecretKey)?;
        Self::of(seed)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

/// What a key says of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    public: [u8; 32],
    signature: [u8; 64],
}

impl Signature {
    /// The public key that it says it was made with.
    pub fn key(&self) -> String {
        format!("{PUBLIC_KEY_PREFIX}{}", hex(&self.public))
    }

    /// Checks that its key signed the component of a digest; whether that key is anybody's is not asked.
    ///
    /// # Errors
    /// [`Error::Wrong`].
    pub fn verify(&self, component: &Digest) -> Result<(), Error> {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        let verified = key.verify(text(component).as_bytes(), &self.signature);
        verified.map_err(|_| Error::Wrong)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key(), hex(&self.signature))
    }
}

impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim().strip_prefix(PUBLIC_KEY_PREFIX);
        let parts = text.and_then(|text| text.split_once(':'));
        let read = parts.and_then(|(public, signature)| {
            Some(Self {
                public: bytes(public)?,
                signature: bytes(signature)?,
            })
        });
        read.ok_or(Error::NotASignature)
    }
}

/// What is signed: the digest, with what it is for, so that it can be taken for nothing else.
fn text(component: &Digest) -> String {
    format!("ligature component {component}\n")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = (value(pair[0])? * 16 + value(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_told_from_what_was_not() {
        let key = SigningKey::generate().unwrap();
        let other = SigningKey::generate().unwrap();
        let digest = Digest::of(b"component");
        let signature = key.sign(&digest);
        assert_eq!(signature.verify(&digest), Ok(()));
        assert_eq!(signature.verify(&Digest::of(b"another")), Err(Error::Wrong));
        let forged = Signature {
            public: other.sign(&digest).public,
            ..signature.clone()
        };
        assert_eq!(forged.verify(&digest), Err(Error::Wrong));
        assert_ne!(key.public(), other.public());
    }

    #[test]
    fn keys_and_signatures_are_read_as_they_are_written() {
        let key = SigningKey::generate().unwrap();
        let again: SigningKey = format!("{}\n", key.to_secret()).parse().unwrap();
        assert_eq!(again.public(), key.public());
        let signature = key.sign(&Digest::of(b"component"));
        assert_eq!(signature.to_string().parse(), Ok(signature.clone()));
        assert_eq!(signature.key(), key.public());
        let cut = &signature.to_string()[..190];
        assert_eq!(cut.parse::<Signature>(), Err(Error::NotASignature));
        assert!("ed25519:00".parse::<SigningKey>().is_err());
        assert!(!format!("{key:?}").contains(&key.to_secret()[21..]));
    }

    /// RFC 8032, 7.1, test 2: the key of a published seed, so that another tool can make and check signatures.
    #[test]
    fn a_published_key_is_the_same_here() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let key: SigningKey = format!("{SECRET_PREFIX}{seed}").parse().unwrap();
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(key.public(), format!("{PUBLIC_KEY_PREFIX}{public}"));
    }
}
