//! The rooms of the host that read what strangers send, from the host's own files, without the rest of the host.
//!
//! It has the host's name, so that the laws of `tests/src/properties.rs` are the same text here and in the tests.

/// Files of this inline module are looked for in the host's folder.
#[path = "../../../../host/src"]
mod host {
    pub mod hl7;
}

#[path = "../../../../host/src/mllp"]
pub mod mllp {
    pub mod frame;
}

pub use host::hl7;
