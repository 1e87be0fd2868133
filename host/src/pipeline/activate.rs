//! Makes a flow ready to be in force: its mapping becomes a component, which passes the gate, and a release names it.
//!
//! Nothing is kept here: [`Ready::changes`] are for the catalog, in one transaction with whatever belongs to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::flow::{Flow, Release};
use crate::mapping::document::Document;
use crate::mapping::{Component, Runtime, gate, generate};
use crate::store::catalog::{Change, Expected, NewComponent};

/// Where a flow's component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A mapping document; its component is generated.
    Document(String),
    /// A vendor's component.
    Component(Vec<u8>),
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the mapping document has faults:\n  {}", .0.join("\n  "))]
    Document(Vec<String>),
    #[error("the component was refused: {0}")]
    Component(String),
    #[error("the host could not load the component: {0}")]
    Host(String),
}

/// A component that passed the gate, and the release of it.
#[derive(Debug)]
pub struct Ready {
    pub release: Release,
    pub kept: NewComponent,
    pub component: Arc<Component>,
}

/// Makes `source` a component of `flow`, with a release of it.
///
/// The grants are those that the component's manifest asks for: whoever activates it approves them.
///
/// # Errors
/// What is wrong with the document or the component, each with its place.
pub async fn prepare(
    runtime: &Arc<Runtime>,
    flow: &Flow,
    source: Source,
) -> Result<Ready, Refused> {
    let kept = match source {
        Source::Document(text) => {
            let document = Document::parse(&text).map_err(|faults| {
                Refused::Document(faults.iter().map(ToString::to_string).collect())
            })?;
            let bytes = generate::component(&document)
                .map_err(|fault| Refused::Component(fault.to_string()))?;
            NewComponent {
                origin: "generated".into(),
                document: document.to_text(),
                bytes,
            }
        }
        Source::Component(bytes) => NewComponent {
            origin: "uploaded".into(),
            document: String::new(),
            bytes,
        },
    };
    let component = load(runtime, kept.bytes.clone()).await?;
    if component.direction() != flow.direction {
        return Err(Refused::Component(format!(
            "it maps {}, but the flow carries {}: choose a component for the other world, or another flow",
            gate::words(component.direction()),
            gate::words(flow.direction),
        )));
    }
    let manifest = &component.manifest;
    let release = Release {
        flow: flow.id.clone(),
        component: component.digest.clone(),
        grants: manifest.grants(),
        bindings: manifest
            .lead_targets
            .iter()
            .chain(&manifest.activity_targets)
            .filter_map(|target| Some((target.name.clone(), target.proposed.clone()?)))
            .filter(|(target, field)| target != field)
            .collect(),
        settings: Default::default(),
        tables: Default::default(),
    };
    Ok(Ready {
        release,
        kept,
        component,
    })
}

/// Passes a component through the gate.
///
/// # Errors
/// What is wrong with it, and what its author can do.
pub async fn load(runtime: &Arc<Runtime>, bytes: Vec<u8>) -> Result<Arc<Component>, Refused> {
    let runtime = runtime.clone();
    // Compiling takes up to a second; it must not hold up the listener's thread.
    tokio::task::spawn_blocking(move || runtime.load(&bytes))
        .await
        .map_err(|fault| Refused::Host(fault.to_string()))?
        .map_err(|rejected| Refused::Component(rejected.to_string()))
}

/// The lead fields that a release's component writes.
pub fn writes(release: &Release) -> BTreeSet<String> {
    let targets = release.grants.lead_targets.iter();
    targets
        .map(|target| release.field(target).to_owned())
        .collect()
}

/// The fields of the activity that a release's component writes.
pub fn activity_writes(release: &Release) -> BTreeSet<String> {
    let targets = release.grants.activity_targets.iter();
    targets
        .map(|target| release.field(target).to_owned())
        .collect()
}

impl Ready {
    /// What keeps `flow` with this release.
    pub fn changes(self, mut flow: Flow, expected: Expected) -> [Change; 3] {
        let account = flow.account.clone();
        flow.release = Some(self.release.digest());
        [
            Change::Component(account.clone(), self.kept),
            Change::Release(account, self.release),
            Change::Flow(Box::new(flow), expected),
        ]
    }
}
