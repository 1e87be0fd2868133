//! Tables: what is given, what is written; and no text at all makes a panic.

mod phones;

use jiff::civil::{date, datetime, time};
use proptest::prelude::*;

use super::*;

fn account() -> Account {
    toml::from_str("id = \"a\"\nname = \"A\"\napi = \"http://127.0.0.1:1\"").unwrap()
}

fn flow(zone: &str) -> Flow {
    let text = r#"
id = "f"
account = "a"
name = "F"
direction = "ehr-to-leadsquared"
channel = "c"
event = "ADT^A04"
entity = "lead"
primary_search_field = "mx_MRN"
default_country_code = "1"
status = { state = "active" }
"#;
    toml::from_str(&format!("time_zone = \"{zone}\"\n{text}")).unwrap()
}

fn fields() -> Fields {
    [
        ("Text", "Text", Some(8)),
        ("Free", "Text", None),
        ("Number", "Number", None),
        ("Email", "Email", Some(20)),
        ("Phone", "Phone", None),
        ("Date", "Date", None),
        ("Time", "Time", None),
        ("Boolean", "Boolean", None),
        ("Clinic", "Select", Some(100)),
        ("Consent", "Select", None),
        ("Topics", "MultiSelect", None),
        ("Unlisted", "Select", None),
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
        options: match name {
            "Clinic" | "Topics" => ["North", "South", "Água Verde"].map(String::from).to_vec(),
            "Consent" => ["Yes", "No"].map(String::from).to_vec(),
            _ => Vec::new(),
        },
    })
    .collect()
}

/// Finishes a value for the field of that name; why it is left out stands in brackets.
fn finished(zone: &str, field: &str, value: Value) -> String {
    let (account, flow, fields) = (account(), flow(zone), fields());
    let finish = Finish::new(&account, &flow, &fields);
    shown(finish.lead_value(field, value).unwrap())
}

fn shown(finished: Finished) -> String {
    match finished {
        Ok(Some(text)) => text,
        Ok(None) => "(clear)".into(),
        Err(why) => format!("[{why}]"),
    }
}

