//! Makes a flow ready to be in force: its mapping becomes a component, which passes the gate, and a release names it.
//!
//! Nothing is kept here: [`Ready::changes`] are for the catalog, in one transaction with whatever belongs to them.
//! [`tables_changed`] makes the releases that saved code tables call for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::flow::check::Fault;
use crate::flow::table::TableVersion;
use crate::flow::{AccountId, CodeTable, Digest, Flow, FlowId, Grants, Release};
use crate::hl7::dictionary;
use crate::mapping::document::Document;
use crate::mapping::manifest::{Kind, Setting, Target};
use crate::mapping::{Component, Manifest, Runtime, gate, generate};
use crate::store::catalog::{Change, Expected, Kept, NewComponent, Snapshot};

/// The origin of components that this host made.
const GENERATED: &str = "generated";

/// Where a flow's component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A mapping document; its component is generated.
    Document(String),
    /// A vendor's component.
    Component(Vec<u8>),
    /// One that is kept, with the document that it was generated of, if it was.
    Kept { document: String, bytes: Vec<u8> },
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
    #[error("what the flow chooses does not fit its component:\n  {}", lines(.0))]
    Choices(Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n  ")
}

/// A component that passed the gate, and the release of it.
#[derive(Debug)]
pub struct Ready {
    pub release: Release,
    pub kept: NewComponent,
    pub component: Arc<Component>,
}

/// Makes `source` a component of `flow`, with a release of it; `tables` are those of the account.
///
/// # Errors
/// What is wrong with the document, the component or the flow's choices, each with its place.
pub async fn prepare(
    runtime: &Arc<Runtime>,
    flow: &Flow,
    source: Source,
    tables: &[CodeTable],
) -> Result<Ready, Refused> {
    let (kept, component) = component_of(runtime, flow, source).await?;
    ready(flow, kept, component, tables)
}

/// The same for a flow that has run with something else: what was chosen for a row that a mapping has lost, or for the
/// vendor's component in whose place it comes, goes from the flow.
///
/// # Errors
/// As those of [`prepare`].
pub async fn prepare_anew(
    runtime: &Arc<Runtime>,
    flow: &mut Flow,
    source: Source,
    tables: &[CodeTable],
) -> Result<Ready, Refused> {
    let (kept, component) = component_of(runtime, flow, source).await?;
    if kept.origin == GENERATED {
        let (manifest, choices) = (&component.manifest, &mut flow.choices);
        let is_target = |name: &str| targets(manifest).any(|target| target.name == name);
        choices.bindings.retain(|name, _| is_target(name));
        let is_setting = |name: &str| manifest.settings.iter().any(|known| known.name == name);
        choices.settings.retain(|name, _| is_setting(name));
        let is_table = |name: &str| manifest.tables.iter().any(|known| known.name == name);
        choices.tables.retain(|name, _| is_table(name));
    }
    ready(flow, kept, component, tables)
}

