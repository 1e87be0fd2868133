//! The form of a channel, and the document that it means.
//!
//! What the form does not show stays as it is in the document: it is changed by the interface. So does what a form of
//! somebody's own leaves out of exclusions, retention and limits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::form::Form;
use crate::flow::Channel;

/// Every field of the form that is text.
const FIELDS: &[&str] = &[
    "name",
    "account",
    "address",
    "allowed_peers",
    "ack_mode",
    "senders",
    "versions",
    "charset",
    "no_flow",
    "duplicates",
    "framing",
    "tls",
    "certificate",
    "key",
    "client_certificates",
    "client_authorities",
    "pinned",
    "oldest_version",
    "server_name",
    "authorities",
    "connect_timeout_ms",
    "answer_timeout_ms",
    "application_timeout_ms",
];

/// Fields that stay as they are where a form does not have them: to leave one out must let no patient through.
const KEPT: &[&str] = &[
    "protected",
    PROPOSALS,
    "names",
    "vip",
    "departments",
    "locations",
    "services",
    "events",
    "unclaimed_hours",
    "delivered_days",
    "skipped_days",
    "dead_days",
    "header_facts_days",
    "answer_budget_ms",
    "max_frame_bytes",
    "frame_timeout_ms",
    "max_connections",
    "max_pending_bytes",
    "idle_close_ms",
];

/// Lists that come with the host: one box each, and a field that says that the boxes were there.
const PROPOSALS: &str = "proposals";

/// What messages are compared with, one pattern a line.
const PATTERNS: &[&str] = &[
    "names",
    "vip",
    "departments",
    "locations",
    "services",
    "events",
];

const RETENTION: &[&str] = &[
    "unclaimed_hours",
    "delivered_days",
    "skipped_days",
    "dead_days",
    "header_facts_days",
];

const LIMITS: &[&str] = &[
    "answer_budget_ms",
    "max_frame_bytes",
    "frame_timeout_ms",
    "max_connections",
    "max_pending_bytes",
    "idle_close_ms",
];

