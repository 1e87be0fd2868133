//! What the doctor sends.
//!
//! By default a query for the receiver's own clock, `NMQ^N01` of the standard's chapter on application management, with
//! processing id T and nobody in it. A receiver that knows it answers with a time; one that does not refuses it; one
//! that files whatever comes has filed nothing about a patient. Every one of them has then shown that it takes frames
//! and acknowledges by control id, which is what is looked for.

use std::fmt;

use jiff::Zoned;

use crate::hl7::{self, Message, PROBE_EVENT, PROBE_SENDER, Path};

/// Why bytes cannot be sent to look at a connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this is no HL7 message: {0}")]
    NotHl7(#[from] hl7::Error),
    #[error("these are {0} messages: give one")]
    Several(usize),
    #[error("MSH-10 is empty: without a control id no answer can be told to belong to the message")]
    NoControlId,
}

/// One message, ready to be sent.
#[derive(Clone)]
pub struct Probe {
    pub(super) bytes: Vec<u8>,
    pub(super) control_id: Vec<u8>,
    /// A refusal of it says nothing against the connection.
    pub(super) is_harmless: bool,
}

impl Probe {
    /// The query for the receiver's clock under a new control id.
    pub fn harmless(uuid: u128, now: &Zoned) -> Self {
        let control_id = hl7::ack::control_id(uuid);
        let time = now.strftime("%Y%m%d%H%M%S%z");
        let text = format!(
            "MSH|^~\\&|{PROBE_SENDER}|||{time}||{PROBE_EVENT}|{control_id}|T|2.4\rNCK|{time}\r"
        );
        Self {
            bytes: text.into_bytes(),
            control_id: control_id.into_bytes(),
            is_harmless: true,
        }
    }

    /// A message of the user's own, sent as it is but for its line ends.
    ///
    /// # Errors
    /// [`Error`] when it is not exactly one message with a control id.
    pub fn message(bytes: &[u8]) -> Result<Self, Error> {
        let messages = hl7::batch::split(bytes);
        if messages.len() > 1 {
            return Err(Error::Several(messages.len()));
        }
        let message = Message::parse(messages.first().copied().unwrap_or(bytes))?;
        let id = Path::new("MSH", Some(10));
        let id = id.and_then(|path| message.raw_bytes(&path).map(|id| id.into_owned()));
        let control_id = id.filter(|id| !id.is_empty()).ok_or(Error::NoControlId)?;
        Ok(Self {
            bytes: message.normalize(),
            control_id,
            is_harmless: false,
        })
    }

    /// What it is, for the report.
    pub(super) fn describe(&self) -> String {
        let id = String::from_utf8_lossy(&self.control_id);
        let size = self.bytes.len();
        match self.is_harmless {
            true => format!(
                "a query for the receiver's clock (NMQ^N01, processing id T, no patient in it), {size} bytes, control id {id}"
            ),
            false => format!("the given message, {size} bytes, control id {id}"),
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("size_bytes", &self.bytes.len())
            .field("is_harmless", &self.is_harmless)
            .finish()
    }
}
