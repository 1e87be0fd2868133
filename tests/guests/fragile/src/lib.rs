//! Maps what its author had in mind, and breaks on what senders send: the robustness run must find out.

use ligature_guest::{InboundMapping, Manifest, Mapped, Message, Refusal, Write};

struct Fragile;

ligature_guest::export_inbound!(Fragile);

impl InboundMapping for Fragile {
    fn describe() -> Manifest {
        Manifest::new("fragile", "1.0.0")
            .vendor("the tests")
            .events(["ADT^A04"])
            .reads(["PID-3", "PID-5", "PID-7"])
            .lead_target("mrn", "Medical record number", "mx_MRN")
            .lead_target("year", "Year of birth", "mx_Year")
    }

    fn to_lead_squared(message: &Message<'_>) -> Result<Mapped, Refusal> {
        let name = message.text("PID-5.1")?.unwrap_or_default();
        if message.text("PID-5.2")?.is_none() {
            return Err(Refusal::Other(format!("no given name of {name}")));
        }
        let born = message.text("PID-7")?.unwrap_or_default();
        Write::new()
            .lead("mrn", message.text("PID-3.1")?)
            // Whoever has no birth date has no first four digits of it.
            .lead("year", born[..4].to_owned())
            .into_mapped()
    }
}