async fn component_of(
    runtime: &Arc<Runtime>,
    flow: &Flow,
    source: Source,
) -> Result<(NewComponent, Arc<Component>), Refused> {
    let kept = match source {
        Source::Document(text) => {
            let document = Document::parse(&text).map_err(|faults| {
                Refused::Document(faults.iter().map(ToString::to_string).collect())
            })?;
            let bytes = generate::component(&document)
                .map_err(|fault| Refused::Component(fault.to_string()))?;
            NewComponent {
                origin: GENERATED.into(),
                document: document.to_text(),
                examination: String::new(),
                bytes,
            }
        }
        Source::Component(bytes) => NewComponent {
            origin: "uploaded".into(),
            document: String::new(),
            examination: String::new(),
            bytes,
        },
        Source::Kept { document, bytes } => NewComponent {
            origin: match document.is_empty() {
                true => "uploaded".into(),
                false => GENERATED.into(),
            },
            document,
            examination: String::new(),
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
    Ok((kept, component))
}

fn ready(
    flow: &Flow,
    kept: NewComponent,
    component: Arc<Component>,
    tables: &[CodeTable],
) -> Result<Ready, Refused> {
    let release = release(flow, &component, tables).map_err(Refused::Choices)?;
    Ok(Ready {
        release,
        kept,
        component,
    })
}

/// The release of a component with what `flow` chooses.
///
/// # Errors
/// A choice that the component does not have, or that does not fit; a setting or table that is missing.
pub fn release(
    flow: &Flow,
    component: &Component,
    tables: &[CodeTable],
) -> Result<Release, Vec<Fault>> {
    let manifest = &component.manifest;
    let mut faults = Vec::new();
    let bindings = bindings(flow, manifest, &mut faults);
    let settings = settings(flow, manifest, &mut faults);
    let tables = bound_tables(flow, manifest, tables, &mut faults);
    match faults.is_empty() {
        true => Ok(Release {
            flow: flow.id.clone(),
            component: component.digest.clone(),
            grants: match &flow.choices.grants {
                Some(approved) => manifest.grants().within(approved),
                None => manifest.grants(),
            },
            bindings,
            settings,
            tables,
        }),
        false => Err(faults),
    }
}

/// Says which names of `chosen` the component does not have.
fn unknown<'a>(
    member: &str,
    chosen: impl Iterator<Item = &'a String>,
    known: &BTreeSet<&str>,
    faults: &mut Vec<Fault>,
) {
    for name in chosen.filter(|name| !known.contains(name.as_str())) {
        let known: Vec<_> = known.iter().copied().collect();
        let text = match known.is_empty() {
            true => "the component has none".to_owned(),
            false => format!("the component has {}", known.join(", ")),
        };
        faults.push(Fault::new(&format!("choices.{member}.{name}"), text));
    }
}

/// Everything that a component writes.
fn targets(manifest: &Manifest) -> impl Iterator<Item = &Target> {
    let lead = manifest.lead_targets.iter();
    lead.chain(&manifest.activity_targets)
}

fn bindings(flow: &Flow, manifest: &Manifest, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    let chosen = &flow.choices.bindings;
    let known = targets(manifest)
        .map(|target| target.name.as_str())
        .collect();
    unknown("bindings", chosen.keys(), &known, faults);
    targets(manifest)
        .filter_map(|target| {
            let field = chosen.get(&target.name).or(target.proposed.as_ref())?;
            Some((target.name.clone(), field.clone()))
        })
        .filter(|(target, field)| target != field)
        .collect()
}

fn settings(flow: &Flow, manifest: &Manifest, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    let chosen = &flow.choices.settings;
    let asked = &manifest.settings;
    let known = asked.iter().map(|setting| setting.name.as_str()).collect();
    unknown("settings", chosen.keys(), &known, faults);
    for setting in asked {
        let value = chosen.get(&setting.name).or(setting.default.as_ref());
        if let Some(text) = unfit(setting, value) {
            let path = format!("choices.settings.{}", setting.name);
            faults.push(Fault::new(&path, text));
        }
    }
    chosen.clone()
}

/// Why a value does not do for a setting.
fn unfit(setting: &Setting, value: Option<&String>) -> Option<String> {
    let Some(value) = value else {
        return setting
            .required
            .then(|| format!("the component needs it: {}", setting.label));
    };
    match &setting.kind {
        Kind::Text => None,
        Kind::Number => (value.parse::<f64>().is_err()).then(|| "takes a number".to_owned()),
        Kind::Boolean => (!["true", "false"].contains(&value.as_str()))
            .then(|| "takes `true` or `false`".to_owned()),
        Kind::Choice(choices) => {
            (!choices.contains(value)).then(|| format!("takes one of {}", choices.join(", ")))
        }
    }
}

fn bound_tables(
    flow: &Flow,
    manifest: &Manifest,
    tables: &[CodeTable],
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, TableVersion> {
    let chosen = &flow.choices.tables;
    let asked = &manifest.tables;
    let known = asked.iter().map(|table| table.name.as_str()).collect();
    unknown("tables", chosen.keys(), &known, faults);
    let mut bound = BTreeMap::new();
    for Target {
        name,
        proposed,
        required,
        ..
    } in asked
    {
        let own = chosen.get(name);
        let wanted = own.or(proposed.as_ref()).unwrap_or(name);
        match tables.iter().find(|table| table.name == *wanted) {
            Some(table) => {
                let version = TableVersion {
                    name: table.name.clone(),
                    digest: table.digest(),
                };
                bound.insert(name.clone(), version);
            }
            // Looking it up ends with a clear error.
            None if own.is_none() && !required => {}
            None => {
                let text =
                    format!("the account has no code table {wanted:?}: make it, or choose another");
                faults.push(Fault::new(&format!("choices.tables.{name}"), text));
            }
        }
    }
    bound
}

/// What a saved code table means to a flow that looks codes up in it.
pub struct Follows {
    pub flow: FlowId,
    /// The release with the table as it stands now.
    pub release: Digest,
    /// Whether it comes into force with the table; a flow that requires shadow runs keeps the one it has until one has
    /// proven this.
    pub is_in_force: bool,
    pub changes: Vec<Change>,
}

/// What the tables that are `saved` mean to the flows that look codes up in them: a release of each that is the old one
/// but for them; `tables` are all of the account, as they stand then.
pub fn tables_changed(
    saved: &BTreeSet<&str>,
    tables: &[CodeTable],
    flows: &[Kept<Flow>],
    snapshot: &Snapshot,
) -> Vec<Follows> {
    let mut follow = Vec::new();
    for kept in flows {
        let mut flow = kept.document.clone();
        let own = tables.iter().filter(|table| table.account == flow.account);
        let Some(active) = snapshot.release(&flow) else {
            continue;
        };
        let is_new = |name: &str| saved.contains(name);
        let Some(mut release) = with_tables(active, own.clone(), is_new) else {
            continue;
        };
        let is_in_force = !flow.require_shadow;
        if !is_in_force {
            // Others may have been saved before, and wait for proof as well.
            release = with_tables(active, own.clone(), |_| true).unwrap_or(release);
        }
        let digest = release.digest();
        let mut changes = vec![Change::Release(flow.account.clone(), release)];
        let id = flow.id.clone();
        if is_in_force {
            flow.release = Some(digest.clone());
            // The candidate looks up in the same tables.
            if let Some(canary) = &mut flow.canary
                && let Some(candidate) = snapshot.candidate(&kept.document)
                && let Some(candidate) = with_tables(candidate, own.clone(), is_new)
            {
                canary.release = candidate.digest();
                changes.push(Change::Release(flow.account.clone(), candidate));
            }
            let expected = Expected::Version(kept.version);
            changes.push(Change::Flow(Box::new(flow), expected));
        }
        follow.push(Follows {
            flow: id,
            release: digest,
            is_in_force,
            changes,
        });
    }
    follow
}

/// A release with those of its tables that are `wanted` as they stand; none where that changes nothing.
pub fn with_tables<'a>(
    release: &Release,
    tables: impl Iterator<Item = &'a CodeTable>,
    wanted: impl Fn(&str) -> bool,
) -> Option<Release> {
    let mut other = release.clone();
    for table in tables.filter(|table| wanted(&table.name)) {
        let bound = other.tables.values_mut();
        let bound: Vec<_> = bound.filter(|bound| bound.name == table.name).collect();
        if !bound.is_empty() {
            let digest = table.digest();
            bound
                .into_iter()
                .for_each(|bound| bound.digest.clone_from(&digest));
        }
    }
    (other != *release).then_some(other)
}

/// What another release changes beside the one in force, in words; nothing where there is none.
pub fn differences(active: Option<&Release>, other: &Release) -> Vec<String> {
    let Some(active) = active else {
        return Vec::new();
    };
    let mut said = Vec::new();
    if active.component != other.component {
        said.push(format!(
            "component {} instead of {}",
            other.component, active.component
        ));
    }
    let gained = wishes(&other.grants.beyond(&active.grants));
    said.extend(gained.into_iter().map(|wish| format!("may {wish}")));
    let lost = wishes(&active.grants.beyond(&other.grants));
    said.extend(lost.into_iter().map(|wish| format!("may no longer {wish}")));
    compare("field of", &active.bindings, &other.bindings, &mut said);
    compare("setting", &active.settings, &other.settings, &mut said);
    let versions = |release: &Release| -> BTreeMap<String, String> {
        let tables = release.tables.iter();
        let version = |table: &TableVersion| format!("{} {}", table.name, table.digest);
        tables
            .map(|(name, table)| (name.clone(), version(table)))
            .collect()
    };
    compare("code table", &versions(active), &versions(other), &mut said);
    said
}

fn compare(
    what: &str,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    said: &mut Vec<String>,
) {
    for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let of = |map: &BTreeMap<String, String>| map.get(name).cloned().unwrap_or_default();
        let (before, after) = (of(before), of(after));
        if before != after {
            said.push(format!("{what} {name}: {after:?} instead of {before:?}"));
        }
    }
}

