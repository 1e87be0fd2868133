//! What a strict EHR holds against a message: structure, required fields, data types, escapes, character set.
//!
//! Findings name places and never values. Start at [`judge`].

use super::reader::{Message, Segment, Separators};

/// Segments of the messages that an EHR takes from a CRM; others are the sender's own and begin with Z.
const KNOWN: [&str; 47] = [
    "MSH", "SFT", "EVN", "PID", "PD1", "ROL", "NK1", "PV1", "PV2", "DB1", "OBX", "AL1", "DG1",
    "DRG", "PR1", "GT1", "IN1", "IN2", "IN3", "ACC", "UB1", "UB2", "PDA", "MRG", "SCH", "TQ1",
    "NTE", "RGS", "AIS", "AIG", "AIL", "AIP", "ARQ", "APR", "MSA", "ERR", "ORC", "OBR", "QRD",
    "QRF", "QPD", "RCP", "DSC", "FT1", "ARV", "PRT", "IAM",
];

/// Segments that must be there, and the fields of each that may not be empty.
type Required = &'static [(&'static str, &'static [usize])];
/// What a message of each code must hold.
const REQUIRED: [(&str, Required); 3] = [
    ("ADT", &[("EVN", &[2]), ("PID", &[3, 5]), ("PV1", &[2])]),
    ("SIU", &[("SCH", &[6]), ("PID", &[3, 5]), ("RGS", &[1])]),
    ("SRM", &[("ARQ", &[1]), ("RGS", &[1])]),
];

/// What a segment must hold where it is sent at all (HL7 v2.5.1: usage R).
const OF_SEGMENTS: Required = &[
    ("NK1", &[1]),
    ("MRG", &[1]),
    ("OBX", &[3, 11]),
    ("DG1", &[1, 6]),
    ("GT1", &[1, 3]),
    ("IN1", &[1, 2, 3]),
    ("RGS", &[1]),
    ("AIS", &[1, 3]),
    ("AIG", &[1, 4]),
    ("AIL", &[1]),
    ("AIP", &[1]),
];

/// The order of segments by message code; those of one place come in any order, and again. NTE, ROL, SFT and segments that
/// begin with Z stand anywhere.
const ORDER: [(&str, &[&str]); 2] = [
    (
        "ADT",
        &[
            "EVN",
            "PID",
            "PD1",
            "MRG NK1",
            "PV1",
            "PV2",
            "DB1",
            "OBX",
            "AL1 IAM",
            "DG1",
            "DRG",
            "PR1",
            "GT1",
            "IN1 IN2 IN3",
            "ACC",
            "UB1",
            "UB2",
            "PDA",
        ],
    ),
    (
        "SIU",
        &[
            "SCH",
            "TQ1",
            "PID",
            "PD1",
            "PV1",
            "PV2",
            "OBX",
            "DG1",
            "RGS AIS AIG AIL AIP",
        ],
    ),
];

/// Segments that come once; two patients in one message are an event of their own.
const ONCE: [&str; 6] = ["EVN", "PID", "PD1", "PV1", "PV2", "SCH"];
const OF_TWO_PATIENTS: [&str; 3] = ["A17", "A24", "A37"];

/// The structure that an event is sent in (MSH-9.3).
const STRUCTURES: [(&str, &str); 5] = [
    ("ADT_A01", "A01 A04 A08 A13"),
    ("ADT_A05", "A05 A14 A28 A31"),
    ("ADT_A30", "A34 A46 A47"),
    ("ADT_A39", "A39 A40 A41 A42"),
    (
        "SIU_S12",
        "S12 S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26",
    ),
];

/// Fields that are numbers of a set, times, and dates: segment and field.
const SET_IDS: [(&str, usize); 12] = [
    ("PID", 1),
    ("PV1", 1),
    ("NK1", 1),
    ("OBX", 1),
    ("DG1", 1),
    ("GT1", 1),
    ("IN1", 1),
    ("RGS", 1),
    ("AIS", 1),
    ("AIG", 1),
    ("AIL", 1),
    ("AIP", 1),
];
const TIMES: [(&str, usize); 12] = [
    ("MSH", 7),
    ("EVN", 2),
    ("EVN", 6),
    ("PID", 7),
    ("PID", 29),
    ("PV1", 44),
    ("PV1", 45),
    ("AIS", 4),
    ("AIG", 8),
    ("AIL", 6),
    ("AIP", 6),
    ("TQ1", 7),
];

/// The longest MSH-10 that every version allows.
const MOST_CONTROL_ID: usize = 20;

const VERSIONS: [&str; 12] = [
    "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.2",
];

/// What is wrong with a message, and its text as far as it is one.
pub(super) fn judge(bytes: &[u8]) -> (String, Vec<String>) {
    let mut findings = Vec::new();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            // Read as Latin-1, which MSH-18 must then say.
            bytes.iter().copied().map(char::from).collect()
        }
    };
    let Some(message) = Message::read(&text, &mut findings) else {
        findings.push("no MSH at the very beginning".into());
        return (text, findings);
    };
    header(&message, &mut findings);
    charset(&message, bytes, &mut findings);
    structure(&message, &mut findings);
    for segment in &message.segments {
        for (number, field) in segment.fields() {
            if segment.name == "MSH" && number <= 2 {
                continue;
            }
            if let Some(fault) = text_fault(field, message.separators) {
                findings.push(format!("{}-{number}: {fault}", segment.name));
            }
        }
    }
    (text, findings)
}

