//! Every webhook event, behaviour for the patient, kind of lead and answer of the EHR: what is sent, and how it ends.
//!
//! All cases run at once through one host. A field of the lead says which case it is, and each flow takes its own by its
//! condition; each answer is an EHR of its own.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use ligature::simulator::ehr::{self, Handle, Kind, Mood};
use ligature_tests::bridge::{self, Delivery, PATIENCE};

use super::{APPOINTMENT, PATIENT, channel, flow};

/// The lead field that names the case.
const CASE: &str = "mx_City";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accepts,
    Errs,
    Rejects,
    Silent,
    Foreign,
    Closes,
}

const ANSWERS: [(&str, Answer); 6] = [
    ("aa", Answer::Accepts),
    ("ae", Answer::Errs),
    ("ar", Answer::Rejects),
    ("silent", Answer::Silent),
    ("foreign", Answer::Foreign),
    ("closes", Answer::Closes),
];

impl Answer {
    fn kind(self) -> Kind {
        match self {
            Answer::Accepts => Kind::Honest,
            Answer::Errs => Kind::Ae,
            Answer::Rejects => Kind::Ar,
            Answer::Silent => Kind::Silent,
            Answer::Foreign => Kind::Foreign,
            Answer::Closes => Kind::Drop,
        }
    }

    /// State and reason of a delivery whose first message is answered so.
    fn end(self) -> (&'static str, &'static str) {
        match self {
            Answer::Accepts => ("delivered", "delivered"),
            Answer::Errs => ("dead", "ehr-error"),
            Answer::Rejects => ("dead", "ehr-rejected"),
            Answer::Silent => ("waiting", "ehr-silent"),
            Answer::Foreign => ("waiting", "ehr-answer-foreign"),
            Answer::Closes => ("waiting", "ehr-connection-lost"),
        }
    }
}

/// How a delivery stands whose line rests after failures.
const RESTS: (&str, &str) = ("waiting", "ehr-unreachable");

/// One row: which flow, which lead.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    webhook: &'static str,
    /// Of the patient's messages; leads have none.
    behaviour: Option<&'static str>,
    identified: bool,
    answer: Answer,
}

