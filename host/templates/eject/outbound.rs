//! The mapping of `mapping.toml` in Rust: its rows are in `rows.rs`; what no row can say goes here.

mod rows;

use ligature_guest::{Change, Composed, Manifest, OutboundMapping, Refusal};
use ligature_mapper::export;

/// The mapping.
pub struct Mapping;

ligature_guest::export_outbound!(Mapping);

impl OutboundMapping for Mapping {
    fn describe() -> Manifest {
        // What is read or filled here beside the rows is listed here as well: `.places(["PV1-3"])`.
        export::manifest(&rows::manifest())
    }

    fn to_hl7(change: &Change<'_>) -> Result<Composed, Refusal> {
        let composed = export::outbound::to_hl7(&rows::program(), change)?;
        // `composed` is what the rows came to.
        Ok(composed)
    }
}
