//! The mapping of `mapping.toml` in Rust: its rows are in `rows.rs`; what no row can say goes here.

mod rows;

use ligature_guest::{InboundMapping, Manifest, Mapped, Message, Refusal};
use ligature_mapper::export;

/// The mapping.
pub struct Mapping;

ligature_guest::export_inbound!(Mapping);

impl InboundMapping for Mapping {
    fn describe() -> Manifest {
        // What is read or written here beside the rows is listed here as well: `.reads(["ZPI-3"])`.
        export::manifest(&rows::manifest())
    }

    fn to_lead_squared(message: &Message<'_>) -> Result<Mapped, Refusal> {
        let mapped = export::inbound::to_lead_squared(&rows::program(), message)?;
        // `mapped` is what the rows came to.
        Ok(mapped)
    }
}
