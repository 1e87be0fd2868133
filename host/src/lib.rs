//! The host of `ligature`: bytes from an EHR become leads and activities in LeadSquared.
//!
//! The modules stand in reading order: the wire first, then what is kept, then the one step that is delegated
//! to a component, then the other system, and last what ties them together.
//! [`pipeline`] is the spine; start there and follow a message.
//! Who may know whom is written in each room's first paragraph and enforced by `tests/it/tidy.rs`.

pub mod hl7;
pub mod mllp;

pub mod meter;

pub mod doctor;

pub mod flow;
pub mod vault;

pub mod store;

pub mod mapping;

pub mod leadsquared;
pub mod sync;

pub mod notify;

pub mod pipeline;

pub mod openid;

pub mod access;

pub mod web;

pub mod simulator;

pub mod config;
pub mod serve;

pub mod cli;
