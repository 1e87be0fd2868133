//! Systems to talk to without having them: a stand-in for LeadSquared and one for a hospital's EHR, for
//! `demo`, the tests and the benches.
//!
//! Knows nothing of the host and uses none of its rooms: what the host sends is judged by someone who did not
//! write it down twice. State is in memory and gone with the process.

pub mod ehr;
pub mod lead_squared;

mod html;
