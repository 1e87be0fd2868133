//! What a change in LeadSquared asks to be sent to the EHR: which messages, or why none; pure.
//!
//! An update about a patient whom the EHR does not know would be about nobody, or about another one; so what is known of
//! the lead decides what goes out first. Start at [`decide`].

use crate::flow::change::{Change, Fields};
use crate::flow::outbound::{Outbound, Unidentified};
use crate::flow::{Account, Entity, Event, Flow, WebhookEvent, check};
use crate::leadsquared::Attribute;

use super::identity::is_placeholder;
use super::written::told::{Told, plain_name};
use super::written::{Fingerprint, Written};

/// How much later than our write LeadSquared's clock may say that it took place: clocks differ, and webhooks of
/// activities are gathered for a minute.
pub const ECHO_MS: i64 = 2 * 60 * 1_000;

/// Fields that nobody writes but LeadSquared.
const OF_LEADSQUARED: [&str; 10] = [
    "ActivityEvent",
    "ActivityEventName",
    "CreatedBy",
    "CreatedOn",
    "ModifiedBy",
    "ModifiedOn",
    "ProspectActivityId",
    "ProspectAutoId",
    "ProspectID",
    "RelatedProspectId",
];

/// One message of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The registration, by the flow that the settings name.
    Register,
    /// The update of the patient, by the flow that the settings name.
    Update,
    /// The flow's own message.
    Own,
}

/// What is to be done about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Send(Vec<Part>),
    Skip(NotSent),
    /// Until the lead holds a patient identifier.
    Wait,
}

/// Why nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// The lead is not one of those that the flow is for.
    Condition,
    /// Nothing changed of what the mapping reads.
    Unconcerned,
    /// This host wrote it: it came from the EHR.
    Echo,
    /// The lead has no patient identifier.
    Unidentified,
    /// The lead had no patient identifier for as long as the flow waits.
    NeverIdentified,
    /// The message would say what was sent last.
    Same,
    /// The lead is gone.
    Gone,
    /// The activity is gone.
    ActivityGone,
}

impl NotSent {
    /// A stable word for lists and counters.
    pub fn code(self) -> &'static str {
        match self {
            NotSent::Condition => "condition-not-met",
            NotSent::Unconcerned => "nothing-mapped-changed",
            NotSent::Echo => "echo",
            NotSent::Unidentified | NotSent::NeverIdentified => "no-patient-identifier",
            NotSent::Same => "unchanged",
            NotSent::Gone => "lead-gone",
            NotSent::ActivityGone => "activity-gone",
        }
    }

    pub fn sentence(self) -> &'static str {
        match self {
            NotSent::Condition => "not sent: the lead does not meet the flow's condition",
            NotSent::Unconcerned => "not sent: nothing changed of what the flow's mapping reads",
            NotSent::Echo => {
                "not sent: this host wrote the change itself, from a message of the EHR"
            }
            NotSent::Unidentified => {
                "not sent: the lead has no patient identifier, and the flow is set to skip such changes"
            }
            NotSent::NeverIdentified => {
                "not sent: the lead had no patient identifier in the time that the flow waits for one"
            }
            NotSent::Same => "not sent: it would say what was sent last",
            NotSent::Gone => "not sent: the lead was deleted or merged in LeadSquared",
            NotSent::ActivityGone => "not sent: the activity was deleted in LeadSquared",
        }
    }
}

/// What is known beside the change.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub account: &'a Account,
    /// What the flow's component may read, as grants name it.
    pub reads: &'a [String],
    /// What this host wrote last to the record that changed.
    pub written: &'a Written,
    /// What the EHR was told of it.
    pub told: &'a Told,
    /// The EHR has the lead's registration from us.
    pub registered: bool,
    pub received_at_ms: i64,
}

/// Says what a change asks for.
pub fn decide(
    flow: &Flow,
    outbound: &Outbound,
    change: &Change,
    known: &Known<'_>,
    fingerprint: &Fingerprint<'_>,
) -> Decision {
    let lead = &change.lead.after;
    if !outbound
        .condition
        .iter()
        .all(|condition| condition.holds(lead))
    {
        return Decision::Skip(NotSent::Condition);
    }
    let is_update = matches!(
        change.event,
        WebhookEvent::LeadUpdate | WebhookEvent::LeadActivityUpdate
    );
    if is_update && !change.concerns(known.reads) {
        return Decision::Skip(NotSent::Unconcerned);
    }
    if is_echo(change, known, fingerprint) {
        return Decision::Skip(NotSent::Echo);
    }
    let identified = identifier(known.account, lead).is_some();
    parts(flow, outbound, identified, known.registered)
}

