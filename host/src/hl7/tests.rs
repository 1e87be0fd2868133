//! Cases are data: one `check` for each thing, then the laws that hold for any bytes.

use super::*;
use answers::now;

mod answers;
mod laws;

const ADMIT: &str = "MSH|^~\\&|EHR^1.2^ISO|NORTH|CRM|HUB|20260102030405||ADT^A04^ADT_A01|M-7|P|2.5.1\r\
EVN|A04|20260102\r\
PID|1||0012^^^WEST&1.2&ISO^MR~98^^^EAST^PI||Roe&van&X^Ann^\"\"^^Dr||19800203|F|||1 \\T\\ 2 Street\\.br\\East^^Town||(555)0100~(555)0199\r\
OBX|1|ST|code||first\r\
OBX|2|ST|code||second\r\
ZPI|local|\"\"\r";

fn message(text: &str) -> Message {
    Message::parse(text.as_bytes()).unwrap()
}

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

/// Renders the content at a path.
fn at(message: &Message, place: &str) -> String {
    match message.get(&path(place)) {
        Content::Absent => "absent".into(),
        Content::Null => "null".into(),
        Content::Text(text) => format!("'{text}'"),
    }
}

fn codes(message: &Message) -> Vec<&'static str> {
    message
        .warnings()
        .iter()
        .map(|warning| warning.code)
        .collect()
}

#[test]
fn get_reads_first_leaves_in_three_states() {
    let admit = message(ADMIT);
    for (place, expected) in [
        ("MSH-1", "'|'"),
        ("MSH-2", "'^~\\&'"),
        ("MSH-3", "'EHR'"),
        ("MSH-3.3", "'ISO'"),
        ("MSH-12", "'2.5.1'"),
        ("PID-3", "'0012'"),
        ("PID-3[2].1", "'98'"),
        ("PID-3[3].1", "absent"),
        ("PID-3.4.2", "'1.2'"),
        ("PID-3[.5='PI'].1", "'98'"),
        ("PID-3[.5='MR' and .4='WEST'].1", "'0012'"),
        ("PID-3[.5='MR' and .4='EAST'].1", "absent"),
        ("PID-5", "'Roe'"),
        ("PID-5.1.2", "'van'"),
        ("PID-5.3", "null"),
        ("PID-5.3.2", "null"),
        ("PID-5.4", "absent"),
        ("PID-5.9", "absent"),
        ("PID-11", "'1 & 2 Street\nEast'"),
        ("PID-99", "absent"),
        ("OBX[2]-5", "'second'"),
        ("OBX[3]-5", "absent"),
        ("ZPI-2.7", "null"),
        ("pid.8", "'F'"),
        ("PV1", "absent"),
        ("PID", "'PID'"),
    ] {
        assert_eq!(at(&admit, place), expected, "{place}");
    }
    let all = |place: &str| -> Vec<String> {
        let hits = admit.get_all(&path(place)).into_iter();
        hits.map(|hit| hit.text_or_empty().into_owned()).collect()
    };
    assert_eq!(all("OBX[*]-5"), ["first", "second"]);
    assert_eq!(all("PID-13[*]"), ["(555)0100", "(555)0199"]);
    assert_eq!(all("PID-13"), ["(555)0100"]);
    assert_eq!(all("PID-3[.2=''].1"), ["0012", "98"]);
    assert_eq!(all("PID-3[.2=''][2].1"), ["98"]);
}

#[test]
fn raw_and_count() {
    let admit = message(ADMIT);
    assert_eq!(
        admit.raw(&path("PID-3")),
        Some("0012^^^WEST&1.2&ISO^MR~98^^^EAST^PI")
    );
    assert_eq!(admit.raw(&path("PID-3[2]")), Some("98^^^EAST^PI"));
    assert_eq!(admit.raw(&path("PID-3.4")), Some("WEST&1.2&ISO"));
    assert_eq!(admit.raw(&path("PID-4")), Some(""));
    assert_eq!(admit.raw(&path("PID-40")), None);
    assert_eq!(admit.raw(&path("EVN")), Some("EVN|A04|20260102"));
    for (place, expected) in [
        ("OBX", 2),
        ("OBX[2]", 1),
        ("OBX[3]", 0),
        ("PV1", 0),
        ("PID-3", 2),
        ("PID-4", 0),
        ("PID-3[.5='MR']", 1),
        ("PID-3[2]", 1),
        ("OBX[*]-5", 2),
        ("MSH-2", 1),
    ] {
        assert_eq!(admit.count(&path(place)), expected, "{place}");
    }
    let names: Vec<_> = admit.segment_names().collect();
    assert_eq!(names, ["MSH", "EVN", "PID", "OBX", "OBX", "ZPI"]);
}

