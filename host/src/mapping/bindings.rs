//! What wasmtime's bindgen makes of `wit/`: version 0.1 of the contract.
//!
//! An incompatible release of the contract adds a module that converts to the newest; grants are checked below all of
//! them, in [`host`](super::host).

wasmtime::component::bindgen!({
    path: "../wit",
    world: "inbound-mapping",
    imports: { default: trappable },
    with: {
        "ligature:mapping/hl7.message": super::host::Message,
    },
});
