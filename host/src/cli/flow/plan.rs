//! What an import would change: every document as it stands beside what the files say, field by field.
//!
//! Everything is made ready and checked first, components included ([`admit`]); carrying it out is one transaction.

mod admit;
mod beside;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;

use self::admit::Door;
use super::setup::Setup;
use crate::flow::account::Keys;
use crate::flow::check::{self, ActivityFacts, Facts};
use crate::flow::template::{Template, findings};
use crate::flow::{Account, Channel, Flow, Status};
use crate::hl7::Message;
use crate::mapping::Runtime;
use crate::pipeline::account;
use crate::pipeline::activate::{self, Follows, Ready};
use crate::store::Store;
use crate::store::catalog::audit::Record;
use crate::store::catalog::{Author, Change, Expected, Kept, Listing};

/// Who imports.
const AUTHOR: &str = "flow import";

/// What whoever imports says beside the files.
pub struct Said {
    /// Needed for a new account only.
    pub keys: anyhow::Result<Keys>,
    /// Takes components although they do not stand the robustness run.
    pub accept_findings: bool,
}

/// What an import does, document by document.
#[derive(Debug)]
pub struct Plan {
    lines: Vec<Line>,
    changes: Vec<Change>,
    /// Why it cannot be carried out, although it can be looked at.
    missing_keys: Option<String>,
}

#[derive(Debug)]
struct Line {
    /// Such as `flow registrations`.
    what: String,
    becomes: Becomes,
}

