//! A release: everything that decides what a flow writes, under one digest.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::FlowId;
use super::table::TableVersion;

/// A SHA-256 in lower-case hexadecimal: of a component's bytes, or of a release.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Digest {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a component may read and write, as approved by a person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// HL7 paths (`PID-5` covers everything below it, `PID` the whole segment); of an outbound flow the LeadSquared
    /// fields, `lead.<Schema>` and `activity.<Schema>`.
    pub reads: Vec<String>,
    /// Lead targets of the manifest.
    pub lead_targets: Vec<String>,
    /// Activity targets of the manifest.
    #[serde(default)]
    pub activity_targets: Vec<String>,
    /// HL7 paths that an outbound flow fills; `PID-5` covers everything below it, in every PID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
}

impl Grants {
    /// Those of these that are among `approved`.
    pub fn within(&self, approved: &Self) -> Self {
        let both = |own: &[String], approved: &[String]| {
            let own = own.iter().filter(|name| approved.contains(name));
            own.cloned().collect()
        };
        Self {
            reads: both(&self.reads, &approved.reads),
            lead_targets: both(&self.lead_targets, &approved.lead_targets),
            activity_targets: both(&self.activity_targets, &approved.activity_targets),
            places: both(&self.places, &approved.places),
        }
    }

    /// Those of these that are not among `approved`.
    pub fn beyond(&self, approved: &Self) -> Self {
        let more = |own: &[String], approved: &[String]| {
            let own = own.iter().filter(|name| !approved.contains(name));
            own.cloned().collect()
        };
        Self {
            reads: more(&self.reads, &approved.reads),
            lead_targets: more(&self.lead_targets, &approved.lead_targets),
            activity_targets: more(&self.activity_targets, &approved.activity_targets),
            places: more(&self.places, &approved.places),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Component, bindings, settings, tables and grants of one flow; activated and rolled back as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub flow: FlowId,
    pub component: Digest,
    pub grants: Grants,
    /// Target of the manifest to LeadSquared field; a target that is not listed is the field's own name.
    #[serde(default)]
    pub bindings: BTreeMap<String, String>,
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Table of the manifest to the account's code table, at one version.
    #[serde(default)]
    pub tables: BTreeMap<String, TableVersion>,
}

/// What an administrator says to a component, by the names of its manifest. What is not said goes by the manifest: a
/// target by its proposed name or its own, a setting by its default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// Target to LeadSquared field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bindings: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Table to the account's code table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, String>,
    /// What a person has approved of an uploaded component's wishes; none is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
}

impl Choices {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Release {
    /// The digest of all parts; maps are sorted, so equal releases have equal digests.
    pub fn digest(&self) -> Digest {
        Digest::of(
            serde_json::to_string(self)
                .expect("maps with text keys serialize")
                .as_bytes(),
        )
    }

    /// The choices that give this release again, with tables as they stand.
    pub fn choices(&self) -> Choices {
        let tables = self.tables.iter();
        Choices {
            bindings: self.bindings.clone(),
            settings: self.settings.clone(),
            tables: tables
                .map(|(name, version)| (name.clone(), version.name.clone()))
                .collect(),
            grants: Some(self.grants.clone()),
        }
    }

    /// The LeadSquared field that `target` is bound to.
    pub fn field<'a>(&'a self, target: &'a str) -> &'a str {
        self.bindings.get(target).map_or(target, String::as_str)
    }
}
