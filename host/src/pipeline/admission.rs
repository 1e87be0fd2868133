//! Whether a channel takes a message: the checks that come before storage, and the flows behind them.
//!
//! Decides by what the channel says and by MSH alone; mapping and delivery never have a say in what is answered, and
//! exclusions none either: whoever sends an excluded message cannot tell.

use super::configuration::Configuration;
use super::patient;
use crate::flow::channel::{NoFlow, ProcessingId};
use crate::flow::exclusion::Rule;
use crate::flow::patient::changes_identifiers;
use crate::flow::{Channel, Event, Priority, Status};
use crate::hl7::ack::{Condition, Fault, Outcome};
use crate::hl7::{Header, Path};
use crate::store::journal::{Rank, Route, Routed, Start};

/// Patients of one message, at most: each has a lane that the message holds while it runs.
pub const MOST_PATIENTS: usize = 256;

/// What becomes of a message, and what its answer says.
#[derive(Debug)]
pub struct Admission {
    pub route: Route,
    /// What is answered once the message is durable.
    pub outcome: Outcome,
    pub fault: Option<Fault>,
}

/// Decides in the order of the standard's first checks (chapter 2, original mode): sender, version, processing id, event.
pub fn decide(
    configuration: &Configuration,
    channel: &Channel,
    header: &Header<'_>,
    event: &Event,
) -> Admission {
    if header.message_code == "ACK" {
        // Acknowledgements are never answered.
        return skipped(
            "acknowledgement",
            "an acknowledgement arrived on a listener, where only messages are expected".into(),
        );
    }
    if header.control_id.is_empty() {
        return rejected(
            "no-control-id",
            "MSH-10 is empty: without a control id the sender cannot match an answer".into(),
            Condition::RequiredFieldMissing,
            "MSH-10 is empty",
            10,
        );
    }
    if !channel.expects(&header.sending_application, &header.sending_facility) {
        return rejected(
            "unexpected-sender",
            "MSH-3 and MSH-4 name a sender that this channel does not expect: add it to the channel, or ask it to send elsewhere".into(),
            Condition::Application,
            "sender is not expected on this channel",
            3,
        );
    }
    if !channel.versions.is_empty() && !channel.versions.iter().any(|v| *v == header.version) {
        return rejected(
            "unsupported-version",
            "MSH-12 is none of the versions that this channel takes".into(),
            Condition::UnsupportedVersion,
            "version is not taken on this channel",
            12,
        );
    }
    match channel.processing(&header.processing_id) {
        ProcessingId::Taken => {}
        ProcessingId::Test => {
            return skipped(
                "test-message",
                "test message: MSH-11 says that it is for training or debugging, and the channel is for production".into(),
            );
        }
        ProcessingId::Unknown => {
            return rejected(
                "unsupported-processing-id",
                "MSH-11 is none of the processing ids that this channel takes".into(),
                Condition::UnsupportedProcessingId,
                "processing id is not taken on this channel",
                11,
            );
        }
    }
    // Who is who comes before what is written to whom.
    let identifiers = changes_identifiers(event).then(|| Routed {
        flow: patient::flow(),
        rank: Rank::new(0),
        start: Start::Queued,
    });
    let takers = configuration
        .takers(&channel.id, event)
        .map(|route| Routed {
            flow: route.flow.id.clone(),
            rank: route.flow.priority().into(),
            start: start(&route.flow.status),
        });
    let routed: Vec<Routed> = identifiers.into_iter().chain(takers).collect();
    if !routed.is_empty() {
        return Admission {
            route: Route::Flows(routed),
            outcome: Outcome::Stored,
            fault: None,
        };
    }
    let text = format!("no flow takes {event}");
    match channel.no_flow {
        NoFlow::Accept => skipped("no-flow", text),
        NoFlow::Reject => rejected(
            "no-flow",
            text,
            Condition::UnsupportedEvent,
            "event is not taken here",
            9,
        ),
    }
}

/// How deliveries of a flow begin.
pub(super) fn start(status: &Status) -> Start {
    match status {
        Status::Paused(why) => Start::Parked {
            reason: "flow-paused",
            text: format!("the flow is paused ({why})"),
        },
        Status::Draft | Status::Active => Start::Queued,
    }
}

impl From<Priority> for Rank {
    fn from(priority: Priority) -> Self {
        Rank::new(match priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        })
    }
}

impl Admission {
    /// Takes the message away from all flows, because a rule of the channel keeps it out; its answer stays as it is.
    pub fn excluded(self, rule: Rule) -> Self {
        let route = match self.route {
            // It was answered negatively, and that must stay explained.
            Route::Rejected { reason, text } => Route::Rejected {
                reason,
                text: format!("{text}; only header facts are kept: {}", rule.sentence()),
            },
            Route::Flows(_) | Route::Skipped { .. } | Route::Excluded { .. } => Route::Excluded {
                reason: rule.code(),
                text: rule.sentence().into(),
            },
        };
        Self { route, ..self }
    }
}

/// A message about more patients than anything but a fault or an attack names.
pub fn about_too_many() -> Admission {
    let mut admission = rejected(
        "too-many-patients",
        format!(
            "PID and MRG name more than {MOST_PATIENTS} patients: send a message for each, or for each pair of a merge"
        ),
        Condition::Application,
        "message names too many patients",
        3,
    );
    if let Some(fault) = &mut admission.fault {
        fault.location = Path::new("PID", Some(3));
    }
    admission
}

fn skipped(reason: &'static str, text: String) -> Admission {
    Admission {
        route: Route::Skipped { reason, text },
        outcome: Outcome::Stored,
        fault: None,
    }
}

/// `wording` goes to the sender, with the number of the field of MSH that is at fault.
fn rejected(
    reason: &'static str,
    text: String,
    condition: Condition,
    wording: &'static str,
    field: u16,
) -> Admission {
    Admission {
        route: Route::Rejected { reason, text },
        outcome: Outcome::Rejected,
        fault: Some(Fault {
            condition,
            text: wording,
            location: Path::new("MSH", Some(field)),
        }),
    }
}
