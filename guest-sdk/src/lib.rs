//! Write a mapping component for ligature in Rust.