impl Case {
    /// What goes out, by the rules of the flow's settings, until one of them is not accepted.
    fn messages(&self) -> Vec<&'static str> {
        let all = match (self.webhook, self.behaviour, self.identified) {
            ("lead-create", ..) => vec!["ADT^A04"],
            ("lead-update", _, true) => vec!["ADT^A08"],
            // Set to send the registration in its place.
            ("lead-update", _, false) => vec!["ADT^A04"],
            ("lead-activity-create" | "lead-activity-update", behaviour, identified) => {
                let own = match self.webhook {
                    "lead-activity-create" => "SIU^S12",
                    _ => "SIU^S14",
                };
                match (behaviour, identified) {
                    (Some("capture"), true) | (Some("update-only"), true) => vec!["ADT^A08", own],
                    (Some("create-only") | Some("nothing"), true) => vec![own],
                    (Some("capture") | Some("create-only"), false) => vec!["ADT^A04", own],
                    // These do not register: the change waits for the identifier.
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        match self.answer {
            Answer::Accepts => all,
            _ => all.into_iter().take(1).collect(),
        }
    }

    fn end(&self) -> (&'static str, &'static str) {
        match self.messages().is_empty() {
            true => ("parked", "no-identifier-yet"),
            false => self.answer.end(),
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (answer_name, answer) in ANSWERS {
        for identified in [false, true] {
            for (webhook, behaviours) in [
                ("lead-create", &[None][..]),
                ("lead-update", &[None]),
                ("lead-activity-create", &BEHAVIOURS),
                ("lead-activity-update", &BEHAVIOURS),
            ] {
                for behaviour in behaviours {
                    cases.push(Case {
                        name: format!(
                            "{webhook}-{}-{identified}-{answer_name}",
                            behaviour.unwrap_or("lead")
                        ),
                        webhook,
                        behaviour: *behaviour,
                        identified,
                        answer,
                    });
                }
            }
        }
    }
    cases
}

const BEHAVIOURS: [Option<&str>; 4] = [
    Some("capture"),
    Some("create-only"),
    Some("update-only"),
    Some("nothing"),
];

/// The flows of one answer, each taking its own case.
fn flows(answer: &str, cases: &[Case]) -> Vec<(String, String, String)> {
    let mut flows = Vec::new();
    let never = "condition = [{ field = \"mx_City\", in = [\"nobody lives here\"] }]";
    for (id, event) in [("register", "ADT^A04"), ("update", "ADT^A08")] {
        let id = format!("{id}-{answer}");
        let outbound = format!("webhook = \"lead-create\", max_sends = 2, {never}");
        flows.push((
            id.clone(),
            flow(&id, answer, event, "lead", &outbound),
            PATIENT.to_owned(),
        ));
    }
    for case in cases
        .iter()
        .filter(|case| case.name.ends_with(&format!("-{answer}")))
    {
        let (event, entity) = match case.webhook {
            "lead-create" => ("ADT^A04", "lead"),
            "lead-update" => ("ADT^A08", "lead"),
            "lead-activity-create" => ("SIU^S12", "activity"),
            _ => ("SIU^S14", "activity"),
        };
        let (register, update) = (format!("register-{answer}"), format!("update-{answer}"));
        let patient = match case.behaviour {
            Some(behaviour) => format!(
                "{{ behaviour = \"{behaviour}\", register = \"{register}\", update = \"{update}\" }}"
            ),
            None => format!("{{ behaviour = \"nothing\", register = \"{register}\" }}"),
        };
        let unidentified = match case.webhook {
            "lead-update" => "register",
            _ => "wait",
        };
        let outbound = format!(
            "webhook = \"{}\", condition = [{{ field = \"{CASE}\", in = [\"{}\"] }}], patient = {patient}, \
             unidentified = \"{unidentified}\", max_sends = 2",
            case.webhook, case.name
        );
        let mapping = match entity {
            "lead" => PATIENT.to_owned(),
            _ => format!("{PATIENT}{APPOINTMENT}"),
        };
        flows.push((
            case.name.clone(),
            flow(&case.name, answer, event, entity, &outbound),
            mapping,
        ));
    }
    flows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_behaviour_lead_and_answer_has_its_row() -> anyhow::Result<()> {
    let cases = cases();
    let mut ehrs: BTreeMap<&str, Handle> = BTreeMap::new();
    let (mut documents, mut mappings) = (String::new(), Vec::new());
    let mut settings = String::new();
    for (name, answer) in ANSWERS {
        let ehr = bridge::ehr(ehr::Settings::default()).await?;
        ehr.tell(Mood::always(answer.kind()));
        documents.push_str(&channel(name, &ehr));
        for (id, text, mapping) in flows(name, &cases) {
            settings.push_str(&text);
            mappings.push((id, mapping));
        }
        ehrs.insert(name, ehr);
    }
    documents.push_str(&settings);
    let bridge = super::open(&documents, &mappings).await?;

    let mut records = Vec::new();
    for (case, number) in cases.iter().zip(1..) {
        let mrn = format!("M{number}");
        let name = format!("Case{number}");
        let mut values = vec![("LastName", name.as_str())];
        if case.identified {
            values.push(("mx_MRN", mrn.as_str()));
        }
        if case.webhook != "lead-update" {
            values.push((CASE, case.name.as_str()));
        }
        let lead = bridge.create_lead(&values)?;
        let mut record = lead.clone();
        match case.webhook {
            "lead-update" => drop(bridge.edit_lead(&lead, &[(CASE, &case.name)])?),
            "lead-activity-create" | "lead-activity-update" => {
                let simulator = &bridge.office.simulator;
                let activity = simulator.create_activity(
                    &lead,
                    205,
                    &[("mx_Custom_1", &mrn), ("Status", "Booked")],
                );
                let activity = activity.map_err(anyhow::Error::msg)?;
                record.clone_from(&activity);
                if case.webhook == "lead-activity-update" {
                    simulator
                        .edit_activity(&activity, &[("Status", "Moved")])
                        .map_err(anyhow::Error::msg)?;
                }
            }
            _ => {}
        }
        records.push(record);
    }

    let check = |deliveries: &[Delivery]| -> anyhow::Result<()> {
        for (case, number) in cases.iter().zip(1_usize..) {
            let ehr = ehrs
                .get(case.name.rsplit('-').next().unwrap_or_default())
                .context("an EHR")?;
            let about = format!("Case{number}");
            let received: Vec<_> = ehr
                .received()
                .into_iter()
                .filter(|received| {
                    received.field("PID", 5).split('^').next() == Some(about.as_str())
                })
                .collect();
            let mut events: Vec<String> = received
                .iter()
                .map(|received| received.event.clone())
                .collect();
            events.dedup();
            // A line that was closed on rests for longer and longer: not every message gets as far.
            let rests = case.answer == Answer::Closes && events.is_empty();
            ensure!(
                rests || events == case.messages(),
                "{}: sent {events:?}, wanted {:?}",
                case.name,
                case.messages()
            );
            let ids: std::collections::BTreeSet<_> = received
                .iter()
                .map(|received| &received.control_id)
                .collect();
            ensure!(
                ids.len() == events.len(),
                "{}: a repeat has the same control id",
                case.name
            );
            let times = received.len();
            match case.answer {
                Answer::Accepts => ensure!(times == events.len(), "{}: {times}", case.name),
                Answer::Rejects => ensure!(times == events.len(), "{}: {times}", case.name),
                Answer::Errs if !events.is_empty() => ensure!(times == 2, "{}: {times}", case.name),
                _ => {}
            }
            for received in &received {
                ensure!(!received.text.contains("TPL"), "{}", received.text);
            }
            let record = &records[number - 1];
            let found: Vec<_> = deliveries
                .iter()
                .filter(|delivery| delivery.flow == case.name && delivery.record == *record)
                .collect();
            let (state, reason) = case.end();
            ensure!(
                matches!(found.as_slice(), [only] if only.state == state
                    && (only.reason == reason || (state, only.reason.as_str()) == RESTS && case.answer == Answer::Closes)),
                "{}: wanted {state} {reason}: {found:?}",
                case.name
            );
            ensure!(!found[0].detail.is_empty() && !found[0].detail.contains(&about));
        }
        Ok(())
    };
    // Until every delivery stands where its row says; what waits is sent again meanwhile.
    let started = tokio::time::Instant::now();
    loop {
        // What waits holds its lane, so other flows of the same lead may be queued behind it for ever.
        let deliveries = bridge.deliveries().await?;
        match check(&deliveries) {
            Ok(()) => break,
            Err(wrong) if started.elapsed() > 2 * PATIENCE => return Err(wrong),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
    ligature_tests::say(&format!("{} rows", cases.len()));
    bridge.office.host.stop().await;
    Ok(())
}
