//! A mapping document as Rust: the same rows for the same interpreter, to be changed where a document cannot say enough.
//!
//! Makes texts only; the command line puts them into a project with the SDK, the interpreter's source and cases.

mod rust;

use ligature_mapper::{decode, decode_manifest};

use super::document::Document;
use crate::flow::Direction;

/// The document cannot be written as Rust; a fault of this program.
#[derive(Debug, thiserror::Error)]
#[error("the document cannot be written as Rust: {0}")]
pub struct Error(String);

/// `src/rows.rs` and `src/lib.rs` of a project that maps as `document` does.
///
/// # Errors
///
/// Only when the interpreter's types have changed and this has not.
pub fn sources(document: &Document) -> Result<[(&'static str, String); 2], Error> {
    let bytes = document.to_program();
    let unreadable = |_| Error("its program cannot be read".into());
    let program = decode(&bytes).map_err(unreadable)?;
    let manifest = decode_manifest(&bytes).map_err(unreadable)?;
    let program = rust::expression(&program).map_err(|fault| Error(fault.to_string()))?;
    let manifest = rust::expression(&manifest).map_err(|fault| Error(fault.to_string()))?;
    let (head, rest) = ROWS.split_once("PROGRAM").unwrap_or((ROWS, ""));
    let (middle, tail) = rest.split_once("MANIFEST").unwrap_or((rest, ""));
    let rows = format!("{head}{program}{middle}{manifest}{tail}");
    let main = match document.direction {
        Direction::EhrToLeadSquared => INBOUND,
        Direction::LeadSquaredToEhr => OUTBOUND,
    };
    Ok([("src/rows.rs", rows), ("src/lib.rs", main.to_owned())])
}

const ROWS: &str = include_str!("../../templates/eject/rows.rs");
const INBOUND: &str = include_str!("../../templates/eject/inbound.rs");
const OUTBOUND: &str = include_str!("../../templates/eject/outbound.rs");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::starter::STARTERS;

    #[test]
    fn every_starter_can_be_written_as_rust() {
        for starter in STARTERS {
            let [(_, rows), (_, main)] = sources(&starter.document()).unwrap();
            assert!(rows.contains("Program {"), "{}", starter.name);
            assert!(rows.contains("Manifest {"), "{}", starter.name);
            assert!(main.contains("ligature_guest::export_"));
        }
    }
}
