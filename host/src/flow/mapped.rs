//! What a component answers, as plain data; the Rust side of `interface types` in `wit/mapping.wit`.

use jiff::civil;

/// What a mapping may put into one LeadSquared field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Empties the field.
    Clear,
    Text(String),
    Boolean(bool),
    Integer(i64),
    /// `-?[0-9]+(\.[0-9]+)?`, kept as text so that nothing is rounded.
    Decimal(String),
    Date(civil::Date),
    Time(civil::Time),
    DateTime(DateTime),
    /// Several choices of a multi-select field.
    Choices(Vec<String>),
}

/// A date and time with the sender's offset, or local to the flow's zone where it gave none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    pub at: civil::DateTime,
    pub offset_minutes: Option<i16>,
}

/// One value for one target of the component's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub target: String,
    pub value: Value,
    pub on_error: OnError,
}

/// What becomes of a value that the host cannot finish for where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnError {
    /// Left out, with a warning on the delivery.
    #[default]
    LeaveOut,
    /// This text instead, with a warning on the delivery.
    Default(String),
    /// Nothing is written; the delivery waits until somebody has mended the cause.
    Wait,
    Refuse,
}

/// One LeadSquared activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// The sender's own key (an appointment id); none takes message id and position.
    pub key: Option<String>,
    /// An activity kind of the manifest; none takes the flow's.
    pub kind: Option<String>,
    pub note: Option<String>,
    pub at: Option<DateTime>,
    pub fields: Vec<Assignment>,
}

/// One lead at most, and the activities of one message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Write {
    pub lead: Vec<Assignment>,
    /// Values of the flow's primary search field that were merged into this lead (MRG-1).
    pub retired: Vec<String>,
    pub activities: Vec<Activity>,
}

/// What one HL7 message means to LeadSquared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped {
    Write(Write),
    /// The text may hold patient data.
    Skip(String),
}

/// Why a component will not map a message. Texts may hold patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Missing(String),
    Malformed { path: String, expected: String },
    UnmappedCode { table: String, code: String },
    Other(String),
}
