//! What the files say, and that they are whole.

use super::*;

#[test]
fn things_have_names() {
    let check = |path: &str, expected: &str| {
        let path: Path = path.parse().unwrap();
        assert_eq!(label(&path).as_deref().unwrap_or("-"), expected, "{path}");
    };
    check("PID", "Patient Identification");
    check("PID-5", "Patient Name");
    check("PID-5[2].1", "Patient Name, Family Name");
    check("PID-5.1.2", "Patient Name, Family Name, Own Surname Prefix");
    check(
        "PID-3[.5='MR'].4.1",
        "Patient Identifier List, Assigning Authority, Namespace ID",
    );
    check("PID-7.9", "Date/Time of Birth");
    check("PID-999", "-");
    check("ZPI", "-");
    check("ZPI-3", "-");
    assert_eq!(data_type("XPN"), Some("Extended Person Name"));
    assert_eq!(table(8), Some("Acknowledgment code"));
    assert_eq!(table_value(1, "F"), Some("Female"));
    assert_eq!(table_value(1, "f"), None);
    assert_eq!(table_value(9999, "F"), None);
    assert_eq!(component("XPN", 0), None);
}

#[test]
fn events_have_labels() {
    let update = event("ADT", "A08").unwrap();
    assert_eq!(update.label(), "A08 - Update patient information");
    assert_eq!((update.structure, update.answer), ("ADT_A01", "ACK"));
    assert_eq!(
        (update.since, update.until, update.deprecated),
        ("2.1", "2.8", false)
    );
    assert_eq!(event("SIU", "S26").unwrap().structure, "SIU_S12");
    assert!(event("ADT", "A18").unwrap().deprecated);
    assert_eq!(event("ADT", "Z99"), None);
    assert_eq!(event("ZZZ", "A08"), None);
    assert_eq!(event("ADT", "A08").unwrap().message_code, "ADT");
}

#[test]
fn a_field_tells_its_type_by_version() {
    let name = field("PID", 5).unwrap();
    assert_eq!(
        (name.data_type, name.repeats, name.table),
        ("XPN", true, None)
    );
    for (version, expected) in [
        ("2.1", "PN"),
        ("2.2", "PN"),
        ("2.3", "XPN"),
        ("2.8", "XPN"),
        ("", "XPN"),
        ("3", "XPN"),
    ] {
        assert_eq!(name.data_type_in(version), expected, "{version}");
    }
    let sex = field("PID", 8).unwrap();
    assert_eq!((sex.table, sex.data_type_in("2.7.1")), (Some(1), "CWE"));
    assert!(field("PID", 9).unwrap().withdrawn);
    assert_eq!(field("PID", 40).unwrap().since, "2.7");
}

#[test]
fn the_files_are_sorted_and_whole() {
    for (file, count) in [
        (segments_file(), 191),
        (types_file(), 97),
        (tables_file(), 383),
    ] {
        assert_eq!(file.0.len(), count);
        assert!(file.0.iter().all(|block| !block.title.is_empty()));
    }
    for file in [segments_file(), types_file(), tables_file(), events_file()] {
        assert!(file.0.is_sorted_by(|a, b| a.key < b.key));
    }
    for file in [segments_file(), types_file()] {
        for block in &file.0 {
            let all: Vec<_> = elements(Some(*block)).collect();
            assert_eq!(all.len(), block.lines.lines().count(), "{}", block.key);
            assert!(
                all.is_sorted_by(|a, b| a.number < b.number),
                "{}",
                block.key
            );
            assert!(
                all.iter().all(|element| !element.name.is_empty()),
                "{}",
                block.key
            );
        }
    }
    let fields: usize = segments_file()
        .0
        .iter()
        .map(|block| block.lines.lines().count())
        .sum();
    let events: usize = events_file()
        .0
        .iter()
        .map(|block| block.lines.lines().count())
        .sum();
    assert_eq!((fields, events), (2807, 450));
}