#[derive(Debug)]
enum Becomes {
    New,
    /// Each field, before and after.
    Changed(Vec<String>),
    Unchanged,
    /// It is not in the files.
    Left,
    /// It is worth knowing.
    Warning(String),
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { what, becomes } in &self.lines {
            match becomes {
                Becomes::New => writeln!(f, "{what}: new")?,
                Becomes::Unchanged => writeln!(f, "{what}: unchanged")?,
                Becomes::Left => writeln!(f, "{what}: not in the files, stays as it is")?,
                Becomes::Warning(text) => writeln!(f, "{what}: warning: {text}")?,
                Becomes::Changed(fields) => {
                    writeln!(f, "{what}: changed")?;
                    for field in fields {
                        writeln!(f, "  {field}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Plan {
    /// Makes everything ready and compares it with what stands.
    ///
    /// # Errors
    /// Everything that is wrong with accounts, channels and flows at once; or the first component that is refused.
    pub async fn make(
        mut setup: Setup,
        store: &Store,
        runtime: &Arc<Runtime>,
        said: Said,
    ) -> anyhow::Result<Self> {
        let Said {
            keys,
            accept_findings,
        } = said;
        let flows = std::mem::take(&mut setup.flows);
        let mut account = setup.account.clone();
        let listing = store.catalog().list().await?;
        if setup.finds_api {
            find(&mut account, &listing, keys.as_ref().ok()).await?;
        }
        let (channels, code_tables) = (&setup.channels, &setup.code_tables);
        let mut tables = store.catalog().code_tables(&account.id).await?;
        tables.retain(|table| !code_tables.iter().any(|new| new.name == table.name));
        tables.extend(code_tables.iter().cloned());
        let faults = code_tables.iter().flat_map(|table| {
            let faults = table.check().into_iter();
            faults.map(|fault| format!("code table {:?}: {fault}", table.name))
        });
        let faults: Vec<_> = faults.collect();
        if !faults.is_empty() {
            bail!(faults.join("\n"));
        }
        let accepted_by = accept_findings.then(|| AUTHOR.to_owned());
        let mut door = Door::open(store, runtime, &account, &tables, accepted_by).await?;
        let (mut ready, mut records) = (Vec::new(), Vec::new());
        for (mut flow, source) in flows {
            let made = match source {
                None => None,
                Some(source) => {
                    let admitting = door.admit(&mut flow, source, &setup);
                    let admitted = Box::pin(admitting).await;
                    let admitted = admitted.with_context(|| format!("flow {:?}", flow.name))?;
                    records.extend(admitted.records);
                    Some(admitted.ready)
                }
            };
            records.extend(admit::proof(store, &listing, &flow, made.as_ref()).await?);
            ready.push((flow, made));
        }
        let known = account::kept_uniqueness(store, &account.id).await?;
        let facts = Facts {
            lead_fields: known,
            // Said below; files that worked elsewhere are not refused for it.
            confirmed_not_unique: true,
            confirmed_without_condition: true,
            ..Facts::default()
        };
        let mut types = BTreeMap::new();
        for code in ready
            .iter()
            .filter_map(|(flow, _)| Some(flow.activity.as_ref()?.code))
        {
            let kept = account::kept_activity(store, &account.id, code).await?;
            types.insert(code, kept);
        }
        check_all(&account, channels, &ready, &listing, &facts, &types)?;

        let mut plan = Self {
            lines: Vec::new(),
            changes: records.into_iter().map(Change::Note).collect(),
            missing_keys: None,
        };
        let kept_keys = store.catalog().load().await?.keys.remove(&account.id);
        let known = listing
            .accounts
            .iter()
            .find(|kept| kept.document.id == account.id);
        let what = format!("account {}", account.id);
        if let Some(expected) = plan.compare(&what, known, &account) {
            plan.changes
                .push(Change::Account(account.clone(), expected));
        }
        let moved = match known {
            Some(known) => account::moves(&known.document.api, &account.api)?,
            None => None,
        };
        if let Some((from, to)) = &moved {
            let what = format!("{} from {from} to {to}", account.id);
            let record = Record::of("move", account.id.as_str(), "account", &what);
            plan.changes.push(Change::Note(record));
        }
        match (keys, kept_keys) {
            (Ok(keys), Some(kept)) if keys == kept => {}
            (Ok(keys), kept) => {
                let becomes = match kept {
                    Some(_) => Becomes::Changed(Vec::new()),
                    None => Becomes::New,
                };
                plan.say(format!("keys of account {}", account.id), becomes);
                plan.changes.push(Change::Keys(account.id.clone(), keys));
            }
            // Keys go to no other host than the one that they were given for.
            (Err(fault), Some(_)) if moved.is_some() => {
                return Err(fault.context(format!(
                    "account {}: its api {} is at another host than before, which takes the keys anew",
                    account.id, account.api
                )));
            }
            (Err(_), Some(_)) => {}
            (Err(fault), None) => {
                let text = format!("{fault:#}");
                let what = format!("keys of account {}", account.id);
                plan.say(what, Becomes::Warning(text.clone()));
                plan.missing_keys = Some(text);
            }
        }
        for channel in channels {
            let known = listing.channels.iter().find(|kept| {
                kept.document.account == channel.account && kept.document.id == channel.id
            });
            let what = format!("channel {}", channel.id);
            if let Some(expected) = plan.compare(&what, known, channel) {
                plan.changes
                    .push(Change::Channel(Box::new(channel.clone()), expected));
            }
        }
        let mut saved = BTreeSet::new();
        for table in code_tables {
            let catalog = store.catalog();
            let known = catalog.code_table(&table.account, &table.name).await?;
            let what = format!("code table {}", table.name);
            if let Some(expected) = plan.compare(&what, known.as_ref(), table) {
                saved.insert(table.name.as_str());
                plan.changes
                    .push(Change::CodeTable(table.clone(), expected));
            }
        }
        let ids: BTreeSet<_> = ready.iter().map(|(flow, _)| flow.id.clone()).collect();
        let flows: Vec<Flow> = ready.iter().map(|(flow, _)| flow.clone()).collect();
        let components: Vec<_> = ready
            .iter()
            .filter_map(|(flow, ready)| {
                Some((flow.id.clone(), ready.as_ref()?.release.component.clone()))
            })
            .collect();
        for (flow, ready) in ready {
            match (&flow.status, ready) {
                (Status::Draft, Some(ready)) => {
                    Box::pin(plan.draft(flow, ready, &listing, store)).await?
                }
                (_, ready) => plan.flow(flow, ready, &listing, &facts),
            }
        }
        plan.limits(&setup, &components, store).await?;
        plan.shared_mappings(&setup, &flows, store).await?;
        plan.alerts(&setup, &listing, store).await?;
        for flow in &flows {
            let given = setup.templates.iter().find(|(id, _)| *id == flow.id);
            let given = given.map(|(_, bytes)| bytes.as_slice());
            let known = store.templates().get(&flow.account, &flow.id).await?;
            plan.template(flow, given, known)?;
        }
        let others = listing
            .flows
            .iter()
            .filter(|kept| kept.document.account == account.id && !ids.contains(&kept.document.id));
        let others: Vec<_> = others.cloned().collect();
        let snapshot = store.catalog().load().await?;
        let follow = activate::tables_changed(&saved, &tables, &others, &snapshot);
        for flow in others.iter().map(|kept| &kept.document) {
            let what = format!("flow {}", flow.id);
            let follows = follow.iter().find(|follows| follows.flow == flow.id);
            plan.say(
                what,
                match follows {
                    None => Becomes::Left,
                    Some(Follows {
                        release,
                        is_in_force: true,
                        ..
                    }) => Becomes::Changed(vec![format!("its code tables, with release {release}")]),
                    Some(Follows { release, .. }) => Becomes::Warning(format!(
                        "it takes the changed code tables when a shadow run has proven release {release}"
                    )),
                },
            );
        }
        let follow = follow.into_iter().flat_map(|follows| follows.changes);
        plan.changes.extend(follow);
        let others = listing.channels.iter().map(|kept| &kept.document);
        for channel in others.filter(|other| {
            other.account == account.id && !channels.iter().any(|channel| channel.id == other.id)
        }) {
            plan.say(format!("channel {}", channel.id), Becomes::Left);
        }
        Ok(plan)
    }

    /// Makes all of it so, or nothing.
    ///
    /// # Errors
    /// When keys are missing, or somebody changed one of the documents meanwhile.
    pub async fn carry_out(self, store: &Store) -> anyhow::Result<()> {
        if let Some(text) = self.missing_keys {
            bail!(text);
        }
        let author = Author(AUTHOR.into());
        store.catalog().apply(&self.changes, &author).await?;
        Ok(())
    }

    fn flow(&mut self, mut flow: Flow, ready: Option<Ready>, listing: &Listing, facts: &Facts) {
        let what = format!("flow {}", flow.id);
        flow.release = ready.as_ref().map(|ready| ready.release.digest());
        // Whoever imports it puts it in force.
        flow.fell_back = None;
        let mut flows = listing.flows.iter();
        let known =
            flows.find(|kept| kept.document.account == flow.account && kept.document.id == flow.id);
        // Files say nothing of whom it serves.
        flow.canary = known.and_then(|known| known.document.canary.clone());
        if let Some(expected) = self.compare(&what, known, &flow) {
            match ready {
                Some(ready) => self.changes.extend(ready.changes(flow.clone(), expected)),
                None => {
                    let change = Change::Flow(Box::new(flow.clone()), expected);
                    self.changes.push(change);
                }
            }
        }
        let fields = [
            Some(&flow.primary_search_field),
            flow.secondary_search_field.as_ref(),
        ];
        for field in fields.into_iter().flatten() {
            let lead_fields = facts.lead_fields.as_ref();
            if lead_fields.and_then(|known| known.get(field)) == Some(&false) {
                let text = format!("LeadSquared does not show {field} as unique");
                self.say(what.clone(), Becomes::Warning(text));
            }
        }
    }

    /// A sample of the files tells about nobody; one that is kept and not in them stays.
    fn template(
        &mut self,
        flow: &Flow,
        given: Option<&[u8]>,
        known: Option<Template>,
    ) -> anyhow::Result<()> {
        let what = format!("template of flow {}", flow.id);
        match (given, known) {
            (None, None) => {}
            (None, Some(_)) => self.say(what, Becomes::Left),
            (Some(bytes), Some(known)) if known.exported() == Some(bytes) => {
                self.say(what, Becomes::Unchanged);
            }
            (Some(bytes), known) => {
                let message = Message::parse(bytes).with_context(|| what.clone())?;
                let differs = findings(&message, &flow.event).len();
                let becomes = match known {
                    Some(_) => Becomes::Changed(Vec::new()),
                    None => Becomes::New,
                };
                self.say(what.clone(), becomes);
                if differs > 0 {
                    let text = format!("it differs from {} in {differs} places", flow.event);
                    self.say(what, Becomes::Warning(text));
                }
                let template = Template::made_up(flow, &message);
                self.changes.push(Change::Template(Box::new(template)));
            }
        }
        Ok(())
    }

    fn say(&mut self, what: String, becomes: Becomes) {
        self.lines.push(Line { what, becomes });
    }

    /// Says what becomes of a document; gives what it must be like before, if it changes.
    fn compare<T: PartialEq + Serialize>(
        &mut self,
        what: &str,
        known: Option<&Kept<T>>,
        new: &T,
    ) -> Option<Expected> {
        let (becomes, expected) = match known {
            None => (Becomes::New, Some(Expected::New)),
            Some(kept) if kept.document == *new => (Becomes::Unchanged, None),
            Some(kept) => {
                let value = |document| serde_json::to_value(document).unwrap_or_default();
                let mut fields = Vec::new();
                differences(&value(&kept.document), &value(new), "", &mut fields);
                let expected = Expected::Version(kept.version);
                (Becomes::Changed(fields), Some(expected))
            }
        };
        self.say(what.to_owned(), becomes);
        expected
    }
}

/// Completes an account whose files leave its address out: as it stands, or as LeadSquared tells by the keys.
async fn find(account: &mut Account, listing: &Listing, keys: Option<&Keys>) -> anyhow::Result<()> {
    let mut known = listing.accounts.iter().map(|kept| &kept.document);
    let (api, zone, country, identifiers) = match known.find(|known| known.id == account.id) {
        Some(known) => {
            let known = known.clone();
            (
                known.api,
                known.time_zone,
                known.default_country_code,
                known.identifier_fields,
            )
        }
        None => {
            let keys = keys.context(
                "the account's api is left out, so it is found by its keys: set LEADSQUARED_ACCESS_KEY and LEADSQUARED_SECRET_KEY",
            )?;
            let found = Box::pin(account::discover(None, keys)).await?;
            (
                found.api,
                found.time_zone,
                found.default_country_code,
                found.identifier_fields,
            )
        }
    };
    account.api = api;
    account.time_zone = account.time_zone.take().or(zone);
    account.default_country_code = account.default_country_code.take().or(country);
    if account.identifier_fields.is_empty() {
        account.identifier_fields = identifiers;
    }
    Ok(())
}

/// Everything that is wrong, each with its place.
fn check_all(
    account: &Account,
    channels: &[Channel],
    flows: &[(Flow, Option<Ready>)],
    listing: &Listing,
    facts: &Facts,
    types: &BTreeMap<u32, ActivityFacts>,
) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    let mut add = |what: String, found: Vec<check::Fault>| {
        faults.extend(found.iter().map(|fault| format!("{what}.{fault}")));
    };
    add("account".into(), check::account(account));
    let known = listing.channels.iter().map(|kept| &kept.document);
    // Those of the files stand for those of the same id.
    let others: Vec<&Channel> = known
        .filter(|known| {
            known.account != account.id || !channels.iter().any(|channel| channel.id == known.id)
        })
        .chain(channels)
        .collect();
    for channel in channels {
        let what = format!("channels.{}", channel.id);
        add(
            what.clone(),
            check::channel(channel, others.iter().copied()),
        );
        if others
            .iter()
            .any(|other| other.id == channel.id && other.account != channel.account)
        {
            let text = "another account has a channel of this id";
            add(what, vec![check::Fault::new("id", text)]);
        }
    }
    let kept = listing.flows.iter().map(|kept| &kept.document);
    let kept = kept.filter(|flow| flow.account == account.id);
    let lead_flows_to_ehr =
        check::lead_flows_to_ehr(flows.iter().map(|(flow, _)| flow).chain(kept));
    let mut ids = BTreeSet::new();
    for (flow, ready) in flows {
        let what = format!("flows.{}", flow.id);
        let mut channels = others.iter();
        let channel =
            channels.find(|channel| channel.account == account.id && channel.id == flow.channel);
        let facts = Facts {
            writes: ready.as_ref().map(|ready| activate::writes(&ready.release)),
            channel: channel.map(|channel| channel.kind()),
            lead_flows_to_ehr: Some(lead_flows_to_ehr.clone()),
            activity: flow
                .activity
                .as_ref()
                .and_then(|activity| types.get(&activity.code).cloned())
                .unwrap_or_default(),
            activity_writes: ready
                .as_ref()
                .map(|ready| activate::activity_writes(&ready.release))
                .unwrap_or_default(),
            ..facts.clone()
        };
        add(what.clone(), check::flow(flow, account, &facts));
        if channel.is_none() {
            let text = format!("there is no channel {}", flow.channel);
            add(what.clone(), vec![check::Fault::new("channel", text)]);
        }
        let mut elsewhere = listing.flows.iter().map(|kept| &kept.document);
        if !ids.insert(flow.id.clone())
            || elsewhere.any(|other| other.id == flow.id && other.account != account.id)
        {
            let text = "another flow has this id";
            add(what, vec![check::Fault::new("id", text)]);
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("nothing was imported:\n  {}", faults.join("\n  "))
}

/// Each leaf that differs, as `path: before -> after`.
fn differences(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (before, after) {
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            let of = |members: &serde_json::Map<String, Value>| {
                members.get(name).cloned().unwrap_or_default()
            };
            differences(&of(old), &of(new), &path, found);
        }
        return;
    }
    let text = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    };
    found.push(format!("{path}: {} -> {}", text(before), text(after)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_told_leaf_by_leaf() {
        let mut found = Vec::new();
        let before = json!({ "name": "A", "plan": { "calls": 25, "daily": null }, "list": [1], "gone": true });
        let after = json!({ "name": "B", "plan": { "calls": 25, "daily": 9 }, "list": [1, 2] });
        differences(&before, &after, "", &mut found);
        assert_eq!(
            found,
            [
                "gone: true -> none",
                "list: [1] -> [1,2]",
                "name: \"A\" -> \"B\"",
                "plan.daily: none -> 9"
            ]
        );
    }
}