/// What stands in the fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    /// As they were sent.
    pub(super) fn sent(form: &Form) -> Self {
        let shown = FIELDS.iter();
        let shown = shown.chain(KEPT.iter().filter(|name| form.has(name)));
        let mut fields: BTreeMap<_, _> = shown
            .map(|name| (*name, form.get(name).to_owned()))
            .collect();
        // Each box has a value of its own; the empty one is the field's that says that there are boxes.
        let ticked = form.all(PROPOSALS).into_iter();
        let ticked: Vec<_> = ticked.filter(|word| !word.is_empty()).collect();
        if let Some(proposals) = fields.get_mut(PROPOSALS) {
            *proposals = ticked.join("\n");
        }
        Self(fields)
    }

    /// Of a channel that is there.
    pub(super) fn of(channel: &Channel) -> Self {
        let document = serde_json::to_value(channel).unwrap_or_default();
        let mut fields = Self::default();
        let tls = match &channel.target {
            Some(_) => &document["target"]["tls"],
            None => &document["tls"],
        };
        let identity = match &channel.target {
            Some(_) => &tls["identity"],
            None => tls,
        };
        let target = &document["target"];
        let mut put = |name: &'static str, text: String| drop(fields.0.insert(name, text));
        put(
            "address",
            match &channel.target {
                Some(target) => target.address.to_string(),
                None => channel.address.to_string(),
            },
        );
        put(
            "tls",
            if tls.is_object() {
                "1".into()
            } else {
                String::new()
            },
        );
        put("senders", senders(channel));
        put("allowed_peers", lines(&document["allowed_peers"]));
        put("versions", text(&document["versions"], ", "));
        for name in [
            "name",
            "account",
            "ack_mode",
            "charset",
            "no_flow",
            "duplicates",
            "framing",
        ] {
            put(name, plain(&document[name]));
        }
        for name in ["certificate", "key"] {
            put(name, plain(&identity[name]));
        }
        for name in [
            "client_certificates",
            "client_authorities",
            "oldest_version",
            "server_name",
            "authorities",
        ] {
            put(name, plain(&tls[name]));
        }
        put(
            "pinned",
            match &channel.target {
                Some(_) => lines(&tls["pinned"]),
                None => lines(&tls["pinned_clients"]),
            },
        );
        for name in [
            "connect_timeout_ms",
            "answer_timeout_ms",
            "application_timeout_ms",
        ] {
            put(name, plain(&target[name]));
        }
        let exclusions = &document["exclusions"];
        put("protected", exclusions["protected"].to_string());
        for name in PATTERNS.iter().chain([&PROPOSALS]) {
            put(name, lines(&exclusions[name]));
        }
        for name in RETENTION {
            put(name, plain(&document["retention"][name]));
        }
        for name in LIMITS {
            put(name, plain(&document[name]));
        }
        fields
    }

    /// The lists that come with the host, as people call them.
    pub(super) fn offered(&self) -> [(&'static str, &'static str); 3] {
        [
            ("behavioural-health", "Psychiatry, psychology, counselling"),
            ("substance-use", "Addiction, detoxification, recovery"),
            (
                "test-patients",
                "Test patients: names that begin with ZZ or TEST, so Testa, too",
            ),
        ]
    }

    /// Whether one of them is taken.
    pub(super) fn proposes(&self, word: &str) -> bool {
        self.get(PROPOSALS).lines().any(|line| line == word)
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|text| !text.is_empty())
    }

    fn list(&self, name: &str) -> Vec<&str> {
        let parts = self.get(name).split(['\n', ',']).map(str::trim);
        parts.filter(|part| !part.is_empty()).collect()
    }

    /// The document that the fields mean: that of `before`, with what the form shows put in.
    pub(super) fn document(&self, mut document: Value, is_inbound: bool) -> Value {
        document["name"] = self.get("name").into();
        match is_inbound {
            true => self.put_inbound(&mut document),
            false => self.put_outbound(&mut document),
        }
        self.put_kept(&mut document);
        document
    }

    /// Exclusions, retention and limits, as far as the form has them.
    fn put_kept(&self, document: &mut Value) {
        let exclusions = &mut document["exclusions"];
        match self.get("protected") {
            "true" => exclusions["protected"] = true.into(),
            "false" => exclusions["protected"] = false.into(),
            _ => {}
        }
        for name in PATTERNS.iter().chain([&PROPOSALS]) {
            if let Some(text) = self.0.get(name) {
                let lines = text.lines().map(str::trim);
                let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
                exclusions[name] = json!(lines);
            }
        }
        for name in RETENTION {
            self.put_number(name, &mut document["retention"]);
        }
        for name in LIMITS {
            self.put_number(name, document);
        }
        // A new channel of which nothing was said goes by the defaults.
        if let Some(members) = document.as_object_mut() {
            members.retain(|name, member| {
                !member.is_null() || !["exclusions", "retention"].contains(&name.as_str())
            });
        }
    }

    /// As typed: what is no number is told at its field; an empty one goes by the default.
    fn put_number(&self, name: &'static str, place: &mut Value) {
        let Some(text) = self.0.get(name) else {
            return;
        };
        match text.trim() {
            "" => drop(place.as_object_mut().map(|members| members.remove(name))),
            text => {
                let number = text.parse::<u64>().map(Value::from);
                place[name] = number.unwrap_or_else(|_| text.into());
            }
        }
    }

    fn put_inbound(&self, document: &mut Value) {
        document["address"] = self.get("address").into();
        document["allowed_peers"] = json!(self.list("allowed_peers"));
        document["versions"] = json!(self.list("versions"));
        document["charset"] = json!(self.some("charset"));
        for name in ["ack_mode", "no_flow", "duplicates", "framing"] {
            if let Some(word) = self.some(name) {
                document[name] = word.into();
            }
        }
        let senders = self.get("senders").lines().map(str::trim);
        let senders = senders.filter(|line| !line.is_empty()).map(|line| {
            let (application, facility) = line.split_once('|').unwrap_or((line, ""));
            let part = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
            json!({ "application": part(application), "facility": part(facility) })
        });
        document["senders"] = senders.collect();
        document["tls"] = match self.some("tls") {
            None => Value::Null,
            Some(_) => {
                let mut tls = json!({
                    "certificate": self.get("certificate"),
                    "key": self.get("key"),
                    "client_authorities": self.some("client_authorities"),
                    "pinned_clients": self.list("pinned"),
                });
                for name in ["client_certificates", "oldest_version"] {
                    if let Some(word) = self.some(name) {
                        tls[name] = word.into();
                    }
                }
                tls
            }
        };
    }

    fn put_outbound(&self, document: &mut Value) {
        let target = &mut document["target"];
        target["address"] = self.get("address").into();
        for name in [
            "connect_timeout_ms",
            "answer_timeout_ms",
            "application_timeout_ms",
        ] {
            if self.some(name).is_some() {
                self.put_number(name, target);
            }
        }
        target["tls"] = match self.some("tls") {
            None => Value::Null,
            Some(_) => {
                let mut tls = json!({
                    "authorities": self.some("authorities"),
                    "pinned": self.list("pinned"),
                    "server_name": self.some("server_name"),
                });
                if let Some(certificate) = self.some("certificate") {
                    tls["identity"] = json!({ "certificate": certificate, "key": self.get("key") });
                }
                if let Some(version) = self.some("oldest_version") {
                    tls["oldest_version"] = version.into();
                }
                tls
            }
        };
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn text(value: &Value, between: &str) -> String {
    let items = value.as_array().into_iter().flatten();
    items.map(plain).collect::<Vec<_>>().join(between)
}

fn lines(value: &Value) -> String {
    text(value, "\n")
}

/// `EPIC | MAIN` a line.
fn senders(channel: &Channel) -> String {
    let line = |sender: &crate::flow::channel::Sender| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let line = format!("{} | {}", part(&sender.application), part(&sender.facility));
        line.trim_end_matches(['|', ' ']).to_owned()
    };
    let lines: Vec<_> = channel.senders.iter().map(line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::exclusion::Proposal;

    /// A channel is the same after its form was sent unchanged.
    fn check(settings: &str) {
        let text = format!("id = \"c\"\naccount = \"a\"\nname = \"C\"\n{settings}");
        let channel: Channel = toml::from_str(&text).unwrap();
        let fields = Fields::of(&channel);
        let before = serde_json::to_value(&channel).unwrap();
        let document = fields.document(before, channel.target.is_none());
        let back: Channel = serde_json::from_value(document).unwrap();
        assert_eq!(back, channel);
    }

    #[test]
    fn what_a_form_leaves_out_lets_nobody_through() {
        let text = "id = \"c\"\naccount = \"a\"\nname = \"C\"\naddress = 2575\nmax_connections = 3\n\
                    exclusions = { names = [\"ZZ*\"] }\nretention = { dead_days = 7 }";
        let channel: Channel = toml::from_str(text).unwrap();
        let before = serde_json::to_value(&channel).unwrap();
        let mut fields = Fields::of(&channel);
        fields.0.retain(|name, _| !KEPT.contains(name));
        let document = fields.document(before, true);
        let back: Channel = serde_json::from_value(document).unwrap();
        assert_eq!(back, channel);
        // What is emptied goes by the default.
        for name in ["dead_days", "max_connections", "names"] {
            fields.0.insert(name, String::new());
        }
        let document = fields.document(serde_json::to_value(&channel).unwrap(), true);
        let back: Channel = serde_json::from_value(document).unwrap();
        assert_eq!(
            (back.max_connections, &back.exclusions.names[..]),
            (1_024, &[][..])
        );
        assert_eq!(u32::from(back.retention.dead_days), 90);
        // A new one, too.
        let new = json!({ "id": "c", "account": "a" });
        let sent = Fields([("name", "C".to_owned()), ("address", "2575".to_owned())].into());
        let new: Channel = serde_json::from_value(sent.document(new, true)).unwrap();
        assert!(new.exclusions.protected);
    }

    #[test]
    fn every_list_of_the_host_is_offered() {
        let offered = Fields::default()
            .offered()
            .map(|(word, _)| Value::from(word));
        let all = Proposal::ALL.map(|one| serde_json::to_value(one).unwrap());
        assert_eq!(offered, all);
    }

    #[test]
    fn a_form_that_is_sent_unchanged_changes_nothing() {
        check("address = \"0.0.0.0:2575\"");
        check(
            "address = 2575\nallowed_peers = [\"10.1.0.0/16\", \"10.2.3.4/32\"]\nack_mode = \"enhanced\"\n\
             senders = [{ application = \"EPIC\", facility = \"MAIN\" }, { facility = \"WEST\" }]\n\
             versions = [\"2.3\"]\ncharset = \"8859/1\"\nno_flow = \"reject\"\nduplicates = \"process\"\n\
             processing_ids = [\"P\"]\ntls = { certificate = \"c.pem\", key = \"c.key\", client_certificates = \"want\", \
             client_authorities = \"ca.pem\", oldest_version = \"1.3\" }",
        );
        check(
            "address = 2575\nanswer_budget_ms = 5000\nmax_frame_bytes = 1000\nframe_timeout_ms = 1\nmax_connections = 2\n\
             max_pending_bytes = 5000\nidle_close_ms = 7\nretention = { delivered_days = 7, unclaimed_hours = 0 }\n\
             exclusions = { protected = false, names = [\"ZZ*\"], vip = [\"9\"], departments = [\"3W\", \"4 W\"], \
             locations = [\"ANNEX*\"], services = [\"OBG\"], events = [\"ORU^*\"], \
             proposals = [\"test-patients\", \"substance-use\"] }",
        );
        check("target = { address = \"ehr:2575\", answer_timeout_ms = 5000 }");
        check(
            "target = { address = \"ehr:2575\", tls = { authorities = \"ca.pem\", server_name = \"ehr\", \
             identity = { certificate = \"c.pem\", key = \"c.key\" } } }",
        );
    }
}
