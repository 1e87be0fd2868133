//! The form of a channel, and the document that it means.
//!
//! What the form does not show stays as it is in the document: it is changed by the interface.

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

/// What stands in the fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    /// As they were sent.
    pub(super) fn sent(form: &Form) -> Self {
        let fields = FIELDS.iter();
        Self(
            fields
                .map(|name| (*name, form.get(name).to_owned()))
                .collect(),
        )
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
        fields
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
        document
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
            if let Some(text) = self.some(name) {
                // As typed: what is no number is told at its field.
                let number = text.parse::<u64>().map(Value::from);
                target[name] = number.unwrap_or_else(|_| text.into());
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
    fn a_form_that_is_sent_unchanged_changes_nothing() {
        check("address = \"0.0.0.0:2575\"");
        check(
            "address = 2575\nallowed_peers = [\"10.1.0.0/16\", \"10.2.3.4/32\"]\nack_mode = \"enhanced\"\n\
             senders = [{ application = \"EPIC\", facility = \"MAIN\" }, { facility = \"WEST\" }]\n\
             versions = [\"2.3\"]\ncharset = \"8859/1\"\nno_flow = \"reject\"\nduplicates = \"process\"\n\
             processing_ids = [\"P\"]\ntls = { certificate = \"c.pem\", key = \"c.key\", client_certificates = \"want\", \
             client_authorities = \"ca.pem\", oldest_version = \"1.3\" }",
        );
        check("target = { address = \"ehr:2575\", answer_timeout_ms = 5000 }");
        check(
            "target = { address = \"ehr:2575\", tls = { authorities = \"ca.pem\", server_name = \"ehr\", \
             identity = { certificate = \"c.pem\", key = \"c.key\" } } }",
        );
    }
}
