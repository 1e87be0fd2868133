//! What came of a delivery, in words: the state it takes, a code, and a sentence for the administrator.
//!
//! Pure; the table of outcomes in the documentation is made from what is said here.

use super::LeftOut;

/// What happened to the lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadOutcome {
    Created,
    Updated,
    /// An update would have said what this host wrote last: no call was made.
    Unchanged,
    /// A newer event of the same kind was written before.
    Late,
    /// It was found, and the flow's behaviour leaves it as it is.
    Left,
    /// The unknown patient has no lead, and the flow's behaviour makes none.
    None,
}

/// What happened to one activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityOutcome {
    Created,
    Updated,
    Unchanged,
    Late,
    /// It exists, and the flow's behaviour leaves it as it is.
    Left,
    /// It does not exist, and the flow's behaviour makes none.
    None,
    /// It belonged to another patient: that one was closed and a new one made.
    Moved,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub lead: LeadOutcome,
    pub activities: Vec<ActivityOutcome>,
    pub left_out: Vec<LeftOut>,
}

impl Outcome {
    /// Whether anything was written, now or by an earlier message; what was not is shown as skipped.
    pub fn is_delivered(&self) -> bool {
        let lead = matches!(
            self.lead,
            LeadOutcome::Created | LeadOutcome::Updated | LeadOutcome::Unchanged
        );
        let activities = self.activities.iter().any(|activity| {
            matches!(
                activity,
                ActivityOutcome::Created
                    | ActivityOutcome::Updated
                    | ActivityOutcome::Unchanged
                    | ActivityOutcome::Moved
            )
        });
        lead || activities
    }

    /// The code, shown and counted.
    pub fn code(&self) -> &'static str {
        use ActivityOutcome as A;
        use LeadOutcome as L;
        let wrote = matches!(self.lead, L::Created | L::Updated)
            || self
                .activities
                .iter()
                .any(|activity| matches!(activity, A::Created | A::Updated | A::Moved));
        let any = |wanted: A| self.activities.contains(&wanted);
        if wrote {
            "delivered"
        } else if self.lead == L::Unchanged || any(A::Unchanged) {
            "unchanged"
        } else if self.lead == L::Late || any(A::Late) {
            "late-news"
        } else if self.lead == L::None {
            "no-lead"
        } else if any(A::None) {
            "no-activity"
        } else {
            "left-as-it-is"
        }
    }

    /// What was done and what was not, and why.
    pub fn sentence(&self) -> String {
        let lead = match self.lead {
            LeadOutcome::Created => "lead created",
            LeadOutcome::Updated => "lead updated",
            LeadOutcome::Unchanged => "lead unchanged: it says what was written last",
            LeadOutcome::Late => "lead not written: a newer message of this kind came before",
            LeadOutcome::Left => "lead left as it is, as the flow's lead behaviour says",
            LeadOutcome::None => {
                "no lead has the search values, and the flow's lead behaviour makes none"
            }
        };
        let activities = self.activities.iter().map(|activity| match activity {
            ActivityOutcome::Created => "activity created",
            ActivityOutcome::Updated => "activity updated",
            ActivityOutcome::Unchanged => "activity unchanged: it says what was written last",
            ActivityOutcome::Late => {
                "activity not written: a newer message of this kind came before"
            }
            ActivityOutcome::Left => {
                "activity left as it is, as the flow's activity behaviour says"
            }
            ActivityOutcome::None => {
                "no activity has this key, and the flow's activity behaviour makes none"
            }
            ActivityOutcome::Moved => {
                "activity belonged to another patient: closed there and created here"
            }
        });
        let left_out = self
            .left_out
            .iter()
            .map(|left| format!("left out {}: {}", left.field, left.why));
        std::iter::once(lead.to_owned())
            .chain(activities.map(str::to_owned))
            .chain(left_out)
            .collect::<Vec<_>>()
            .join("; ")
    }
}
