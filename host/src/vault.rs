//! Sealing of secrets and message bytes, and keyed hashes for what must be searched.
//!
//! Knows keys and bytes only: nothing async, no SQL, no HL7.
//! A sealed blob names its key, so that a new key can take over while old blobs still open;
//! it is bound to its [`Place`], so that a row copied to another account or column does not open there.
//! Start with [`Vault`].

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

/// Bytes of the key id at the head of a blob.
const KEY_ID_BYTES: usize = 4;
/// Bytes of the nonce behind it: long enough to be drawn at random for every blob.
const NONCE_BYTES: usize = 24;

type HmacSha256 = Hmac<Sha256>;

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the vault key must be 64 hexadecimal digits")]
    BadKey,
    #[error("sealed with key {0}, which is not at hand: add that key to the configuration")]
    UnknownKey(u32),
    #[error(
        "sealed bytes do not open: damaged, moved from their place, or sealed with another key"
    )]
    DoesNotOpen,
    #[error("the system gives no random numbers: {0}")]
    NoRandomness(String),
}

/// One master key; wiped when dropped.
pub struct Key {
    id: u32,
    bytes: [u8; 32],
}

impl Key {
    /// Draws a new key with id 1.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        random(&mut bytes)?;
        Ok(Self { id: 1, bytes })
    }

    /// Reads 64 hexadecimal digits; white space around them is ignored.
    pub fn from_hex(id: u32, text: &str) -> Result<Self, Error> {
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return Err(Error::BadKey);
        }
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
                .ok_or(Error::BadKey)
        };
        let mut key = Self { id, bytes: [0; 32] };
        for (byte, pair) in key.bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(key)
    }

    /// The key as 64 hexadecimal digits, to be written where only the operator reads.
    pub fn to_hex(&self) -> String {
        self.bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// A key of its own for one purpose.
    fn derive(&self, purpose: &str) -> HmacSha256 {
        let mut mac = keyed(&self.bytes);
        mac.update(purpose.as_bytes());
        let mut derived: [u8; 32] = mac.finalize().into_bytes().into();
        let result = keyed(&derived);
        derived.zeroize();
        result
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, redacted)", self.id)
    }
}

/// Where a sealed value is kept; it opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub account: &'a str,
    pub id: &'a str,
    pub column: &'a str,
}

impl Place<'_> {
    /// The place as associated data; lengths keep `a` + `bc` apart from `ab` + `c`.
    fn associated_data(&self) -> Vec<u8> {
        let parts = [self.account, self.id, self.column];
        let mut data = Vec::with_capacity(12 + parts.iter().map(|part| part.len()).sum::<usize>());
        for part in parts {
            data.extend_from_slice(&(part.len() as u32).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// Seals, opens and hashes with the master keys of one installation.
pub struct Vault {
    /// Newest first.
    ciphers: Vec<(u32, XChaCha20Poly1305)>,
    index: HmacSha256,
    artefacts: HmacSha256,
    /// Index keys by account, made when first used.
    accounts: RwLock<HashMap<String, HmacSha256>>,
}

impl Vault {
    pub fn new(key: Key) -> Self {
        Self::with_keys(vec![key]).unwrap_or_else(|_| unreachable!("one key was given"))
    }

    /// Takes several keys: the one with the highest id seals, all of them open.
    ///
    /// The one with the lowest id makes the index keys: hashes cannot be opened and made anew,
    /// so that key stays for as long as there are messages to be found.
    ///
    /// # Errors
    /// `BadKey` when there is no key.
    pub fn with_keys(mut keys: Vec<Key>) -> Result<Self, Error> {
        keys.sort_by_key(|key| std::cmp::Reverse(key.id));
        let oldest = keys.last().ok_or(Error::BadKey)?;
        Ok(Self {
            index: oldest.derive("ligature index"),
            artefacts: oldest.derive("ligature artefact"),
            ciphers: keys
                .iter()
                .map(|key| (key.id, XChaCha20Poly1305::new(&key.bytes.into())))
                .collect(),
            accounts: RwLock::default(),
        })
    }

    /// Seals `plain` for `place`: key id, nonce, ciphertext with its tag.
    ///
    /// # Errors
    /// `NoRandomness` when the system gives none.
    pub fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let (id, cipher) = &self.ciphers[0];
        let mut nonce = [0; NONCE_BYTES];
        random(&mut nonce)?;
        let payload = Payload {
            msg: plain,
            aad: &place.associated_data(),
        };
        let ciphertext = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::DoesNotOpen)?;
        let mut blob = Vec::with_capacity(KEY_ID_BYTES + NONCE_BYTES + ciphertext.len());
        blob.extend_from_slice(&id.to_be_bytes());
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&ciphertext);
        Ok(blob)
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// `UnknownKey` when its key is not at hand, `DoesNotOpen` when anything of it or of its place was changed.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (id, rest) = sealed.split_first_chunk().ok_or(Error::DoesNotOpen)?;
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(Error::DoesNotOpen)?;
        let id = u32::from_be_bytes(*id);
        let (_, cipher) = self
            .ciphers
            .iter()
            .find(|(known, _)| *known == id)
            .ok_or(Error::UnknownKey(id))?;
        let payload = Payload {
            msg: ciphertext,
            aad: &place.associated_data(),
        };
        cipher
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| Error::DoesNotOpen)
    }

    /// Hashes a searched value under the index key of its account; `kind` keeps equal values of different kinds apart.
    pub fn index(&self, account: &str, kind: &str, value: &str) -> [u8; 32] {
        let mut mac = self.index_key(account);
        mac.update(&(kind.len() as u32).to_be_bytes());
        mac.update(kind.as_bytes());
        mac.update(value.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Authenticates bytes that are kept outside the database and trusted when read again, such as compiled components.
    pub fn mac(&self, bytes: &[u8]) -> [u8; 32] {
        let mut mac = self.artefacts.clone();
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }

    fn index_key(&self, account: &str) -> HmacSha256 {
        if let Some(key) = self
            .accounts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(account)
        {
            return key.clone();
        }
        let mut mac = self.index.clone();
        mac.update(account.as_bytes());
        let mut derived: [u8; 32] = mac.finalize().into_bytes().into();
        let key = keyed(&derived);
        derived.zeroize();
        self.accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(account.into(), key.clone());
        key
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({} keys, redacted)", self.ciphers.len())
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    <HmacSha256 as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"))
}

fn random(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::NoRandomness(error.to_string()))
}
