//! A message with everything in it, and the laws for any message: the shape stays, the values go.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::hl7::{Content, dictionary};

const MESSAGE: &str = "MSH|^~\\&|EPIC|MAIN|LSQ|LSQ|20260301103000+0100||ADT^A04^ADT_A01|00017|P|2.5.1\r\
EVN|A04|20260301102959||01|OPER^Okafor^Ines|20260301102900\r\
PID|1|PT-88|00471100^^^CLINIC&1.2.3&ISO^MR~987-65-4320^^^USA^SS||Fenwick^Odalys^Q^^Dr.^^L~Roe^Odalys^^^^^M||19610926|F|\
|2106-3^White^HL70005|12 Oak \\T\\ Elm St.^Apt 3^Springfield^IL^62704^USA^H||(415)555-3210^PRN^PH^^^415^5553210~\
^NET^Internet^odalys.fenwick@example.org||en|M|CHR|||||||||||||N\r\
NK1|1|Fenwick^Jean-Luc|SPO|\"\"|+1 415 555 0199\r\
OBX|1|DT|8302-2^Height^LN||20260228||||||F\r\
OBX|2|TX|NOTE||Seen with \\H\\brother\\N\\ Tom\\.br\\again 4\\5 re.\r\
IN1|1|GOLD|BC01|Blue Cross||||GRP-77||||20250101|20261231|||Fenwick^Odalys^Q|SEL|19610926\r\
ZPI|1|19610926|VIP note for M\u{fc}ller|\u{5c71}\u{7530}|Y\r";

fn parsed(text: &str) -> Message {
    Message::parse(text.as_bytes()).unwrap()
}

fn deidentified(text: &str) -> String {
    String::from_utf8(deidentify(&parsed(text))).unwrap()
}

/// Letters, capital letters and digits as one of their kind.
fn shape(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            _ if letter.is_uppercase() => 'A',
            _ if letter.is_numeric() => '9',
            _ if letter.is_alphabetic() => 'a',
            _ => letter,
        })
        .collect()
}

/// Every leaf as `PID-3[2].1.1=text`, undecoded.
fn leaves(message: &Message) -> Vec<(String, String)> {
    let delimiters = message.delimiters();
    let mut leaves = Vec::new();
    for (index, segment) in message.segments().enumerate() {
        for number in 1..=segment.field_count() {
            for (repetition, text) in segment.repetitions(number).enumerate() {
                let components = text.raw().split(char::from(delimiters.component));
                for (component, text) in components.enumerate() {
                    let separator = delimiters.subcomponent.map_or('\u{0}', char::from);
                    for (part, leaf) in text.split(separator).enumerate() {
                        let mut place = String::new();
                        let _ = write!(
                            place,
                            "{index} {}-{number}[{}].{}.{}",
                            segment.name(),
                            repetition + 1,
                            component + 1,
                            part + 1
                        );
                        leaves.push((place, leaf.to_owned()));
                    }
                }
            }
        }
    }
    leaves
}

#[test]
fn the_shape_stays_and_the_values_go() {
    let other = deidentified(MESSAGE);
    assert_eq!(shape(&other), shape(MESSAGE));
    let line = |text: &str, number: usize| text.split('\r').nth(number).unwrap().to_owned();
    assert_eq!(line(&other, 0), line(MESSAGE, 0), "MSH stays");
    for value in [
        "Fenwick",
        "Odalys",
        "00471100",
        "987-65",
        "PT-88",
        "19610926",
        "555-3210",
        "Oak",
        "Springfield",
        "62704",
        "example",
        "Jean",
        "brother",
        "Tom",
        "VIP",
        "ller",
        "\u{5c71}\u{7530}",
        "GRP-77",
        "GOLD",
        "Okafor",
        "White",
        "8302-2",
        "20260301102",
        "20260228",
    ] {
        assert!(
            !other.split_once('\r').unwrap().1.contains(value),
            "{value} in {other}"
        );
    }
    let message = parsed(&other);
    let get = |path: &str| {
        message
            .get(&path.parse().unwrap())
            .text_or_empty()
            .into_owned()
    };
    for (path, kept) in [
        ("EVN-1", "A04"),
        ("PID-1", "1"),
        ("PID-3[1].5", "MR"),
        ("PID-3[2].5", "SS"),
        ("PID-5[1].7", "L"),
        ("PID-8", "F"),
        ("PID-11.7", "H"),
        ("PID-13[1].2", "PRN"),
        ("NK1-3", "SPO"),
        ("OBX-2", "DT"),
        ("OBX[2]-11", ""),
    ] {
        assert_eq!(get(path), kept, "{path}");
    }
    assert_eq!(message.get(&"NK1-4".parse().unwrap()), Content::Null);
    let text = message.raw(&"OBX[2]-5".parse().unwrap()).unwrap();
    for escape in ["\\H\\", "\\N\\", "\\.br\\"] {
        assert!(text.contains(escape), "{escape} in {text}");
    }
}

#[test]
fn dates_stay_dates_and_lie_as_far_apart() {
    let other = parsed(&deidentified(MESSAGE));
    let original = parsed(MESSAGE);
    let day = |message: &Message, path: &str| {
        let text = message
            .get(&path.parse().unwrap())
            .text_or_empty()
            .into_owned();
        let date = crate::hl7::value::DateTime::parse(&text).unwrap();
        jiff::civil::date(
            date.year as i16,
            date.month.unwrap() as i8,
            date.day.unwrap() as i8,
        )
    };
    let moved = |path: &str| (day(&original, path) - day(&other, path)).get_days();
    let days = moved("PID-7");
    assert!(days >= 400);
    for path in [
        "EVN-2", "EVN-6", "OBX-5", "IN1-12", "IN1-13", "IN1-18", "ZPI-2",
    ] {
        assert_eq!(moved(path), days, "{path}");
    }
    let time =
        |message: &Message| message.get(&"EVN-2".parse().unwrap()).text_or_empty()[8..].to_owned();
    assert_eq!(time(&other), time(&original));
}

