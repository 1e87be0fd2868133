//! Mapped values plus the flow's settings become the writes to make; pure.
//!
//! Knows `flow` and the plain data of `leadsquared`; does no I/O, so every rule here is a table test.
//! [`plan`] is the way in; [`finish`] turns one value into the text that LeadSquared takes, [`outgoing`] into the text
//! that the EHR takes.

pub mod finish;
pub mod identity;
pub mod outcome;
pub mod outgoing;
pub mod owner;
pub mod seen;
pub mod sending;
pub mod written;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::flow::event_time::EventTime;
use crate::flow::mapped::{self, OnError};
use crate::flow::{
    Account, Automations, Behaviour, Constant, Entity, Flow, MessageId, OtherPerson, Release,
};
use crate::leadsquared::{Attribute, Slot};
use finish::{Fields, Finish};
use identity::Identity;
use written::News;

/// What one message asks of LeadSquared, finished and checked, before anything was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub entity: Entity,
    pub lead: LeadPlan,
    pub activities: Vec<ActivityPlan>,
    pub how: How,
    /// Fields that were left out, each with its reason; names only, never values.
    pub left_out: Vec<LeftOut>,
}

/// What holds for every write of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct How {
    /// When the event behind the message happened; none where the message does not say.
    pub news: Option<News>,
    /// Whether LeadSquared's automations and webhooks are to run.
    pub automations: bool,
    /// Whether an update that says what was written last is settled without a call.
    pub skip_unchanged: bool,
}

/// How the lead is found and what is written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadPlan {
    /// Field and value, in the order to ask; at least one.
    pub search: Vec<SearchBy>,
    /// Former values of the primary search field, merged into this lead.
    pub retired: Vec<SearchBy>,
    /// What an update writes.
    pub attributes: Vec<Attribute>,
    /// What a creation writes on top, for example `Source`.
    pub on_create: Vec<Attribute>,
    pub behaviour: Behaviour,
    /// Who the patient is, so that nobody else's lead is written.
    pub identity: Identity,
    /// Fields among `attributes` of which no two leads hold the same value.
    pub unique: Vec<String>,
    pub other_person: OtherPerson,
}

/// One way to find the lead.
#[derive(Clone, PartialEq, Eq)]
pub struct SearchBy {
    pub field: String,
    pub value: String,
}

impl fmt::Debug for SearchBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SearchBy({}, redacted)", self.field)
    }
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
    /// What closes an activity whose key has gone over to another patient.
    pub moved: Constant,
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
    #[error(
        "the value for {field}, without which the mapping writes nothing, cannot be used: {why}; correct it at the sender or change the row"
    )]
    UnusableValue {
        field: String,
        why: &'static str,
        waits: bool,
    },
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
            Fault::UnusableValue { .. } => "unusable-value",
        }
    }

    /// Whether the delivery waits until somebody has mended the cause, as its mapping says.
    pub fn waits(&self) -> bool {
        matches!(self, Fault::UnusableValue { waits: true, .. })
    }
}

/// The message behind a plan, as far as plans depend on it.
#[derive(Debug, Clone)]
pub struct About<'a> {
    pub message: &'a MessageId,
    /// MSH-9.1.
    pub message_code: &'a str,
    /// EVN-6, EVN-2 or MSH-7.
    pub event_at: Option<EventTime>,
    /// The delivery's place in the journal.
    pub seq: i64,
    pub now_ms: i64,
    /// Whether it is of a load of existing data: automations are for what happens now.
    pub is_loaded: bool,
}

/// Turns what a component answered into the writes to make.
///
/// `fields` are the account's lead fields; a target bound to none of them is refused here, because LeadSquared would
/// reject the whole write for one unknown name. `slots` are those of the flow's activity type, as far as they are known.
///
/// # Errors
/// Each [`Fault`] ends the delivery: the same message would fail the same way until a person changes something.
pub fn plan(
    account: &Account,
    flow: &Flow,
    release: &Release,
    fields: &Fields,
    slots: &[Slot],
    about: &About<'_>,
    write: mapped::Write,
) -> Result<Plan, Fault> {
    let finish = Finish::new(account, flow, fields);
    let mut left_out = Vec::new();
    let how = how(flow, about);

    let mut attributes = finished(&finish, release, write.lead, None, &mut left_out)?;
    leave_placeholders_out(account, flow, fields, &mut attributes, &mut left_out);
    let search = search_values(flow, &attributes, &left_out)?;
    let retired = write.retired.into_iter().map(|value| SearchBy {
        field: flow.primary_search_field.clone(),
        value,
    });
    let has = |name: &str| attributes.iter().any(|attribute| attribute.name == name);
    let on_create = flow
        .lead_source
        .iter()
        .filter(|_| !has("Source"))
        .map(|source| Attribute::text("Source", source))
        .collect();
    let unique = attributes.iter().map(|attribute| &attribute.name);
    let unique = unique
        .filter(|name| is_unique(flow, fields, name))
        .cloned()
        .collect();
    let identity = identity_of(account, flow, fields, &attributes);
    let marker = marker(flow, &how);
    attributes.extend(marker.clone());

    let mut activities = Vec::new();
    if flow.entity == Entity::Activity {
        let kind = flow.activity.as_ref().ok_or(Fault::NoActivityType)?;
        for (position, activity) in write.activities.into_iter().enumerate() {
            let fields = finished(
                &finish,
                release,
                activity.fields,
                Some(slots),
                &mut left_out,
            )?;
            activities.push(ActivityPlan {
                code: kind.code,
                key_field: kind.key_field.clone(),
                key: activity
                    .key
                    .filter(|key| !key.trim().is_empty())
                    .unwrap_or_else(|| format!("{}/{position}", about.message)),
                note: activity.note,
                at: activity.at.map(|at| finish.utc(&at)),
                fields: fields
                    .into_iter()
                    .filter(|field| field.name != kind.key_field)
                    .chain(marker.clone())
                    .collect(),
                moved: kind.moved.clone(),
                behaviour: flow.activity_behaviour,
            });
        }
    }
    Ok(Plan {
        entity: flow.entity,
        lead: LeadPlan {
            search,
            retired: retired.collect(),
            attributes,
            on_create,
            behaviour: flow.lead_behaviour,
            identity,
            unique,
            other_person: flow.other_person.clone(),
        },
        activities,
        how,
        left_out,
    })
}

