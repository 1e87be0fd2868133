//! Each rule broken alone, and what is allowed.

use super::*;

fn base() -> (Account, Flow) {
    let account = serde_json::from_value(serde_json::json!({
        "id": "clinic", "name": "Clinic", "api": "https://api-us11.leadsquared.com",
    }));
    let flow = serde_json::from_value(serde_json::json!({
        "id": "registrations", "account": "clinic", "name": "Registrations", "direction": "ehr-to-leadsquared",
        "channel": "ehr", "event": "ADT^A04", "entity": "lead", "primary_search_field": "mx_MRN",
    }));
    (account.unwrap(), flow.unwrap())
}

fn facts() -> Facts {
    Facts {
        lead_fields: Some(
            [("mx_MRN", true), ("Phone", true), ("mx_Patient_Id", false)]
                .map(|(name, unique)| (name.to_owned(), unique))
                .into(),
        ),
        writes: Some(["mx_MRN", "Phone", "LastName"].map(str::to_owned).into()),
        ..Facts::default()
    }
}

/// The paths of what is wrong after `change`, and the first text.
fn check(change: impl Fn(&mut Account, &mut Flow, &mut Facts), paths: &[&str], text: &str) {
    let (mut account, mut flow) = base();
    let mut facts = facts();
    change(&mut account, &mut flow, &mut facts);
    let faults = super::flow(&flow, &account, &facts);
    let found: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(found, paths, "{faults:?}");
    if let Some(first) = faults.first() {
        assert!(first.message.contains(text), "{first}");
    }
}

#[test]
fn a_patient_identifier_is_a_search_field() {
    check(|_, _, _| {}, &[], "");
    check(
        |_, flow, _| flow.primary_search_field = "Phone".into(),
        &["primary_search_field"],
        "patient identifier",
    );
    check(
        |_, flow, _| {
            flow.primary_search_field = "Phone".into();
            flow.secondary_search_field = Some("mx_MRN".into());
        },
        &[],
        "",
    );
    check(
        |account, _, _| account.identifier_fields = vec!["mx_Patient_Id".into()],
        &["primary_search_field"],
        "mx_Patient_Id",
    );
    check(
        |_, flow, _| flow.secondary_search_field = Some("mx_MRN".into()),
        &["secondary_search_field"],
        "already",
    );
    check(
        |_, flow, _| flow.primary_search_field = String::new(),
        &["primary_search_field"],
        "mx_MRN",
    );
}

#[test]
fn search_fields_are_mapped_before_a_flow_is_in_force() {
    let unmapped = |status: Status| {
        move |_: &mut Account, flow: &mut Flow, facts: &mut Facts| {
            flow.status = status.clone();
            facts.writes = Some(["LastName".to_owned()].into());
        }
    };
    check(unmapped(Status::Draft), &[], "");
    check(
        unmapped(Status::Active),
        &["primary_search_field"],
        "no row for mx_MRN",
    );
    check(
        unmapped(Status::Paused("lunch".into())),
        &["primary_search_field"],
        "no row",
    );
    check(
        |_, flow, facts| {
            flow.status = Status::Active;
            flow.lead_behaviour = Behaviour::Nothing;
            facts.writes = Some(BTreeSet::new());
        },
        &[],
        "",
    );
}

#[test]
fn fields_are_those_of_the_account_and_unique_or_confirmed() {
    let by_patient_id = |_: &mut Account, flow: &mut Flow, _: &mut Facts| {
        flow.primary_search_field = "mx_Patient_Id".into();
    };
    check(
        by_patient_id,
        &["primary_search_field"],
        "confirm_not_unique",
    );
    check(
        |account, flow, facts| {
            by_patient_id(account, flow, facts);
            facts.confirmed_not_unique = true;
        },
        &[],
        "",
    );
    check(
        |_, flow, _| flow.secondary_search_field = Some("mx_Elsewhere".into()),
        &["secondary_search_field"],
        "no lead field",
    );
    check(
        |_, flow, facts| {
            flow.secondary_search_field = Some("mx_Elsewhere".into());
            facts.lead_fields = None;
        },
        &[],
        "",
    );
}

