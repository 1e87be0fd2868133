//! The laws that the targets try.

#[path = "../../src/properties.rs"]
pub mod properties;
