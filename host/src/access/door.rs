//! What the host remembers of people before they are signed in: failed attempts, the link of the first start, and how
//! many passwords are hashed at once. In memory only; each host has its own.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{hex, is_same, password};

/// Failures that cost nothing, for a login and for an address.
const FREE_FOR_A_LOGIN: u32 = 5;
const FREE_FOR_AN_ADDRESS: u32 = 20;

/// The same of sign-ins at an identity provider, which nobody guesses at: each makes the host call the provider.
const FREE_AT_A_PROVIDER: u32 = 60;

/// The wait after the first failure that is not free; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// Whoever has not tried for so long begins anew.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// Names that are remembered at most: more are an attack, and the oldest go.
const MOST: usize = 10_000;

/// Passwords hashed at once; each takes 19 MiB.
const AT_ONCE: usize = 2;

/// An address as it is counted: whoever has one IPv6 address has the whole /64 around it.
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// What the secret link of this host does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opens {
    /// Makes the first administrator, once.
    FirstAdministrator,
    /// Signs a person in: the demo's, whose data are made up.
    SignsIn { person: String },
}

struct Link {
    secret: String,
    opens: Opens,
}

struct Tries {
    count: u32,
    last: Instant,
}

/// No login is called so: those are counted as `login …`.
fn openid(address: &str) -> String {
    format!("openid {address}")
}

/// Keeps strangers out, and slows guessing down.
pub struct Door {
    link: Mutex<Option<Link>>,
    tries: Mutex<HashMap<String, Tries>>,
    hashing: Semaphore,
    /// What an unknown login is compared with, so that it takes as long as a known one.
    nobody: std::sync::OnceLock<String>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door(redacted)")
    }
}

impl Default for Door {
    fn default() -> Self {
        Self {
            link: Mutex::default(),
            tries: Mutex::default(),
            hashing: Semaphore::new(AT_ONCE),
            nobody: std::sync::OnceLock::new(),
        }
    }
}