#[test]
fn every_fault_is_found_at_once() {
    check(
        |_, flow, _| {
            flow.id = "a/b".into();
            flow.name = " ".into();
            flow.time_zone = Some("Mars/Olympus".into());
            flow.default_country_code = Some("+1".into());
            flow.entity = Entity::Activity;
            flow.primary_search_field = "Phone".into();
        },
        &[
            "id",
            "name",
            "time_zone",
            "default_country_code",
            "activity",
            "primary_search_field",
        ],
        "slashes",
    );
    check(
        |_, flow, _| {
            flow.default_country_code = Some("44".into());
            flow.time_zone = Some("Europe/London".into());
        },
        &[],
        "",
    );
    check(
        |_, flow, _| flow.default_country_code = Some("999".into()),
        &["default_country_code"],
        "999",
    );
}

#[test]
fn what_families_share_identifies_nobody() {
    let (mut account, _) = base();
    assert_eq!(super::account(&account), []);
    account.identifier_fields = ["mx_MRN", "Phone", "EmailAddress"].map(String::from).into();
    let paths: Vec<_> = super::account(&account)
        .into_iter()
        .map(|fault| fault.path)
        .collect();
    assert_eq!(paths, ["identifier_fields.1", "identifier_fields.2"]);
}

#[test]
fn identifiers_are_proposed_by_their_names() {
    let fields = [
        ("mx_MRN", "MRN"),
        ("mx_Custom", "Patient ID"),
        ("mx_Medical_Record_Number", ""),
        ("Phone", "Patient ID by phone"),
        ("mx_Modern", "Modern"),
        ("FirstName", "First Name"),
    ];
    assert_eq!(
        proposed_identifiers(fields),
        ["mx_MRN", "mx_Custom", "mx_Medical_Record_Number"]
    );
}

#[test]
fn two_channels_do_not_listen_on_one_address() {
    let channel = |id: &str, address: &str| -> Channel {
        serde_json::from_value(serde_json::json!({
            "id": id, "account": "clinic", "name": id, "address": address,
        }))
        .unwrap()
    };
    let (one, two) = (channel("one", "127.0.0.1:2575"), channel("two", "2575"));
    assert_eq!(super::channel(&one, [&one]), []);
    assert_eq!(super::channel(&two, [&one, &two])[0].path, "address");
    let (any, other) = (channel("any", "0"), channel("other", "0"));
    assert_eq!(super::channel(&any, [&other]), []);
}

/// The paths of what is wrong with a flow to the EHR after `change`.
fn check_outbound(change: serde_json::Value, paths: &[&str]) {
    let (account, _) = base();
    let mut flow = serde_json::json!({
        "id": "back", "account": "clinic", "name": "Back", "direction": "leadsquared-to-ehr", "channel": "ehr-out",
        "event": "ADT^A08", "entity": "lead", "status": { "state": "active" },
        "outbound": {
            "webhook": "lead-update",
            "condition": [{ "field": "ProspectStage", "in": ["Patient"] }],
        },
    });
    fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
        match (into, from) {
            (serde_json::Value::Object(into), serde_json::Value::Object(from)) => {
                for (name, value) in from {
                    merge(into.entry(name).or_insert_with(Default::default), value);
                }
            }
            (into, from) => *into = from,
        }
    }
    merge(&mut flow, change);
    let flow: Flow = serde_json::from_value(flow).unwrap();
    let facts = Facts {
        channel: Some(Kind::Outbound),
        lead_flows_to_ehr: Some(["registrations-out".into()].into()),
        ..facts()
    };
    let faults = super::flow(&flow, &account, &facts);
    let found: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(found, paths, "{faults:?}");
}

