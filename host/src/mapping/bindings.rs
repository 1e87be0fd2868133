//! What wasmtime's bindgen makes of `wit/`: version 1.0 of the contract.
//!
//! The two worlds of the contract share most of what they import and `about`, so each exported interface has a world of
//! its own here: what is shared is there once, and a component is asked to describe itself before anybody knows which
//! of the two it is.
//!
//! An incompatible release of the contract adds a module that converts to the newest; grants are checked below all of
//! them, in [`host`](super::host).

pub(crate) mod about {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package ligature:host;
            world describes-itself {
                export ligature:mapping/about@1.0.0;
            }
        ",
    });
}

pub(crate) mod inbound {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package ligature:host;
            world maps-to-lead-squared {
                import ligature:mapping/hl7@1.0.0;
                import ligature:mapping/flow@1.0.0;
                import ligature:mapping/codes@1.0.0;
                import ligature:mapping/log@1.0.0;
                export ligature:mapping/inbound@1.0.0;
            }
        ",
        imports: { default: trappable },
        with: {
            "ligature:mapping/hl7.message": crate::mapping::host::Message,
        },
    });
}

pub(crate) mod outbound {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package ligature:host;
            world maps-to-hl7 {
                import ligature:mapping/lead-squared@1.0.0;
                export ligature:mapping/outbound@1.0.0;
            }
        ",
        imports: { default: trappable },
        with: {
            "ligature:mapping/types": crate::mapping::bindings::inbound::ligature::mapping::types,
            "ligature:mapping/lead-squared.change": crate::mapping::host::Change,
        },
    });
}

pub(crate) use about::exports::ligature::mapping::about as manifest;
pub(crate) use inbound::ligature::mapping::{codes, flow, hl7, log, types};
pub(crate) use outbound::ligature::mapping::lead_squared;
