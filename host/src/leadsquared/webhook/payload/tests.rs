//! Payloads as LeadSquared is known to send them, and as it might.

use proptest::prelude::*;

use super::*;

const LEAD: &str = "a3110000-0000-4000-8000-000000000001";
const ACTIVITY: &str = "e85e0000-0000-4000-8000-000000000002";

/// One line an entry: event, ids, what was before, what is now; then what could not be read.
fn shown(body: &str) -> String {
    let payload = match parse(body.as_bytes()) {
        Ok(payload) => payload,
        Err(error) => return error.to_string(),
    };
    let list = |fields: &Fields| {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| {
            let value = value.as_deref().unwrap_or("null");
            format!("{name}={value}")
        });
        fields.collect::<Vec<_>>().join(" ")
    };
    let entries = payload.entries.iter().map(|entry| {
        let activity = entry.activity.as_ref();
        let activity = activity.map(|it| format!(" {} {}", it.code, it.id));
        let before = entry.before.as_ref().map(list);
        format!(
            "{} {}{} [{}] -> [{}]",
            entry.event(None).as_str(),
            entry.lead_id,
            activity.unwrap_or_default(),
            before.unwrap_or_default(),
            list(&entry.after)
        )
        .replace(LEAD, "LEAD")
        .replace(ACTIVITY, "ACTIVITY")
    });
    let errors = payload.unreadable.iter();
    let errors = errors.map(|(fault, _)| fault.to_string());
    entries.chain(errors).collect::<Vec<_>>().join("\n")
}

fn check(body: &str, expected: &str) {
    let body = body.replace("LEAD", LEAD).replace("ACTIVITY", ACTIVITY);
    assert_eq!(shown(&body), expected, "{body}");
}

#[test]
fn leads() {
    check(
        r#"{"ProspectID":"LEAD","FirstName":"Ana","Mobile":null,"Score":5,"DoNotCall":false,"More":{"a":[1]}}"#,
        "lead-create LEAD [] -> [DoNotCall=false FirstName=Ana Mobile=null More={\"a\":[1]} ProspectID=LEAD Score=5]",
    );
    check(
        r#"{"Before":{"ProspectID":"LEAD","Phone":"+1-5550100"},"After":{"ProspectID":"LEAD","Phone":null}}"#,
        "lead-update LEAD [Phone=+1-5550100 ProspectID=LEAD] -> [Phone=null ProspectID=LEAD]",
    );
    check(
        r#"{"Before":null,"After":{"ProspectId":"LEAD"}}"#,
        "lead-create LEAD [] -> [ProspectId=LEAD]",
    );
    check(
        r#"{"Before":{"ProspectID":"LEAD"},"Current":{"FirstName":"Ana"}}"#,
        "lead-update LEAD [ProspectID=LEAD] -> [FirstName=Ana]",
    );
    check(
        r#"{"ProspectID":"LEAD","CreatedOn":"2026-10-07 14:03:21","ModifiedOn":"2026-10-07 14:03:21.000"}"#,
        "lead-create LEAD [] -> [CreatedOn=2026-10-07 14:03:21 ModifiedOn=2026-10-07 14:03:21.000 ProspectID=LEAD]",
    );
}

#[test]
fn activities() {
    check(
        r#"[{"ProspectActivityId":"ACTIVITY","RelatedProspectId":"LEAD","ActivityEvent":"205","Data":{"Status":"Booked","mx_Custom_1":"A-1"}}]"#,
        "lead-activity-create LEAD 205 ACTIVITY [] -> [ActivityEvent=205 ProspectActivityId=ACTIVITY RelatedProspectId=LEAD Status=Booked mx_Custom_1=A-1]",
    );
    check(
        r#"{"ProspectActivityId":"ACTIVITY","RelatedProspectId":"LEAD","ActivityEvent":205,"Data":[{"Key":"Status","Value":"Booked"}]}"#,
        "lead-activity-create LEAD 205 ACTIVITY [] -> [ActivityEvent=205 ProspectActivityId=ACTIVITY RelatedProspectId=LEAD Status=Booked]",
    );
    check(
        r#"{"ProspectActivityId":"ACTIVITY","RelatedProspectId":"LEAD","ActivityEvent":205,"Before":{"Data":{"Status":"Booked"}},"After":{"Data":{"Status":"Moved"}}}"#,
        "lead-activity-update LEAD 205 ACTIVITY [Status=Booked] -> [Status=Moved]",
    );
    check(
        r#"[{"ProspectActivityId":"ACTIVITY","RelatedProspectId":"LEAD"},7,{"ProspectActivityId":"ACTIVITY","ActivityEvent":205},{"ProspectID":"LEAD"}]"#,
        "lead-create LEAD [] -> [ProspectID=LEAD]\n\
         entry 1 is an activity without a number in ActivityEvent\n\
         entry 2 is not an object\n\
         entry 3 does not name its lead: neither ProspectID nor RelatedProspectId holds an id",
    );
}

