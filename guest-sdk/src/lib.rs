//! Write a mapping component for ligature in Rust.
//!
//! Implement [`InboundMapping`] (EHR to LeadSquared) or [`OutboundMapping`] (LeadSquared to EHR) for a type of your
//! own and export it; the README beside this crate has the whole way from an empty folder to a component.
//! Everything a mapping can reach is in this crate: the [`Message`] or [`Change`] it is given, the [`flow`] it runs
//! in, the administrator's code tables ([`codes`]) and [`log`].
//! There is no clock, no network, no file and no randomness.
//!
//! ```
//! use ligature_guest::{InboundMapping, Manifest, Mapped, Message, Refusal, Write};
//!
//! struct Registration;
//!
//! impl InboundMapping for Registration {
//!     fn describe() -> Manifest {
//!         Manifest::new("registration", "1.0.0")
//!             .reads(["PID-3", "PID-5"])
//!             .lead_target("mrn", "Medical record number", "mx_MRN")
//!             .lead_target("first-name", "First name", "FirstName")
//!     }
//!
//!     fn to_lead_squared(message: &Message<'_>) -> Result<Mapped, Refusal> {
//!         Write::new()
//!             .lead("mrn", message.required("PID-3[.5='MR'].1")?)
//!             .lead("first-name", message.text("PID-5.2")?)
//!             .into_mapped()
//!     }
//! }
//!
//! ligature_guest::export_inbound!(Registration);
//!
//! // Natively, for unit tests, a stand-in answers for the host.
//! let message = ligature_guest::testing::message([("PID-3[.5='MR'].1", "0042"), ("PID-5.2", "Ann")]);
//! let mapped = Registration::to_lead_squared(&Message::from(&message)).unwrap();
//! # let Mapped::Write(write) = mapped else { panic!() };
//! # assert_eq!(write.lead.len(), 2);
//! ```

mod bindings;
mod change;
mod compose;
mod dtm;
mod export;
mod lsq;
mod manifest;
mod message;
mod write;

mod host;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use bindings::inbound::ligature::mapping::types::{
    AccessError, Activity, Assignment, Composed, Content, Date, DateTime, Fill, Malformed, Mapped,
    Otherwise, Phone, PhoneForm, Placement, Refusal, Time, UnmappedCode, Value, Write,
};
pub use change::{Change, Entity, Moment};
pub use compose::{IntoFill, Places, phone};
pub use host::{codes, flow, log};
pub use manifest::{Manifest, Setting, SettingKind, Target};
pub use message::Message;
pub use write::IntoValue;

/// A mapping from HL7 messages to LeadSquared.
pub trait InboundMapping {
    /// What the component says of itself, read once at upload.
    fn describe() -> Manifest;

    /// What one message means to LeadSquared; by default nothing, so that a new project builds as it is.
    ///
    /// # Errors
    ///
    /// A refusal stops the message and is shown to the administrator: name the path or the code.
    fn to_lead_squared(message: &Message<'_>) -> Result<Mapped, Refusal> {
        let _ = message;
        Ok(Mapped::Skip("this mapping does not map yet".into()))
    }
}

/// A mapping from changes in LeadSquared to HL7 messages.
///
/// ```
/// use ligature_guest::{Change, Composed, Manifest, OutboundMapping, PhoneForm, Places, Refusal, phone};
///
/// struct Update;
///
/// impl OutboundMapping for Update {
///     fn describe() -> Manifest {
///         Manifest::new("update", "1.0.0")
///             .reads(["lead.mx_MRN", "lead.LastName", "lead.mx_Date_of_Birth", "lead.Phone"])
///             .places(["PID-3.1", "PID-5.1", "PID-7", "PID-13.1"])
///     }
///
///     fn to_hl7(change: &Change<'_>) -> Result<Composed, Refusal> {
///         let number = change.text("lead.Phone")?;
///         Places::new()
///             .required("PID-3.1", change.required("lead.mx_MRN")?)
///             .place("PID-5.1", change.content("lead.LastName")?)
///             .place("PID-7", change.date("lead.mx_Date_of_Birth")?)
///             .place("PID-13.1", number.map(|number| phone(number, PhoneForm::National)))
///             .into_composed()
///     }
/// }
///
/// ligature_guest::export_outbound!(Update);
///
/// // Natively, for unit tests, a stand-in answers for the host.
/// let change = ligature_guest::testing::change([("lead.mx_MRN", "0042"), ("lead.LastName", "Hartmann")])
///     .before([("lead.LastName", "Hartman")]);
/// assert!(Change::from(&change).has_changed("lead.LastName").unwrap());
/// let composed = Update::to_hl7(&Change::from(&change)).unwrap();
/// # let Composed::Write(placements) = composed else { panic!() };
/// # assert_eq!(placements.len(), 2);
/// ```
pub trait OutboundMapping {
    /// What the component says of itself, read once at upload.
    fn describe() -> Manifest;

    /// What one change means to the EHR: the places to fill in the flow's message template; by default nothing.
    ///
    /// # Errors
    ///
    /// A refusal stops the change and is shown to the administrator.
    fn to_hl7(change: &Change<'_>) -> Result<Composed, Refusal> {
        let _ = change;
        Ok(Composed::Skip("this mapping does not map yet".into()))
    }
}

/// For the export macros only.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::{about, inbound, outbound};
    pub use crate::export::{Inbound, Outbound};
}

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