impl Door {
    /// Makes the host's one secret link, in the place of an earlier one; gives its secret.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn make_link(&self, opens: Opens) -> anyhow::Result<String> {
        let mut secret = [0; 24];
        getrandom::fill(&mut secret)?;
        let secret = hex(&secret);
        let link = Link {
            secret: secret.clone(),
            opens,
        };
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        Ok(secret)
    }

    /// What the link with this secret opens; none if there is no such link.
    pub fn opens(&self, secret: &str) -> Option<Opens> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let link = link.as_ref()?;
        is_same(&Sha256::digest(&link.secret), &Sha256::digest(secret)).then(|| link.opens.clone())
    }

    /// The link has done what it was for.
    pub fn close_link(&self) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Counts a try of `login` from `address`, which is forgiven when it succeeds.
    ///
    /// # Errors
    /// How long they have to wait first; such a try is not counted.
    pub fn attempt(&self, login: &str, address: &str) -> Result<(), Duration> {
        self.count(&[
            (format!("login {login}"), FREE_FOR_A_LOGIN),
            (format!("address {address}"), FREE_FOR_AN_ADDRESS),
        ])
    }

    /// Counts a try at an identity provider from `address`, which is forgiven when it succeeds. A clinic has one address.
    ///
    /// # Errors
    /// As [`Door::attempt`].
    pub fn attempt_openid(&self, address: &str) -> Result<(), Duration> {
        self.count(&[(openid(address), FREE_AT_A_PROVIDER)])
    }

    fn count(&self, keys: &[(String, u32)]) -> Result<(), Duration> {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let waits = keys.iter().filter_map(|(key, free)| {
            let tries = tries.get(key)?;
            let over = tries.count.checked_sub(*free)?;
            let wait = FIRST_WAIT
                .saturating_mul(1 << over.min(10))
                .min(LONGEST_WAIT);
            wait.checked_sub(now.duration_since(tries.last))
        });
        if let Some(wait) = waits.max().filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        tries.retain(|_, tries| now.duration_since(tries.last) < FORGOTTEN);
        if tries.len() >= MOST {
            let oldest = tries.iter().min_by_key(|(_, tries)| tries.last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                tries.remove(&oldest);
            }
        }
        for (key, _) in keys {
            let tries = tries.entry(key.clone()).or_insert(Tries {
                count: 0,
                last: now,
            });
            tries.count += 1;
            tries.last = now;
        }
        Ok(())
    }

    /// Whoever signed in is no guesser; the address is forgiven this one try, for it may be shared with one.
    pub fn succeeded(&self, login: &str, address: &str) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.remove(&format!("login {login}"));
        if let Some(tries) = tries.get_mut(&format!("address {address}")) {
            tries.count = tries.count.saturating_sub(1);
        }
    }

    /// Forgives the tries of `address` at an identity provider.
    pub fn succeeded_openid(&self, address: &str) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.remove(&openid(address));
    }

    /// Compares a password with what is kept of it, or takes as long if nothing is.
    ///
    /// # Errors
    /// When the host is stopping.
    pub async fn is_that(&self, password: &str, kept: Option<String>) -> anyhow::Result<bool> {
        let _permit = self.hashing.acquire().await?;
        let known = kept.is_some();
        let kept = match kept.or_else(|| self.nobody.get().cloned()) {
            Some(kept) => kept,
            None => {
                let made =
                    tokio::task::spawn_blocking(|| password::hash("nobody at all")).await??;
                self.nobody.get_or_init(|| made).clone()
            }
        };
        let password = password.to_owned();
        let same = tokio::task::spawn_blocking(move || password::is_that(&password, &kept));
        Ok(same.await? && known)
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub async fn hash(&self, password: &str) -> anyhow::Result<String> {
        let _permit = self.hashing.acquire().await?;
        let password = password.to_owned();
        tokio::task::spawn_blocking(move || password::hash(&password)).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn guessing_gets_slower_and_is_forgotten() {
        let door = Door::default();
        for _ in 0..FREE_FOR_A_LOGIN {
            assert_eq!(door.attempt("ana", "::1"), Ok(()));
        }
        assert_eq!(door.attempt("ana", "::1"), Err(FIRST_WAIT));
        assert_eq!(
            door.attempt("ana", "::2"),
            Err(FIRST_WAIT),
            "the login counts"
        );
        assert_eq!(
            door.attempt("ben", "::1"),
            Ok(()),
            "another login is free still"
        );
        tokio::time::advance(FIRST_WAIT).await;
        assert_eq!(door.attempt("ana", "::1"), Ok(()));
        assert_eq!(door.attempt("ana", "::1"), Err(FIRST_WAIT * 2));
        tokio::time::advance(FIRST_WAIT * 2).await;
        assert_eq!(door.attempt("ana", "::1"), Ok(()));
        door.succeeded("ana", "::1");
        assert_eq!(door.attempt("ana", "::1"), Ok(()));
        for login in 0..30 {
            let _ = door.attempt(&login.to_string(), "::1");
        }
        // A provider's sign-ins are counted apart, whatever somebody types as a login.
        assert_eq!(door.attempt_openid("::1"), Ok(()));
        for _ in 0..30 {
            let _ = door.attempt("openid ::1", "::3");
        }
        assert_eq!(door.attempt_openid("::1"), Ok(()));
        for _ in 0..FREE_AT_A_PROVIDER {
            let _ = door.attempt_openid("::1");
        }
        assert!(door.attempt_openid("::1").is_err());
        door.succeeded_openid("::1");
        assert_eq!(door.attempt_openid("::1"), Ok(()));
        assert!(door.attempt("carl", "::1").is_err(), "the address counts");
        tokio::time::advance(FORGOTTEN).await;
        assert_eq!(door.attempt("carl", "::1"), Ok(()));
    }

    #[test]
    fn an_ipv6_address_counts_with_its_network() {
        let check = |address: &str, expected: &str| {
            let counted = counted(address.parse().unwrap());
            assert_eq!(counted.to_string(), expected, "{address}");
        };
        check("10.0.0.7", "10.0.0.7");
        check("::ffff:10.0.0.7", "10.0.0.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }

    #[test]
    fn a_link_opens_what_it_was_made_for() {
        let door = Door::default();
        assert_eq!(door.opens(""), None);
        let secret = door.make_link(Opens::FirstAdministrator).unwrap();
        assert_eq!(door.opens(&secret), Some(Opens::FirstAdministrator));
        assert_eq!(door.opens("0"), None);
        door.close_link();
        assert_eq!(door.opens(&secret), None);
    }
}
