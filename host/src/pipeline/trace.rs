//! What the mapping runs of one attempt leave behind beside their answers: codes without an entry, and how to run it again.

use jiff::Timestamp;

use super::configuration::{Configuration, InForce, Route};
use crate::flow::ChannelId;
use crate::flow::ran::{Given, Ran, Warned};
use crate::mapping::compare::Answer;
use crate::mapping::{Failure, LogLine, Miss, Run, Warning};

/// What runs leave behind; of several runs the last one is kept.
#[derive(Debug, Default)]
pub struct Traces {
    /// Codes that tables had no entry for.
    pub misses: Vec<Miss>,
    pub ran: Option<Ran>,
}

impl Traces {
    /// Takes what `run` of a route's mapping leaves behind.
    pub fn note<T>(&mut self, in_force: &InForce, given: Given, run: &mut Run<T>)
    where
        for<'a> Answer: From<&'a Result<T, Failure>>,
    {
        self.misses.append(&mut run.misses);
        let answer = Answer::from(&run.outcome);
        self.ran = Some(Ran {
            flow: in_force.release.flow.clone(),
            release: in_force.digest.clone(),
            at_ms: Timestamp::now().as_millisecond(),
            outcome: answer.outcome.into(),
            broke: answer.broke,
            given,
            prints: answer.prints(),
            warnings: run.warnings.iter().map(warned).collect(),
            warnings_cut: run.warnings_cut,
            log: kept(&run.log),
        });
    }

    /// Notes that the identifier of the patient had been replaced before the run.
    pub fn replaced(&mut self, from: Option<&String>, to: Option<&String>) {
        if let (Some(ran), Some(from), Some(to)) = (&mut self.ran, from, to)
            && from != to
        {
            ran.given.replaced = Some((from.clone(), to.clone()));
        }
    }
}

pub(super) fn warned(warning: &Warning) -> Warned {
    Warned {
        row: warning.row.clone().unwrap_or_default(),
        path: warning.path.clone(),
        cause: warning.cause.code().into(),
        defaulted: warning.defaulted,
    }
}

/// The first lines of a log.
fn kept(log: &[LogLine]) -> Vec<String> {
    let mut left = Ran::MAX_LOG_BYTES;
    let lines = log
        .iter()
        .map(|line| format!("{}: {}", line.level.as_str(), line.text));
    lines
        .take_while(|line| {
            let fits = line.len() <= left;
            left = left.saturating_sub(line.len());
            fits
        })
        .collect()
}

impl Route {
    /// What a run of this flow is given now, for a message that came by `channel`.
    pub fn given(&self, configuration: &Configuration, channel: &ChannelId) -> Given {
        let reading = configuration.reading(channel);
        Given {
            charset: reading.charset,
            join_lines: reading.join_lines,
            ..self.given_of_change()
        }
    }

    /// The same of a change in LeadSquared.
    pub fn given_of_change(&self) -> Given {
        Given {
            time_zone: self.zone_name().into(),
            country_code: self.country_code(),
            channel: self.flow.channel.to_string(),
            ..Given::default()
        }
    }
}
