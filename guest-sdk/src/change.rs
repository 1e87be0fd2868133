//! The LeadSquared record behind a webhook.

use crate::bindings::outbound::ligature::mapping::lead_squared;
use crate::{AccessError, Content};

pub use lead_squared::{Entity, Moment};

/// The LeadSquared record that changed; only granted fields can be read.
pub struct Change<'a>(&'a lead_squared::Change);

impl<'a> Change<'a> {
    pub(crate) fn host(change: &'a lead_squared::Change) -> Self {
        Self(change)
    }

    /// The value of one field, before or after the change.
    ///
    /// # Errors
    ///
    /// The field is not granted, or the account has no such field.
    pub fn get(&self, entity: Entity, field: &str, moment: Moment) -> Result<Content, AccessError> {
        self.0.get(entity, field, moment)
    }

    /// Many fields in one crossing; answers in the order asked.
    ///
    /// # Errors
    ///
    /// A field is not granted, or the account has no such field.
    pub fn get_all(
        &self,
        entity: Entity,
        fields: &[&str],
        moment: Moment,
    ) -> Result<Vec<Content>, AccessError> {
        self.0.get_all(entity, fields, moment)
    }

    /// The granted fields that changed.
    pub fn changed(&self, entity: Entity) -> Vec<String> {
        self.0.changed(entity)
    }
}