fn header(message: &Message<'_>, findings: &mut Vec<String>) {
    let field = |number| message.field("MSH", number);
    if field(1) != "|" || field(2) != "^~\\&" {
        findings.push("MSH-1 and MSH-2 are not |^~\\&".into());
    }
    for number in [3, 4, 5, 6, 7, 9, 10, 11, 12] {
        if field(number).is_empty() {
            findings.push(format!("MSH-{number} is empty"));
        }
    }
    if field(10).len() > MOST_CONTROL_ID {
        findings.push(format!("MSH-10 is longer than {MOST_CONTROL_ID}"));
    }
    if !VERSIONS.contains(&message.component("MSH", 12, 1)) {
        findings.push("MSH-12 is no version".into());
    }
    if !["P", "T", "D"].contains(&message.component("MSH", 11, 1)) {
        findings.push("MSH-11 is none of P, T and D".into());
    }
    let (code, event) = (
        message.component("MSH", 9, 1),
        message.component("MSH", 9, 2),
    );
    let is_code = |text: &str| {
        text.len() == 3
            && text
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    if !is_code(code) || !is_code(event) {
        findings.push("MSH-9 is not a message code and a trigger event".into());
    }
    let said = message.field("EVN", 1);
    if !said.is_empty() && said != event {
        findings.push("EVN-1 is not the event of MSH-9".into());
    }
    // Without an offset nobody knows which hour is meant.
    if !field(7).is_empty() && !field(7).contains(['+', '-']) {
        findings.push("MSH-7 has no offset".into());
    }
    for number in [15, 16] {
        if !["", "AL", "NE", "ER", "SU"].contains(&field(number)) {
            findings.push(format!("MSH-{number} is not of table 0155"));
        }
    }
}

fn charset(message: &Message<'_>, bytes: &[u8], findings: &mut Vec<String>) {
    let said = message.component("MSH", 18, 1);
    let is_utf8 = std::str::from_utf8(bytes).is_ok();
    let fits = match said {
        "" | "ASCII" => bytes.is_ascii(),
        "UNICODE UTF-8" | "UTF-8" => is_utf8,
        _ => bytes.is_ascii() || !is_utf8,
    };
    if !fits {
        findings.push("the bytes are not of the character set that MSH-18 names".into());
    }
}

fn structure(message: &Message<'_>, findings: &mut Vec<String>) {
    for segment in &message.segments {
        let is_name = segment.name.len() == 3
            && segment
                .name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !is_name {
            findings.push("a line is no segment".into());
        } else if !KNOWN.contains(&segment.name) && !segment.name.starts_with('Z') {
            findings.push(format!("{} is no segment of such a message", segment.name));
        }
        types(segment, findings);
    }
    let headers = message.segments.iter().filter(|it| it.name == "MSH");
    if headers.count() > 1 {
        findings.push("a second MSH in one frame".into());
    }
    let code = message.component("MSH", 9, 1);
    let required = REQUIRED.iter().find(|(known, _)| *known == code);
    for (name, fields) in required.map_or(&[][..], |(_, segments)| segments) {
        if message.segment(name).is_none() {
            findings.push(format!("{name} is missing"));
            continue;
        }
        for number in *fields {
            if matches!(message.field(name, *number), "" | "\"\"") {
                findings.push(format!("{name}-{number} is empty"));
            }
        }
    }
    order(message, findings);
    for segment in &message.segments {
        let required = OF_SEGMENTS.iter().find(|(name, _)| *name == segment.name);
        // What the message must hold has been looked at.
        let required = required.filter(|(name, _)| *name != "RGS" || code != "SIU");
        for number in required.map_or(&[][..], |(_, fields)| fields) {
            if segment.field(*number).is_empty() {
                findings.push(format!("{}-{number} is empty", segment.name));
            }
        }
    }
    if code == "SIU" && message.field("SCH", 1).is_empty() && message.field("SCH", 2).is_empty() {
        findings.push("SCH-1 and SCH-2 are empty".into());
    }
    if message.component("MSH", 9, 2) == "A40" && message.segment("MRG").is_none() {
        findings.push("MRG is missing".into());
    }
    identifiers(message, findings);
}

/// Segments stand where those of such a message do, and as often.
fn order(message: &Message<'_>, findings: &mut Vec<String>) {
    let (code, event) = (
        message.component("MSH", 9, 1),
        message.component("MSH", 9, 2),
    );
    let said = message.component("MSH", 9, 3);
    let structure = STRUCTURES.iter().find(|(structure, events)| {
        structure.starts_with(code) && events.split(' ').any(|known| known == event)
    });
    if structure.is_some_and(|(structure, _)| !said.is_empty() && said != *structure) {
        findings.push("MSH-9.3 is not the structure of the event".into());
    }
    let Some((_, order)) = ORDER.iter().find(|(known, _)| *known == code) else {
        return;
    };
    let mut reached = 0;
    for segment in message.segments.iter().skip(1) {
        let name = segment.name;
        let anywhere = ["NTE", "ROL", "SFT", "MSH"].contains(&name) || name.starts_with('Z');
        if anywhere || !KNOWN.contains(&name) {
            continue;
        }
        let place = order
            .iter()
            .position(|names| names.split(' ').any(|known| known == name));
        match place {
            None => findings.push(format!("{name} does not belong into {code}")),
            Some(place) if place < reached => findings.push(format!("{name} is out of order")),
            Some(place) => reached = place,
        }
    }
    for name in ONCE {
        let count = message.segments.iter().filter(|it| it.name == name).count();
        if count > 1 && !OF_TWO_PATIENTS.contains(&event) {
            findings.push(format!("{name} comes {count} times"));
        }
    }
}

/// Every identifier of PID-3 says whose it is.
fn identifiers(message: &Message<'_>, findings: &mut Vec<String>) {
    let separators = message.separators;
    for repetition in message.field("PID", 3).split(separators.repetition) {
        let parts: Vec<&str> = repetition.split(separators.component).collect();
        let is_there = |at: usize| parts.get(at).is_some_and(|part| !part.is_empty());
        let is_whole = is_there(0) && is_there(3);
        if !repetition.is_empty() && !is_whole {
            findings.push("PID-3: an identifier without its assigning authority".into());
        }
    }
}

fn types(segment: &Segment<'_>, findings: &mut Vec<String>) {
    let name = segment.name;
    let null = "\"\"";
    for (known, number) in SET_IDS {
        let value = segment.field(number);
        if known == name && !value.is_empty() && !value.bytes().all(|b| b.is_ascii_digit()) {
            findings.push(format!("{name}-{number} is no number"));
        }
    }
    for (known, number) in TIMES {
        let value = segment.field(number);
        if known == name && !value.is_empty() && value != null && !is_time(value) {
            findings.push(format!("{name}-{number} is no time"));
        }
    }
    let sexes = ["", null, "F", "M", "O", "U", "A", "N"];
    if name == "PID" && !sexes.contains(&segment.field(8)) {
        findings.push("PID-8 is not of table 0001".into());
    }
    // Digits are a birth date's precision: one with hours is not what anybody is asked for.
    if name == "PID" && segment.field(7) != null && segment.field(7).len() > 8 {
        findings.push("PID-7 is more than a date".into());
    }
}

/// `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+|-ZZZZ]`.
fn is_time(text: &str) -> bool {
    let (whole, offset) = match text.find(['+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (digits, part) = whole.split_once('.').unwrap_or((whole, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let number = |at: usize| -> Option<u32> { digits.get(at..at + 2)?.parse().ok() };
    let within = |at, least, most| number(at).is_none_or(|n| (least..=most).contains(&n));
    // A day that its month does not have is no day.
    let day = (digits.get(..4), number(4), number(6));
    let is_day = match day {
        (Some(year), Some(month), Some(day)) => year
            .parse()
            .is_ok_and(|year| jiff::civil::Date::new(year, month as i8, day as i8).is_ok()),
        _ => true,
    };
    all_digits(digits)
        && is_day
        && [4, 6, 8, 10, 12, 14].contains(&digits.len())
        && within(4, 1, 12)
        && within(6, 1, 31)
        && within(8, 0, 23)
        && within(10, 0, 59)
        && within(12, 0, 59)
        && (part.is_empty() && !whole.ends_with('.')
            || digits.len() == 14 && part.len() <= 4 && all_digits(part))
        && (offset.is_empty() || offset.len() == 5 && all_digits(&offset[1..]))
}

/// What is wrong with the text of one field: control characters, escapes.
fn text_fault(field: &str, separators: Separators) -> Option<&'static str> {
    if field.chars().any(|c| c.is_control()) {
        return Some("a control character");
    }
    let mut rest = field;
    while let Some(at) = rest.find(separators.escape) {
        let after = &rest[at + separators.escape.len_utf8()..];
        let Some(end) = after.find(separators.escape) else {
            return Some("an escape character that begins nothing");
        };
        if !is_escape(&after[..end]) {
            return Some("an escape that is none");
        }
        rest = &after[end + separators.escape.len_utf8()..];
    }
    None
}

fn is_escape(text: &str) -> bool {
    let is_hex = |text: &str| {
        !text.is_empty()
            && text.len().is_multiple_of(2)
            && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    matches!(text, "F" | "S" | "T" | "R" | "E" | "H" | "N" | ".br")
        || text.strip_prefix(['X', 'Z', 'C', 'M']).is_some_and(is_hex)
        || ["sp", "fi", "nf", "in", "ti", "sk", "ce"]
            .iter()
            .any(|word| text.strip_prefix('.').is_some_and(|t| t.starts_with(word)))
}
