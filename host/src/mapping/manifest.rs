//! What a component says of itself, as plain data.

use serde::Serialize;

use super::bindings::manifest as about;
use crate::flow::Grants;

/// What a component says of itself, read once when it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub vendor: String,
    pub summary: String,
    /// Events it is made for, for example `SIU^S12` or `lead-update`; empty means any.
    pub events: Vec<String>,
    /// HL7 paths or LeadSquared fields it asks to read.
    pub reads: Vec<String>,
    pub lead_targets: Vec<Target>,
    pub activity_targets: Vec<Target>,
    pub activity_kinds: Vec<Target>,
    /// HL7 paths it asks to fill.
    pub places: Vec<String>,
    pub tables: Vec<Target>,
    pub settings: Vec<Setting>,
    /// The rules that it warns of.
    pub rows: Vec<Row>,
    pub annotations: Vec<(String, String)>,
}

/// Something that the administrator binds to a field, an activity type or a table of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    pub name: String,
    pub label: String,
    /// Its usual name in LeadSquared.
    pub proposed: Option<String>,
    pub required: bool,
}

/// One rule of a mapping, by which warnings are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub id: String,
    pub label: String,
    /// The target or place that it writes; empty if it writes none of its own.
    pub target: String,
}

/// A value that the administrator fills in for each flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub name: String,
    pub label: String,
    pub help: String,
    pub kind: Kind,
    pub required: bool,
    pub default: Option<String>,
}

/// What a setting holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Text,
    Number,
    Boolean,
    Choice(Vec<String>),
}

impl Manifest {
    /// The grants that give the component all it asks for; what a person approves is these or fewer.
    pub fn grants(&self) -> Grants {
        let names = |targets: &[Target]| targets.iter().map(|target| target.name.clone()).collect();
        Grants {
            reads: self.reads.clone(),
            lead_targets: names(&self.lead_targets),
            activity_targets: names(&self.activity_targets),
            places: self.places.clone(),
        }
    }
}

impl From<about::Manifest> for Manifest {
    fn from(manifest: about::Manifest) -> Self {
        let targets = |targets: Vec<about::Target>| {
            targets
                .into_iter()
                .map(|target| Target {
                    name: target.name,
                    label: target.label,
                    proposed: target.proposed,
                    required: target.required,
                })
                .collect()
        };
        Self {
            name: manifest.name,
            version: manifest.version,
            vendor: manifest.vendor,
            summary: manifest.summary,
            events: manifest.events,
            reads: manifest.reads,
            lead_targets: targets(manifest.lead_targets),
            activity_targets: targets(manifest.activity_targets),
            activity_kinds: targets(manifest.activity_kinds),
            places: manifest.places,
            tables: targets(manifest.tables),
            settings: manifest
                .settings
                .into_iter()
                .map(|setting| Setting {
                    name: setting.name,
                    label: setting.label,
                    help: setting.help,
                    kind: match setting.kind {
                        about::Kind::Text => Kind::Text,
                        about::Kind::Number => Kind::Number,
                        about::Kind::Boolean => Kind::Boolean,
                        about::Kind::Choice(choices) => Kind::Choice(choices),
                    },
                    required: setting.required,
                    default: setting.default,
                })
                .collect(),
            rows: manifest
                .rows
                .into_iter()
                .map(|row| Row {
                    id: row.id,
                    label: row.label,
                    target: row.target,
                })
                .collect(),
            annotations: manifest.annotations,
        }
    }
}