/// What a component asks for, in words: what is read goes by the dictionary's names.
pub fn wishes(grants: &Grants) -> Vec<String> {
    let named = |path: &String| match path.parse().ok().and_then(|path| dictionary::label(&path)) {
        Some(label) => format!("{path} ({label})"),
        None => path.clone(),
    };
    let reads = grants
        .reads
        .iter()
        .map(|path| format!("read {}", named(path)));
    let lead = grants.lead_targets.iter();
    let lead = lead.map(|target| format!("write {target} of the lead"));
    let activity = grants.activity_targets.iter();
    let activity = activity.map(|target| format!("write {target} of the activity"));
    let places = grants
        .places
        .iter()
        .map(|path| format!("fill {}", named(path)));
    reads.chain(lead).chain(activity).chain(places).collect()
}

/// The flows whose active release looks codes up in a table of the account.
pub fn table_users<'a>(account: &AccountId, name: &str, snapshot: &'a Snapshot) -> Vec<&'a Flow> {
    let flows = snapshot
        .flows
        .iter()
        .filter(|flow| flow.account == *account);
    let uses = |flow: &&Flow| {
        let release = snapshot.release(flow);
        release.is_some_and(|release| release.tables.values().any(|it| it.name == name))
    };
    flows.filter(uses).collect()
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
    /// Narrows the grants of a vendor's component to what a person approves: `said` now, or else with the `active`
    /// release. A generated component has what its document names; whoever wrote that chose it.
    ///
    /// # Errors
    /// What the component asks for that nobody has approved.
    pub fn approve(
        &mut self,
        flow: &mut Flow,
        said: Option<&Grants>,
        active: Option<&Release>,
    ) -> Result<(), Grants> {
        let asked = self.component.manifest.grants();
        if self.kept.origin == GENERATED {
            flow.choices.grants = None;
            self.release.grants = asked;
            return Ok(());
        }
        let approved = match (said, active) {
            (Some(said), _) => said.clone(),
            (None, Some(active)) => active.grants.clone(),
            (None, None) => Grants::default(),
        };
        let more = asked.beyond(&approved);
        if said.is_none() && !more.is_empty() {
            return Err(more);
        }
        self.release.grants = asked.within(&approved);
        flow.choices.grants = Some(self.release.grants.clone());
        Ok(())
    }

    /// What keeps `flow` with this release.
    pub fn changes(self, mut flow: Flow, expected: Expected) -> [Change; 3] {
        let account = flow.account.clone();
        flow.put_in_force(self.release.digest());
        [
            Change::Component(account.clone(), self.kept),
            Change::Release(account, self.release),
            Change::Flow(Box::new(flow), expected),
        ]
    }
}
