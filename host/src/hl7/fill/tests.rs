//! Templates, placements, and the whole message that comes out; then the two laws.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::super::Content;
use super::*;

const TEMPLATE: &str = "MSH|^~\\&|LIGATURE|CRM|REGIS|LAKESIDE|20260101||ADT^A04^ADT_A01|T1|P|2.5.1|||AL|NE||8859/1\r\
EVN|A04|20260101|||CLERK\r\
PID|1||99^^^LAKESIDE&1.2&ISO^MR~88^^^STATE^SS||SAMPLE^SAM||19700101|M|||1 Sample St^^TOWN||(555)555-0100\r\
NK1|1|SAMPLE^SUE|SPO\r\
PV1|1|O|CLIN\r\
ZPI|local\r";

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

fn template(text: &str) -> Message {
    Message::parse(text.as_bytes()).unwrap()
}

fn fixed(more: &[&str]) -> Vec<Path> {
    let more = more.iter().map(|text| path(text));
    default_fixed().into_iter().chain(more).collect()
}

fn attempt(text: &str, fixed: &[Path], values: &[(&str, Fill<'_>)]) -> Result<Vec<u8>, Fault> {
    let time: jiff::Zoned = "2026-11-01T08:15:14-05:00[America/New_York]"
        .parse()
        .unwrap();
    let facts = Facts {
        control_id: "C|1",
        time: &time,
        message_code: "ADT",
        trigger_event: "A08",
    };
    let paths: Vec<Path> = values.iter().map(|(text, _)| path(text)).collect();
    let placements: Vec<_> = paths
        .iter()
        .zip(values.iter().map(|(_, value)| *value))
        .collect();
    fill(&template(text), fixed, &placements, &facts)
}

/// The filled message, a segment a line.
fn filled(fixed: &[Path], values: &[(&str, Fill<'_>)]) -> String {
    match attempt(TEMPLATE, fixed, values) {
        Ok(bytes) => encoding_rs::WINDOWS_1252
            .decode(&bytes)
            .0
            .replace('\r', "\n"),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn an_empty_filling_sends_the_envelope_alone() {
    assert_snapshot!(filled(&default_fixed(), &[]), @r"
    MSH|^~\&|LIGATURE|CRM|REGIS|LAKESIDE|20261101081514-0500||ADT^A08^ADT_A01|C\F\1|P|2.5.1|||AL|NE||8859/1
    EVN|A08
    ");
    assert_snapshot!(filled(&[], &[]), @r"
    MSH|^~\&|||||20261101081514-0500||ADT^A08^ADT_A01|C\F\1
    EVN
    ");
}

#[test]
fn values_stand_where_they_are_put_and_nothing_else_does() {
    let values = [
        ("PID-3.1", Fill::Text("4711")),
        ("PID-3[3].1", Fill::Text("L-9")),
        ("PID-5.1", Fill::Text("O^Neil & Söhne")),
        ("PID-5.2", Fill::Text("Ann\nMay")),
        ("PID-7", Fill::Text("19880705")),
        ("PID-13.1", Fill::Null),
        ("PID-8", Fill::Empty),
        ("NK1[2]-2.1", Fill::Text("Second")),
        ("IN1-2", Fill::Text("PLAN")),
        ("ZZZ-4.2.2", Fill::Text("end")),
        ("MSH-8", Fill::Text("x")),
    ];
    assert_snapshot!(filled(&default_fixed(), &values), @r#"
    MSH|^~\&|LIGATURE|CRM|REGIS|LAKESIDE|20261101081514-0500|x|ADT^A08^ADT_A01|C\F\1|P|2.5.1|||AL|NE||8859/1
    EVN|A08
    PID|||4711~~L-9||O\S\Neil \T\ Söhne^Ann\.br\May||19880705||||||""
    NK1||Second
    IN1||PLAN
    ZZZ||||^&end
    "#);
}

#[test]
fn fixed_places_are_kept_as_they_are_written() {
    let fixed = fixed(&["PID-3.4", "PID-3[2].5", "NK1[*]-3", "PV1", "ZPI", "PID-1"]);
    let values = [("PID-3", Fill::Text("4711")), ("PV1-3", Fill::Empty)];
    assert_snapshot!(filled(&fixed, &values[1..]), @r"
    MSH|^~\&|LIGATURE|CRM|REGIS|LAKESIDE|20261101081514-0500||ADT^A08^ADT_A01|C\F\1|P|2.5.1|||AL|NE||8859/1
    EVN|A08
    PID|1||^^^LAKESIDE&1.2&ISO~^^^^SS
    NK1|||SPO
    PV1|1|O
    ZPI|local
    ");
    // A wider placement takes the place of what is fixed in it.
    assert!(filled(&fixed, &values[..1]).contains("\nPID|1||4711\n"));
}

#[test]
fn what_cannot_be_filled_or_fixed_is_named() {
    let check = |fixed: &[Path], values: &[(&str, Fill<'_>)], expected: &str| {
        let text = filled(fixed, values);
        assert!(text.contains(expected), "{text}");
    };
    let one = |place| [(place, Fill::Text("x"))];
    check(&[], &one("PID"), "PID cannot be filled: name a field");
    check(&[], &one("MSH-10"), "MSH-10 cannot be filled");
    check(
        &[],
        &one("EVN-1"),
        "EVN-1 cannot be filled: it is the event",
    );
    check(
        &[],
        &one("PID-3[.5='MR'].1"),
        "cannot be filled: a condition",
    );
    check(&[], &one("PID-3[*].1"), "[*] names several places");
    check(&[], &one("PID-3[256].1"), "larger than any message has");
    check(
        &[],
        &[("PID-5", Fill::Null), ("PID-5.2", Fill::Null)],
        "PID-5 and PID-5.2 are one place",
    );
    check(
        &[],
        &[("PID-5.1", Fill::Null), ("PID[1]-5[1].1.1", Fill::Null)],
        "are one place",
    );
    check(
        &[],
        &[("PID-3", Fill::Null), ("PID-3[2].1", Fill::Null)],
        "are one place",
    );
    check(
        &[],
        &[("PID-5.1", Fill::Text("語"))],
        "the value at PID-5.1 has characters",
    );
    check(
        &fixed(&["PID"]),
        &[],
        "PID cannot be fixed: the segment tells about a person",
    );
    check(&fixed(&["OBX[2]"]), &[], "OBX[2] cannot be fixed");
    check(&fixed(&["MSH-10"]), &[], "MSH-10 cannot be fixed");
    check(
        &fixed(&["PID-3[.5='MR'].1"]),
        &[],
        "cannot be fixed: name the repetition",
    );

    let bare = "MSH|^~|A|B|C|D|20260101||ADT^A08|1|P|2.5\r";
    let missing = attempt(bare, &[], &[("PID-3.1.2", Fill::Text("x"))]);
    assert!(
        matches!(missing, Err(Fault::NoDelimiter { .. })),
        "{missing:?}"
    );
    let ascii = "MSH|^~\\&|A|B|C|D|20260101||ADT^A08|1|P|2.5||||||ASCII\r";
    let foreign = attempt(ascii, &[], &[("PID-5.1", Fill::Text("Zoë"))]);
    assert!(
        matches!(foreign, Err(Fault::NotInCharset { .. })),
        "{foreign:?}"
    );
}

#[test]
fn the_structure_follows_the_event() {
    let other = TEMPLATE.replace("ADT^A04^ADT_A01", "ADT^A40^ADT_A39");
    let bytes = attempt(&other, &default_fixed(), &[]).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("|ADT^A08^ADT_A01|"));
    let without = TEMPLATE.replace("ADT^A04^ADT_A01", "ADT^A04");
    let bytes = attempt(&without, &[], &[]).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("|ADT^A08|"));
}

/// Leaves of the template are words of capital letters, so that none is part of another value by chance.
fn any_template() -> impl Strategy<Value = (String, Vec<String>)> {
    let field = prop::collection::vec(prop::collection::vec(0..3_usize, 1..4), 1..3);
    let segment = (
        prop::sample::select(vec!["PID", "NK1", "PV1", "IN1", "OBX", "ZZZ", "EVN"]),
        prop::collection::vec(field, 1..8),
    );
    prop::collection::vec(segment, 1..8).prop_map(|segments| {
        let mut words = Vec::new();
        let mut text = String::from("MSH|^~\\&|A|B|C|D|2026||ADT^A08|1|P|2.5\r");
        for (name, fields) in segments {
            text.push_str(name);
            for repetitions in fields {
                let repetitions: Vec<String> = repetitions
                    .iter()
                    .map(|components| {
                        let component = |&subcomponents: &usize| {
                            let leaves = (0..subcomponents).map(|_| {
                                words.push(format!("QX{}XQ", words.len()));
                                words[words.len() - 1].clone()
                            });
                            leaves.collect::<Vec<_>>().join("&")
                        };
                        let components: Vec<String> = components.iter().map(component).collect();
                        components.join("^")
                    })
                    .collect();
                text.push('|');
                text.push_str(&repetitions.join("~"));
            }
            text.push('\r');
        }
        (text, words)
    })
}

fn any_place() -> impl Strategy<Value = String> {
    let segment =
        prop::sample::select(vec!["PID", "NK1", "PV1", "IN1", "OBX", "ZZZ", "EVN", "AL1"]);
    // EVN-1 is the host's.
    (segment, 2..12_u16, 1..4_u16, 1..4_u16, 1..3_u16).prop_map(
        |(segment, field, repetition, component, subcomponent)| {
            format!("{segment}-{field}[{repetition}].{component}.{subcomponent}")
        },
    )
}

proptest! {
    #[test]
    fn no_value_of_the_template_is_sent(
        (text, words) in any_template(),
        values in prop::collection::btree_map(any_place(), "[a-z|^~&\\\\]{1,9}", 0..8),
    ) {
        let values: Vec<_> = values.iter().map(|(place, text)| (place.as_str(), Fill::Text(text))).collect();
        let bytes = attempt(&text, &default_fixed(), &values).unwrap();
        let sent = String::from_utf8(bytes).unwrap();
        // EVN-1 is fixed, and then the host's.
        for word in words {
            prop_assert!(!sent.contains(&word), "{word} of {text} in {sent}");
        }
    }

    #[test]
    fn what_is_filled_is_read(
        (text, _) in any_template(),
        values in prop::collection::btree_map(any_place(), "[^\r]{1,20}", 0..8),
    ) {
        let given: Vec<_> = values.iter().map(|(place, text)| (place.as_str(), Fill::Text(text))).collect();
        let bytes = attempt(&text, &default_fixed(), &given).unwrap();
        let sent = Message::parse(&bytes).unwrap();
        for (place, value) in &values {
            prop_assert_eq!(sent.get(&path(place)).text_or_empty(), value.as_str(), "{}", place);
        }
        let leaves = sent
            .segments()
            .filter(|segment| !matches!(segment.name(), "MSH" | "EVN"))
            .flat_map(|segment| (1..=segment.field_count()).flat_map(move |field| segment.repetitions(field)))
            .flat_map(|repetition| (1..5).flat_map(move |c| (1..4).map(move |s| repetition.leaf(c, s))))
            .filter(|leaf| matches!(leaf, Content::Text(_)))
            .count();
        let placed = values.keys().filter(|place| !place.starts_with("EVN")).count();
        prop_assert_eq!(leaves, placed);
    }
}
