//! Building the answer.

use crate::{
    Activity, Assignment, Content, Date, DateTime, Mapped, Otherwise, Refusal, Time, Value, Write,
};

impl Write {
    /// A write that says nothing yet.
    pub fn new() -> Self {
        Self {
            lead: Vec::new(),
            retired: Vec::new(),
            activities: Vec::new(),
        }
    }

    /// Assigns a value to a lead target; `None` assigns nothing, so the field stays as it is.
    /// A value that the host cannot finish is left out with a warning.
    pub fn lead(self, target: &str, value: impl IntoValue) -> Self {
        self.lead_or(target, value, Otherwise::LeaveOut)
    }

    /// As [`lead`](Self::lead), with a rule for a value that the host cannot finish.
    pub fn lead_or(mut self, target: &str, value: impl IntoValue, otherwise: Otherwise) -> Self {
        self.lead.extend(assignment(target, value, otherwise));
        self
    }

    /// Adds an activity.
    pub fn activity(mut self, activity: Activity) -> Self {
        self.activities.push(activity);
        self
    }

    /// Ends the chain.
    ///
    /// # Errors
    ///
    /// Never; the type is what [`to_lead_squared`](crate::InboundMapping::to_lead_squared) answers.
    pub fn into_mapped(self) -> Result<Mapped, Refusal> {
        Ok(Mapped::Write(self))
    }
}

impl Default for Write {
    fn default() -> Self {
        Self::new()
    }
}

impl Activity {
    /// An activity of the flow's type with the sender's own key: a later message with the same key updates it.
    pub fn keyed(key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            kind: None,
            note: None,
            at: None,
            fields: Vec::new(),
        }
    }

    /// Sets the note.
    pub fn note(mut self, note: impl Into<Option<String>>) -> Self {
        self.note = note.into();
        self
    }

    /// Sets when it takes place.
    pub fn at(mut self, at: impl Into<Option<DateTime>>) -> Self {
        self.at = at.into();
        self
    }

    /// Assigns a value to an activity target; `None` assigns nothing.
    /// A value that the host cannot finish is left out with a warning.
    pub fn field(self, target: &str, value: impl IntoValue) -> Self {
        self.field_or(target, value, Otherwise::LeaveOut)
    }

    /// As [`field`](Self::field), with a rule for a value that the host cannot finish.
    pub fn field_or(mut self, target: &str, value: impl IntoValue, otherwise: Otherwise) -> Self {
        self.fields.extend(assignment(target, value, otherwise));
        self
    }
}

/// A value, or perhaps one: what [`Write::lead`] and [`Activity::field`] take.
pub trait IntoValue {
    /// The value to assign; none leaves the field as it is.
    fn into_value(self) -> Option<Value>;
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Option<Value> {
        self.and_then(T::into_value)
    }
}

impl IntoValue for Value {
    fn into_value(self) -> Option<Value> {
        Some(self)
    }
}

impl IntoValue for Content {
    /// Null empties the field, absent leaves it as it is.
    fn into_value(self) -> Option<Value> {
        match self {
            Content::Absent => None,
            Content::Null => Some(Value::Clear),
            Content::Text(text) => Some(Value::Text(text)),
        }
    }
}

macro_rules! plain {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl IntoValue for $from {
            fn into_value(self) -> Option<Value> {
                Some(Value::$variant(self.into()))
            }
        }
    )*};
}

plain! {
    String => Text,
    &str => Text,
    bool => Boolean,
    i64 => Integer,
    Date => Date,
    Time => Time,
    DateTime => DateTime,
    Vec<String> => Choices,
}

fn assignment(target: &str, value: impl IntoValue, otherwise: Otherwise) -> Option<Assignment> {
    let value = value.into_value()?;
    Some(Assignment {
        target: target.into(),
        value,
        otherwise,
    })
}