#[test]
fn other_wrappings() {
    let plain = "lead-create LEAD [] -> [FirstName=A & b ProspectID=LEAD]";
    check(
        "\u{feff} \n{\"ProspectID\":\"LEAD\",\"FirstName\":\"A & b\"}",
        plain,
    );
    check(
        r#""{\"ProspectID\":\"LEAD\",\"FirstName\":\"A & b\"}""#,
        plain,
    );
    check(
        "data=%7B%22ProspectID%22%3A%22LEAD%22%2C%22FirstName%22%3A%22A+%26+b%22%7D&x=1",
        plain,
    );
    check(
        "%7B%22ProspectID%22%3A%22LEAD%22%2C%22FirstName%22%3A%22A+%26+b%22%7D=",
        plain,
    );
    check("FirstName=A+%26+b&ProspectID=LEAD", plain);
}

#[test]
fn trials_have_no_entries() {
    for body in ["", " \r\n", "{}", "[]", "\"\"", "\u{feff}"] {
        assert!(is_trial(body.as_bytes()), "{body:?}");
    }
    for body in ["{\"a\":1}", "no", "[{}]"] {
        assert!(!is_trial(body.as_bytes()), "{body:?}");
    }
}

#[test]
fn what_cannot_be_read_is_told_without_what_it_holds() {
    check(
        "<html>Ana</html>",
        "the body of 16 bytes is neither JSON nor a form with JSON in it",
    );
    check(
        "{\"ProspectID\":",
        "the body of 14 bytes is neither JSON nor a form with JSON in it",
    );
    check(
        "{\"ProspectID\":\"Ana Ortiz\"}",
        "entry 1 does not name its lead: neither ProspectID nor RelatedProspectId holds an id",
    );
    assert!(parse(b"\xff\xfe{").is_err());
}

#[test]
fn the_address_counts_where_it_can_be_right() {
    let lead = format!("{{\"ProspectID\":{LEAD:?}}}");
    let lead = parse(lead.as_bytes()).unwrap().entries.remove(0);
    let updated = Some(WebhookEvent::LeadUpdate);
    assert_eq!(lead.event(updated), WebhookEvent::LeadUpdate);
    let activity = Some(WebhookEvent::LeadActivityUpdate);
    assert_eq!(lead.event(activity), WebhookEvent::LeadCreate);
    assert_eq!(lead.event(None), WebhookEvent::LeadCreate);
}

#[test]
fn an_entry_keeps_its_own_bytes_and_shows_none() {
    let body =
        format!("[ {{ \"ProspectID\" : {LEAD:?}, \"x\": 1.50 }} ,{{\"ProspectID\":{LEAD:?}}}]");
    let entries = parse(body.as_bytes()).unwrap().entries;
    assert_eq!(
        entries[0].raw,
        format!("{{ \"ProspectID\" : {LEAD:?}, \"x\": 1.50 }}").as_bytes()
    );
    assert_eq!(entries[0].entity_id(), LEAD);
    assert!(!format!("{:?}", entries[0]).contains("1.50"));
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&body);
    }

    #[test]
    fn no_json_is_too_odd(text in "[\\[{\"a-zA-Z:,0-9 =&%}\\]]{0,80}") {
        let _ = parse(text.as_bytes());
    }
}

#[test]
fn a_body_of_many_odd_entries_is_kept_once() {
    let odd = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    let payload = parse(odd(100).as_bytes()).unwrap();
    assert_eq!(payload.unreadable.len(), 100);
    let body = odd(100_000);
    let payload = parse(body.as_bytes()).unwrap();
    let kept: Vec<_> = payload.unreadable.iter().map(|(_, raw)| raw).collect();
    assert_eq!(kept, [body.as_bytes()]);
}
