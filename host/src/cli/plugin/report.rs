//! What a run gave, as JSON that can be compared and kept.

use std::time::Duration;

use serde_json::{Value, json};

use super::object;
use crate::flow::mapped::Refusal;
use crate::mapping::{Failure, Level, Run, shown};

/// One run.
pub(super) struct Result {
    /// What it gave and left behind: the same for the same input.
    pub(super) value: Value,
    /// Whether the component wrote or skipped.
    pub(super) is_answer: bool,
    pub(super) duration: Duration,
}

impl Result {
    /// All of it, with what its runs cost.
    pub(super) fn whole(&self, mut durations: Vec<Duration>) -> Value {
        durations.sort_unstable();
        let at = |share: usize| {
            let place = (durations.len() * share / 100).min(durations.len().saturating_sub(1));
            durations.get(place).map(|cost| cost.as_micros() as u64)
        };
        let mut whole = self.value.clone();
        whole["cost"] = match durations.len() {
            0 | 1 => json!({ "microseconds": at(0) }),
            runs => json!({ "runs": runs, "p50_microseconds": at(50), "p99_microseconds": at(99) }),
        };
        whole
    }
}

pub(super) fn result<T>(run: Run<T>, show: impl FnOnce(&T) -> Value) -> Result {
    let is_answer = run.outcome.is_ok();
    let outcome = match &run.outcome {
        Ok(answer) => show(answer),
        Err(Failure::Refused(refusal)) => object([("refused", refused(refusal))]),
        Err(Failure::Waits(refusal)) => object([("waits", refused(refusal))]),
        Err(failure) => object([(
            "failed",
            json!({ "code": failure.code(), "text": failure.sentence() }),
        )]),
    };
    let log = run.log.iter().map(|line| {
        let level = match line.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
        };
        json!({ "level": level, "text": line.text })
    });
    let misses = run.misses.iter();
    let misses = misses.map(|miss| json!({ "table": miss.table, "code": miss.code }));
    let mut value = outcome;
    if let Value::Object(members) = &mut value {
        let log: Vec<_> = log.collect();
        let misses: Vec<_> = misses.collect();
        if !log.is_empty() {
            members.insert("log".into(), log.into());
        }
        if !run.warnings.is_empty() {
            members.insert("warnings".into(), shown::warnings(&run.warnings));
        }
        if run.lines_cut > 0 {
            members.insert("lines_cut".into(), run.lines_cut.into());
        }
        if !misses.is_empty() {
            members.insert("misses".into(), misses.into());
        }
    }
    Result {
        value,
        is_answer,
        duration: run.duration,
    }
}

fn refused(refusal: &Refusal) -> Value {
    match refusal {
        Refusal::Missing(path) => json!({ "missing": path }),
        Refusal::Malformed { path, expected } => {
            json!({ "malformed": { "path": path, "expected": expected } })
        }
        Refusal::UnmappedCode { table, code } => {
            json!({ "unmapped_code": { "table": table, "code": code } })
        }
        Refusal::Other(text) => json!({ "other": text }),
    }
}
