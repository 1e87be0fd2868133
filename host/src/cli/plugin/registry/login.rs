//! How the command line signs in at a registry: what a user holds, and what the registry asks for.
//!
//! A registry answers the first request with a challenge (RFC 9110, section 11.6.1): a password, or a token from a
//! server that it names (the token flow of the distribution specification). A password goes to that server only over a
//! connection that nobody else reads.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::reference::Reference;
use crate::cli::plugin::read;
use crate::config::RegistryLogin;

/// The login for a registry in a file as `docker login`, `oras login` and `podman login` write it.
///
/// # Errors
/// The file has none for it, or not the password itself.
pub(super) fn of_file(file: &Path, reference: &Reference) -> anyhow::Result<RegistryLogin> {
    let shown = file.display();
    let config: Value = serde_json::from_slice(&read(file)?).with_context(|| {
        format!("{shown} is no file of logins: `docker login` or `oras login` writes one")
    })?;
    let registry = &reference.registry;
    let place = format!("{registry}/{}", reference.repository);
    let auths = config["auths"].as_object().into_iter().flatten();
    // The more of the place a line names, the more it is meant.
    let found = auths
        .filter(|(key, _)| is_for(key, &place))
        .max_by_key(|(key, _)| bare(key).len())
        .map(|(_, entry)| entry);
    let helper = match config["credHelpers"][registry].as_str() {
        Some(helper) => Some(helper),
        None => config["credsStore"].as_str(),
    };
    let words = |name: &str| found.and_then(|entry| entry[name].as_str().map(str::to_owned));
    let some = |name: &str| words(name).filter(|text| !text.is_empty());
    if let Some(token) = some("registrytoken") {
        return Ok(RegistryLogin::Token(token));
    }
    if let Some(auth) = some("auth") {
        let decoded = STANDARD.decode(auth.trim()).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (user, password) =
            pair.with_context(|| format!("{shown}: \"auth\" of {registry} cannot be read"))?;
        ensure!(
            some("identitytoken").is_none(),
            "{shown} has an identity token for {registry}, which is not taken: ask for a password of its own or an access \
             token"
        );
        return Ok(RegistryLogin::password(user, password));
    }
    if let (Some(user), Some(password)) = (some("username"), some("password")) {
        return Ok(RegistryLogin::password(&user, &password));
    }
    match helper {
        Some(helper) => bail!(
            "{shown} leaves the password of {registry} to {helper}, which is not asked: \
             set LIGATURE_REGISTRY_USER and LIGATURE_REGISTRY_PASSWORD"
        ),
        None => bail!("{shown} has no login for {registry}: `oras login {registry}` adds one"),
    }
}

/// A name of a registry in such a file, without what older ones put around it.
fn bare(key: &str) -> &str {
    let key = key
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    key.trim_end_matches('/')
        .trim_end_matches("/v1")
        .trim_end_matches("/v2")
}

fn is_for(key: &str, place: &str) -> bool {
    let rest = place.strip_prefix(bare(key));
    rest.is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
}

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Password,
    Token(Realm),
}

/// Where tokens are had, and for what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Realm {
    pub(super) address: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

impl Challenge {
    /// The first that can be met, of the lines `WWW-Authenticate`.
    pub(super) fn find<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let read = |line: &str| {
            let (scheme, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            match scheme.to_ascii_lowercase().as_str() {
                "basic" => Some(Self::Password),
                "bearer" => realm(rest).map(Self::Token),
                _ => None,
            }
        };
        lines.into_iter().find_map(read)
    }
}

fn realm(mut rest: &str) -> Option<Realm> {
    let mut realm = Realm::default();
    while let Some((name, behind)) = rest.split_once('=') {
        let (value, behind) = value(behind);
        match name
            .trim_matches([' ', ',', '\t'])
            .to_ascii_lowercase()
            .as_str()
        {
            "realm" => realm.address = value,
            "service" => realm.service = Some(value),
            "scope" => realm.scope = Some(value),
            _ => {}
        }
        rest = behind;
    }
    (!realm.address.is_empty()).then_some(realm)
}

/// A token or quoted string, and what stands behind it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (value.to_owned(), behind);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            _ => value.push(letter),
        }
    }
    (value, "")
}

/// What the server of tokens answers.
#[derive(Deserialize)]
pub(super) struct Granted {
    token: Option<String>,
    access_token: Option<String>,
}

impl Granted {
    pub(super) fn token(self) -> Option<String> {
        let some = |token: &String| !token.is_empty();
        self.token.filter(some).or(self.access_token.filter(some))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = "Bearer realm=\"https://auth.example.org/token?x=1,2\",service=\"registry \\\"one\\\"\", scope=repository:a/b:pull";
        let expected = Challenge::Token(Realm {
            address: "https://auth.example.org/token?x=1,2".into(),
            service: Some("registry \"one\"".into()),
            scope: Some("repository:a/b:pull".into()),
        });
        assert_eq!(Challenge::find(["Negotiate", bearer]), Some(expected));
        assert_eq!(
            Challenge::find(["Basic realm=\"registry\""]),
            Some(Challenge::Password)
        );
        assert_eq!(Challenge::find(["Bearer service=\"x\""]), None);
        assert_eq!(Challenge::find(["Bearer realm=\""]), None);
        assert_eq!(Challenge::find([]), None);
    }

    fn check(config: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, config).unwrap();
        let reference: Reference = "registry.example.org/vendor/visits:1".parse().unwrap();
        let said = match of_file(&file, &reference) {
            Ok(RegistryLogin::Password { user, password }) => format!("{user} {password}"),
            Ok(RegistryLogin::Token(token)) => token,
            Err(fault) => format!("{fault:#}"),
        };
        said.replace(&file.display().to_string(), "FILE")
    }

    #[test]
    fn the_files_of_other_tools_are_read() {
        let auth = STANDARD.encode("clinic:s:3cret");
        let of = |key: &str| format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}}}}"#);
        for key in [
            "registry.example.org",
            "https://registry.example.org/v1/",
            "registry.example.org/vendor",
            "registry.example.org/vendor/visits",
        ] {
            assert_eq!(check(&of(key)), "clinic s:3cret", "{key}");
        }
        for key in [
            "registry.example",
            "example.org",
            "registry.example.org/vend",
        ] {
            assert!(
                check(&of(key)).contains("has no login for registry.example.org"),
                "{key}"
            );
        }
        let two = format!(
            r#"{{"auths":{{"registry.example.org":{{"auth":"{auth}"}},
               "registry.example.org/vendor":{{"username":"other","password":"word"}}}}}}"#
        );
        assert_eq!(check(&two), "other word");
        let token = r#"{"auths":{"registry.example.org":{"registrytoken":"abc"}}}"#;
        assert_eq!(check(token), "abc");
    }

    #[test]
    fn a_file_without_the_password_says_where_it_would_be() {
        assert!(check("no json").starts_with("FILE is no file of logins"));
        assert!(check("{}").contains("has no login for"));
        assert!(
            check(r#"{"auths":{"registry.example.org":{"auth":"?"}}}"#).contains("cannot be read")
        );
        let stored = r#"{"auths":{"registry.example.org":{}},"credsStore":"desktop"}"#;
        assert!(check(stored).contains("leaves the password of registry.example.org to desktop"));
        let auth = STANDARD.encode("u:");
        let identity = format!(
            r#"{{"auths":{{"registry.example.org":{{"auth":"{auth}","identitytoken":"x"}}}}}}"#
        );
        assert!(check(&identity).contains("an identity token"));
    }
}
