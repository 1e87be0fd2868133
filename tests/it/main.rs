//! Integration tests: one binary, one module a topic.

mod answers;
mod corpus;
mod crash;
mod demo;
mod faults;
mod harness;
#[cfg(test)]
mod journal;
mod mapping;
mod tidy;
#[cfg(test)]
mod vectors;
