//! The export macros, and what ties the generated traits to ours.

use std::marker::PhantomData;

use crate::bindings::about::exports::ligature::mapping::about;
use crate::bindings::inbound::exports::ligature::mapping::inbound;
use crate::bindings::outbound::exports::ligature::mapping::outbound;
use crate::{Change, Composed, InboundMapping, Mapped, Message, OutboundMapping, Refusal};

/// Makes the component's exports from a type that implements [`InboundMapping`](crate::InboundMapping).
///
/// Use it once, in the root of a `cdylib` crate. It does nothing in a native build.
#[macro_export]
macro_rules! export_inbound {
    ($mapping:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::__private::Inbound<$mapping>;
            $crate::__private::about::export_about!(Exported with_types_in $crate::__private::about);
            $crate::__private::inbound::export_inbound!(Exported with_types_in $crate::__private::inbound);
        };
    };
}

/// Makes the component's exports from a type that implements [`OutboundMapping`](crate::OutboundMapping).
///
/// Use it once, in the root of a `cdylib` crate. It does nothing in a native build.
#[macro_export]
macro_rules! export_outbound {
    ($mapping:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::__private::Outbound<$mapping>;
            $crate::__private::about::export_about!(Exported with_types_in $crate::__private::about);
            $crate::__private::outbound::export_outbound!(Exported with_types_in $crate::__private::outbound);
        };
    };
}

pub struct Inbound<T>(PhantomData<T>);

impl<T: InboundMapping> about::Guest for Inbound<T> {
    fn describe() -> about::Manifest {
        T::describe().0
    }
}

impl<T: InboundMapping> inbound::Guest for Inbound<T> {
    fn to_lead_squared(message: &inbound::Message) -> Result<Mapped, Refusal> {
        T::to_lead_squared(&Message::host(message))
    }
}

pub struct Outbound<T>(PhantomData<T>);

impl<T: OutboundMapping> about::Guest for Outbound<T> {
    fn describe() -> about::Manifest {
        T::describe().0
    }
}

impl<T: OutboundMapping> outbound::Guest for Outbound<T> {
    fn to_hl7(change: &outbound::Change) -> Result<Composed, Refusal> {
        T::to_hl7(&Change::host(change))
    }
}
