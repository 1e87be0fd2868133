//! The interpreter inside every generated component.
