//! The host's own configuration: one TOML file, secrets from the environment.
//!
//! The only room that reads the environment. Everything is checked before anything is opened, and every fault is
//! reported with its key. What administrators configure (accounts, channels, flows) is not here but in the store.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use ipnet::IpNet;
use serde::Deserialize;
use tracing::warn;

use crate::flow::account::{Keys, Reach};
use crate::flow::target::Identity;
use crate::flow::transport::Network;
use crate::openid;
use crate::vault;

/// What `serve` needs to start.
#[derive(Debug)]
pub struct Config {
    pub storage: String,
    pub migrate: bool,
    /// The last one seals; all of them open.
    pub keys: Vec<vault::Key>,
    pub console: Console,
    pub delivery_concurrency: usize,
    pub mapping: Mapping,
}

/// Where the console is, and who may read there.
#[derive(Debug, Clone)]
pub struct Console {
    pub address: SocketAddr,
    /// Nothing is shown without a token, not even on this machine.
    pub require_token: bool,
    /// Speaks TLS with this certificate; without it, plain HTTP.
    pub tls: Option<Identity>,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// A LeadSquared simulator of this process, offered in the place of an account.
    pub simulator: Option<Reach>,
    /// Who else signs people in.
    pub openid: Option<openid::Settings>,
}

impl Console {
    /// A plain console at `address`.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            require_token: false,
            tls: None,
            trusted_proxies: Vec::new(),
            simulator: None,
            openid: None,
        }
    }
}

/// Limits of every component.
#[derive(Debug, Clone)]
pub struct Mapping {
    pub deadline: Duration,
    pub max_memory_bytes: usize,
    /// Where compiled components are kept.
    pub artefacts: PathBuf,
}

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    storage: Storage,
    #[serde(default)]
    key: KeySource,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    delivery: Delivery,
    #[serde(default)]
    mapping: MappingFile,
    openid: Option<OpenIdFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Storage {
    /// `sqlite:PATH` or `postgres://…`; `LIGATURE_DATABASE_URL` stands over it, because it may hold a password.
    url: Option<String>,
    /// Apply missing migrations at start.
    #[serde(default)]
    migrate: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySource {
    /// A file of 64 hexadecimal digits a line, oldest key first; `LIGATURE_KEY` stands over it.
    /// A new key is a new last line: what was sealed before still opens.
    file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Http {
    address: SocketAddr,
    /// Demands a token for everything that is shown, also on this machine.
    require_token: bool,
    /// A certificate with the chain above it, and its key, as PEM files.
    tls: Option<Identity>,
    /// Addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    trusted_proxies: Vec<Network>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            require_token: false,
            tls: None,
            trusted_proxies: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Delivery {
    concurrency: usize,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            concurrency: DEFAULT_CONCURRENCY,
        }
    }
}

/// Deliveries in hand at once; most of them wait for LeadSquared.
pub const DEFAULT_CONCURRENCY: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MappingFile {
    deadline_ms: u64,
    max_memory_mib: usize,
    artefacts: Option<PathBuf>,
}

impl Default for MappingFile {
    fn default() -> Self {
        Self {
            deadline_ms: 100,
            max_memory_mib: 64,
            artefacts: None,
        }
    }
}

/// An identity provider; see [`openid::Settings`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenIdFile {
    issuer: String,
    client_id: String,
    /// A file that holds the client's secret; `LIGATURE_OPENID_SECRET` stands over it. Neither: a public client.
    client_secret_file: Option<PathBuf>,
    console: String,
    name: Option<String>,
    authorities: Option<PathBuf>,
    #[serde(default)]
    trust_mail: bool,
    /// False: nobody signs in with a password any more.
    #[serde(default = "yes")]
    passwords: bool,
}

const fn yes() -> bool {
    true
}

impl OpenIdFile {
    /// Checked, with the client's secret.
    fn settings(self, secret: Option<String>) -> anyhow::Result<openid::Settings> {
        let secret = match (secret, &self.client_secret_file) {
            (Some(secret), _) => Some(secret),
            (None, Some(file)) => Some(read_secret(file).context("openid.client_secret_file")?),
            (None, None) => None,
        };
        let console = self.console.parse();
        let settings = openid::Settings {
            console: console.context("openid.console: is no address")?,
            name: self.name.unwrap_or_else(|| "OpenID Connect".to_owned()),
            issuer: self.issuer,
            client_id: self.client_id,
            client_secret: secret.map(openid::Secret),
            authorities: self.authorities,
            trust_mail: self.trust_mail,
            only: !self.passwords,
        };
        openid::Provider::new(settings.clone())?;
        Ok(settings)
    }
}

