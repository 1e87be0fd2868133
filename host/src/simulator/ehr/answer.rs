//! What the EHR sends back.

use std::fmt::Write as _;

use jiff::Zoned;

use super::reader::Message;
use super::{Settings, State};

/// Which acknowledgements a message asks for (MSH-15 and MSH-16), as codes: the first, and the one behind it.
pub(super) fn codes(message: Option<&Message<'_>>, is_good: bool) -> Vec<&'static str> {
    let asked = |number| message.map_or("", |message| message.field("MSH", number));
    let (application, commit) = match is_good {
        true => ("AA", "CA"),
        false => ("AE", "CE"),
    };
    let wants = |asked: &str| match asked {
        "AL" => true,
        "ER" => !is_good,
        "SU" => is_good,
        _ => false,
    };
    if asked(15).is_empty() && asked(16).is_empty() {
        return vec![application];
    }
    let first = wants(asked(15)).then_some(commit);
    // Whoever takes what it cannot use says so behind, and not in front.
    let second = wants(asked(16)).then_some(application);
    first.into_iter().chain(second).collect()
}

/// An acknowledgement; `control_id` is MSA-2, none leaves MSA out.
pub(super) fn acknowledgement(
    settings: &Settings,
    state: &mut State,
    message: Option<&Message<'_>>,
    code: &str,
    control_id: Option<&str>,
) -> Vec<u8> {
    let field = |number| message.map_or("", |message| message.field("MSH", number));
    let receiver = match (field(5), field(6)) {
        ("", "") => format!("{}|{}", settings.application, settings.facility),
        (application, facility) => format!("{application}|{facility}"),
    };
    let event = message.map_or("", |message| message.component("MSH", 9, 2));
    let kind = match (message.map_or("", |it| it.component("MSH", 9, 1)), event) {
        ("SRM", event) => format!("SRR^{event}^SRR_S01"),
        (_, "") => "ACK".to_owned(),
        (_, event) => format!("ACK^{event}^ACK"),
    };
    let id = format!("EHR{:08}", state.next_id);
    state.next_id += 1;
    let version = match field(12) {
        "" => "2.5.1",
        version => version,
    };
    let mut text = format!(
        "MSH|^~\\&|{receiver}|{}|{}|{}||{kind}|{id}|{}|{version}\r",
        field(3),
        field(4),
        Zoned::now().strftime("%Y%m%d%H%M%S%z"),
        if field(11).is_empty() { "P" } else { field(11) },
    );
    if let Some(control_id) = control_id {
        let _ = write!(text, "MSA|{code}|{control_id}\r");
    }
    if matches!(code, "AE" | "AR" | "CE" | "CR") {
        text.push_str("ERR|||207^Application error^HL70357|E\r");
    }
    if let (Some(authority), Some(message)) = (&settings.assigns, message)
        && matches!(code, "AA" | "CA")
    {
        text.push_str(&patient(authority, settings.first_number, state, message));
    }
    text.into_bytes()
}

/// PID with the number that the EHR gives the patient, and of an appointment its own number.
fn patient(authority: &str, first: u64, state: &mut State, message: &Message<'_>) -> String {
    let mut text = String::new();
    let placer = message.component("SCH", 1, 1);
    let placer = if placer.is_empty() {
        message.component("ARQ", 1, 1)
    } else {
        placer
    };
    if !placer.is_empty() {
        let _ = write!(text, "SCH|{placer}|F-{placer}^{authority}\r");
    }
    let known_by = message.component("PID", 3, 1);
    if known_by.is_empty() {
        return text;
    }
    let given = first + state.numbers.len() as u64;
    let number = *state.numbers.entry(known_by.to_owned()).or_insert(given);
    let _ = write!(
        text,
        "PID|1||{number}^^^{authority}^MR~{}||{}\r",
        message.field("PID", 3),
        message.field("PID", 5)
    );
    text
}
