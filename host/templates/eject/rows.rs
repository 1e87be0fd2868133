//! The rows of the mapping document, as the interpreter reads them.
//!
//! A path stands once in a list, and a source names its place there: `Ask` in `paths`, `Hits` in `hit_paths`, `Raw` and
//! `Count` in `other_paths`; `of` is the number of a loop, from 1, whose own lists are meant then.

#![allow(clippy::useless_conversion, unused_imports)]

use ligature_mapper::*;

/// What is asked, and what becomes of it.
pub fn program() -> Program<'static> {
    PROGRAM
}

/// What the component says of itself.
pub fn manifest() -> Manifest<'static> {
    MANIFEST
}
