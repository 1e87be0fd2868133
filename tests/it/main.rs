//! Integration tests: one binary, one module a topic.

mod answers;
mod corpus;
mod crash;
mod demo;
#[cfg(test)]
mod differential;
mod faults;
mod harness;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod laws;
mod mapping;
#[cfg(test)]
mod message;
mod tidy;
#[cfg(test)]
mod vectors;
