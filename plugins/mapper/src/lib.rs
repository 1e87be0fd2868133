//! The interpreter inside every generated component: a program in, a message or a change read, assignments or
//! placements out.
//!
//! The same code runs natively in the host (previews, the bench's comparison) and as `wasm32-unknown-unknown` inside
//! the sandbox, where [`export`] ties it to the contract in `wit/`: as a component that carries its program, or in a
//! project whose program is Rust (`ligature flow eject`).
//! It knows nothing of TOML documents, of wasmtime or of how a message is parsed: it asks a [`Reader`] for paths.
//! Start at [`Program`], the compact form of a mapping document, then [`Step`] and [`evaluate()`].

// One source for both crates: a dependency would put the bindings generator into the host's build.
#[path = "../../../guest-sdk/src/dtm.rs"]
mod dtm;
#[path = "../../../guest-sdk/src/lsq.rs"]
mod lsq;

mod evaluate;
mod number;
mod program;
mod step;
mod text;
mod value;

#[cfg(all(target_family = "wasm", any(feature = "inbound", feature = "outbound")))]
mod arena;
#[cfg(feature = "guest")]
pub mod export;

pub use evaluate::{Contents, Reader, evaluate, is_comparable};
pub use number::Number;
pub use program::{
    Activity, At, BEFORE, Condition, Each, EachSource, End, Ending, Fact, Hits, Loop, Manifest,
    Named, OnError, Order, Part, Program, Repeat, Row, Rule, Setting, SettingKind, Silent, Source,
    Target, Test, Unreadable, decode, decode_manifest, encode,
};
pub use step::{
    Base64, Info, Kind, Lenience, Miss, Notation, Operation, PhoneForm, Reading, STEPS, Step, Unit,
    check_format, check_pattern,
};
pub use text::Text;
pub use value::{
    ActivityWrite, Assignment, Content, Date, DateTime, Evaluated, Placement, Reason, Refusal,
    Stopped, Time, Value, Warning, Written,
};

/// The compiled interpreter of inbound components, kept beside its source so that the host builds without a Wasm target.
///
/// `plugins/mapper/build` makes it; a test compares.
#[cfg(not(feature = "guest"))]
pub const INBOUND_MODULE: &[u8] = include_bytes!("../mapper-inbound.wasm");

/// The same for outbound components: a component may export one of the two worlds only, and what it exports is decided
/// when it is compiled.
#[cfg(not(feature = "guest"))]
pub const OUTBOUND_MODULE: &[u8] = include_bytes!("../mapper-outbound.wasm");