#[test]
fn the_same_text_is_replaced_alike_in_one_message_only() {
    let other = parsed(&deidentified(MESSAGE));
    let get = |path: &str| {
        other
            .get(&path.parse().unwrap())
            .text_or_empty()
            .into_owned()
    };
    assert_eq!(get("PID-5.1"), get("NK1-2.1"));
    assert_eq!(get("PID-5.2"), get("IN1-16.2"));
    assert_eq!(deidentified(MESSAGE), deidentified(MESSAGE));
    let third = parsed(&deidentified(&MESSAGE.replace("00017", "00018")));
    let name = third
        .get(&"PID-5.1".parse().unwrap())
        .text_or_empty()
        .into_owned();
    assert_ne!(name, get("PID-5.1"));
}

#[test]
fn broken_lines_and_edits_are_covered() {
    let broken = "MSH|^~\\&|A|||||ORU^R01|1|P|2.5\rOBX|1|TX|||first\nbroken off: Odalys\n\rPID|1||77||Fenwick";
    let other = deidentified(broken);
    assert_eq!(shape(&other), shape(broken));
    assert!(!other.contains("Odalys") && !other.contains("Fenwick") && !other.contains("off"));
    let mut edited = parsed(broken);
    edited
        .set(
            &"PID-5.1".parse().unwrap(),
            crate::hl7::Fill::Text("Secretname"),
        )
        .unwrap();
    let other = String::from_utf8(deidentify(&edited)).unwrap();
    assert!(
        !other.contains("Secretname") && !other.contains("Fenwick"),
        "{other}"
    );
}

#[test]
fn characters_in_hexadecimal_are_replaced_as_such() {
    let text = "MSH|^~\\&|A|||||ORU^R01|1|P|2.5\rOBX|1|TX|1||\\X4A6F0D39\\\r";
    let other = parsed(&deidentified(text));
    let raw = other.raw(&"OBX-5".parse().unwrap()).unwrap();
    let digits = raw.strip_prefix("\\X").unwrap().strip_suffix('\\').unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    assert!(byte(0).is_ascii_uppercase() && byte(0) != b'J');
    assert!(byte(2).is_ascii_lowercase() && byte(2) != b'o');
    assert_eq!(byte(4), b'\r');
    assert!(byte(6).is_ascii_digit() && byte(6) != b'9');
}

#[test]
fn a_mask_shows_the_shape_alone() {
    let masked = String::from_utf8(mask(&parsed(MESSAGE))).unwrap();
    let name = masked.split('\r').nth(3).unwrap();
    assert_eq!(name, "NK1|1|Xxxxxxx^Xxxx-Xxx|SPO|\"\"|+9 999 999 9999");
}

/// What may stand in a leaf, escapes and other scripts among it.
fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-z]{0,12}",
        2 => "[0-9]{1,14}",
        2 => "[a-zA-Z0-9 .@'-]{1,20}",
        1 => "[\u{c0}-\u{ff}\u{410}-\u{44f}\u{4e00}-\u{4e20}a-z]{1,6}",
        1 => "(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|1[0-9]|2[0-8])([01][0-9][0-5][0-9])?",
        1 => prop::sample::select(vec![
            "\"\"".to_owned(), "\\.br\\Odalys".into(), "a\\F\\b\\X4A\\".into(), "4\\5 re.".into(),
            "\\foo\\bar\\".into(), "\\Zname\\".into(), "\\X0D0A\\end".into(), "\\".into(),
        ]),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["PID", "NK1", "IN1", "OBX", "ZXY", "PV1", "GT1", "QQQ"]);
    let component = proptest::collection::vec(leaf(), 1..3).prop_map(|parts| parts.join("&"));
    let repetition = proptest::collection::vec(component, 1..4).prop_map(|parts| parts.join("^"));
    let field = proptest::collection::vec(repetition, 1..3).prop_map(|parts| parts.join("~"));
    (name, proptest::collection::vec(field, 0..20))
        .prop_map(|(name, fields)| format!("{name}|{}", fields.join("|")))
}

proptest! {
    #[test]
    fn any_message_keeps_its_shape_and_loses_its_values(lines in proptest::collection::vec(line(), 0..5)) {
        let text = format!("MSH|^~\\&|A|B|||20260301||ADT^A08|1|P|2.5\r{}\r", lines.join("\r"));
        let original = parsed(&text);
        let bytes = deidentify(&original);
        let other = Message::parse(&bytes).unwrap();
        prop_assert!(bytes == deidentify(&original), "not the same twice");
        let names = |message: &Message| message.segment_names().map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(names(&original), names(&other));
        let (before, after) = (leaves(&original), leaves(&other));
        prop_assert_eq!(before.len(), after.len());
        for ((place, before), (same, after)) in before.iter().zip(&after) {
            prop_assert_eq!(place, same);
            prop_assert_eq!(before.chars().count(), after.chars().count());
            let known = ["PID", "NK1", "IN1", "GT1"].iter().any(|name| place.contains(name));
            let tells = before.chars().filter(|letter| letter.is_alphanumeric()).count() >= 3;
            if known && tells && before == after {
                // Only a code of the standard's own tables may stand where it stood.
                let is_code = (1..1_000).any(|table| dictionary::table_value(table, before).is_some());
                let is_set_id = place.contains("-1[") && before.len() <= 4;
                let is_escape = before.contains('\\');
                prop_assert!(is_code || is_set_id || is_escape, "{} {}", place, before);
            }
        }
    }
}
