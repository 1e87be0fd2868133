//! The LeadSquared record behind a webhook.

use crate::bindings::outbound::ligature::mapping::lead_squared;
use crate::{AccessError, Content, Date, DateTime, Malformed, Refusal, lsq};

pub use lead_squared::{Entity, Moment};

/// The LeadSquared record that changed; only granted fields can be read.
///
/// The methods with the names of the contract ([`get`](Self::get), [`get_all`](Self::get_all),
/// [`changed`](Self::changed)) answer what the host answers. The others name a field as the manifest does,
/// `lead.FirstName`, read its state after the change, and refuse where it does not fit.
pub struct Change<'a>(Inner<'a>);

enum Inner<'a> {
    Host(&'a lead_squared::Change),
    #[cfg(not(target_family = "wasm"))]
    StandIn(&'a crate::testing::ChangeStandIn),
}

/// Calls the same method on whoever answers.
macro_rules! ask {
    ($inner:expr, $name:ident($($argument:expr),*)) => {
        match $inner {
            Inner::Host(change) => change.$name($($argument),*),
            #[cfg(not(target_family = "wasm"))]
            Inner::StandIn(change) => change.$name($($argument),*),
        }
    };
}

#[cfg(not(target_family = "wasm"))]
impl<'a> From<&'a crate::testing::ChangeStandIn> for Change<'a> {
    fn from(change: &'a crate::testing::ChangeStandIn) -> Self {
        Self(Inner::StandIn(change))
    }
}

impl<'a> Change<'a> {
    pub(crate) fn host(change: &'a lead_squared::Change) -> Self {
        Self(Inner::Host(change))
    }

    /// The value of one field, before or after the change.
    ///
    /// # Errors
    ///
    /// The field is not granted.
    pub fn get(&self, entity: Entity, field: &str, moment: Moment) -> Result<Content, AccessError> {
        ask!(self.0, get(entity, field, moment))
    }

    /// Many fields in one crossing; answers in the order asked.
    ///
    /// # Errors
    ///
    /// A field is not granted.
    pub fn get_all(
        &self,
        entity: Entity,
        fields: &[&str],
        moment: Moment,
    ) -> Result<Vec<Content>, AccessError> {
        ask!(self.0, get_all(entity, fields, moment))
    }

    /// The granted fields that changed.
    pub fn changed(&self, entity: Entity) -> Vec<String> {
        ask!(self.0, changed(entity))
    }

    /// What `lead.<Schema>` or `activity.<Schema>` holds after the change.
    ///
    /// # Errors
    ///
    /// The field is not granted, or the text is not of that form.
    pub fn content(&self, field: &str) -> Result<Content, AccessError> {
        let (entity, name) = parse(field)?;
        self.get(entity, name, Moment::After)
    }

    /// The text of a field after the change; none when there is none.
    ///
    /// # Errors
    ///
    /// As [`content`](Self::content).
    pub fn text(&self, field: &str) -> Result<Option<String>, Refusal> {
        Ok(match self.content(field)? {
            Content::Text(text) => Some(text),
            Content::Absent | Content::Null => None,
        })
    }

    /// The text of a field after the change.
    ///
    /// # Errors
    ///
    /// Also refuses when there is none.
    pub fn required(&self, field: &str) -> Result<String, Refusal> {
        self.text(field)?
            .ok_or_else(|| Refusal::Missing(field.into()))
    }

    /// The date in a field after the change; a time behind it is cut off.
    ///
    /// # Errors
    ///
    /// Also refuses what is no date.
    pub fn date(&self, field: &str) -> Result<Option<Date>, Refusal> {
        self.parsed(field, "a date, yyyy-MM-dd", lsq::date)
    }

    /// The date and time in a field after the change; LeadSquared writes them in UTC.
    ///
    /// # Errors
    ///
    /// Also refuses what is no date and time.
    pub fn date_time(&self, field: &str) -> Result<Option<DateTime>, Refusal> {
        self.parsed(
            field,
            "a date and time, yyyy-MM-dd HH:mm:ss",
            lsq::date_time,
        )
    }

    /// Whether a field differs before and after.
    ///
    /// # Errors
    ///
    /// The text is not of the form `lead.<Schema>` or `activity.<Schema>`.
    pub fn has_changed(&self, field: &str) -> Result<bool, Refusal> {
        let (entity, name) = parse(field)?;
        Ok(self.changed(entity).iter().any(|changed| changed == name))
    }

    fn parsed<T>(
        &self,
        field: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(field)? else {
            return Ok(None);
        };
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(Refusal::Malformed(Malformed {
                path: field.into(),
                expected: expected.into(),
            })),
        }
    }
}

pub(crate) fn parse(field: &str) -> Result<(Entity, &str), AccessError> {
    match field.split_once('.') {
        Some(("lead", name)) => Ok((Entity::Lead, name)),
        Some(("activity", name)) => Ok((Entity::Activity, name)),
        _ => Err(AccessError::BadPath(field.into())),
    }
}