#[test]
fn header_falls_back_to_the_event_segment() {
    let admit = message("MSH|^~\\&|A|B|||2026||ADT|  9|T|2.3|||AL|NE\rEVN|A08\r");
    let header = admit.header();
    assert_eq!(header.control_id, "  9");
    assert_eq!(
        (&*header.message_code, &*header.trigger_event),
        ("ADT", "A08")
    );
    assert_eq!((&*header.processing_id, &*header.version), ("T", "2.3"));
    assert_eq!(
        (&*header.accept_ack, &*header.application_ack),
        ("AL", "NE")
    );
}

#[test]
fn structure_oddities_are_warnings() {
    let check = |text: &str, names: &[&str], expected: &[&str]| {
        let message = message(text);
        assert_eq!(
            message.segment_names().collect::<Vec<_>>(),
            names,
            "{text:?}"
        );
        assert_eq!(codes(&message), expected, "{text:?}");
        assert_eq!(message.to_bytes(), text.as_bytes());
    };
    check("MSH|^~\\&|A\rPID\rPV1|1", &["MSH", "PID", "PV1"], &[]);
    check(
        "MSH|^~\\&|A\r\nPID|1\r\n",
        &["MSH", "PID"],
        &[warning::LINE_END],
    );
    check(
        "MSH|^~\\&|A\nPID|1\n\nPV1|\r",
        &["MSH", "PID", "PV1"],
        &[warning::LINE_END, warning::BLANK_LINE],
    );
    check(
        "MSH|^~\\&|A\rNTE|1||so\nmore | text\ryes\r",
        &["MSH", "NTE"],
        &[
            warning::LINE_END,
            warning::NOT_A_SEGMENT,
            warning::NOT_A_SEGMENT,
        ],
    );
    check(
        "msh|^~\\&|A\rpid|1|2",
        &["MSH", "PID"],
        &[warning::LOWER_CASE_SEGMENT, warning::LOWER_CASE_SEGMENT],
    );
    check("\u{b}\nMSH|^~\\&|A\r", &["MSH"], &[warning::LEADING_BYTES]);
    check(
        "MSH|^~\\&|A\rMSH|^~\\&|B",
        &["MSH", "MSH"],
        &[warning::SECOND_HEADER],
    );
    check("MSH|^~\\\\&|A^B\r", &["MSH"], &[warning::DOUBLED_ESCAPE]);
    check("MSH|^~&|A\r", &["MSH"], &[warning::SHORT_DELIMITERS]);
    check(
        "MSH|^~\\&|a\\b|c\\Xz\\d|\\q\\|\\F\\|\\H\\x\\N\\\r",
        &["MSH"],
        &[
            warning::ESCAPE_UNTERMINATED,
            warning::ESCAPE_BAD_HEX,
            warning::ESCAPE_UNTERMINATED,
            warning::ESCAPE_UNKNOWN,
            warning::ESCAPE_UNTERMINATED,
        ],
    );
    assert_eq!(
        Message::parse(b"PID|1").unwrap_err(),
        Error::NotHl7 { offset: 0 }
    );
    assert_eq!(
        Message::parse(b"  ").unwrap_err(),
        Error::NotHl7 { offset: 2 }
    );
    assert!(matches!(
        Message::parse(b"MSH|^^\\&|"),
        Err(Error::BadDelimiters { offset: 5, .. })
    ));
    assert!(matches!(
        Message::parse(b"\rMSHA^"),
        Err(Error::BadDelimiters { offset: 4, .. })
    ));
}

