//! To be filled.

pub mod simulate;
