//! What a browser keeps between its way out to a provider and its way back: one secret, of which everything follows.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// One sign-in under way. `state` ties the answer to this browser, `nonce` the id token, `verifier` the code (RFC 7636).
pub struct Entry {
    secret: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry(redacted)")
    }
}

/// Bytes of the secret.
const LONG: usize = 32;

impl Entry {
    /// Begins one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut secret = [0; LONG];
        getrandom::fill(&mut secret)?;
        Ok(Self {
            secret: URL_SAFE_NO_PAD.encode(secret),
        })
    }

    /// The one that a browser kept; none if it is too short to be one.
    pub fn kept(secret: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(secret).ok()?;
        (bytes.len() == LONG).then(|| Self {
            secret: secret.to_owned(),
        })
    }

    /// What the browser keeps: letters, digits, `-` and `_`.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    pub(super) fn state(&self) -> String {
        self.derived("state")
    }

    pub(super) fn is_state(&self, sent: &str) -> bool {
        // Compared by digests, so that the time tells nothing of the state itself.
        Sha256::digest(sent) == Sha256::digest(self.state())
    }

    pub(super) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    pub(super) fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// The verifier as the provider sees it first: RFC 7636, section 4.2, `S256`.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier()))
    }

    fn derived(&self, purpose: &str) -> String {
        let text = format!("openid {purpose} {}", self.secret);
        URL_SAFE_NO_PAD.encode(Sha256::digest(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_kept_says_the_same_again() {
        let entry = Entry::new().unwrap();
        let kept = Entry::kept(entry.secret()).expect("a secret that was given out");
        assert!(kept.is_state(&entry.state()));
        assert_eq!(kept.verifier(), entry.verifier());
        let all = [
            entry.state(),
            entry.nonce(),
            entry.verifier(),
            entry.challenge(),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one) && one != entry.secret());
            // RFC 7636, section 4.1: 43 to 128 characters.
            assert_eq!(one.len(), 43);
        }
        let other = Entry::new().unwrap();
        assert!(!other.is_state(&entry.state()));
        for short in ["", "abc", &"x".repeat(42), &"=".repeat(43)] {
            assert!(Entry::kept(short).is_none(), "{short:?}");
        }
    }
}
