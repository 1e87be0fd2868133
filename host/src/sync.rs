//! Mapped values plus the flow's settings become the writes to make; pure.
//!
//! Knows `flow` and the plain data of `leadsquared`; does no I/O, so every rule here is a table test.
//! [`plan`] is the way in; [`finish`] turns one value into the text that LeadSquared takes.

pub mod finish;

#[cfg(test)]
mod tests;

use crate::flow::mapped::{self, Value};
use crate::flow::{Account, Behaviour, Entity, Flow, MessageId, Release};
use crate::leadsquared::Attribute;
use finish::{Fields, Finish};

/// What one message asks of LeadSquared, finished and checked, before anything was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub lead: LeadPlan,
    pub activities: Vec<ActivityPlan>,
    /// Fields that were left out, each with its reason; names only, never values.
    pub left_out: Vec<LeftOut>,
}

/// How the lead is found and what is written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadPlan {
    /// Field and value, in the order to ask; at least one.
    pub search: Vec<SearchBy>,
    /// What an update writes.
    pub attributes: Vec<Attribute>,
    /// What a creation writes on top, for example `Source`.
    pub on_create: Vec<Attribute>,
    pub behaviour: Behaviour,
}

/// One way to find the lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchBy {
    pub field: String,
    pub value: String,
}

/// One activity to create, or to update if its key is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityPlan {
    pub code: u32,
    pub key_field: String,
    pub key: String,
    pub note: Option<String>,
    /// UTC, `yyyy-MM-dd HH:mm:ss`.
    pub at: Option<String>,
    /// Without the key field, which the client adds from `key`.
    pub fields: Vec<Attribute>,
    pub behaviour: Behaviour,
}

/// A field whose value could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub field: String,
    pub why: &'static str,
}

/// Why there is nothing to write; each ends the delivery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(
        "the message has no value for {}: map the flow's search field, or send the identifier",
        .0.join(" or ")
    )]
    NoSearchValue(Vec<String>),
    #[error(
        "LeadSquared has no lead field {0}: bind the target to a field of the account, or create the field there"
    )]
    UnknownField(String),
    #[error("the component assigns target {0} twice: a target takes one value")]
    AssignedTwice(String),
    #[error("flow writes activities but names no activity type: choose one in the flow's settings")]
    NoActivityType,
    #[error("the value for search field {field} cannot be used: {why}")]
    UnusableSearchValue { field: String, why: &'static str },
}

impl Fault {
    /// A stable word for lists and counters.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::NoSearchValue(_) => "no-search-value",
            Fault::UnknownField(_) => "unknown-field",
            Fault::AssignedTwice(_) => "assigned-twice",
            Fault::NoActivityType => "no-activity-type",
            Fault::UnusableSearchValue { .. } => "unusable-search-value",
        }
    }
}

/// Turns what a component answered into the writes to make.
///
/// `fields` are the account's lead fields; a target bound to none of them is refused here, because LeadSquared would
/// reject the whole write for one unknown name.
///
/// # Errors
/// Each [`Fault`] ends the delivery: the same message would fail the same way until a person changes something.
pub fn plan(
    account: &Account,
    flow: &Flow,
    release: &Release,
    fields: &Fields,
    message: &MessageId,
    write: mapped::Write,
) -> Result<Plan, Fault> {
    let finish = Finish::new(account, flow, fields);
    let mut left_out = Vec::new();

    let attributes = finished(&finish, release, write.lead, true, &mut left_out)?;
    let search = search_values(flow, &attributes, &left_out)?;
    let on_create = flow
        .lead_source
        .iter()
        .filter(|_| {
            !attributes
                .iter()
                .any(|attribute| attribute.name == "Source")
        })
        .map(|source| Attribute {
            name: "Source".into(),
            value: Some(source.clone()),
        })
        .collect();

    let mut activities = Vec::new();
    if flow.entity == Entity::Activity {
        let kind = flow.activity.as_ref().ok_or(Fault::NoActivityType)?;
        for (position, activity) in write.activities.into_iter().enumerate() {
            let fields = finished(&finish, release, activity.fields, false, &mut left_out)?;
            activities.push(ActivityPlan {
                code: kind.code,
                key_field: kind.key_field.clone(),
                key: activity
                    .key
                    .filter(|key| !key.trim().is_empty())
                    .unwrap_or_else(|| format!("{message}/{position}")),
                note: activity.note,
                at: activity.at.map(|at| finish.utc(&at)),
                fields: fields
                    .into_iter()
                    .filter(|field| field.name != kind.key_field)
                    .collect(),
                behaviour: flow.activity_behaviour,
            });
        }
    }
    Ok(Plan {
        lead: LeadPlan {
            search,
            attributes,
            on_create,
            behaviour: flow.lead_behaviour,
        },
        activities,
        left_out,
    })
}

/// Binds each target to its field and finishes its value; `lead` fields are checked against the account's.
fn finished(
    finish: &Finish<'_>,
    release: &Release,
    assignments: Vec<mapped::Assignment>,
    lead: bool,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<Attribute>, Fault> {
    let mut attributes: Vec<Attribute> = Vec::with_capacity(assignments.len());
    for mapped::Assignment { target, value } in assignments {
        let field = release.field(&target);
        if attributes.iter().any(|attribute| attribute.name == field) {
            return Err(Fault::AssignedTwice(target));
        }
        let finished = match (lead, value) {
            (true, value) => finish.lead_value(field, value)?,
            (false, value) => finish.activity_value(value),
        };
        match finished {
            Ok(value) => attributes.push(Attribute {
                name: field.into(),
                value,
            }),
            Err(why) => left_out.push(LeftOut {
                field: field.into(),
                why,
            }),
        }
    }
    Ok(attributes)
}

/// Reads the values of the flow's search fields out of what is written; the primary field first.
fn search_values(
    flow: &Flow,
    attributes: &[Attribute],
    left_out: &[LeftOut],
) -> Result<Vec<SearchBy>, Fault> {
    let wanted: Vec<&String> = std::iter::once(&flow.primary_search_field)
        .chain(flow.secondary_search_field.as_ref())
        .collect();
    let search: Vec<SearchBy> = wanted
        .iter()
        .filter_map(|field| {
            let attribute = attributes
                .iter()
                .find(|attribute| attribute.name == **field)?;
            let value = attribute
                .value
                .as_deref()
                .filter(|value| !value.trim().is_empty())?;
            Some(SearchBy {
                field: (*field).clone(),
                value: value.into(),
            })
        })
        .collect();
    if search.is_empty() {
        return Err(
            match left_out.iter().find(|left| wanted.contains(&&left.field)) {
                Some(left) => Fault::UnusableSearchValue {
                    field: left.field.clone(),
                    why: left.why,
                },
                None => Fault::NoSearchValue(wanted.into_iter().cloned().collect()),
            },
        );
    }
    Ok(search)
}

/// Whether a mapped write says nothing at all, so that no call is worth making.
pub fn is_empty(write: &mapped::Write) -> bool {
    write.activities.is_empty()
        && write
            .lead
            .iter()
            .all(|assignment| assignment.value == Value::Text(String::new()))
}