impl Mapping {
    /// The default limits, with artefacts kept in `artefacts`.
    pub fn with_artefacts(artefacts: PathBuf) -> Self {
        let MappingFile {
            deadline_ms,
            max_memory_mib,
            ..
        } = MappingFile::default();
        Self {
            deadline: Duration::from_millis(deadline_ms),
            max_memory_bytes: max_memory_mib * 1024 * 1024,
            artefacts,
        }
    }
}

/// A variable of the environment, most of which hold secrets, if it is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the room that reads the environment"
)]
fn secret(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The keys of a LeadSquared account that is being imported, from the environment.
///
/// # Errors
/// Names the variables to set.
pub fn lead_squared_keys() -> anyhow::Result<Keys> {
    match (
        secret("LEADSQUARED_ACCESS_KEY"),
        secret("LEADSQUARED_SECRET_KEY"),
    ) {
        (Some(access_key), Some(secret_key)) => Ok(Keys {
            access_key,
            secret_key,
        }),
        _ => bail!(
            "set LEADSQUARED_ACCESS_KEY and LEADSQUARED_SECRET_KEY to the keys of the account"
        ),
    }
}

/// The token that the command line shows to a running host, from `LIGATURE_TOKEN`.
pub fn token() -> Option<String> {
    secret("LIGATURE_TOKEN")
}

/// The PEM file that the command line trusts where a host speaks TLS, from `LIGATURE_CA`.
pub fn authority() -> Option<PathBuf> {
    secret("LIGATURE_CA").map(PathBuf::from)
}

/// How the command line signs in at a registry of components.
pub enum RegistryLogin {
    Password {
        user: String,
        password: String,
    },
    /// What the registry takes as it is.
    Token(String),
}

impl RegistryLogin {
    /// A user and a password.
    pub fn password(user: &str, password: &str) -> Self {
        Self::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// From `LIGATURE_REGISTRY_TOKEN`, or `LIGATURE_REGISTRY_USER` and `LIGATURE_REGISTRY_PASSWORD`, if any is set.
    ///
    /// # Errors
    /// One of two.
    pub fn of_environment() -> anyhow::Result<Option<Self>> {
        let user = secret("LIGATURE_REGISTRY_USER");
        let password = secret("LIGATURE_REGISTRY_PASSWORD");
        match (secret("LIGATURE_REGISTRY_TOKEN"), user, password) {
            (Some(token), None, None) => Ok(Some(Self::Token(token))),
            (None, Some(user), Some(password)) => Ok(Some(Self::password(&user, &password))),
            (None, None, None) => Ok(None),
            _ => bail!(
                "set LIGATURE_REGISTRY_USER and LIGATURE_REGISTRY_PASSWORD, or LIGATURE_REGISTRY_TOKEN alone"
            ),
        }
    }
}

impl Config {
    /// Reads and checks the file at `path` and the secrets of the environment.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text, path, secret)
    }

    fn parse(
        text: &str,
        path: &Path,
        secret: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)
            .with_context(|| format!("{} is not a configuration", path.display()))?;
        let mut faults = Vec::new();

        let storage = secret("LIGATURE_DATABASE_URL")
            .or(file.storage.url)
            .unwrap_or_default();
        if !["sqlite:", "postgres:", "postgresql:"]
            .iter()
            .any(|scheme| storage.starts_with(scheme))
        {
            faults.push(
                "storage.url: write sqlite:PATH or postgres://…, or set LIGATURE_DATABASE_URL"
                    .to_owned(),
            );
        }
        let keys = match (secret("LIGATURE_KEY"), &file.key.file) {
            (Some(text), _) => keys(&text).map_err(|fault| format!("LIGATURE_KEY: {fault}")),
            (None, Some(file)) => key_file(file).map_err(|fault| format!("key.file: {fault:#}")),
            (None, None) => Err(
                "key.file: name a file of 64 hexadecimal digits, or set LIGATURE_KEY; \
                 `ligature key` makes one"
                    .to_owned(),
            ),
        };
        if file.delivery.concurrency == 0 {
            faults.push("delivery.concurrency: at least 1".to_owned());
        }
        if file.mapping.deadline_ms == 0 || file.mapping.deadline_ms > 10_000 {
            faults.push("mapping.deadline_ms: from 1 to 10000".to_owned());
        }
        if file.mapping.max_memory_mib == 0 || file.mapping.max_memory_mib > 1024 {
            faults.push("mapping.max_memory_mib: from 1 to 1024".to_owned());
        }
        let openid = file
            .openid
            .map(|file| file.settings(secret("LIGATURE_OPENID_SECRET")))
            .transpose();
        let openid = openid
            .map_err(|fault| faults.push(format!("{fault:#}")))
            .ok()
            .flatten();
        let keys = keys.map_err(|fault| faults.push(fault)).ok();
        let (Some(keys), []) = (keys, faults.as_slice()) else {
            bail!("{}:\n  {}", path.display(), faults.join("\n  "));
        };
        let artefacts = file
            .mapping
            .artefacts
            .unwrap_or_else(|| beside(&storage, path));
        let proxies = file.http.trusted_proxies.into_iter();
        Ok(Self {
            storage,
            migrate: file.storage.migrate,
            keys,
            console: Console {
                address: file.http.address,
                require_token: file.http.require_token,
                tls: file.http.tls,
                trusted_proxies: proxies.map(|Network(network)| network).collect(),
                simulator: None,
                openid,
            },
            delivery_concurrency: file.delivery.concurrency,
            mapping: Mapping {
                deadline: Duration::from_millis(file.mapping.deadline_ms),
                max_memory_bytes: file.mapping.max_memory_mib * 1024 * 1024,
                artefacts,
            },
        })
    }
}

