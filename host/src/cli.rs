//! To be filled.

pub mod send;
pub mod simulate;
