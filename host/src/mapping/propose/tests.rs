//! Fields of an account in, rows with their confidence out.

use insta::assert_snapshot;

use super::*;
use crate::mapping::starter::STARTERS;

fn field(name: &str, label: &str, data_type: &str) -> Field {
    Field {
        name: name.into(),
        label: label.into(),
        data_type: data_type.into(),
        options: Vec::new(),
    }
}

/// Each proposal as target, confidence and the row's source.
fn proposed(fields: &[Field]) -> String {
    let sample = STARTERS.iter().find(|starter| starter.name == "adt-a01");
    let sample = sample.unwrap().sample.replace('\n', "\r");
    let template = Message::parse(sample.as_bytes()).unwrap();
    let proposals = rows(&template, fields);
    let lines = proposals.iter().map(|proposal| {
        let row = &proposal.row;
        format!(
            "{} {}%: {}\n",
            row.target, proposal.confidence, proposal.why
        )
    });
    lines.collect()
}

#[test]
fn the_usual_fields_find_their_places() {
    let fields = [
        field("FirstName", "First Name", "Text"),
        field("LastName", "Last Name", "Text"),
        field("EmailAddress", "Email", "Email"),
        field("Mobile", "Mobile Number", "Phone"),
        field("mx_MRN", "MRN", "Text"),
        field("mx_Date_of_Birth", "Date of Birth", "Date"),
        field("mx_Ward", "Ward", "Text"),
        field("mx_Admission_Date", "Admission Date", "DateTime"),
        field("mx_Marital", "Marital Status", "Select"),
        field("mx_Hair", "Colour of hair", "Text"),
        field("mx_Assigned", "Prior patient location", "Text"),
        // A name that fits and a type that does not.
        field("mx_City", "City", "Number"),
    ];
    assert_snapshot!(proposed(&fields), @"
    EmailAddress 100%: Email is Phone Number - Home of PID-13
    FirstName 100%: First Name is Patient Name, Given Name of PID-5.2
    LastName 100%: Last Name is Patient Name, Family Name of PID-5.1
    Mobile 100%: Mobile Number is Phone Number - Home of PID-13
    mx_Admission_Date 100%: Admission Date is Admit Date/Time of PV1-44
    mx_Date_of_Birth 100%: Date of Birth is Date/Time of Birth of PID-7
    mx_MRN 100%: MRN is Patient Identifier List of PID-3
    mx_Marital 100%: Marital Status is Marital Status of PID-16
    mx_Ward 100%: Ward is Assigned Patient Location of PV1-3
    mx_Assigned 50%: Prior patient location is Assigned Patient Location of PV1-3
    ");
}

#[test]
fn codes_become_the_options_that_the_field_has() {
    let mut gender = field("mx_Gender", "Gender", "Select");
    gender.options = vec!["male".into(), "female".into(), "Prefer not to say".into()];
    let template = Message::parse(b"MSH|^~\\&|A|B|C|D|20260302||ADT^A04|1|P|2.5\rPID|1|||||||F\r");
    let proposals = rows(&template.unwrap(), &[gender]);
    assert_eq!(proposals[0].confidence, 100);
    let mut document = Document::new(crate::flow::Direction::EhrToLeadSquared, "x");
    document.lead.push(proposals[0].row.clone());
    let text = document.to_text();
    assert!(
        text.contains(r#"{ map = { F = "female", M = "male" } }"#),
        "{text}"
    );
}

#[test]
fn every_concept_is_a_row() {
    for concept in CONCEPTS {
        let keys = match concept.kind {
            Kind::Sex => format!("{}\nsteps = {}", concept.row, sexes(&[])),
            _ => concept.row.to_owned(),
        };
        assert!(
            row(&field("x", "X", "Text"), &keys).is_some(),
            "{}",
            concept.row
        );
        assert!(concept.place.parse::<Path>().is_ok(), "{}", concept.place);
    }
}
