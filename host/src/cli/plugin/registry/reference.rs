//! What a component is called in a registry: `registry.example.org/vendor/appointments:1.2.0`, or `…@sha256:…`.
//!
//! The grammar is that of the OCI distribution specification 1.1. Nothing is filled in: there is no registry and no
//! version that is meant where none is named.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};

use crate::flow::Digest;

/// What a digest begins with; other algorithms are not taken.
const SHA256: &str = "sha256:";

/// A component in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::plugin) struct Reference {
    /// With its port where it has one of its own.
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) version: Version,
}

/// Which of a repository's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version {
    /// Whatever the vendor calls so at the moment.
    Tag(String),
    /// This one for ever: the digest of its manifest.
    Pinned(Digest),
}

impl Reference {
    /// What the same content is called for ever.
    pub(super) fn pinned(&self, manifest: Digest) -> Self {
        Self {
            version: Version::Pinned(manifest),
            ..self.clone()
        }
    }

    /// The last part of the repository's name.
    pub(in crate::cli::plugin) fn name(&self) -> &str {
        let parts = self.repository.rsplit('/');
        parts.into_iter().next().unwrap_or_default()
    }

    /// The host without its port.
    pub(super) fn host(&self) -> &str {
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        match self.registry.rsplit_once(':') {
            Some((host, port)) if is_port(port) => host,
            _ => &self.registry,
        }
    }
}

impl FromStr for Reference {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let text = text.strip_prefix("oci://").unwrap_or(text);
        ensure!(
            !text.contains("://"),
            "write it without {}: registry.example.org/vendor/appointments:1.2.0",
            text.split_inclusive("://").next().unwrap_or_default()
        );
        let (registry, rest) = text.split_once('/').unwrap_or((text, ""));
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        ensure!(
            is_host && !rest.is_empty() && is_authority(registry),
            "name registry, repository and version: registry.example.org/vendor/appointments:1.2.0"
        );
        let (named, digest) = match rest.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match named.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (named, None),
        };
        ensure!(
            !repository.is_empty() && repository.split('/').all(is_part),
            "{repository:?} cannot be the name of a repository: small letters, digits, and . _ - between them"
        );
        if let Some(tag) = tag {
            ensure!(is_tag(tag), "{tag:?} cannot be a tag");
        }
        // What is pinned is meant, whatever else it is called.
        let version = match (digest, tag) {
            (Some(digest), _) => Version::Pinned(sha256(digest)?),
            (None, Some(tag)) => Version::Tag(tag.to_owned()),
            (None, None) => bail!(
                "say which version: {text}:TAG, or {text}@{SHA256}… which never becomes another"
            ),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            version,
        })
    }
}

/// The digest in `sha256:…`.
///
/// # Errors
/// It is of another algorithm, or no digest.
pub(super) fn sha256(text: &str) -> anyhow::Result<Digest> {
    let digits = text
        .strip_prefix(SHA256)
        .with_context(|| format!("{text:?} is no digest of the form {SHA256}…"))?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    ensure!(
        digits.len() == 64 && digits.bytes().all(is_hex),
        "{text:?} is no digest: {SHA256} and 64 hexadecimal digits, copy all of it"
    );
    Ok(Digest::from(digits.to_owned()))
}

/// A host's name or address, with or without a port; nothing that would end it in an address.
fn is_authority(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    text.bytes().all(is_fine)
}

/// One part of a repository's name.
fn is_part(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = |byte: Option<u8>| byte.is_some_and(is_letter);
    ends_well(text.bytes().next())
        && ends_well(text.bytes().next_back())
        && text
            .bytes()
            .all(|byte| is_letter(byte) || b"._-".contains(&byte))
}

fn is_tag(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_letter)
        && text
            .bytes()
            .all(|byte| is_letter(byte) || b".-".contains(&byte))
}

impl fmt::Display for Version {
    /// As it stands in the address of a manifest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Pinned(digest) => write!(f, "{SHA256}{digest}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.version {
            Version::Tag(_) => ':',
            Version::Pinned(_) => '@',
        };
        let Self {
            registry,
            repository,
            version,
        } = self;
        write!(f, "{registry}/{repository}{mark}{version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        match text.parse::<Reference>() {
            Ok(reference) => format!("{reference}, {} of {}", reference.name(), reference.host()),
            Err(fault) => format!("{fault:#}"),
        }
    }

    #[test]
    fn references_are_read() {
        let digest = "7a".repeat(32);
        assert_eq!(
            check("oci://registry.example.org/vendor/appointments:1.2.0"),
            "registry.example.org/vendor/appointments:1.2.0, appointments of registry.example.org"
        );
        assert_eq!(
            check("localhost:5000/visits:latest"),
            "localhost:5000/visits:latest, visits of localhost"
        );
        assert_eq!(
            check("[::1]:5000/visits:1"),
            "[::1]:5000/visits:1, visits of [::1]"
        );
        assert_eq!(
            check(&format!("registry.example.org/a/b:1@sha256:{digest}")),
            format!("registry.example.org/a/b@sha256:{digest}, b of registry.example.org")
        );
    }

    #[test]
    fn what_is_none_is_told_how_it_would_be_one() {
        let name =
            "name registry, repository and version: registry.example.org/vendor/appointments:1.2.0";
        for text in [
            "",
            "visits",
            "vendor/visits:1",
            "registry.example.org",
            "a.b?c/d:1",
        ] {
            assert_eq!(check(text), name, "{text}");
        }
        assert!(check("https://registry.example.org/a:1").starts_with("write it without https://"));
        assert!(check("registry.example.org/visits").starts_with("say which version: "));
        assert!(
            check("registry.example.org/Visits:1").contains("cannot be the name of a repository")
        );
        assert!(check("registry.example.org/../visits:1").contains("cannot be the name"));
        assert!(check("registry.example.org/visits:-1").contains("cannot be a tag"));
        assert!(check("registry.example.org/visits@sha512:00").contains("no digest of the form"));
        assert!(check("registry.example.org/visits@sha256:7A").contains("copy all of it"));
    }
}
