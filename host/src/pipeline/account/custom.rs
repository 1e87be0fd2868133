//! *Add custom*: a lead field, or a slot of an activity type, made in LeadSquared with a type and a length that fit
//! what an HL7 path holds.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Error, Field, Slot};
use crate::flow::AccountId;
use crate::hl7::{Path, dictionary};
use crate::leadsquared::{NewField, NewSlot};
use crate::pipeline::Pipeline;

/// Slots of one activity type, `mx_Custom_1` to `mx_Custom_50` (`leadsquared.md` 3).
const SLOTS: u32 = 50;

/// What a field for an HL7 path could be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Proposal {
    pub display_name: String,
    /// `Text`, `Number`, `Phone`, `Date` or `Boolean`, as LeadSquared calls them.
    pub data_type: String,
    /// In characters; texts only.
    pub max_length: Option<u32>,
}

/// Proposes a field for what stands at a path; the dictionary knows its name and data type.
pub fn propose(path: &Path) -> Proposal {
    let data_type = data_type(path);
    let (data_type, max_length) = match data_type {
        "DT" | "TS" | "DTM" => ("Date", None),
        "NM" | "SI" => ("Number", None),
        "TN" | "XTN" => ("Phone", None),
        // Coded: the code's text, which senders keep short.
        "ID" | "IS" | "CE" | "CWE" | "CNE" | "CF" => ("Text", Some(100)),
        // One line of an identifier.
        "EI" | "CX" | "CK" | "HD" => ("Text", Some(60)),
        // As long as LeadSquared's own page lets a text field be.
        "TX" | "FT" => ("Text", Some(256)),
        _ => ("Text", Some(200)),
    };
    let label = dictionary::label(path).unwrap_or_else(|| path.to_string());
    let letters = label.chars();
    let letters = letters.map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' });
    let plain: String = letters.collect();
    Proposal {
        display_name: plain.split_whitespace().collect::<Vec<_>>().join(" "),
        data_type: data_type.into(),
        max_length,
    }
}

/// A field that is written and is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Lacking {
    /// Such as `mx_Visit_Number`.
    pub schema_name: String,
    /// As it would be made.
    pub field: Proposal,
}

/// The fields among `written` that are not `known` and can be made; where `document`, the text of a mapping, takes one
/// from a single place as it is, that place says its type.
///
/// Only names that LeadSquared itself would make of a display name are there: `mx_`, and blanks as underscores.
pub fn lacking(document: &str, written: &BTreeSet<String>, known: &[Field]) -> Vec<Lacking> {
    let document: Value = toml::from_str(document).unwrap_or_default();
    let is_known = |name: &str| known.iter().any(|field| field.schema_name == name);
    let lacking = written.iter().filter(|name| !is_known(name));
    let lacking = lacking.filter_map(|name| {
        let display_name = name.strip_prefix("mx_")?.replace('_', " ");
        let typed = type_of(&document, name);
        Some(Lacking {
            schema_name: name.clone(),
            field: Proposal {
                display_name,
                ..typed.unwrap_or_else(|| Proposal {
                    display_name: String::new(),
                    data_type: "Text".into(),
                    max_length: Some(200),
                })
            },
        })
    });
    lacking.collect()
}

/// The type of what the row of a field takes from its one place, unless a step makes something else of it.
fn type_of(document: &Value, field: &str) -> Option<Proposal> {
    let mut rows = document["lead"].as_array()?.iter();
    let row = rows.find(|row| row["target"] == field)?;
    let mut steps = row["steps"].as_array().into_iter().flatten();
    if steps.any(Value::is_object) {
        return None;
    }
    // Several places are proposed for where all of them are of one kind.
    let several = row["first"].as_array().into_iter().flatten();
    let places = several.map(|place| place.get("path").unwrap_or(place));
    let mut proposals = places.chain(row.get("path")).map(|place| {
        let path = place.as_str()?.parse().ok()?;
        Some(propose(&path))
    });
    let first = proposals.next()??;
    let is_same = |other: Option<Proposal>| other.as_ref() == Some(&first);
    proposals.all(is_same).then_some(first)
}

/// The data type of what stands at a path; empty if the dictionary does not know it.
fn data_type(path: &Path) -> &'static str {
    let field = path.field();
    let Some(field) = field.and_then(|number| dictionary::field(path.segment(), number)) else {
        return "";
    };
    let mut data_type = field.data_type;
    for number in [path.component(), path.subcomponent()]
        .into_iter()
        .flatten()
    {
        match dictionary::component(data_type, number) {
            Some(part) => data_type = part.data_type,
            None => break,
        }
    }
    data_type
}

