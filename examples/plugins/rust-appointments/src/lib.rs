//! An example vendor plugin: appointments (SIU) to activities, with a local segment and a provider directory.
//!
//! What a mapping document cannot say is here: the provider's code is looked up in a table that the administrator
//! keeps, several services become one text, and the vendor's own segment `ZAP` holds how to reach the visit.
//!
//! ```text
//! ZAP|video|https://visits.example.org/r/4711
//! ```

use ligature_guest::{
    Activity, InboundMapping, Manifest, Mapped, Message, Refusal, Setting, SettingKind, Write,
    codes, flow,
};

/// The vendor's mapping.
pub struct Appointments;

ligature_guest::export_inbound!(Appointments);

impl InboundMapping for Appointments {
    fn describe() -> Manifest {
        Manifest::new("appointments", env!("CARGO_PKG_VERSION"))
            .vendor("Example Scheduling Inc.")
            .summary(
                "Appointments become activities, with provider names and the way to a video visit.",
            )
            .events(["SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15", "SIU^S26"])
            .reads(["PID-3", "PID-5", "SCH", "AIS", "AIP-3", "ZAP"])
            .lead_target("mrn", "Medical record number", "mx_MRN")
            .lead_target("first-name", "First name", "FirstName")
            .lead_target("last-name", "Last name", "LastName")
            .activity_target("status", "Status", "Status")
            .activity_target("provider", "Provider", "mx_Custom_4")
            .activity_target("visit", "Way of the visit", "mx_Custom_6")
            .table("providers", "Provider code to display name")
            .setting(Setting {
                name: "authority".into(),
                label: "Assigning authority".into(),
                help: "Which identifier is the MRN: the fourth component of PID-3.".into(),
                kind: SettingKind::Text,
                required: false,
                default: None,
            })
    }

    fn to_lead_squared(message: &Message<'_>) -> Result<Mapped, Refusal> {
        let key = message.first_of(&["SCH-1.1", "SCH-2.1"])?;
        let key = key.ok_or_else(|| Refusal::Missing("SCH-1.1".into()))?;
        let at = match message.date_time("SCH-11.4")? {
            Some(at) => Some(at),
            None => message.date_time("AIS-4")?,
        };
        let activity = Activity::keyed(key)
            .at(at)
            .note(services(message)?)
            .field("status", status())
            .field("provider", provider(message)?)
            .field("visit", visit(message)?);
        Write::new()
            .lead("mrn", mrn(message)?)
            .lead("first-name", message.text("PID-5.2")?)
            .lead("last-name", message.text("PID-5.1")?)
            .activity(activity)
            .into_mapped()
    }
}

fn mrn(message: &Message<'_>) -> Result<String, Refusal> {
    match flow::setting("authority")? {
        Some(authority) => {
            // A quote ends the text in a path, so it is doubled.
            let authority = authority.replace('\'', "''");
            message.required(&format!("PID-3[.5='MR' and .4='{authority}'].1"))
        }
        None => message.required("PID-3[.5='MR'].1"),
    }
}

fn status() -> &'static str {
    match flow::event().as_str() {
        "SIU^S15" => "Cancelled",
        "SIU^S26" => "No show",
        _ => "Booked",
    }
}

/// All services of the appointment in one text.
fn services(message: &Message<'_>) -> Result<Option<String>, Refusal> {
    let mut services = Vec::new();
    for number in 1..=message.count("AIS")? {
        services.extend(message.text(&format!("AIS[{number}]-3.2"))?);
    }
    Ok((!services.is_empty()).then(|| services.join(", ")))
}

fn provider(message: &Message<'_>) -> Result<Option<String>, Refusal> {
    let Some(code) = message.text("AIP-3.1")? else {
        return Ok(None);
    };
    match codes::translate("providers", &code)? {
        Some(name) => Ok(Some(name)),
        // The table's keeper sees the miss; the appointment is worth having without the name.
        None => Ok(None),
    }
}

fn visit(message: &Message<'_>) -> Result<Option<String>, Refusal> {
    let (way, address) = (message.text("ZAP-1")?, message.text("ZAP-2")?);
    Ok(match (way.as_deref(), address) {
        (Some("video"), Some(address)) => Some(format!("Video: {address}")),
        (Some(way), _) => Some(way.into()),
        (None, _) => None,
    })
}

#[cfg(test)]
mod tests {
    use ligature_guest::{Value, testing};

    use super::*;

    #[test]
    fn a_video_visit_with_a_known_provider() {
        testing::add_code("providers", "1001", [("value", "Dr Marta Reyes")]);
        let message = testing::message([
            ("PID-3[.5='MR'].1", "004711"),
            ("PID-5.1", "Hartmann"),
            ("SCH-1.1", "A-1"),
            ("SCH-11.4", "202603091030-0500"),
            ("AIS", ""),
            ("AIS[1]-3.2", "Office visit"),
            ("AIP-3.1", "1001"),
            ("ZAP-1", "video"),
            ("ZAP-2", "https://visits.example.org/r/4711"),
        ]);
        let mapped = Appointments::to_lead_squared(&Message::from(&message)).unwrap();
        let Mapped::Write(write) = mapped else {
            panic!("skipped");
        };
        let [activity] = &write.activities[..] else {
            panic!("not one activity");
        };
        assert_eq!(activity.note.as_deref(), Some("Office visit"));
        let texts: Vec<_> = activity
            .fields
            .iter()
            .map(|field| match &field.value {
                Value::Text(text) => text.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            texts,
            [
                "Booked",
                "Dr Marta Reyes",
                "Video: https://visits.example.org/r/4711"
            ]
        );
    }

    #[test]
    fn an_appointment_without_a_number_is_refused() {
        let message = testing::message([("PID-3[.5='MR'].1", "004711")]);
        let refusal = Appointments::to_lead_squared(&Message::from(&message)).unwrap_err();
        assert_eq!(refusal, Refusal::Missing("SCH-1.1".into()));
    }
}
