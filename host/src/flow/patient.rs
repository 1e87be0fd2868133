//! To be filled.
use serde::{Deserialize, Serialize};

/// How the patient key of a message is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatientKeyRule {
    #[default]
    Default,
}
