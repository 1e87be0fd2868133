//! Whether the activity type of a flow has the fields that the flow writes: LeadSquared refuses a whole activity for one
//! that it does not know.

use std::collections::BTreeSet;

use super::{Facts, Fault};
use crate::flow::{Flow, Status};

/// What LeadSquared says of an activity type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ActivityFacts {
    /// It was not asked, or did not answer: nothing is checked.
    #[default]
    Unread,
    /// The account has no type of this code.
    NoSuchType,
    Type {
        name: String,
        slots: BTreeSet<String>,
    },
}

/// Fields that every activity has, whatever its type.
const STANDARD: [&str; 3] = ["Status", "Owner", "ActivityEvent_Note"];

impl ActivityFacts {
    /// Whether one of `fields` is not known: it may have been made since this was read.
    pub fn lacks<'a>(&self, fields: impl IntoIterator<Item = &'a str>) -> bool {
        match self {
            ActivityFacts::Unread => false,
            ActivityFacts::NoSuchType => true,
            ActivityFacts::Type { slots, .. } => {
                let mut fields = fields.into_iter();
                fields.any(|field| !STANDARD.contains(&field) && !slots.contains(field))
            }
        }
    }
}

/// Checks a flow that is put in force against its activity type.
pub(super) fn check(faults: &mut Vec<Fault>, flow: &Flow, facts: &Facts) {
    let Some(activity) = flow
        .activity
        .as_ref()
        .filter(|_| flow.status != Status::Draft)
    else {
        return;
    };
    let code = activity.code;
    let name = match &facts.activity {
        ActivityFacts::Unread => return,
        ActivityFacts::NoSuchType => {
            faults.push(Fault::new(
                "activity.code",
                format!("LeadSquared has no activity type {code}: create it, or read the account's metadata again"),
            ));
            return;
        }
        ActivityFacts::Type { name, .. } => name,
    };
    let type_is = format!("activity type {code} ({name})");
    let advice = "add it in LeadSquared, Settings > Leads > Custom Activities, or let the host add it, and read the metadata again";
    let own = [
        ("activity.key_field", activity.key_field.as_str()),
        ("activity.moved.field", activity.moved.field.as_str()),
    ];
    for (path, field) in own {
        if facts.activity.lacks([field]) {
            faults.push(Fault::new(
                path,
                format!("{type_is} has no field {field}: {advice}"),
            ));
        }
    }
    let written = facts.activity_writes.iter().map(String::as_str);
    let lacking: Vec<_> = written
        .filter(|field| facts.activity.lacks([*field]))
        .collect();
    if !lacking.is_empty() {
        let them = match lacking.len() {
            1 => "it has no such field",
            _ => "it has no such fields",
        };
        let lacking = lacking.join(", ");
        faults.push(Fault::new(
            "mapping",
            format!("writes {lacking} to {type_is}, but {them}: {advice}"),
        ));
    }
}
