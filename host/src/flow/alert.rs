//! Alerts: what is looked for, from when on, and who is told.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Fault;

/// What is looked for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing came over a channel for longer than usual at that hour.
    Quiet,
    /// A sender that keeps its connection has none, or a channel cannot listen or send.
    Disconnected,
    /// Too large a share of a flow's deliveries of the last hour failed.
    FailureShare,
    /// So many deliveries of a flow failed one after the other.
    FailuresInARow,
    /// A delivery is not at its end for too long.
    OldestWaiting,
    /// The day's calls to LeadSquared are nearly used up.
    DailyQuota,
    /// LeadSquared has a webhook turned off that a flow needs, or none at all.
    WebhookDisabled,
    /// LeadSquared refuses the account's keys.
    KeysRefused,
    /// A certificate ends soon.
    Certificate,
    /// The disk is nearly full.
    Disk,
}

/// A number that a rule goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// What it counts, such as `minutes`.
    pub unit: &'static str,
    pub usual: u64,
    pub least: u64,
    pub most: u64,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Quiet,
        Kind::Disconnected,
        Kind::FailureShare,
        Kind::FailuresInARow,
        Kind::OldestWaiting,
        Kind::DailyQuota,
        Kind::WebhookDisabled,
        Kind::KeysRefused,
        Kind::Certificate,
        Kind::Disk,
    ];

    /// The word kept in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Quiet => "quiet",
            Kind::Disconnected => "disconnected",
            Kind::FailureShare => "failure-share",
            Kind::FailuresInARow => "failures-in-a-row",
            Kind::OldestWaiting => "oldest-waiting",
            Kind::DailyQuota => "daily-quota",
            Kind::WebhookDisabled => "webhook-disabled",
            Kind::KeysRefused => "keys-refused",
            Kind::Certificate => "certificate",
            Kind::Disk => "disk",
        }
    }

    /// Reads the word again.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Quiet => "Nothing received for longer than usual",
            Kind::Disconnected => "Sender disconnected",
            Kind::FailureShare => "Share of failures",
            Kind::FailuresInARow => "Failures in a row",
            Kind::OldestWaiting => "Oldest waiting delivery",
            Kind::DailyQuota => "Calls of the day",
            Kind::WebhookDisabled => "LeadSquared webhook off",
            Kind::KeysRefused => "Keys refused",
            Kind::Certificate => "Certificate ends",
            Kind::Disk => "Disk nearly full",
        }
    }

    /// The number that the rule goes by; none where it goes by none.
    pub fn threshold(self) -> Option<Threshold> {
        let (unit, usual, least, most) = match self {
            Kind::Quiet => ("minutes of silence at least", 30, 1, 1_440),
            Kind::Disconnected => ("minutes", 5, 1, 1_440),
            Kind::FailureShare => ("percent of an hour's deliveries", 30, 1, 100),
            Kind::FailuresInARow => ("failures", 5, 2, 1_000),
            Kind::OldestWaiting => ("minutes", 60, 1, 43_200),
            Kind::DailyQuota => ("percent of the day's calls", 80, 1, 100),
            Kind::Certificate => ("days before its end", 14, 1, 365),
            Kind::Disk => ("percent left", 10, 1, 90),
            Kind::WebhookDisabled | Kind::KeysRefused => return None,
        };
        Some(Threshold {
            unit,
            usual,
            least,
            most,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who is told of what. What a rule does not say goes by its usual.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The mail server; none sends no mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<Mail>,
    /// An address that is sent a JSON object for each alert; none sends none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// Mail addresses with commas between them: who is told where a rule names nobody.
    pub owner: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<Kind, Rule>,
}

/// A mail server; its password is kept apart, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Its name, without a port.
    pub server: String,
    pub port: u16,
    #[serde(default)]
    pub security: Security,
    /// The sender's address.
    pub from: String,
    /// Who signs in to the server; none does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// Plain at first, then TLS, or not at all; mostly port 587.
    #[default]
    Starttls,
    /// TLS from the first byte; mostly port 465.
    Tls,
    /// In clear text: for a server on this machine.
    None,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The usual one if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u64>,
    /// Mail addresses with commas between them, told in the place of the usual ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
}

fn yes() -> bool {
    true
}

impl Settings {
    /// The threshold of a rule, or none where it is switched off; 0 where it goes by no number.
    pub fn threshold(&self, kind: Kind) -> Option<u64> {
        let usual = kind.threshold().map_or(0, |threshold| threshold.usual);
        match self.rules.get(&kind) {
            Some(rule) if !rule.enabled => None,
            Some(rule) => Some(rule.threshold.unwrap_or(usual)),
            None => Some(usual),
        }
    }

    /// The mail addresses that are told of a rule.
    pub fn owners(&self, kind: Kind) -> Vec<String> {
        let own = self.rules.get(&kind).map(|rule| rule.owner.as_str());
        let own = own.filter(|own| !own.trim().is_empty());
        let addresses = own.unwrap_or(&self.owner).split(',').map(str::trim);
        let addresses = addresses.filter(|address| !address.is_empty());
        addresses.map(str::to_owned).collect()
    }

    /// What is wrong, with the place of each.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut addresses = |path: &str, text: &str| {
            let parts = text.split(',').map(str::trim);
            for part in parts.filter(|part| !part.is_empty() && !is_address(part)) {
                faults.push(Fault::new(path, format!("{part:?} is no mail address")));
            }
        };
        addresses("owner", &self.owner);
        for (kind, rule) in &self.rules {
            addresses(&format!("rules.{kind}.owner"), &rule.owner);
        }
        if let Some(mail) = &self.mail {
            if !is_address(mail.from.trim()) {
                let text = "name the sender's mail address, such as alerts@example.org";
                faults.push(Fault::new("mail.from", text));
            }
            if mail.server.trim().is_empty() || mail.server.contains([':', '/', ' ']) {
                let text = "name the server alone, such as smtp.example.org";
                faults.push(Fault::new("mail.server", text));
            }
        }
        if let Some(webhook) = &self.webhook
            && !["http://", "https://"]
                .iter()
                .any(|s| webhook.starts_with(s))
        {
            faults.push(Fault::new("webhook", "is an address of https://"));
        }
        for (kind, rule) in &self.rules {
            let path = format!("rules.{kind}.threshold");
            match (rule.threshold, kind.threshold()) {
                (Some(number), Some(Threshold { least, most, .. }))
                    if !(least..=most).contains(&number) =>
                {
                    faults.push(Fault::new(&path, format!("from {least} to {most}")));
                }
                (Some(_), None) => faults.push(Fault::new(&path, "this rule goes by no number")),
                _ => {}
            }
        }
        faults
    }
}

