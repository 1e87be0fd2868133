//! Passwords: which are good enough, and how they are kept (Argon2id). Knows neither people nor the store.

use argon2::{Algorithm, Argon2, Params, Version};

/// Fewest characters; length is what makes a password hard to guess.
pub const LEAST: usize = 12;

/// Longest that is hashed, so that nobody can keep a processor busy with a book.
const MOST: usize = 256;

/// As OWASP's cheat sheet has it: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// What people who must think of twelve characters think of first.
const COMMON: &[&str] = &[
    "123456789012",
    "password1234",
    "passwordpassword",
    "qwertyuiop12",
    "letmeinletmein",
    "administrator",
    "leadsquared1",
    "welcome12345",
    "iloveyou1234",
];

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    #[error("has fewer than {LEAST} characters: three or four words do well")]
    Short,
    #[error("has more than {MOST} characters")]
    Long,
    #[error("holds your name or mail address: choose something that nobody would guess of you")]
    OwnName,
    #[error("is one of those that are tried first: choose another")]
    Common,
}

/// Checks a new password of the person with this login and name.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(password: &str, login: &str, name: &str) -> Result<(), Weak> {
    let count = password.chars().count();
    if count < LEAST {
        return Err(Weak::Short);
    }
    if count > MOST {
        return Err(Weak::Long);
    }
    let lower = password.to_lowercase();
    let own = login.split('@').take(1).chain(name.split_whitespace());
    if own
        .map(str::to_lowercase)
        .any(|part| part.chars().count() > 3 && lower.contains(&part))
    {
        return Err(Weak::OwnName);
    }
    let mut letters: Vec<char> = lower.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    if letters.len() < 4 || COMMON.contains(&lower.as_str()) {
        return Err(Weak::Common);
    }
    Ok(())
}

/// Hashes a password for the store; takes some ten milliseconds of a processor.
///
/// # Errors
/// When the system has no randomness.
pub fn hash(password: &str) -> anyhow::Result<String> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)?;
    let hash = derived(password, &salt, MEMORY_KIB, PASSES, LANES);
    let hash = hash.ok_or_else(|| anyhow::anyhow!("the password could not be hashed"))?;
    let (salt, hash) = (super::hex(&salt), super::hex(&hash));
    Ok(format!(
        "argon2id${MEMORY_KIB}${PASSES}${LANES}${salt}${hash}"
    ))
}

/// Whether `password` is the one that was hashed; takes as long.
pub fn is_that(password: &str, kept: &str) -> bool {
    let parts: Vec<&str> = kept.split('$').collect();
    let ["argon2id", memory, passes, lanes, salt, hash] = parts.as_slice() else {
        return false;
    };
    let numbers = [memory, passes, lanes].map(|number| number.parse::<u32>());
    let [Ok(memory), Ok(passes), Ok(lanes)] = numbers else {
        return false;
    };
    let (Some(salt), Some(hash)) = (unhex(salt), unhex(hash)) else {
        return false;
    };
    derived(password, &salt, memory, passes, lanes)
        .is_some_and(|found| super::is_same(&hash, &found))
}

fn derived(
    password: &str,
    salt: &[u8],
    memory: u32,
    passes: u32,
    lanes: u32,
) -> Option<[u8; HASH_BYTES]> {
    let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).ok()?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; HASH_BYTES];
    argon
        .hash_password_into(password.as_bytes(), salt, &mut hash)
        .ok()?;
    Some(hash)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_of(password: &str, expected: Result<(), Weak>) {
        let found = check(password, "odalys@example.org", "Odalys Fenwick");
        assert_eq!(found, expected, "{password}");
    }

    #[test]
    fn long_ones_that_nobody_guesses_are_taken() {
        check_of("correct horse battery", Ok(()));
        check_of("short", Err(Weak::Short));
        check_of("gedämpftesü", Err(Weak::Short));
        check_of("fenwick is mine", Err(Weak::OwnName));
        check_of("Odalys-2026-x", Err(Weak::OwnName));
        check_of("aaaaaaaaaaaaa", Err(Weak::Common));
        check_of("Password1234", Err(Weak::Common));
        check_of(&"long ".repeat(60), Err(Weak::Long));
    }

    #[test]
    fn what_was_hashed_is_known_again_and_nothing_else() {
        let kept = hash("correct horse battery").unwrap();
        assert!(kept.starts_with("argon2id$19456$2$1$"));
        assert!(is_that("correct horse battery", &kept));
        assert!(!is_that("correct horse batterz", &kept));
        assert!(!is_that("", "argon2id$x"));
        assert_ne!(kept, hash("correct horse battery").unwrap(), "no salt");
    }
}
