//! What a mapping can ask besides the message: the flow it runs in, code tables, and a line of log.
//!
//! In a component the host answers; in a native build the stand-ins of [`testing`](crate::testing).

#[cfg(target_family = "wasm")]
pub use crate::bindings::inbound::ligature::mapping::{codes, flow, log};

#[cfg(not(target_family = "wasm"))]
pub use crate::testing::{codes, flow, log};