/// Whether a text has the form of a mail address; whether there is such a person is the server's to say.
fn is_address(text: &str) -> bool {
    let Some((name, host)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |c: char| c.is_ascii_graphic() && !"<>(),;:\"\\".contains(c);
    !name.is_empty() && !host.is_empty() && text.chars().all(plain)
}

/// One alert: it begins, and at some time it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    pub id: String,
    pub kind: Kind,
    /// Empty for what is this host's.
    pub account: String,
    /// The channel, flow or certificate that it is about; with kind and account it names the alert.
    pub subject: String,
    /// One sentence without patient data.
    pub text: String,
    pub began_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub began_told_at_ms: Option<i64>,
    pub ended_told_at_ms: Option<i64>,
    pub snoozed_until_ms: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &str, expected: &[&str]) {
        let settings: Settings = toml::from_str(settings).unwrap();
        let faults: Vec<_> = settings
            .faults()
            .into_iter()
            .map(|fault| fault.path)
            .collect();
        assert_eq!(faults, expected);
    }

    #[test]
    fn settings_say_what_is_wrong_with_them() {
        check("", &[]);
        check(
            "owner = \"ops@example.org, night@example.org\"\nwebhook = \"https://chat.example.org/x\"\n\
             mail = { server = \"smtp.example.org\", port = 587, from = \"l@example.org\" }\n\
             rules = { disk = { threshold = 5 }, quiet = { enabled = false } }",
            &[],
        );
        check("owner = \"ops\"", &["owner"]);
        check("webhook = \"ftp://x\"", &["webhook"]);
        check(
            "mail = { server = \"smtp:25\", port = 25, from = \"nobody\" }",
            &["mail.from", "mail.server"],
        );
        check(
            "rules = { disk = { threshold = 99 } }",
            &["rules.disk.threshold"],
        );
        check(
            "rules = { keys-refused = { threshold = 1, owner = \"a b@c\" } }",
            &["rules.keys-refused.owner", "rules.keys-refused.threshold"],
        );
    }

    #[test]
    fn a_rule_that_says_nothing_is_as_usual() {
        let settings: Settings = toml::from_str(
            "owner = \"ops@example.org\"\nrules = { disk = { owner = \"a@b, c@d\" }, quiet = { enabled = false } }",
        )
        .unwrap();
        assert_eq!(settings.threshold(Kind::Disk), Some(10));
        assert_eq!(settings.threshold(Kind::Quiet), None);
        assert_eq!(settings.threshold(Kind::KeysRefused), Some(0));
        assert_eq!(settings.owners(Kind::Disk), ["a@b", "c@d"]);
        assert_eq!(settings.owners(Kind::Quiet), ["ops@example.org"]);
    }
}
