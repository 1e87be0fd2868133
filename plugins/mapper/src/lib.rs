//! The interpreter inside every generated component: a program in, a message or a change read, assignments or
//! placements out.
//!
//! The same code runs natively in the host (previews, the bench's comparison) and as `wasm32-unknown-unknown` inside
//! the sandbox, where `export` ties it to the contract in `wit/`.
//! It knows nothing of TOML documents, of wasmtime or of how a message is parsed: it asks a [`Reader`] for paths.
//! Start at [`Program`], the compact form of a mapping document, then [`evaluate()`].

// One source for both crates: a dependency would put the bindings generator into the host's build.
#[path = "../../../guest-sdk/src/dtm.rs"]
mod dtm;
#[path = "../../../guest-sdk/src/lsq.rs"]
mod lsq;

mod evaluate;
mod program;
mod step;
mod value;

#[cfg(target_family = "wasm")]
mod arena;
#[cfg(target_family = "wasm")]
mod export;

pub use evaluate::{Contents, Reader, evaluate};
pub use program::{
    Activity, Condition, Hits, Manifest, Null, OnError, PhoneForm, Program, Row, Rule, Source,
    Step, Target, Test, Unreadable, decode, decode_manifest, encode, outbound,
};
pub use value::{
    ActivityWrite, Assignment, Content, Date, DateTime, Evaluated, LeftOut, Placement, Reason,
    Refusal, Time, Value,
};

/// The compiled interpreter of inbound components, kept beside its source so that the host builds without a Wasm target.
///
/// `plugins/mapper/build` makes it; a test compares.
#[cfg(not(target_family = "wasm"))]
pub const INBOUND_MODULE: &[u8] = include_bytes!("../mapper-inbound.wasm");

/// The same for outbound components: a component may export one of the two worlds only, and what it exports is decided
/// when it is compiled.
#[cfg(not(target_family = "wasm"))]
pub const OUTBOUND_MODULE: &[u8] = include_bytes!("../mapper-outbound.wasm");