/// Compiled components are kept beside the SQLite file, else beside the configuration.
fn beside(storage: &str, config: &Path) -> PathBuf {
    let file = storage
        .strip_prefix("sqlite:")
        .map(|path| path.trim_start_matches("//"));
    let base = file.map_or(config, Path::new);
    base.parent().unwrap_or(Path::new(".")).join("artefacts")
}

fn key_file(path: &Path) -> anyhow::Result<Vec<vault::Key>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if is_open_to_others(path) {
        warn!(file = %path.display(), "others may read the key file, and with it the store: chmod 600");
    }
    Ok(keys(&text)?)
}

/// A secret in a file of its own, without the line's end.
fn read_secret(path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if is_open_to_others(path) {
        warn!(file = %path.display(), "others may read the file of a secret: chmod 600");
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether others than a file's owner may read or write it.
fn is_open_to_others(path: &Path) -> bool {
    let facts = std::fs::metadata(path);
    facts.is_ok_and(|facts| facts.permissions().mode() & 0o077 != 0)
}

/// One key a line, numbered from 1: the number stands with every blob that the key sealed, so lines never move.
fn keys(text: &str) -> Result<Vec<vault::Key>, vault::Error> {
    text.trim()
        .lines()
        .zip(1..)
        .map(|(line, number)| vault::Key::from_hex(number, line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `text` with no variable set but the key.
    fn check(text: &str) -> String {
        let secret = |name: &str| (name == "LIGATURE_KEY").then(|| "7a".repeat(32));
        match Config::parse(text, Path::new("/etc/ligature.toml"), secret) {
            Ok(config) => format!(
                "{} {} {} {}",
                config.storage,
                config.console.address,
                config.delivery_concurrency,
                config.mapping.artefacts.display()
            ),
            Err(fault) => format!("{fault:#}"),
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        insta::assert_snapshot!(
            check("[storage]\nurl = \"sqlite:/var/lib/ligature/ligature.db\""),
            @"sqlite:/var/lib/ligature/ligature.db 127.0.0.1:8080 256 /var/lib/ligature/artefacts"
        );
    }

    #[test]
    fn every_fault_is_reported_with_its_key() {
        insta::assert_snapshot!(
            check("[storage]\nurl = \"mysql://x\"\n[delivery]\nconcurrency = 0\n[mapping]\ndeadline_ms = 0"),
            @r"
        /etc/ligature.toml:
          storage.url: write sqlite:PATH or postgres://…, or set LIGATURE_DATABASE_URL
          delivery.concurrency: at least 1
          mapping.deadline_ms: from 1 to 10000
        "
        );
    }

    #[test]
    fn an_identity_provider_is_checked_at_the_start() {
        let provider = "[storage]\nurl = \"sqlite:/var/lib/ligature/ligature.db\"\n[openid]\nclient_id = \"ligature\"\n";
        let good =
            "issuer = \"https://login.example.org\"\nconsole = \"https://bridge.example.org\"";
        assert!(check(&format!("{provider}{good}")).starts_with("sqlite:"));
        let clear = good.replace("https://login", "http://login");
        insta::assert_snapshot!(check(&format!("{provider}{clear}")), @r"
        /etc/ligature.toml:
          openid.issuer: begins with https:// (http:// on this machine only) and has no query
        ");
        let silent = format!("{provider}{good}\nclient_secret_file = \"/nowhere/secret\"");
        assert!(check(&silent).contains("openid.client_secret_file: cannot read /nowhere/secret"));
    }

    #[test]
    fn a_key_file_is_for_its_owner() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, is_open) in [(0o600, false), (0o400, false), (0o640, true), (0o666, true)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), mode.clone()).unwrap();
            assert_eq!(is_open_to_others(file.path()), is_open, "{mode:?}");
        }
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(
            check("[storage]\nurl = \"sqlite:x\"\n[htp]\naddress = \"127.0.0.1:1\"")
                .contains("unknown field `htp`")
        );
    }
}