/// Whether `fields` has every lead field that is to be written.
pub fn knows_fields(fields: &Fields, release: &Release, write: &mapped::Write) -> bool {
    let targets = write.lead.iter().map(|assignment| &assignment.target);
    targets
        .map(|target| release.field(target))
        .all(|field| fields.get(field).is_some())
}

fn how(flow: &Flow, about: &About<'_>) -> How {
    let Automations {
        run, max_age_ms, ..
    } = flow.automations;
    let age_ms = about
        .event_at
        .map_or(0, |at| about.now_ms.saturating_sub(at.earliest_ms));
    How {
        news: about.event_at.map(|at| News {
            kind: about.message_code.into(),
            at_ms: at.earliest_ms,
            latest_ms: at.latest_ms,
            seq: about.seq,
        }),
        automations: run
            && !about.is_loaded
            && age_ms <= i64::try_from(max_age_ms).unwrap_or(i64::MAX),
        skip_unchanged: flow.skip_unchanged,
    }
}

fn marker(flow: &Flow, how: &How) -> Option<Attribute> {
    let Constant { field, value } = flow.automations.marker.as_ref()?;
    (!how.automations).then(|| Attribute::text(field, value))
}

/// Search fields count as unique even where metadata does not say so: administrators confirm that they are.
fn is_unique(flow: &Flow, fields: &Fields, name: &str) -> bool {
    flow.primary_search_field == name
        || flow.secondary_search_field.as_deref() == Some(name)
        || fields.get(name).is_some_and(|field| field.is_unique)
}

/// `none@example.org` finds somebody else, and the next patient without an email could not be created.
fn leave_placeholders_out(
    account: &Account,
    flow: &Flow,
    fields: &Fields,
    attributes: &mut Vec<Attribute>,
    left_out: &mut Vec<LeftOut>,
) {
    attributes.retain(|attribute| {
        let value = attribute.value.as_deref().unwrap_or_default();
        let stays = !is_unique(flow, fields, &attribute.name)
            || !identity::is_placeholder(&account.placeholders, value);
        if !stays {
            left_out.push(LeftOut {
                field: attribute.name.clone(),
                why: "it is a placeholder, not a value",
            });
        }
        stays
    });
}

/// What the attributes say about who the patient is.
fn identity_of(
    account: &Account,
    flow: &Flow,
    fields: &Fields,
    attributes: &[Attribute],
) -> Identity {
    let by = |name: &str| {
        let attribute = attributes.iter().find(|known| known.name == name)?;
        let value = attribute.value.clone()?;
        (!value.trim().is_empty()).then(|| SearchBy {
            field: name.into(),
            value,
        })
    };
    let identifier_fields = account.identifiers(flow);
    let birth = match &account.birth_date_field {
        Some(field) => by(field),
        None => attributes
            .iter()
            .filter(|attribute| {
                let name = attribute.name.to_lowercase();
                (name.contains("birth") || name.contains("dob"))
                    && fields
                        .get(&attribute.name)
                        .is_some_and(|field| field.data_type == "Date")
            })
            .find_map(|attribute| by(&attribute.name)),
    };
    Identity {
        identifiers: identifier_fields
            .iter()
            .filter_map(|name| by(name))
            .collect(),
        person: birth.or_else(|| by("LastName")),
        identifier_fields,
    }
}

/// Binds each target to its field and finishes its value: of the lead, or where there are `slots` of an activity.
fn finished(
    finish: &Finish<'_>,
    release: &Release,
    assignments: Vec<mapped::Assignment>,
    slots: Option<&[Slot]>,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<Attribute>, Fault> {
    let mut attributes: Vec<Attribute> = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        let mapped::Assignment {
            target,
            value,
            on_error,
        } = assignment;
        let field = release.field(&target);
        if attributes.iter().any(|attribute| attribute.name == field) {
            return Err(Fault::AssignedTwice(target));
        }
        let finished = |value| {
            Ok(match slots {
                None => finish.lead_value(field, value)?,
                Some(slots) => match slots.iter().find(|slot| slot.schema_name == field) {
                    Some(slot) => finish.slot_value(slot, value),
                    None => finish.activity_value(value),
                },
            })
        };
        let mut attribute = |value| {
            attributes.push(Attribute {
                name: field.into(),
                value,
            });
        };
        let why = match finished(value)? {
            Ok(value) => {
                attribute(value);
                continue;
            }
            Err(why) => why,
        };
        let mut field = field.to_owned();
        match on_error {
            OnError::LeaveOut => {}
            OnError::Default(text) => {
                if let Ok(value) = finished(mapped::Value::Text(text))? {
                    attribute(value);
                    field.push_str(" (its default is written)");
                }
            }
            OnError::Wait | OnError::Refuse => {
                let waits = on_error == OnError::Wait;
                return Err(Fault::UnusableValue { field, why, waits });
            }
        }
        left_out.push(LeftOut { field, why });
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
