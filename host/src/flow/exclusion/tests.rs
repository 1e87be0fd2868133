//! Messages that are left out, rule by rule, and what proptest makes up for patterns.

use proptest::prelude::*;

use super::*;

/// The code of the rule that `settings` (TOML) give for `segments` behind an MSH; empty if none does.
fn check(settings: &str, segments: &str, expected: &str) {
    let exclusions: Exclusions = toml::from_str(settings).unwrap();
    let text = format!("MSH|^~\\&|EHR|||||ADT^A08|1|P|2.5\r{segments}");
    let message = Message::parse(text.as_bytes()).unwrap();
    let event = Event::new("ADT", "A08");
    let rule = exclusions.rule(&event, &message).map(Rule::code);
    assert_eq!(rule.unwrap_or_default(), expected, "{settings} {segments}");
}

#[test]
fn patterns_fit_whole_values_in_any_case() {
    for (pattern, value, expected) in [
        ("ZZ*", "zztop", true),
        ("ZZ*", "ZZ", true),
        ("ZZ*", "Lizzy", false),
        ("*PSYCH*", "Outpatient Psychiatry", true),
        ("A*B*C", "aXbXbc", true),
        ("A*B*C", "aXbXbcd", false),
        ("*", "", true),
        ("VIP", "VIP2", false),
        ("ÄRZTE*", "ärztehaus", true),
        ("a.c", "abc", false),
    ] {
        assert_eq!(fits(pattern, value), expected, "{pattern} {value}");
    }
    assert!("  ".parse::<Pattern>().is_err());
}

fn fits(pattern: &str, value: &str) -> bool {
    pattern.parse::<Pattern>().unwrap().fits(value)
}

proptest! {
    /// A pattern is the pieces of a value with stars where others were.
    #[test]
    fn a_value_fits_what_it_was_cut_from(pieces in proptest::collection::vec("[a-zA-Z &^]{0,6}", 1..6)) {
        let pattern = format!("x{}y", pieces.join("*"));
        let value = format!("X{}Y", pieces.join("between"));
        prop_assert!(fits(&pattern, &value));
        prop_assert!(fits("*", &value));
        let longer = format!("{value}z");
        prop_assert!(!fits(&pattern, &longer));
    }
}

#[test]
fn names_of_every_patient_and_repetition_count() {
    let names = "names = [\"ZZ*\", \"TEST*\"]";
    check(names, "PID|1||7||zztop^Ann", "excluded-name");
    check(names, "PID|1||7||Roe^Test", "excluded-name");
    check(
        names,
        "PID|1||7||Roe^Ann~Doe^Ann^^^^^A~Test^Ann",
        "excluded-name",
    );
    check(
        names,
        "PID|1||7||van den Berg&van den&Zztop^Ann",
        "excluded-name",
    );
    check(
        names,
        "PID|1||7||Roe^Ann\rPV1|1\rPID|2||8||ZZ^Bea",
        "excluded-name",
    );
    check(names, "PID|1||7||Roe^Ann^Testa", "");
    check(names, "PID|1||7||\"\"", "");
    check(names, "NK1|1|Test^Ann", "");
    check(
        "proposals = [\"test-patients\"]",
        "PID|1||7||TESTPATIENT",
        "excluded-name",
    );
    check("", "PID|1||7||ZZTEST^TEST", "");
}

#[test]
fn protection_counts_unless_it_is_switched_off() {
    let (patient, visit) = ("PD1||||||||||||Y", "PV2||||||||||||||||||||||y");
    check("", patient, "excluded-protected");
    check("", visit, "excluded-protected");
    check("", "PD1||||||||||||N", "");
    check("", "PD1||||||||||||\"\"", "");
    check("", "PD1|||||||||||Y", "");
    check("protected = false", patient, "");
    check("protected = false", visit, "");
}

#[test]
fn codes_of_visits_and_resources_are_compared_where_they_stand() {
    let vip = "vip = [\"V\", \"9*\"]";
    check(vip, "PV1|1|O||||||||||||||v", "excluded-vip");
    check(vip, "PV1|1|O||||||||||||||91^Board", "excluded-vip");
    check(vip, "PV1|1|O||||||||||||||N", "");
    check("vip = [\"*\"]", "PV1|1|O||||||||||||||N", "excluded-vip");
    check("vip = [\"*\"]", "PV1|1|O", "");

    let departments = "departments = [\"3W\"]";
    check(departments, "PV1|1|I|3W^12^A^NORTH", "excluded-department");
    check(departments, "AIL|1||9E~3W^4", "excluded-department");
    check(departments, "PV1|1|I|9E^3W^A^3W", "");

    let locations = "locations = [\"north\", \"Annex B\"]";
    check(
        locations,
        "PV1|1|I|9E^1^A^NORTH&1.2&ISO",
        "excluded-location",
    );
    check(locations, "PV1|1|I|North", "excluded-location");
    check(
        locations,
        "PV1|1|I|9E^^^WEST^^^ANNEX B",
        "excluded-location",
    );
    check(
        locations,
        "AIL|1||9E^^^WEST^^^^^annex b",
        "excluded-location",
    );
    check(locations, "PV1|1|I|9E^NORTH^NORTH^WEST", "");

    let services = "services = [\"OBG\", \"Fertility*\"]";
    check(services, "PV1|1|O||||||||obg", "excluded-service");
    check(
        services,
        "AIS|1||F1^Fertility consultation^L",
        "excluded-service",
    );
    check(services, "AIS|1||1^^L^OBG^^99X", "excluded-service");
    check(services, "AIS|1||1^^OBG", "");
}

#[test]
fn proposals_are_taken_by_name() {
    let both = "proposals = [\"behavioural-health\", \"substance-use\"]";
    check(both, "PV1|1|O|BH-2", "excluded-location");
    check(
        both,
        "AIL|1||7^^^^^^^^Outpatient Psychiatry",
        "excluded-location",
    );
    check(both, "AIS|1||44^Alcohol counselling", "excluded-service");
    check(both, "PV1|1|O||||||||PSY", "excluded-service");
    check(both, "PV1|1|O|CARD||||||||CAR", "");
    check(both, "PID|1||7||ZZTEST", "");
    check("proposals = [\"substance-use\"]", "PV1|1|O|PSYCH", "");
    assert!(toml::from_str::<Exclusions>("proposals = [\"everything\"]").is_err());
    for proposal in Proposal::ALL {
        for pattern in proposal.patterns() {
            assert!(pattern.parse::<Pattern>().is_ok(), "{proposal:?}");
        }
    }
}

#[test]
fn events_are_named_whole_or_by_message_code() {
    check("events = [\"ADT^A08\"]", "", "excluded-event");
    check("events = [\"adt^*\"]", "", "excluded-event");
    check("events = [\"ORU^*\", \"ADT\", \"ADT^A0\"]", "", "");
}

#[test]
fn settings_come_back_as_they_were() {
    let text = "names = [\"ZZ*\"]\nprotected = false\nproposals = [\"substance-use\"]\n";
    let read: Exclusions = toml::from_str(text).unwrap();
    assert_eq!(toml::to_string(&read).unwrap(), text);
}
