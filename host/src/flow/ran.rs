//! What one run of a mapping was given beside its message, and what it came to: enough to run it again and to compare.
//!
//! Values are kept as fingerprints only: whoever has the message can make them again. It is sealed all the same, for
//! fingerprints of short values tell what they are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Digest, FlowId};
use crate::hl7::Charset;

/// The outcomes of a run that the component brought to its end; all others are codes of failures.
pub const WROTE: &str = "wrote";
pub const SKIPPED: &str = "skipped";

/// The last run of a delivery's mapping.
#[derive(Clone, PartialEq, Eq)]
pub struct Ran {
    /// Whose mapping; a delivery to the EHR may run another flow's to register its patient.
    pub flow: FlowId,
    pub release: Digest,
    pub at_ms: i64,
    /// `wrote`, `skipped`, or the code of a failure.
    pub outcome: String,
    /// Whether the component broke: a trap or a limit.
    pub broke: bool,
    pub given: Given,
    pub prints: Vec<Print>,
    pub warnings: Vec<Warned>,
    /// Warnings that were not kept.
    pub warnings_cut: u64,
    /// What the component wrote, cut off behind [`Ran::MAX_LOG_BYTES`]; may hold patient data.
    pub log: Vec<String>,
}

/// What a run was given beside its message and its release.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// IANA name.
    pub time_zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country_code: Option<String>,
    pub channel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<Charset>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub join_lines: bool,
    /// The patient's identifier in the message, and the one that had taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<(String, String)>,
}

/// A field's name and value as fingerprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Print {
    pub name: u32,
    pub value: u64,
}

/// A row that let the message go on without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warned {
    /// A row of the manifest; empty for one that the component made up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub row: String,
    /// Segment and field, or a field of LeadSquared; empty if nowhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// `malformed`, `unmapped-code`, ...
    pub cause: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub defaulted: bool,
}

/// What of [`Ran`] is no column of its own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    given: Given,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warned>,
    #[serde(default)]
    warnings_cut: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log: Vec<String>,
}

impl Print {
    /// Of a field and its value as JSON.
    pub fn of(name: &str, value: &str) -> Self {
        Self {
            name: Self::name(name),
            value: fnv(value),
        }
    }

    /// Of a field alone.
    pub fn name(name: &str) -> u32 {
        let long = fnv(name);
        (long ^ (long >> 32)) as u32
    }
}

/// FNV-1a: the same in every build, and no secret depends on it.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Ran {
    /// Bytes of a component's log that are kept with a delivery.
    pub const MAX_LOG_BYTES: usize = 4 * 1024;

    /// What is sealed: length of the text, the text, twelve bytes a field.
    pub fn sealed_part(&self) -> Vec<u8> {
        let document = Document {
            given: self.given.clone(),
            warnings: self.warnings.clone(),
            warnings_cut: self.warnings_cut,
            log: self.log.clone(),
        };
        let text = serde_json::to_vec(&document).expect("texts serialize");
        let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
        bytes.extend(text);
        for print in &self.prints {
            bytes.extend(print.name.to_le_bytes());
            bytes.extend(print.value.to_le_bytes());
        }
        bytes
    }

    /// Reads what was sealed into `self`; says whether it is of this program's form.
    pub fn open(&mut self, bytes: &[u8]) -> bool {
        self.read(bytes).is_some()
    }

    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (text, prints) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let document: Document = serde_json::from_slice(text).ok()?;
        self.given = document.given;
        self.warnings = document.warnings;
        self.warnings_cut = document.warnings_cut;
        self.log = document.log;
        self.prints = prints
            .chunks_exact(12)
            .filter_map(|print| {
                let (name, value) = print.split_first_chunk::<4>()?;
                Some(Print {
                    name: u32::from_le_bytes(*name),
                    value: u64::from_le_bytes(value.try_into().ok()?),
                })
            })
            .collect();
        Some(())
    }
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ran")
            .field("flow", &self.flow)
            .field("release", &self.release)
            .field("outcome", &self.outcome)
            .field("fields", &self.prints.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Given {
    /// Leaves out the identifiers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given")
            .field("time_zone", &self.time_zone)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_again() {
        let ran = Ran {
            flow: "f".into(),
            release: Digest::of(b"r"),
            at_ms: 1,
            outcome: WROTE.into(),
            broke: false,
            given: Given {
                time_zone: "Europe/Vienna".into(),
                channel: "c".into(),
                replaced: Some(("1^A".into(), "2^A".into())),
                ..Given::default()
            },
            prints: vec![Print::of("lead.A", "\"x\""), Print::of("lead.B", "null")],
            warnings: vec![Warned {
                row: "r1".into(),
                path: "PID-7".into(),
                cause: "malformed".into(),
                defaulted: true,
            }],
            warnings_cut: 2,
            log: vec!["a line".into()],
        };
        let sealed = ran.sealed_part();
        let mut read = Ran {
            given: Given::default(),
            prints: Vec::new(),
            warnings: Vec::new(),
            warnings_cut: 0,
            log: Vec::new(),
            ..ran.clone()
        };
        assert!(read.open(&sealed));
        assert!(read == ran);
        assert!(!read.open(&sealed[..7]));
        assert!(!format!("{ran:?}").contains("1^A"));
    }
}
