//! Tables: what is mapped, what is planned.

use jiff::civil::{date, datetime};

use super::finish::{Fields, Finish, phone};
use super::*;
use crate::flow::Grants;
use crate::flow::mapped::{Activity, Assignment, DateTime, OnError, Value, Write};
use crate::leadsquared::LeadField;

fn account() -> Account {
    toml::from_str(
        "id = \"a\"\nname = \"A\"\napi = \"http://127.0.0.1:1\"\ntime_zone = \"America/New_York\"",
    )
    .unwrap()
}

fn flow(entity: Entity) -> Flow {
    let (kind, activity) = match entity {
        Entity::Lead => ("lead", ""),
        Entity::Activity => (
            "activity",
            "activity = { code = 205, key_field = \"mx_Custom_1\" }",
        ),
    };
    toml::from_str(&format!(
        r#"
id = "f"
account = "a"
name = "F"
direction = "ehr-to-leadsquared"
channel = "c"
event = "ADT^A04"
entity = "{kind}"
{activity}
primary_search_field = "mx_MRN"
secondary_search_field = "EmailAddress"
lead_source = "EHR"
default_country_code = "1"
status = {{ state = "active" }}
"#
    ))
    .unwrap()
}

fn fields() -> Fields {
    [
        ("mx_MRN", "Text", Some(20)),
        ("EmailAddress", "Email", None),
        ("FirstName", "Text", None),
        ("Phone", "Phone", None),
    ]
    .into_iter()
    .map(|(name, data_type, max_length)| LeadField {
        schema_name: name.into(),
        data_type: data_type.into(),
        max_length,
        display_name: name.into(),
        is_mandatory: false,
        is_unique: false,
        is_locked_after_create: false,
        options: Vec::new(),
    })
    .collect()
}

fn release() -> Release {
    Release {
        flow: "f".into(),
        component: crate::flow::Digest::of(b""),
        grants: Grants::default(),
        bindings: [("mrn".to_owned(), "mx_MRN".to_owned())].into(),
        settings: Default::default(),
        tables: Default::default(),
    }
}

fn text(target: &str, value: &str) -> Assignment {
    Assignment {
        on_error: Default::default(),
        target: target.into(),
        value: Value::Text(value.into()),
    }
}

/// Of the activity type one slot is known.
fn slots() -> [Slot; 1] {
    [Slot {
        schema_name: "mx_Custom_9".into(),
        display_name: "Kind".into(),
        data_type: "Dropdown".into(),
        is_mandatory: false,
        max_length: None,
        options: vec!["New".into(), "Return".into()],
    }]
}

fn about() -> About<'static> {
    static MESSAGE: std::sync::LazyLock<MessageId> = std::sync::LazyLock::new(|| "m".into());
    About {
        message: &MESSAGE,
        message_code: "ADT",
        event_at: None,
        seq: 0,
        now_ms: 0,
        is_loaded: false,
    }
}

