//! What a stored message was mapped to, value by value with its way: places, steps, entry of a table, release.
//!
//! Nothing is written. A generated component is run by its document; of an uploaded one there are the values alone.

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::Pipeline;
use super::account::Error;
use super::configuration::tables_of;
use super::replay::{Subject, Tried, words};
use crate::flow::Digest;
use crate::mapping::document::Document;
use crate::mapping::lineage::{self, Way};
use crate::store::journal::Stored;

/// What a message was mapped to, and how.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Lineage {
    pub delivery: String,
    pub message: String,
    pub flow: String,
    pub release: String,
    /// Which of the flow's releases that is, counted from 1.
    pub number: usize,
    /// `mapping`, or `component` for an uploaded one, which does not say how it comes to its values.
    pub made_by: &'static str,
    pub fields: Vec<FieldLineage>,
}

/// One value and its way.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FieldLineage {
    /// `lead.LastName`, `activity.mx_Custom_1`, `PID-5.1`.
    pub field: String,
    /// What people call it; may be empty.
    pub label: String,
    /// The source as the mapping document writes it.
    pub from: String,
    /// What is read for it.
    pub places: Vec<PlaceRead>,
    pub steps: Vec<StepTaken>,
    pub entry: Option<EntryTaken>,
    /// Whether there is a value.
    pub is_filled: bool,
    /// Whether the message goes no further without one.
    pub is_required: bool,
    /// Only for those who may see patient data, and said why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
}

/// A place of the message, or a field of LeadSquared.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PlaceRead {
    pub path: String,
    pub name: String,
}

/// A step, and what there was behind it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StepTaken {
    pub step: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
}

/// The entry of a code table that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntryTaken {
    pub table: String,
    /// The digest of the table's version.
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Json>,
    /// The table has no such entry; what it says otherwise was taken.
    pub is_miss: bool,
}

impl Pipeline {
    /// What `release` makes of a stored message, or the release that it was carried out with.
    ///
    /// # Errors
    /// `Refused` says what is no longer kept.
    pub async fn lineage(
        &self,
        stored: &Stored,
        release: Option<&Digest>,
        with_values: bool,
    ) -> Result<Lineage, Error> {
        let configuration = self.configuration();
        let refuse = |text: String| Error::Refused(text);
        let subject = Subject::of(&configuration, stored)
            .map_err(|why| refuse(format!("it cannot be run again: {}", words(why))))?;
        let ran = stored.ran.as_ref();
        let flow = ran.map_or(&stored.flow, |ran| &ran.flow);
        let route = configuration
            .route(flow)
            .ok_or_else(|| refuse(format!("there is no flow {flow} any more")))?;
        let own = route.in_force.as_ref().map(|in_force| &in_force.digest);
        let digest = release
            .or(ran.map(|ran| &ran.release))
            .or(own)
            .ok_or_else(|| refuse(format!("flow {flow} has no release yet")))?;
        let catalog = self.store.catalog();
        let rows = catalog.releases(&stored.account, flow).await?;
        let at = rows.iter().position(|row| row.digest == *digest);
        let at = at.ok_or_else(|| refuse(format!("flow {flow} has no release {digest}")))?;
        let release = &rows[at].release;
        let mut components = catalog.components(&stored.account).await?.into_iter();
        let component = components.find(|known| known.digest == release.component);
        let document = component.and_then(|component| Document::parse(&component.document).ok());
        let (made_by, fields) = match document {
            Some(document) => {
                let tables = tables_of(&self.store, &route.flow, release).await;
                let tables = tables.map_err(|fault| refuse(format!("{fault:#}")))?;
                let facts = subject.facts(release, &tables);
                let ways = lineage::of(&document, subject.on(), release, &tables, &facts);
                ("mapping", ways.into_iter().map(shown).collect())
            }
            None => {
                let mut releases = self.releases()?;
                let in_force = releases.get(&route.flow, digest).await?;
                let in_force = in_force
                    .ok_or_else(|| refuse(format!("flow {flow} has no release {digest}")))?;
                let tried = Tried::of(&releases.runtime, &subject, &in_force).await?;
                let fields = tried.answer.fields.into_iter();
                (
                    "component",
                    fields.map(|(field, value)| bare(field, value)).collect(),
                )
            }
        };
        let mut lineage = Lineage {
            delivery: stored.delivery.to_string(),
            message: stored.message.to_string(),
            flow: flow.to_string(),
            release: digest.to_string(),
            number: rows.len() - at,
            made_by,
            fields,
        };
        if !with_values {
            lineage.fields.iter_mut().for_each(FieldLineage::mask);
        }
        Ok(lineage)
    }
}

impl FieldLineage {
    /// Takes every value away.
    fn mask(&mut self) {
        self.value = None;
        self.steps.iter_mut().for_each(|step| step.value = None);
        if let Some(entry) = &mut self.entry {
            entry.code = None;
        }
    }
}

fn shown(way: Way) -> FieldLineage {
    FieldLineage {
        places: way
            .places
            .into_iter()
            .map(|(path, name)| PlaceRead { path, name })
            .collect(),
        steps: way
            .steps
            .into_iter()
            .map(|stepped| StepTaken {
                step: stepped.step,
                value: stepped.value,
            })
            .collect(),
        entry: way.entry.map(|entry| EntryTaken {
            table: entry.table,
            version: entry.version,
            code: entry.code,
            is_miss: entry.is_miss,
        }),
        is_filled: way.value.is_some(),
        is_required: way.is_required,
        field: way.field,
        label: way.label,
        from: way.from,
        value: way.value,
    }
}

fn bare(field: String, value: Json) -> FieldLineage {
    FieldLineage {
        field,
        label: String::new(),
        from: String::new(),
        places: Vec::new(),
        steps: Vec::new(),
        entry: None,
        is_filled: true,
        is_required: false,
        value: Some(value),
    }
}