#[test]
fn character_sets() {
    let check = |bytes: &[u8], expected: &str, warnings: &[&str]| {
        let mut message = Message::parse(bytes).unwrap();
        assert_eq!(at(&message, "PID-5"), format!("'{expected}'"));
        assert_eq!(codes(&message), warnings);
        assert_eq!(message.to_bytes(), bytes);
        // The rest of the line stays as it was received.
        message.set(&path("PID-7"), Fill::Text("1980")).unwrap();
        assert_eq!(message.to_bytes(), [bytes, b"||1980"].concat());
    };
    let in_set = |set: &str, name: &[u8]| {
        [
            format!("MSH|^~\\&|A|||||||1|P|2.5||||||{set}\rPID|||||").as_bytes(),
            name,
        ]
        .concat()
    };
    check(
        &in_set("", "Zoë".as_bytes()),
        "Zoë",
        &[warning::CHARSET_UNDECLARED],
    );
    check(
        &in_set("", b"Zo\xEB"),
        "Zoë",
        &[warning::CHARSET_UNDECLARED],
    );
    check(
        &in_set(" unicode utf-8~ASCII", "Zoë".as_bytes()),
        "Zoë",
        &[],
    );
    check(
        &in_set("UNICODE UTF-8", b"Zo\xEB"),
        "Zoë",
        &[warning::CHARSET_MISMATCH],
    );
    check(&in_set("8859/1", b"Zo\xEB"), "Zoë", &[]);
    check(&in_set("8859/2", b"Ko\xB9ice"), "Košice", &[]);
    check(&in_set("8859/15", b"\xA4"), "€", &[]);
    check(
        &in_set("KLINGON", b"Zo\xEB"),
        "Zoë",
        &[warning::CHARSET_UNKNOWN, warning::CHARSET_MISMATCH],
    );
    // The second byte of each is a delimiter in ASCII.
    check(&in_set("GB 18030-2000", b"\x81\x7C\x81\x5E"), "亅乛", &[]);
    check(&in_set("MS932", b"\x83\x5C\x83\x7C"), "ソポ", &[]);
    check(
        &[b"\xEF\xBB\xBF", &*in_set("8859/1", "Zoë".as_bytes())].concat(),
        "Zoë",
        &[warning::BYTE_ORDER_MARK],
    );
    let strict = Options {
        strict_charset: true,
        ..Options::default()
    };
    let error = Message::parse_with(&in_set("", b"Zo\xEB"), strict).unwrap_err();
    assert!(matches!(
        error,
        Error::NotInCharset {
            charset: "UTF-8",
            ..
        }
    ));
}

#[test]
fn joined_lines_are_read_set_and_written_as_one() {
    let joining = Options {
        join_lines: true,
        ..Options::default()
    };
    let bytes =
        b"MSH|^~\\&|A|||||||1|P|2.5||||||8859/1\rNTE|1||Zo\xEB\nsecond\xE9 \\T\\|x\rPV1|1\r";
    let mut message = Message::parse_with(bytes, joining).unwrap();
    assert_eq!(at(&message, "NTE-3"), "'Zo\u{EB}\nsecond\u{E9} &'");
    assert_eq!(at(&message, "NTE-4"), "'x'");
    assert_eq!(
        codes(&message),
        [warning::LINE_END, warning::CONTINUATION_LINE]
    );
    message.set(&path("NTE-4"), Fill::Text("y")).unwrap();
    let written: &[u8] = b"\rNTE|1||Zo\xEB\\.br\\second\xE9 \\T\\|y\rPV1|1\r";
    assert!(message.bytes().ends_with(written));
    // Without the option the line is out of reach and stays where it is.
    let message = Message::parse(bytes).unwrap();
    assert_eq!(at(&message, "NTE-3"), "'Zo\u{EB}'");
    assert_eq!(*message.bytes(), *bytes);
}

