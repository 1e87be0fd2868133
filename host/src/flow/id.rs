//! Identifiers of our own nouns: `UUIDv7` text where the host makes them, a name where a person does.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
        )]
        #[schema(value_type = String)]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes a new `UUIDv7`.
            pub fn generate() -> Self {
                Self(uuid::Uuid::now_v7().to_string().into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Names one LeadSquared account; everything configured or received belongs to one.
    AccountId
}
id! {
    /// Names one wire to an EHR.
    ChannelId
}
id! {
    /// Names one flow.
    FlowId
}
id! {
    /// Names one received message.
    MessageId
}
id! {
    /// Names one message's way through one flow.
    DeliveryId
}