impl Pipeline {
    /// Makes a lead field and reads the account's fields again; gives the new one, which is not unique yet.
    pub async fn create_lead_field(
        &self,
        account: &AccountId,
        field: &Proposal,
        options: &[String],
    ) -> Result<Field, Error> {
        let client = &self.entry(account)?.client;
        let before = client.lead_fields().await?;
        let mut same = before
            .iter()
            .filter(|known| known.display_name.eq_ignore_ascii_case(&field.display_name));
        if let Some(known) = same.next() {
            return Err(Error::Refused(format!(
                "LeadSquared has a lead field {:?} already: {}",
                known.display_name, known.schema_name
            )));
        }
        client
            .create_lead_field(&NewField {
                display_name: field.display_name.clone(),
                data_type: field.data_type.clone(),
                max_length: field.max_length,
                options: options.to_vec(),
            })
            .await?;
        let fields = self.read_lead_fields(account).await?.document;
        let made = fields.into_iter().find(|made| {
            made.display_name == field.display_name
                && !before
                    .iter()
                    .any(|known| known.schema_name == made.schema_name)
        });
        made.ok_or_else(|| {
            Error::Refused(format!(
                "LeadSquared took the field {:?} and does not show it yet: read the metadata again in a moment",
                field.display_name
            ))
        })
    }

    /// Adds a slot to an activity type, the first that is free, and reads its slots again.
    pub async fn create_slot(
        &self,
        account: &AccountId,
        code: u32,
        field: &Proposal,
    ) -> Result<Slot, Error> {
        let taken = self.read_slots(account, code).await?.document;
        let is_free = |name: &String| !taken.iter().any(|slot| slot.schema_name == *name);
        let free = (1..=SLOTS).map(|number| format!("mx_Custom_{number}"));
        let Some(schema_name) = free.into_iter().find(is_free) else {
            return Err(Error::Refused(format!(
                "activity type {code} has no free slot: LeadSquared allows {SLOTS}"
            )));
        };
        let client = &self.entry(account)?.client;
        let data_type = match field.data_type.as_str() {
            "Text" | "Phone" => "String",
            "Date" => "DateTime",
            other => other,
        };
        client
            .add_slot(
                code,
                &NewSlot {
                    schema_name: schema_name.clone(),
                    display_name: field.display_name.clone(),
                    data_type: data_type.to_owned(),
                },
            )
            .await?;
        let slots = self.read_slots(account, code).await?.document;
        let made = slots
            .into_iter()
            .find(|slot| slot.schema_name == schema_name);
        made.ok_or_else(|| {
            Error::Refused(format!(
                "LeadSquared took slot {schema_name} and does not show it yet: read it again in a moment"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let Proposal {
            display_name,
            data_type,
            max_length,
        } = propose(&path.parse().unwrap());
        let length = max_length.map(|length| format!(" {length}"));
        assert_eq!(
            format!("{display_name}: {data_type}{}", length.unwrap_or_default()),
            expected
        );
    }

    #[test]
    fn fields_that_are_lacking_get_the_type_of_their_place() {
        let document = "[[lead]]\ntarget = \"mx_Seen\"\npath = \"PV1-44\"\n\
            [[lead]]\ntarget = \"mx_Patient_Class\"\npath = \"PV1-2\"\nsteps = [{ map = { O = \"Outpatient\" } }]\n";
        let written = [
            "FirstName",
            "Stage",
            "mx_MRN",
            "mx_Patient_Class",
            "mx_Seen",
        ];
        let written = written.map(str::to_owned).into();
        let known = Field {
            schema_name: "mx_MRN".into(),
            display_name: "MRN".into(),
            data_type: "Text".into(),
            is_mandatory: false,
            max_length: None,
            is_unique: true,
            is_locked_after_create: false,
            options: Vec::new(),
        };
        let found = lacking(document, &written, &[known]);
        let found: Vec<_> = (found.iter())
            .map(|one| {
                format!(
                    "{} {} {}",
                    one.schema_name, one.field.display_name, one.field.data_type
                )
            })
            .collect();
        assert_eq!(
            found,
            ["mx_Patient_Class Patient Class Text", "mx_Seen Seen Date"]
        );
    }

    #[test]
    fn fields_fit_what_stands_at_a_path() {
        check("PID-7", "Date Time of Birth: Date");
        check("PID-16", "Marital Status: Text 100");
        check("PID-5.1", "Patient Name Family Name: Text 200");
        check("PID-13", "Phone Number Home: Phone");
        check("PID-3.1", "Patient Identifier List ID Number: Text 200");
        check("SCH-9", "Appointment Duration: Number");
        check("ZPI-3", "ZPI 3: Text 200");
    }
}