/// The messages of a flow for a lead that is identified or not, and registered by us or not.
fn parts(flow: &Flow, outbound: &Outbound, identified: bool, registered: bool) -> Decision {
    let patient = &outbound.patient;
    let instead = |registration: Vec<Part>| match outbound.unidentified {
        Unidentified::Skip => Decision::Skip(NotSent::Unidentified),
        Unidentified::Wait => Decision::Wait,
        Unidentified::Register => Decision::Send(registration),
    };
    match (flow.entity, identified) {
        (Entity::Lead, _) if registers(&flow.event) => Decision::Send(vec![Part::Own]),
        (Entity::Lead, true) => Decision::Send(vec![Part::Own]),
        // The registration says all that the update would; and the EHR's identifier is to come.
        (Entity::Lead, false) if registered && outbound.unidentified == Unidentified::Register => {
            Decision::Wait
        }
        (Entity::Lead, false) => instead(vec![Part::Register]),
        (Entity::Activity, true) if patient.updates() => {
            Decision::Send(vec![Part::Update, Part::Own])
        }
        (Entity::Activity, true) => Decision::Send(vec![Part::Own]),
        (Entity::Activity, false) => {
            let first = match registered {
                true => vec![Part::Own],
                false => vec![Part::Register, Part::Own],
            };
            match patient.registers() {
                true => Decision::Send(first),
                false => instead(first),
            }
        }
    }
}

/// Whether an event makes a patient known to the receiver.
pub fn registers(event: &Event) -> bool {
    event.message_code == "ADT"
        && matches!(
            event.trigger_event.as_str(),
            "A01" | "A04" | "A05" | "A14" | "A28"
        )
}

/// The patient identifier that a lead holds.
pub fn identifier<'a>(account: &Account, lead: &'a Fields) -> Option<&'a str> {
    lead.iter()
        .filter(|(field, _)| check::is_identifier(account, field))
        .filter_map(|(_, value)| value.as_deref())
        .find(|value| !value.trim().is_empty() && !is_placeholder(&account.placeholders, value))
}

/// Whether the change is what this host wrote: the record itself, or every field of it that the mapping reads, at about
/// that time.
fn is_echo(change: &Change, known: &Known<'_>, fingerprint: &Fingerprint<'_>) -> bool {
    let entity = change.event.entity();
    let Some(snapshot) = change.snapshot(entity) else {
        return false;
    };
    // LeadSquared adds fields of its own, which nobody has written; and nothing is made twice.
    if change.event.is_creation() && known.written.is_created() {
        return true;
    }
    let modified_ms = modified_ms(&snapshot.after).unwrap_or(known.received_at_ms);
    if !known.written.is_about(modified_ms, ECHO_MS) {
        return false;
    }
    let reads = known.reads.iter().filter_map(|read| {
        let field = crate::flow::change::Field::parse(read)?;
        (field.entity == entity).then_some(field.name)
    });
    let changed: Vec<&str> = snapshot.changed().collect();
    // Where nobody says what it was before, a field may be as it has long been.
    let is_whole = snapshot.before.is_none();
    let mut reads = reads.filter(|name| !is_whole || !OF_LEADSQUARED.contains(name));
    reads.all(|name| {
        let value = snapshot.after.get(name).and_then(Option::as_deref);
        !changed.contains(&name)
            || forms(value.unwrap_or_default()).any(|form| {
                let said = Attribute::text(plain_name(name), form);
                let Known { written, told, .. } = known;
                written.wrote(&said, modified_ms, ECHO_MS, fingerprint)
                    || is_whole
                        && (written.says(&said, fingerprint) || told.says(&said, fingerprint))
            })
    })
}

/// When LeadSquared says that a record was changed.
pub fn modified_ms(record: &Fields) -> Option<i64> {
    instant_ms(record.get("ModifiedOn")?.as_deref()?)
}

/// Whether this host wrote the value last, in whatever form LeadSquared gives it back.
pub(super) fn is_written(
    written: &Written,
    name: &str,
    value: &str,
    fingerprint: &Fingerprint<'_>,
) -> bool {
    forms(value).any(|form| written.says(&Attribute::text(name, form), fingerprint))
}

/// A value as LeadSquared gives it back, and as it may have been written.
pub(super) fn forms(value: &str) -> impl Iterator<Item = String> {
    let whole = value.split_once('.').map(|(whole, _)| whole.to_owned());
    let day = value.split_once(" 00:00:00").map(|(day, _)| day.to_owned());
    let flag = match value {
        "1" => Some("true".to_owned()),
        "0" => Some("false".to_owned()),
        _ => None,
    };
    [Some(value.to_owned()), whole, day, flag]
        .into_iter()
        .flatten()
}

