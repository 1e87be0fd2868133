//! The facts of MSH that routing, storing and answering need.

use std::borrow::Cow;

use super::message::{Content, Message, Segment};

/// What MSH says. Codes are decoded first leaves, empty where nothing stands.
#[derive(Clone)]
pub struct Header<'a> {
    /// MSH-10 as it stands, not decoded: an answer echoes it.
    pub control_id: &'a str,
    /// MSH-9.1
    pub message_code: Cow<'a, str>,
    /// MSH-9.2, and EVN-1 where that is empty.
    pub trigger_event: Cow<'a, str>,
    /// MSH-9.3
    pub structure: Cow<'a, str>,
    /// MSH-3.1
    pub sending_application: Cow<'a, str>,
    /// MSH-4.1
    pub sending_facility: Cow<'a, str>,
    /// MSH-5.1
    pub receiving_application: Cow<'a, str>,
    /// MSH-6.1
    pub receiving_facility: Cow<'a, str>,
    /// MSH-7 as it stands.
    pub message_time: &'a str,
    /// MSH-11.1
    pub processing_id: Cow<'a, str>,
    /// MSH-12.1
    pub version: Cow<'a, str>,
    /// MSH-15, table 0155.
    pub accept_ack: Cow<'a, str>,
    /// MSH-16, table 0155.
    pub application_ack: Cow<'a, str>,
    /// The first repetition of MSH-18.
    pub charset: Cow<'a, str>,
}

impl std::fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header")
            .field("message_code", &self.message_code)
            .field("trigger_event", &self.trigger_event)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

pub(super) fn read(message: &Message) -> Header<'_> {
    let header = message.segments().next();
    let code = |field, component| leaf(header, field, component);
    let raw = |field| {
        header
            .and_then(|header| header.field(field))
            .unwrap_or_default()
    };
    let mut trigger_event = code(9, 2);
    if trigger_event.is_empty() {
        let event = message.segments().find(|segment| segment.name() == "EVN");
        trigger_event = leaf(event, 1, 1);
    }
    Header {
        control_id: raw(10),
        message_code: code(9, 1),
        trigger_event,
        structure: code(9, 3),
        sending_application: code(3, 1),
        sending_facility: code(4, 1),
        receiving_application: code(5, 1),
        receiving_facility: code(6, 1),
        message_time: raw(7),
        processing_id: code(11, 1),
        version: code(12, 1),
        accept_ack: code(15, 1),
        application_ack: code(16, 1),
        charset: code(18, 1),
    }
}

/// Codes are compared, so blanks around them are taken off.
fn leaf<'a>(segment: Option<Segment<'a>>, field: usize, component: u16) -> Cow<'a, str> {
    match segment.map(|segment| segment.get(field, component)) {
        Some(Content::Text(Cow::Borrowed(text))) => Cow::Borrowed(text.trim()),
        Some(Content::Text(Cow::Owned(text))) => Cow::Owned(text.trim().into()),
        _ => Cow::Borrowed(""),
    }
}
/// MSH-3 and MSH-4 of the harmless probe of a connection.
pub const PROBE_SENDER: &str = "LIGATURE|DOCTOR";
/// The event of that probe.
pub const PROBE_EVENT: &str = "NMQ^N01";

/// Whether a message is the harmless probe of a host: it says nothing of the EHR.
pub fn is_probe(sender: &str, event: &str) -> bool {
    sender == PROBE_SENDER && event == PROBE_EVENT
}