#[test]
fn a_flow_to_the_ehr_names_webhook_condition_and_patient_flows() {
    use serde_json::json;
    check_outbound(json!({}), &[]);
    check_outbound(
        json!({ "direction": "ehr-to-leadsquared", "primary_search_field": "mx_MRN" }),
        &["channel", "outbound"],
    );
    check_outbound(json!({ "outbound": null }), &["outbound"]);
    check_outbound(
        json!({ "outbound": { "webhook": "lead-activity-create" } }),
        &["outbound.webhook"],
    );
    check_outbound(
        json!({ "outbound": { "condition": [] } }),
        &["outbound.condition"],
    );
    check_outbound(
        json!({ "outbound": { "condition": [{ "field": "ProspectStage" }] } }),
        &["outbound.condition.0"],
    );
    check_outbound(
        json!({ "outbound": { "unidentified": "register" } }),
        &["outbound.patient.register"],
    );
    check_outbound(
        json!({ "outbound": { "unidentified": "register", "patient": { "behaviour": "nothing", "register": "registrations-out" } } }),
        &[],
    );
    check_outbound(
        json!({ "outbound": { "patient": { "behaviour": "capture" } } }),
        &["outbound.patient.behaviour"],
    );
    let activity = |outbound: serde_json::Value| json!({ "entity": "activity", "activity": { "code": 205 }, "outbound": outbound });
    let booked = "lead-activity-create";
    check_outbound(activity(json!({ "webhook": booked })), &[]);
    check_outbound(
        activity(json!({ "webhook": booked, "patient": { "behaviour": "capture" } })),
        &["outbound.patient.register", "outbound.patient.update"],
    );
    check_outbound(
        activity(
            json!({ "webhook": booked, "patient": { "behaviour": "create-only", "register": "nobody" } }),
        ),
        &["outbound.patient.register"],
    );
    check_outbound(
        json!({ "outbound": { "fixed": ["PID-3.4", "PID"] } }),
        &["outbound.fixed.1"],
    );
    check_outbound(
        json!({ "outbound": { "read_back": [{ "path": "PID-", "field": "", "activity": true }] } }),
        &[
            "outbound.read_back.0.path",
            "outbound.read_back.0.field",
            "outbound.read_back.0.activity",
        ],
    );
}

#[test]
fn an_activity_flow_writes_fields_that_its_type_has() {
    use super::ActivityFacts;
    let active = |flow: &mut Flow, key_field: &str| {
        flow.entity = crate::flow::Entity::Activity;
        flow.status = crate::flow::Status::Active;
        let moved = crate::flow::Constant {
            field: "Status".into(),
            value: "Moved".into(),
        };
        flow.activity = Some(crate::flow::ActivityType {
            code: 205,
            key_field: key_field.into(),
            moved,
        });
    };
    let known = || ActivityFacts::Type {
        name: "EHR Appointment".into(),
        slots: ["mx_Custom_1", "mx_Custom_2"].map(str::to_owned).into(),
    };
    let writes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    check(
        |_, flow, facts| {
            active(flow, "mx_Custom_1");
            facts.activity = known();
            facts.activity_writes = writes(&["mx_Custom_2", "Status", "Owner"]);
        },
        &[],
        "",
    );
    check(
        |_, flow, facts| {
            active(flow, "mx_Custom_9");
            facts.activity = known();
            facts.activity_writes = writes(&["mx_Custom_7"]);
        },
        &["activity.key_field", "mapping"],
        "activity type 205 (EHR Appointment) has no field mx_Custom_9",
    );
    check(
        |_, flow, facts| {
            active(flow, "mx_Custom_9");
            facts.activity = ActivityFacts::NoSuchType;
        },
        &["activity.code"],
        "no activity type 205",
    );
    // Not asked, or a draft: nothing is known to be wrong.
    check(|_, flow, _| active(flow, "mx_Custom_9"), &[], "");
    check(
        |_, flow, facts| {
            active(flow, "mx_Custom_9");
            flow.status = crate::flow::Status::Draft;
            facts.activity = known();
        },
        &[],
        "",
    );
}
