//! Integration tests: one binary, one module a topic.

#[cfg(test)]
mod alerts;
mod answers;
#[cfg(test)]
mod behaviours;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod console;
mod corpus;
mod crash;
mod demo;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod doctor;
mod ehr;
mod exclusions;
mod faults;
#[cfg(test)]
mod files;
mod harness;
mod hooks;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interface;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod load;
mod mapping;
#[cfg(test)]
mod message;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod outbound;
#[cfg(test)]
mod people;
#[cfg(test)]
mod plugin;
mod poll;
#[cfg(test)]
mod proof;
#[cfg(test)]
mod reach;
mod retention;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod scarce;
mod tidy;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod troubles;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod warm;
#[cfg(test)]
mod week;