#[test]
fn set_changes_one_element_and_grows_what_is_missing() {
    let check = |line: &str, place: &str, fill: Fill<'_>, expected: &str| {
        let start = "MSH|^~\\&|A\r\n";
        let mut message = message(&format!("{start}{line}\nPV1|1"));
        message.set(&path(place), fill).unwrap();
        let bytes = message.to_bytes();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            format!("{start}{expected}\nPV1|1"),
            "{place}"
        );
    };
    use Fill::{Empty, Null, Text};
    check("PID|1", "PID-5.2", Text("Ann"), "PID|1||||^Ann");
    check("PID|1", "PID-3[3].4.2", Text("x"), "PID|1||~~^^^&x");
    check("PID|1||a^b~c", "PID-3", Text("z"), "PID|1||z");
    check("PID|1||a^b~c", "PID-3[1]", Text("z"), "PID|1||z~c");
    check("PID|1||a^b~c", "PID-3.1", Text("z"), "PID|1||z^b~c");
    check("PID|1||a^b~c", "PID-3[2].1.2", Text("z"), "PID|1||a^b~c&z");
    check(
        "PID|1||a^b~c^MR|",
        "PID-3[.2='MR'].1",
        Text("z"),
        "PID|1||a^b~z^MR|",
    );
    check("PID|1||a^b~c", "PID-3.2", Empty, "PID|1||a~c");
    check("PID|1||a^b~c", "PID-3[2]", Empty, "PID|1||a^b");
    check("PID|1||a^b^", "PID-3.2", Empty, "PID|1||a^^");
    check("PID|1|||x", "PID-4", Empty, "PID|1");
    check("PID|1|||x||", "PID-4", Text(""), "PID|1|||||");
    check("PID|1", "PID-9", Empty, "PID|1");
    check("PID|1|a", "PID-2", Null, "PID|1|\"\"");
    check("PID|1|\"\"", "PID-2.2", Text("b"), "PID|1|^b");
    check(
        "PID|1",
        "PID-2",
        Text("a|b^c~d\\e&f\r\ng\u{b}"),
        "PID|1|a\\F\\b\\S\\c\\R\\d\\E\\e\\T\\f\\.br\\g\\X0B\\",
    );
    check("PID|1", "PID-2", Text("\"\""), "PID|1|\"\\X22\\");
    check("pid|", "PID-1", Text("1"), "pid|1");
}

#[test]
fn set_adds_segments_and_reads_its_own_edits() {
    let mut admit = message("MSH|^~\\&|A\nPID|1");
    admit.set(&path("PID-2"), Fill::Text("x")).unwrap();
    admit.set(&path("NTE[2]-3"), Fill::Text("note")).unwrap();
    admit.set(&path("NTE-1"), Fill::Text("1")).unwrap();
    admit.set(&path("MSH-10"), Fill::Text("7")).unwrap();
    assert_eq!(at(&admit, "NTE[2]-3"), "'note'");
    assert_eq!(admit.header().control_id, "7");
    assert_eq!(admit.count(&path("NTE")), 2);
    let text = String::from_utf8(admit.to_bytes()).unwrap();
    assert_eq!(text, "MSH|^~\\&|A|||||||7\nPID|1|x\rNTE|1\rNTE|||note\r");
    assert_eq!(admit.normalize(), text.replace('\n', "\r").as_bytes());
}

#[test]
fn set_refuses_what_names_no_place() {
    let mut short = message("MSH|^~&|A\rPID|1||a");
    for place in [
        "PID",
        "MSH-1",
        "MSH-2",
        "PID[*]-3",
        "PID-3[*]",
        "PID-3[.1='b'].1",
    ] {
        let error = short.set(&path(place), Fill::Text("x")).unwrap_err();
        assert!(matches!(error, Error::NotSettable { .. }), "{place}");
    }
    assert!(short.set(&path("PID-3"), Fill::Text("a|b")).is_err());
    assert_eq!(short.to_bytes(), b"MSH|^~&|A\rPID|1||a");
}

#[test]
fn text_outside_the_set_is_written_as_a_question_mark() {
    let mut latin =
        Message::parse(b"MSH|^~\\&|A|||||||1|P|2.5||||||8859/1\rPID|\xEB|\xE9").unwrap();
    latin.set(&path("PID-3"), Fill::Text("é語")).unwrap();
    assert_eq!(codes(&latin), [warning::CHARSET_UNMAPPABLE]);
    assert!(latin.to_bytes().ends_with(b"\rPID|\xEB|\xE9|\xE9?"));
}

