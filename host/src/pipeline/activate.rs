//! Activates a flow: its mapping becomes a component, the component passes the gate, a release names all of it.

use std::sync::Arc;

use anyhow::{Context, bail};

use crate::flow::{Entity, Flow, Release, Status};
use crate::mapping::document::Document;
use crate::mapping::{Runtime, generate};
use crate::store::Store;
use crate::store::catalog::NewComponent;

/// Where a flow's component comes from.
#[derive(Debug)]
pub enum Source {
    /// A mapping document; its component is generated.
    Document(String),
    /// A vendor's component.
    Component(Vec<u8>),
}

/// Puts the component and a release of it into the store and makes the flow active.
///
/// The grants are those that the component's manifest asks for: whoever activates it approves them.
///
/// # Errors
/// What is wrong with the flow, the document or the component, each with its place.
pub async fn activate(
    store: &Store,
    runtime: &Arc<Runtime>,
    mut flow: Flow,
    source: Source,
) -> anyhow::Result<Flow> {
    if flow.entity == Entity::Activity && flow.activity.is_none() {
        bail!("an activity flow names an activity type: set activity.code and activity.key_field");
    }
    for zone in flow.time_zone.iter() {
        jiff::tz::TimeZone::get(zone)
            .with_context(|| format!("time_zone: {zone:?} is not an IANA name"))?;
    }
    let (bytes, document, origin) = match source {
        Source::Document(text) => {
            let document = Document::parse(&text).map_err(|faults| {
                let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
                anyhow::anyhow!("the mapping document has faults:\n  {}", lines.join("\n  "))
            })?;
            (
                generate::component(&document).context("generating the component")?,
                document.to_text(),
                "generated",
            )
        }
        Source::Component(bytes) => (bytes, String::new(), "uploaded"),
    };
    let (runtime, bytes) = (runtime.clone(), Arc::new(bytes));
    let to_load = bytes.clone();
    // Compiling takes up to a second; it must not hold up the listener's thread.
    let component = tokio::task::spawn_blocking(move || runtime.load(&to_load))
        .await?
        .context("the component was refused")?;
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
    let catalog = store.catalog();
    catalog
        .put_component(
            &flow.account,
            NewComponent {
                origin: origin.into(),
                document,
                bytes: bytes.to_vec(),
            },
        )
        .await?;
    catalog.put_release(&flow.account, &release).await?;
    flow.release = Some(release.digest());
    flow.status = Status::Active;
    catalog.put_flow(&flow).await?;
    Ok(flow)
}