/// Plans `write` and writes the plan, or the fault, as text.
fn check(entity: Entity, write: Write) -> String {
    let planned = plan(
        &account(),
        &flow(entity),
        &release(),
        &fields(),
        &slots(),
        &about(),
        write,
    );
    let plan = match planned {
        Ok(plan) => plan,
        Err(fault) => return format!("{}: {fault}", fault.code()),
    };
    let attributes = |list: &[Attribute]| {
        list.iter()
            .map(|a| format!("{}={}", a.name, a.value.as_deref().unwrap_or("(clear)")))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut lines = vec![
        format!(
            "search {}",
            plan.lead
                .search
                .iter()
                .map(|by| format!("{}={}", by.field, by.value))
                .collect::<Vec<_>>()
                .join(" then ")
        ),
        format!("write {}", attributes(&plan.lead.attributes)),
        format!("on create {}", attributes(&plan.lead.on_create)),
    ];
    for activity in &plan.activities {
        lines.push(format!(
            "activity {} {}={} at {} {}",
            activity.code,
            activity.key_field,
            activity.key,
            activity.at.as_deref().unwrap_or("-"),
            attributes(&activity.fields)
        ));
    }
    lines.extend(
        plan.left_out
            .iter()
            .map(|left| format!("left out {}: {}", left.field, left.why)),
    );
    lines.join("\n")
}

#[test]
fn a_target_is_written_to_the_field_it_is_bound_to() {
    let lead = vec![
        text("mrn", "0042"),
        text("FirstName", "Odalys"),
        text("Phone", "(617) 555-0142"),
    ];
    insta::assert_snapshot!(check(Entity::Lead, Write { lead, ..Write::default() }), @r"
    search mx_MRN=0042
    write mx_MRN=0042 FirstName=Odalys Phone=+1-6175550142
    on create Source=EHR
    ");
}

#[test]
fn the_secondary_field_follows_the_primary() {
    let lead = vec![text("EmailAddress", "o@example.org"), text("mrn", "0042")];
    insta::assert_snapshot!(check(Entity::Lead, Write { lead, ..Write::default() }), @r"
    search mx_MRN=0042 then EmailAddress=o@example.org
    write EmailAddress=o@example.org mx_MRN=0042
    on create Source=EHR
    ");
}

#[test]
fn no_search_value_ends_the_delivery() {
    let lead = vec![text("mrn", " "), text("FirstName", "Odalys")];
    insta::assert_snapshot!(
        check(Entity::Lead, Write { lead, ..Write::default() }),
        @"no-search-value: the message has no value for mx_MRN or EmailAddress: map the flow's search field, or send the identifier"
    );
}

#[test]
fn an_unusable_search_value_is_not_called_missing() {
    let lead = vec![text("mrn", "000000000000000000000000042")];
    insta::assert_snapshot!(
        check(Entity::Lead, Write { lead, ..Write::default() }),
        @"unusable-search-value: the value for search field mx_MRN cannot be used: it is longer than the field takes"
    );
}

#[test]
fn an_unknown_field_is_refused_before_the_call() {
    let lead = vec![text("mrn", "0042"), text("mx_Typo", "x")];
    insta::assert_snapshot!(
        check(Entity::Lead, Write { lead, ..Write::default() }),
        @"unknown-field: LeadSquared has no lead field mx_Typo: bind the target to a field of the account, or create the field there"
    );
}

#[test]
fn a_target_takes_one_value() {
    let lead = vec![text("mrn", "0042"), text("mx_MRN", "0043")];
    insta::assert_snapshot!(
        check(Entity::Lead, Write { lead, ..Write::default() }),
        @"assigned-twice: the component assigns target mx_MRN twice: a target takes one value"
    );
}

#[test]
fn a_value_that_cannot_be_used_is_left_out() {
    let lead = vec![text("mrn", "0042"), text("Phone", "none")];
    insta::assert_snapshot!(check(Entity::Lead, Write { lead, ..Write::default() }), @r"
    search mx_MRN=0042
    write mx_MRN=0042
    on create Source=EHR
    left out Phone: it is not a phone number
    ");
}

#[test]
fn a_value_that_cannot_be_used_does_what_its_row_says() {
    let phone = |on_error| {
        let phone = Assignment {
            on_error,
            ..text("Phone", "none")
        };
        let lead = vec![text("mrn", "0042"), phone];
        check(
            Entity::Lead,
            Write {
                lead,
                ..Write::default()
            },
        )
    };
    insta::assert_snapshot!(phone(OnError::Default("+1-2075550134".into())), @r"
    search mx_MRN=0042
    write mx_MRN=0042 Phone=+1-2075550134
    on create Source=EHR
    left out Phone (its default is written): it is not a phone number
    ");
    // A default that the field would not take either is no value.
    insta::assert_snapshot!(phone(OnError::Default("nobody".into())), @r"
    search mx_MRN=0042
    write mx_MRN=0042
    on create Source=EHR
    left out Phone: it is not a phone number
    ");
    insta::assert_snapshot!(phone(OnError::Refuse), @"unusable-value: the value for Phone, without which the mapping writes nothing, cannot be used: it is not a phone number; correct it at the sender or change the row");
    assert_eq!(phone(OnError::Wait), phone(OnError::Refuse));
}

#[test]
fn an_activity_has_a_key_even_without_one_from_the_mapping() {
    let activity = |key: Option<&str>| Activity {
        key: key.map(str::to_owned),
        kind: None,
        note: None,
        at: Some(DateTime {
            at: datetime(2026, 11, 2, 9, 30, 0, 0),
            offset_minutes: None,
        }),
        fields: vec![
            text("Status", "Booked"),
            text("mx_Custom_1", "not from here"),
        ],
    };
    let write = Write {
        lead: vec![text("mrn", "0042")],
        retired: Vec::new(),
        activities: vec![activity(Some("APPT-7")), activity(None)],
    };
    insta::assert_snapshot!(check(Entity::Activity, write), @r"
    search mx_MRN=0042
    write mx_MRN=0042
    on create Source=EHR
    activity 205 mx_Custom_1=APPT-7 at 2026-11-02 14:30:00 Status=Booked
    activity 205 mx_Custom_1=m/1 at 2026-11-02 14:30:00 Status=Booked
    ");
}

#[test]
fn local_times_become_utc() {
    let (account, flow, fields) = (account(), flow(Entity::Lead), fields());
    let finish = Finish::new(&account, &flow, &fields);
    let utc = |at, offset_minutes| finish.utc(&DateTime { at, offset_minutes });
    // The flow's zone, in summer and in winter.
    assert_eq!(
        utc(datetime(2026, 7, 1, 9, 0, 0, 0), None),
        "2026-07-01 13:00:00"
    );
    assert_eq!(
        utc(datetime(2026, 12, 1, 9, 0, 0, 0), None),
        "2026-12-01 14:00:00"
    );
    // The sender's own offset stands over it.
    assert_eq!(
        utc(datetime(2026, 7, 1, 9, 0, 0, 0), Some(330)),
        "2026-07-01 03:30:00"
    );
    // In the gap of March the clock moves forward; of the two in November the earlier is taken.
    assert_eq!(
        utc(datetime(2026, 3, 8, 2, 30, 0, 0), None),
        "2026-03-08 07:30:00"
    );
    assert_eq!(
        utc(datetime(2026, 11, 1, 1, 30, 0, 0), None),
        "2026-11-01 05:30:00"
    );
}

#[test]
fn a_birth_date_stays_a_date() {
    let (account, flow, fields) = (account(), flow(Entity::Lead), fields());
    let finish = Finish::new(&account, &flow, &fields);
    assert_eq!(
        finish.activity_value(Value::Date(date(1984, 2, 19))),
        Ok(Some("1984-02-19".into()))
    );
    assert_eq!(finish.activity_value(Value::Clear), Ok(None));
    assert_eq!(
        finish.activity_value(Value::Choices(vec!["A".into(), "B".into()])),
        Ok(Some("A;B".into()))
    );
}

#[test]
fn phones_take_leadsquareds_form() {
    let cases = [
        ("(617)555-0142", Some("1"), Some("+1-6175550142")),
        ("1-617-555-0142", Some("1"), Some("+1-6175550142")),
        ("+1 617 555 0142", Some("1"), Some("+1-6175550142")),
        ("+91 98450 98450", Some("1"), Some("+91-9845098450")),
        ("+919845098450", Some("1"), Some("+91-9845098450")),
        ("09845098450", Some("91"), Some("+91-9845098450")),
        ("555-0142 ext. 12", Some("1"), None),
        ("(617)555-0142X12", Some("1"), Some("+1-6175550142")),
        ("617 555 0142", None, Some("6175550142")),
        ("none", Some("1"), None),
        ("", Some("1"), None),
    ];
    for (written, country, expected) in cases {
        assert_eq!(phone(written, country).as_deref(), expected, "{written:?}");
    }
}

#[test]
fn values_are_finished_for_the_slots_that_are_known() {
    let activity = |value: &str| Write {
        lead: vec![text("mrn", "1")],
        retired: Vec::new(),
        activities: vec![crate::flow::mapped::Activity {
            key: Some("K".into()),
            kind: None,
            note: None,
            at: None,
            fields: vec![text("mx_Custom_9", value), text("mx_Custom_8", value)],
        }],
    };
    let written = check(Entity::Activity, activity("return"));
    assert!(
        written.contains("mx_Custom_9=Return mx_Custom_8=return"),
        "{written}"
    );
    let written = check(Entity::Activity, activity("Other"));
    assert!(
        !written.contains("mx_Custom_9=") && written.contains("mx_Custom_8=Other"),
        "{written}"
    );
}
