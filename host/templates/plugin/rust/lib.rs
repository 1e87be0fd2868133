//! Registrations (ADT^A04) to leads.

use ligature_guest::{InboundMapping, Manifest, Mapped, Message, Refusal, Write};

/// The mapping. It has no state: every message meets a fresh instance.
pub struct Registration;

ligature_guest::export_inbound!(Registration);

impl InboundMapping for Registration {
    /// What the administrator sees, approves and binds to the account's fields.
    fn describe() -> Manifest {
        Manifest::new("PLUGIN-NAME", env!("CARGO_PKG_VERSION"))
            .vendor("Your company")
            .summary("Registrations become leads.")
            .events(["ADT^A04"])
            .reads(["PID-3", "PID-5", "PID-7"])
            .lead_target("mrn", "Medical record number", "mx_MRN")
            .lead_target("first-name", "First name", "FirstName")
            .lead_target("last-name", "Last name", "LastName")
            .lead_target("born", "Date of birth", "mx_Date_of_Birth")
    }

    fn to_lead_squared(message: &Message<'_>) -> Result<Mapped, Refusal> {
        Write::new()
            .lead("mrn", message.required("PID-3[.5='MR'].1")?)
            .lead("first-name", message.text("PID-5.2")?)
            .lead("last-name", message.text("PID-5.1")?)
            .lead("born", message.date("PID-7")?)
            .into_mapped()
    }
}

#[cfg(test)]
mod tests {
    use ligature_guest::testing;

    use super::*;

    #[test]
    fn a_patient_without_a_record_number_is_refused() {
        let message = testing::message([("PID-5.1", "Quillfeather")]);
        let refused = Registration::to_lead_squared(&Message::from(&message));
        assert!(matches!(refused, Err(Refusal::Missing(_))));
    }
}