fn check(field: &str, cases: &[(Value, &str)]) {
    for (value, expected) in cases {
        let found = finished("America/New_York", field, value.clone());
        assert_eq!(found, *expected, "{field} {value:?}");
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn at(at: civil::DateTime, offset_minutes: Option<i16>) -> Value {
    Value::DateTime(DateTime { at, offset_minutes })
}

#[test]
fn every_kind_can_be_cleared_and_left_empty() {
    for field in fields().0.keys() {
        assert_eq!(finished("UTC", field, Value::Clear), "(clear)", "{field}");
        assert_eq!(finished("UTC", field, text("")), "", "{field}");
    }
}

#[test]
fn texts_keep_what_they_are() {
    let long = "[it is longer than the field takes]";
    check(
        "Text",
        &[
            (text("0042"), "0042"),
            (text(" a b "), " a b "),
            // Characters count, not bytes.
            (text("ÄÖÜäöüßé"), "ÄÖÜäöüßé"),
            (text("ÄÖÜäöüßéx"), long),
            (Value::Date(date(1984, 2, 19)), long),
            (Value::Integer(-7), "-7"),
            (Value::Boolean(true), "true"),
            (Value::Decimal("1.50".into()), "1.50"),
            (Value::Choices(vec!["A".into(), "B".into()]), "A;B"),
            (Value::Time(time(9, 5, 0, 0)), "09:05:00"),
        ],
    );
    check("Unlisted", &[(text("anything"), "anything")]);
}

#[test]
fn numbers() {
    let no = "[it is not a number]";
    check(
        "Number",
        &[
            (text("62.5"), "62.5"),
            (text(" +007 "), "007"),
            (text("-.5"), "-0.5"),
            (text("5."), "5"),
            (Value::Integer(i64::MIN), "-9223372036854775808"),
            (Value::Decimal("-0.10".into()), "-0.10"),
            (text("1.23e2"), no),
            (text("1,234"), no),
            (text("1.2.3"), no),
            (text("."), no),
            (text("-"), no),
            (text("+-5"), no),
            (text("٥"), no),
            (Value::Boolean(true), no),
            (Value::Date(date(2026, 1, 1)), no),
        ],
    );
}

#[test]
fn truth_values() {
    let no = "[it is neither true nor false]";
    check(
        "Boolean",
        &[
            (Value::Boolean(true), "true"),
            (Value::Boolean(false), "false"),
            (text("Y"), "true"),
            (text("n"), "false"),
            (text("TRUE"), "true"),
            (text("0"), "false"),
            (Value::Integer(1), "true"),
            (Value::Integer(2), no),
            (text("U"), no),
            (text("maybe"), no),
            (Value::Choices(Vec::new()), no),
        ],
    );
}

#[test]
fn addresses_of_e_mail() {
    let no = "[it is not an e-mail address]";
    check(
        "Email",
        &[
            (text(" o.fen+x@example.org "), "o.fen+x@example.org"),
            (text("mailto:o@example.org"), "o@example.org"),
            (text("MAILTO:o@Example.org"), "o@Example.org"),
            (text("ö@bücher.example"), "ö@bücher.example"),
            (
                text("odalys.fenwick@example.org"),
                "[it is longer than the field takes]",
            ),
            (text("none"), no),
            (text("o@localhost"), no),
            (text("o@example.org."), no),
            (text("@example.org"), no),
            (text("o@"), no),
            (text("o p@example.org"), no),
            (text("o@example.org-"), no),
            (text("o@192.0.2.1"), no),
            (text("a@example.org,b"), no),
            (text("<o@example.org>"), no),
            (text(".o@example.org"), no),
            (Value::Integer(7), no),
        ],
    );
}

#[test]
fn options_in_their_own_spelling() {
    let no = "[it is not one of the field's options]";
    check(
        "Clinic",
        &[
            (text("North"), "North"),
            (text(" nORTH "), "North"),
            (text("ÁGUA VERDE"), "Água Verde"),
            (text("West"), no),
            (text("North;South"), no),
            (text("Nor"), no),
            (Value::Choices(vec!["south".into()]), "South"),
            (Value::Integer(1), no),
        ],
    );
    check(
        "Consent",
        &[
            (Value::Boolean(true), "Yes"),
            (Value::Boolean(false), "No"),
            (text("yes"), "Yes"),
            (text("Y"), no),
        ],
    );
    let both = vec!["south".to_owned(), "NORTH".to_owned()];
    let foreign = vec!["South".to_owned(), "West".to_owned()];
    check(
        "Topics",
        &[
            (text("south; north"), "South;North"),
            (Value::Choices(both), "South;North"),
            // None of it: a part would look as if it were all.
            (Value::Choices(foreign), no),
            (text("South;West"), no),
        ],
    );
}

#[test]
fn dates_stay_dates_and_times_become_utc() {
    let no = "[it is not a whole date]";
    check(
        "Date",
        &[
            (Value::Date(date(1988, 7, 5)), "1988-07-05"),
            (text("19880705"), "1988-07-05"),
            (text("1988-07-05"), "1988-07-05"),
            (
                at(datetime(2026, 7, 1, 9, 0, 0, 0), None),
                "2026-07-01 13:00:00",
            ),
            (text("202607010900"), "2026-07-01 13:00:00"),
            (text("20260701090015.1234"), "2026-07-01 13:00:15"),
            (text("20260701090000+0530"), "2026-07-01 03:30:00"),
            (text("20260701090000-0000"), "2026-07-01 09:00:00"),
            (text("2026-07-01T09:00:00"), "2026-07-01 13:00:00"),
            (text("2026-07-01T09:00:00Z"), "2026-07-01 09:00:00"),
            (text("2026-07-01T09:00:00+05:30"), "2026-07-01 03:30:00"),
            // LeadSquared's own form is UTC.
            (text("2026-07-01 09:00:00"), "2026-07-01 09:00:00"),
            // What is not known to the day, or not at all.
            (text("1988"), no),
            (text("198807"), no),
            (text("00000000"), no),
            (text("0"), no),
            (text("19880230"), no),
            (text("07/05/1988"), no),
            // HL7 knows no hour 24 and no second 60; no zone is so far from Greenwich.
            (text("19880705240000"), no),
            (text("19880705235960"), no),
            (text("20260701090000+1530"), no),
            (text("20260701090000+05:30"), no),
            (text("20260701090000."), no),
            (text("2026-07-01T09:00:00[Europe/Paris]"), no),
            (text("unknown"), no),
            (Value::Integer(19880705), no),
        ],
    );
}

#[test]
fn times_of_day() {
    let no = "[it is not a time of day]";
    check(
        "Time",
        &[
            (Value::Time(time(9, 5, 7, 0)), "09:05:07"),
            (text("0905"), "09:05:00"),
            (text("09:05"), "09:05:00"),
            (text("090507"), "09:05:07"),
            (text("09:05:07"), "09:05:07"),
            (text("2400"), no),
            (text("0960"), no),
            (text("9:5"), no),
            (text("9 AM"), no),
            (Value::Date(date(2026, 1, 1)), no),
        ],
    );
}

#[test]
fn clocks_that_change() {
    // The zone, a local time, the same in UTC.
    let cases = [
        // The gap of spring: 02:00 to 03:00 does not happen, and times in it move forward.
        (
            "America/New_York",
            (2026, 3, 8, 1, 59),
            "2026-03-08 06:59:00",
        ),
        (
            "America/New_York",
            (2026, 3, 8, 2, 0),
            "2026-03-08 07:00:00",
        ),
        (
            "America/New_York",
            (2026, 3, 8, 2, 30),
            "2026-03-08 07:30:00",
        ),
        (
            "America/New_York",
            (2026, 3, 8, 3, 0),
            "2026-03-08 07:00:00",
        ),
        // The fold of autumn: 01:00 to 02:00 happens twice, and the earlier is taken.
        (
            "America/New_York",
            (2026, 11, 1, 0, 59),
            "2026-11-01 04:59:00",
        ),
        (
            "America/New_York",
            (2026, 11, 1, 1, 30),
            "2026-11-01 05:30:00",
        ),
        (
            "America/New_York",
            (2026, 11, 1, 2, 0),
            "2026-11-01 07:00:00",
        ),
        ("Europe/Berlin", (2026, 3, 29, 2, 30), "2026-03-29 01:30:00"),
        (
            "Europe/Berlin",
            (2026, 10, 25, 2, 30),
            "2026-10-25 00:30:00",
        ),
        // The south has its seasons the other way round; this island changes by half an hour.
        (
            "Australia/Sydney",
            (2026, 10, 4, 2, 30),
            "2026-10-03 16:30:00",
        ),
        (
            "Australia/Lord_Howe",
            (2026, 10, 4, 2, 15),
            "2026-10-03 15:45:00",
        ),
        // No change of clocks, and no whole hours.
        ("Asia/Kolkata", (2026, 3, 29, 2, 30), "2026-03-28 21:00:00"),
        (
            "America/Phoenix",
            (2026, 3, 8, 2, 30),
            "2026-03-08 09:30:00",
        ),
        ("Asia/Kathmandu", (2026, 1, 1, 0, 0), "2025-12-31 18:15:00"),
        // A day that a country left out.
        ("Pacific/Apia", (2011, 12, 30, 12, 0), "2011-12-30 22:00:00"),
        ("UTC", (2026, 3, 8, 2, 30), "2026-03-08 02:30:00"),
    ];
    for (zone, (year, month, day, hour, minute), expected) in cases {
        let local = datetime(year, month, day, hour, minute, 0, 0);
        assert_eq!(
            finished(zone, "Date", at(local, None)),
            expected,
            "{zone} {local}"
        );
    }
}

#[test]
fn an_offset_stands_over_the_zone() {
    let local = datetime(2026, 3, 8, 2, 30, 59, 999_999_999);
    let cases = [
        (Some(0), "2026-03-08 02:30:59"),
        (Some(-300), "2026-03-08 07:30:59"),
        (Some(345), "2026-03-07 20:45:59"),
        (Some(840), "2026-03-07 12:30:59"),
        (Some(-720), "2026-03-08 14:30:59"),
        // No zone can have it.
        (Some(i16::MAX), "2026-03-08 07:30:59"),
    ];
    for (offset, expected) in cases {
        let found = finished("America/New_York", "Free", at(local, offset));
        assert_eq!(found, expected, "{offset:?}");
    }
}

#[test]
fn activity_fields_are_finished_by_their_type() {
    let (account, flow, fields) = (account(), flow("America/New_York"), fields());
    let finish = Finish::new(&account, &flow, &fields);
    let slot = |data_type: &str| Slot {
        schema_name: "mx_Custom_1".into(),
        display_name: "One".into(),
        data_type: data_type.into(),
        is_mandatory: false,
        max_length: None,
        options: Vec::new(),
    };
    let cases = [
        ("String", "(617) 555-0142", "(617) 555-0142"),
        ("Phone", "(617) 555-0142", "+1-6175550142"),
        ("Number", "many", "[it is not a number]"),
        ("DateTime", "202607010900", "2026-07-01 13:00:00"),
        ("Boolean", "N", "false"),
        ("SomethingNew", "as it is", "as it is"),
    ];
    for (data_type, value, expected) in cases {
        let found = shown(finish.slot_value(&slot(data_type), text(value)));
        assert_eq!(found, expected, "{data_type}");
    }
    let untyped = finish.activity_value(text("(617) 555-0142"));
    assert_eq!(untyped, Ok(Some("(617) 555-0142".into())));
}

/// What is near a phone number, a date, an address.
fn near() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9+() .x-]{0,24}",
        "\\+[0-9]{1,18}",
        "00[0-9]{1,18}",
        "[0-9]{8,14}([.+-][0-9]{1,4})?",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{0,8}[Z+-]?",
        "[a-z.@0-9-]{0,20}",
        "\\PC{0,24}",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_text_is_written_or_left_out(value in near(), code in "[0-9+]{0,4}") {
        let (account, flow, fields) = (account(), flow("Europe/Berlin"), fields());
        let finish = Finish::new(&account, &flow, &fields);
        for name in fields.0.keys() {
            // What was finished once stays as it is.
            if let Ok(Some(once)) = finish.lead_value(name, text(&value)).unwrap() {
                prop_assert_eq!(finish.lead_value(name, text(&once)).unwrap(), Ok(Some(once)), "{}", name);
            }
        }
        for country in [None, Some("1"), Some("49"), Some("54"), Some(code.as_str())] {
            if let Some(number) = phone(&value, country) {
                let digits = number.bytes().filter(u8::is_ascii_digit).count();
                prop_assert!((5..=20).contains(&digits), "{}", number);
                prop_assert!(country.is_none() || number.starts_with('+') && number.contains('-'), "{}", number);
            }
        }
    }
}
