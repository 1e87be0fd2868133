//! The LeadSquared API as this host uses it: the only HTTP client in the house.
//!
//! Knows nothing of HL7, components or the store: plain leads, activities and attributes go in, ids and typed
//! errors come out. It never tries a call twice: whether to is the journal's business, and [`Error`] says what is
//! known about the call's effect. No error text holds a value of a lead or an activity.
//! Start at [`Client`]; [`Budget`] keeps an account below its rate limit.

mod client;

mod account;
mod activity;
mod lead;
mod metadata;
pub mod recent;
pub mod webhook;

mod budget;
mod error;
mod reply;
mod wire;

pub use account::{NewField, NewSlot, User};
pub use activity::{ActivityUpdate, NewActivity};
pub use budget::{Budget, Standing, Used};
pub use client::{Client, Config, Keys, elsewhere, origin};
pub use error::Error;
pub use lead::{Attribute, Lead};
pub use metadata::{ActivityType, Caller, LeadField, Slot};
pub use reply::{Reply, Then, replies};
pub use webhook::{NewWebhook, Webhook, WebhookEvent, WebhookStatus};

#[cfg(test)]
mod tests;