/// `2026-10-07 14:03:21.000` in UTC.
pub fn instant_ms(text: &str) -> Option<i64> {
    let at: jiff::civil::DateTime = text.trim().parse().ok()?;
    let at = jiff::tz::TimeZone::UTC.to_timestamp(at).ok()?;
    Some(at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use serde_json::{Value, json};

    use super::*;

    fn fingerprint(field: &str, value: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (field, value).hash(&mut hasher);
        hasher.finish()
    }

    fn account() -> Account {
        let account = json!({ "id": "clinic", "name": "Clinic", "api": "https://api.example.org" });
        serde_json::from_value(account).unwrap()
    }

    fn flow(entity: &str, event: &str, outbound: Value) -> Flow {
        let mut flow = json!({
            "id": "f", "account": "clinic", "name": "F", "direction": "leadsquared-to-ehr", "channel": "out",
            "event": event, "entity": entity, "outbound": outbound,
        });
        if entity == "activity" {
            flow["activity"] = json!({ "code": 205 });
        }
        serde_json::from_value(flow).unwrap()
    }

    fn decided(flow: &Flow, change: Value, written: &Written, registered: bool) -> String {
        let change: Change = serde_json::from_value(change).unwrap();
        let reads = ["lead.FirstName", "lead.Phone", "activity.Status"].map(str::to_owned);
        let account = account();
        let known = Known {
            account: &account,
            reads: &reads,
            written,
            told: &Told::default(),
            registered,
            received_at_ms: NOW,
        };
        let outbound = flow.outbound.as_ref().unwrap();
        match decide(flow, outbound, &change, &known, &fingerprint) {
            Decision::Send(parts) => format!("{parts:?}"),
            Decision::Skip(why) => why.code().into(),
            Decision::Wait => "wait".into(),
        }
    }

    const NOW: i64 = 1_790_000_000_000;

    /// Every setting of a flow, for a lead that is known to the EHR or not, and registered by us or not.
    #[test]
    fn what_goes_out_depends_on_what_the_ehr_knows_of_the_patient() {
        let check = |entity: &str, event: &str, outbound: &str, expected: [&str; 3]| {
            let mut outbound: Value = serde_json::from_str(outbound).unwrap();
            outbound["webhook"] = match entity {
                "lead" => "lead-create".into(),
                _ => "lead-activity-create".into(),
            };
            let flow = flow(entity, event, outbound);
            let kinds = [(false, false), (false, true), (true, false)];
            for ((identified, registered), expected) in kinds.into_iter().zip(expected) {
                let mut change = json!({ "event": flow.outbound.as_ref().unwrap().webhook.as_str(), "lead": { "after": { "FirstName": "Ann" } } });
                if identified {
                    change["lead"]["after"]["mx_MRN"] = "77".into();
                }
                if entity == "activity" {
                    change["activity"] = json!({ "after": { "Status": "Booked" } });
                }
                let found = decided(&flow, change, &Written::default(), registered);
                assert_eq!(
                    found, expected,
                    "{flow:?} identified {identified} registered {registered}"
                );
            }
        };
        let patient = |behaviour: &str, unidentified: &str| {
            format!(
                r#"{{"patient":{{"behaviour":"{behaviour}","register":"r","update":"u"}},"unidentified":"{unidentified}"}}"#
            )
        };
        for unidentified in ["wait", "register", "skip"] {
            let any = patient("nothing", unidentified);
            check("lead", "ADT^A04", &any, ["[Own]"; 3]);
            let both = patient("capture", unidentified);
            check(
                "activity",
                "SIU^S12",
                &both,
                ["[Register, Own]", "[Own]", "[Update, Own]"],
            );
            let new = patient("create-only", unidentified);
            check(
                "activity",
                "SIU^S12",
                &new,
                ["[Register, Own]", "[Own]", "[Own]"],
            );
        }
        check(
            "lead",
            "ADT^A08",
            &patient("nothing", "wait"),
            ["wait", "wait", "[Own]"],
        );
        check(
            "lead",
            "ADT^A08",
            &patient("nothing", "register"),
            ["[Register]", "wait", "[Own]"],
        );
        let skipped = "no-patient-identifier";
        check(
            "lead",
            "ADT^A08",
            &patient("nothing", "skip"),
            [skipped, skipped, "[Own]"],
        );
        for (behaviour, known) in [("nothing", "[Own]"), ("update-only", "[Update, Own]")] {
            check(
                "activity",
                "SIU^S12",
                &patient(behaviour, "wait"),
                ["wait", "wait", known],
            );
            check(
                "activity",
                "SIU^S12",
                &patient(behaviour, "skip"),
                [skipped, skipped, known],
            );
            check(
                "activity",
                "SIU^S12",
                &patient(behaviour, "register"),
                ["[Register, Own]", "[Own]", known],
            );
        }
    }

    #[test]
    fn what_nobody_needs_is_not_sent() {
        let flow = flow(
            "lead",
            "ADT^A08",
            json!({ "webhook": "lead-update", "condition": [{ "field": "ProspectStage", "in": ["Patient"] }] }),
        );
        let change = |before: Value, after: Value| {
            let mut lead = json!({ "before": { "ProspectStage": "Patient", "mx_MRN": "77" }, "after": { "ProspectStage": "Patient", "mx_MRN": "77" } });
            for (name, fields) in [("before", before), ("after", after)] {
                for (field, value) in fields.as_object().unwrap() {
                    lead[name][field] = value.clone();
                }
            }
            json!({ "event": "lead-update", "lead": lead })
        };
        let mut written = Written::default();
        written.note(
            &[
                Attribute::text("Phone", "2"),
                Attribute::text("FirstName", "Ann"),
            ],
            &[],
            None,
            &fingerprint,
            NOW,
        );
        let check = |before: Value, after: Value, expected: &str| {
            let found = decided(
                &flow,
                change(before.clone(), after.clone()),
                &written,
                false,
            );
            assert_eq!(found, expected, "{before} {after}");
        };
        check(json!({ "Phone": "1" }), json!({ "Phone": "3" }), "[Own]");
        check(
            json!({ "Phone": "1" }),
            json!({ "Phone": "3", "ProspectStage": "Junk" }),
            "condition-not-met",
        );
        check(
            json!({ "mx_City": "1" }),
            json!({ "mx_City": "3" }),
            "nothing-mapped-changed",
        );
        // What we wrote comes back; with something beside it, somebody else was there as well.
        check(json!({ "Phone": "1" }), json!({ "Phone": "2" }), "echo");
        check(
            json!({ "Phone": "1", "FirstName": "A" }),
            json!({ "Phone": "2", "FirstName": "B" }),
            "[Own]",
        );
        // The same value, by a person, long after: LeadSquared says when.
        check(
            json!({ "Phone": "1" }),
            json!({ "Phone": "2", "ModifiedOn": "2030-01-01 00:00:00.000" }),
            "[Own]",
        );
    }

    #[test]
    fn a_record_that_this_host_made_is_an_echo_whatever_leadsquared_adds() {
        let flow = flow("lead", "ADT^A04", json!({ "webhook": "lead-create" }));
        let change = json!({ "event": "lead-create", "lead": { "after": { "FirstName": "Ann", "Phone": "set by itself" } } });
        let mut written = Written::created();
        let name = [Attribute::text("FirstName", "Ann")];
        written.note(&name, &[], None, &fingerprint, NOW);
        assert_eq!(decided(&flow, change.clone(), &written, false), "echo");
        let mut written = Written::default();
        written.note(&name, &[], None, &fingerprint, NOW);
        assert_eq!(decided(&flow, change, &written, false), "[Own]");
    }

    /// LeadSquared tells of an activity as it stands, and not what it was before.
    #[test]
    fn an_activity_that_says_what_was_written_long_ago_is_an_echo_of_what_is_written_now() {
        let webhook = json!({ "webhook": "lead-activity-update" });
        let flow = flow("activity", "SIU^S14", webhook);
        let mut written = Written::created();
        let status = [Attribute::text("Status", "Booked")];
        written.note(&status, &[], None, &fingerprint, NOW - 3_600_000);
        let check = |status: &str, written: &Written, expected: &str| {
            let change = json!({
                "event": "lead-activity-update",
                "lead": { "after": { "mx_MRN": "77" } },
                "activity": { "after": { "Status": status, "ProspectActivityId": "a" } },
            });
            assert_eq!(decided(&flow, change, written, false), expected, "{status}");
        };
        // Nobody wrote anything now: a person did.
        check("Booked", &written, "[Own]");
        let start = [Attribute::text("mx_Custom_2", "2026-12-01")];
        written.note(&start, &[], None, &fingerprint, NOW);
        check("Booked", &written, "echo");
        check("Arrived", &written, "[Own]");
    }
}
