//! Faults on demand: what goes wrong with the next calls, by count or by chance.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Dice;

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: Kind,
    #[serde(default)]
    pub when: When,
    /// Only calls whose path holds this text, for example `Lead.Create`; none is every call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Only calls that change something.
    #[serde(default)]
    pub writes_only: bool,
    /// How often; none is for ever where there is a probability, else once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// 0 to 1; none is always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// How long a delay lasts, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// The lead that `delete-lead` deletes at once; none deletes the one that the next call addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<String>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The call takes `delay_ms` longer; its effect comes even if the caller has gone.
    Delay,
    /// The connection is dropped instead of an answer.
    Drop,
    /// 502 with an HTML body.
    BadGateway,
    /// 500 with an HTML body.
    Html,
    /// The rate limit's answer, whatever the rate.
    RateLimit,
    /// The keys are refused, as those of a user who was deactivated.
    Unauthorized,
    /// The lead that the call addresses has just been deleted.
    DeleteLead,
}

/// Whether the call takes effect first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Nothing is changed; a delayed call still takes effect after its delay.
    #[default]
    BeforeEffect,
    /// The change is made, and its answer is late or lost.
    AfterEffect,
}

impl Fault {
    /// A fault that hits the next call.
    pub fn once(kind: Kind, when: When) -> Self {
        Self {
            kind,
            when,
            route: None,
            writes_only: false,
            count: None,
            probability: None,
            delay_ms: 0,
            lead: None,
        }
    }

    /// The same for calls whose path holds `route`.
    pub fn on(mut self, route: &str) -> Self {
        self.route = Some(route.to_owned());
        self
    }

    /// The same for calls that change something.
    pub fn on_writes(mut self) -> Self {
        self.writes_only = true;
        self
    }

    /// The same for the next `count` calls.
    pub fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// The same by chance, for ever unless [`Fault::times`] bounds it.
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// The same with a delay.
    pub fn lasting(mut self, delay: Duration) -> Self {
        self.delay_ms = delay.as_millis() as u64;
        self
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }
}

/// The faults that are waiting for calls.
#[derive(Debug)]
pub(super) struct Faults {
    waiting: Vec<Fault>,
    dice: Dice,
}

impl Faults {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            waiting: Vec::new(),
            dice,
        }
    }

    pub(super) fn add(&mut self, mut fault: Fault) {
        if fault.count == Some(0) {
            return;
        }
        if fault.count.is_none() && fault.probability.is_none() {
            fault.count = Some(1);
        }
        self.waiting.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn waiting(&self) -> &[Fault] {
        &self.waiting
    }

    /// The fault that hits a call, if any; the first that was added goes first.
    pub(super) fn strike(&mut self, path: &str, is_write: bool) -> Option<Fault> {
        let dice = &mut self.dice;
        let hit = self.waiting.iter().position(|fault| {
            fault
                .route
                .as_deref()
                .is_none_or(|route| path.contains(route))
                && (is_write || !fault.writes_only)
                && fault.probability.is_none_or(|share| dice.chance() < share)
        })?;
        let fault = self.waiting[hit].clone();
        if let Some(count) = &mut self.waiting[hit].count {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(hit);
            }
        }
        Some(fault)
    }
}
