//! Answers as types, for the OpenAPI document: what the functions behind commands print, field by field.
//!
//! Shapes only; who fills them is the binary's matter. A field that an answer has and its type has not is an error of
//! debug builds (`route.rs`). Start at [`session`].

pub(crate) mod daemon;
pub(crate) mod session;
pub(crate) mod work;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares an answer: fields that are always there, and after `maybe` those that may be absent.
macro_rules! shape {
    (
        $(#[$about:meta])* $name:ident {
            $($(#[$what:meta])* $field:ident: $of:ty,)*
        }
        $(maybe {
            $($(#[$perhaps:meta])* $maybe:ident: $other:ty,)*
        })?
    ) => {
        $(#[$about])*
        #[derive(Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub(crate) struct $name {
            $($(#[$what])* pub(crate) $field: $of,)*
            $($(
                $(#[$perhaps])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub(crate) $maybe: Option<$other>,
            )*)?
        }
    };
}
pub(crate) use shape;

/// A session or intent: a UUID v7.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Id(#[schemars(extend("format" = "uuid"))] String);

/// Which text: BLAKE3 of its bytes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Digest(#[schemars(regex(pattern = "^[0-9a-f]{64}$"))] String);

/// An action of a session: turn and step.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Action(#[schemars(regex(pattern = r"^[0-9]+\.[0-9]+$"))] String);

/// RFC 3339, UTC, with milliseconds.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Time(#[schemars(extend("format" = "date-time"))] String);

/// A number of some unit, or no limit.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Units {
    /// So many.
    Number(u64),
    /// No limit.
    Word(Unlimited),
}

/// The word for no limit.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unlimited {
    /// There is none.
    Unlimited,
}

shape! {
    /// What is reserved, used or allowed; absent units are 0.
    Amount {}
    maybe {
        /// Nano-dollars.
        nanos: Units,
        /// Input and output together.
        tokens: Units,
        /// Actions.
        steps: Units,
        /// Milliseconds.
        time_ms: Units,
    }
}

shape! {
    /// What is reserved, used or allowed; null is no limit.
    Sum {
        /// Nano-dollars.
        nanos: Option<u64>,
        /// Input and output together.
        tokens: Option<u64>,
        /// Actions.
        steps: Option<u64>,
        /// Milliseconds.
        time_ms: Option<u64>,
    }
}

/// A page of a list.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(crate) struct Page<T> {
    /// What is listed.
    pub(crate) items: Vec<T>,
    /// What `cursor` takes for the page after this; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A list that is always one page.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(crate) struct List<T> {
    /// What is listed.
    pub(crate) items: Vec<T>,
}