#[test]
fn paths_read_and_write() {
    for text in [
        "PID",
        "OBX[2]",
        "OBX[*]-5",
        "PID-5.1.2",
        "PID-3[2].1",
        "PID-3[.5='MR' and .4.2='O''Neill']",
        "PID-3[.5='MR'][2].1",
        "PID-3[.1='a]b'].1",
    ] {
        assert_eq!(path(text).to_string(), text);
    }
    assert_eq!(
        path("pid.3[ .5 = 'MR'  and.1=''].1").to_string(),
        "PID-3[.5='MR' and .1=''].1"
    );
    let check = |text: &str, character: usize| {
        let error = text.parse::<Path>().unwrap_err();
        assert_eq!(error.at, character, "{error}");
    };
    check("", 1);
    check("PI", 3);
    check("PIDX-3", 4);
    check("[3]", 1);
    check("PID-", 5);
    check("PID-0", 5);
    check("PID-3.", 7);
    check("PID-3.1.2.3", 10);
    check("PID-3[", 7);
    check("PID-3[1", 8);
    check("PID-3[.5=MR]", 10);
    check("PID-3[.5='MR]", 10);
    check("PID-3[.5='é' or .4='x']", 14);
    check("PID-10000", 5);
    insta::assert_snapshot!("PID-3[.5='MR' or".parse::<Path>().unwrap_err(), @r#"path "PID-3[.5='MR' or", character 15: expected and, or ]"#);
}

#[test]
fn paths_cover_what_lies_below() {
    for (grant, asked, expected) in [
        ("PID", "PID-5.1", true),
        ("PID-5", "PID-5[2].1", true),
        ("PID-5.1", "PID-5", false),
        ("PID-5.1", "PID-5.1.2", true),
        ("PID-3[.5='MR'].1", "PID-3.1", true),
        ("PID", "PV1-3", false),
        ("OBX[2]-5", "OBX[3]-5", true),
    ] {
        assert_eq!(
            path(grant).covers(&path(asked)),
            expected,
            "{grant} {asked}"
        );
    }
    let reads = path("PID-3[.5='MR' and .4.1='X'][2].1").reads();
    let reads: Vec<_> = reads.iter().map(Path::to_string).collect();
    assert_eq!(
        reads,
        ["PID-3.5", "PID-3.4.1", "PID-3[.5='MR' and .4.1='X'][2].1"]
    );
}

#[test]
fn batches() {
    let check = |text: &str, expected: &[&str]| {
        let split = batch::split(text.as_bytes());
        let split: Vec<_> = split
            .iter()
            .map(|entry| std::str::from_utf8(entry).unwrap())
            .collect();
        assert_eq!(split, expected, "{text:?}");
    };
    check("MSH|^~\\&|A\rPID|1\r", &["MSH|^~\\&|A\rPID|1\r"]);
    check("MSH|1\rMSH|2\n\nMSH|3", &["MSH|1\r", "MSH|2\n\n", "MSH|3"]);
    check(
        "FHS|^\rBHS|^\rMSH|1\rPID|1\rBTS|1\rBHS|^\rMSH|2\rBTS|1\rFTS|2\r",
        &["MSH|1\rPID|1\r", "MSH|2\r"],
    );
    check("BHS|^\rEVN|1\rMSH|1\r", &["EVN|1\r", "MSH|1\r"]);
    check("\n MSH|1\rMSH|2", &["\n MSH|1\r", "MSH|2"]);
    check("\u{feff}MSH|1\r", &["\u{feff}MSH|1\r"]);
    check("\u{feff}FHS|1\rMSH|1\r", &["MSH|1\r"]);
    check("nothing", &["nothing"]);
    check("", &[""]);
    let read = batch::read(b"BHS|^\rMSH|1\rBTS|2\rFTS|1");
    assert_eq!(read.count("BHS"), 1);
    assert_eq!(
        read.warnings,
        [Warning {
            code: batch::COUNT_DIFFERS,
            offset: 12
        }]
    );
}

#[test]
fn stamp_renames_a_message() {
    let stamped = stamp(ADMIT.as_bytes(), "NEW", &now()).unwrap();
    let expected = ADMIT
        .replace("20260102030405", "20260304050607+0100")
        .replace("M-7", "NEW");
    assert_eq!(String::from_utf8(stamped).unwrap(), expected);
    assert_eq!(ack::control_id(u128::MAX), "ZZZZZZZZZZZZZZZZZZZZ");
}
