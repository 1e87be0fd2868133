//! Building the answer of an outbound mapping.

use crate::{
    Composed, Content, Date, DateTime, Fill, Otherwise, Phone, PhoneForm, Placement, Refusal,
};

/// The places to fill in an outgoing message, one call for each.
///
/// ```
/// use ligature_guest::{Composed, PhoneForm, Places, phone};
///
/// let composed = Places::new()
///     .place("PID-5.1", "Hartmann")
///     .place("PID-13.1", phone("+1-2075550134", PhoneForm::National))
///     .place("PID-11.3", None::<String>)
///     .into_composed();
/// # let Ok(Composed::Write(placements)) = composed else { panic!() };
/// # assert_eq!(placements.len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Places(Vec<Placement>);

impl Places {
    /// Nothing filled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills a place; `None` says nothing, so the place stays empty. A value that the host cannot finish is left out with a
    /// warning.
    pub fn place(self, path: &str, value: impl IntoFill) -> Self {
        self.place_or(path, value, Otherwise::LeaveOut)
    }

    /// Fills a place without which nothing may be sent: a value that the host cannot finish stops the message.
    pub fn required(self, path: &str, value: impl IntoFill) -> Self {
        self.place_or(path, value, Otherwise::Refuse)
    }

    /// Fills a place, with a rule for a value that the host cannot finish.
    pub fn place_or(mut self, path: &str, value: impl IntoFill, otherwise: Otherwise) -> Self {
        self.0.extend(value.into_fill().map(|fill| Placement {
            path: path.into(),
            fill,
            otherwise,
        }));
        self
    }

    /// Ends the chain.
    ///
    /// # Errors
    ///
    /// Never; the type is what [`to_hl7`](crate::OutboundMapping::to_hl7) answers.
    pub fn into_composed(self) -> Result<Composed, Refusal> {
        Ok(Composed::Write(self.0))
    }
}

/// A phone number that the host writes in the form that the EHR has.
pub fn phone(number: impl Into<String>, form: PhoneForm) -> Phone {
    Phone {
        number: number.into(),
        form,
    }
}

/// A value for a place, or perhaps one: what [`Places::place`] takes.
pub trait IntoFill {
    /// What to put there; none says nothing.
    fn into_fill(self) -> Option<Fill>;
}

impl<T: IntoFill> IntoFill for Option<T> {
    fn into_fill(self) -> Option<Fill> {
        self.and_then(T::into_fill)
    }
}

impl IntoFill for Fill {
    fn into_fill(self) -> Option<Fill> {
        Some(self)
    }
}

impl IntoFill for Content {
    /// Null asks the receiver to delete its value, absent says nothing.
    fn into_fill(self) -> Option<Fill> {
        match self {
            Content::Absent => None,
            Content::Null => Some(Fill::Null),
            Content::Text(text) => Some(Fill::Text(text)),
        }
    }
}

macro_rules! plain {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl IntoFill for $from {
            fn into_fill(self) -> Option<Fill> {
                Some(Fill::$variant(self.into()))
            }
        }
    )*};
}

plain! {
    String => Text,
    &str => Text,
    Date => Date,
    DateTime => DateTime,
    Phone => Phone,
}
