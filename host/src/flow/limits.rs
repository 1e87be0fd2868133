//! What one component may take, within what the host gives to any.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Fault;

/// Limits of one component; what is left out is the host's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How long one run may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Memory of one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_mib: Option<u64>,
}

impl Limits {
    /// More than these no component gets: a run holds up a worker as long as it takes.
    pub const CEILING: Limits = Limits {
        deadline_ms: Some(10_000),
        max_memory_mib: Some(256),
    };

    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_ms.map(Duration::from_millis)
    }

    pub fn max_memory_bytes(&self) -> Option<usize> {
        let mib = usize::try_from(self.max_memory_mib?).ok()?;
        mib.checked_mul(1024 * 1024)
    }

    /// What is beyond the ceilings, or nothing at all.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut check = |name: &str, value: Option<u64>, ceiling: Option<u64>| {
            let ceiling = ceiling.unwrap_or(u64::MAX);
            if value.is_some_and(|value| value == 0 || value > ceiling) {
                faults.push(Fault::new(name, format!("is from 1 to {ceiling}")));
            }
        };
        let Limits {
            deadline_ms,
            max_memory_mib,
        } = Self::CEILING;
        check("deadline_ms", self.deadline_ms, deadline_ms);
        check("max_memory_mib", self.max_memory_mib, max_memory_mib);
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(deadline_ms: Option<u64>, max_memory_mib: Option<u64>, expected: &[&str]) {
        let limits = Limits {
            deadline_ms,
            max_memory_mib,
        };
        let faults = limits.faults();
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn limits_have_ceilings() {
        check(None, None, &[]);
        check(Some(1), Some(256), &[]);
        check(Some(0), Some(257), &["deadline_ms", "max_memory_mib"]);
        check(Some(10_001), None, &["deadline_ms"]);
    }
}
