//! A day between an EHR and LeadSquared with flows both ways: at its end there is one write and one message for everything
//! that somebody did, and not one more.
//!
//! The EHR here tells of everything that it takes, as EHRs do: each message that reaches it comes back as a message about
//! the same patient or appointment. LeadSquared tells of everything that is written, automations are on, and its calls
//! take a while after their effect, so that it tells of a write before it has answered it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Zoned;
use ligature::simulator::ehr;
use ligature::simulator::lead_squared::{Change, Settings};
use ligature_tests::bridge::{self, Bridge, Mapped, PATIENCE};
use ligature_tests::mllp::Client;
use ligature_tests::site::free_address;
use tokio::time::Instant;

use super::{TEMPLATE, channel, flow};

const PATIENT: &str = include_str!("day/patient.toml");

const APPOINTMENT: &str = include_str!("day/appointment.toml");

const TO_EHR: &str = include_str!("day/to-ehr.toml");

const APPOINTMENT_TO_EHR: &str = include_str!("day/appointment-to-ehr.toml");

const ACCOUNT: &str = "identifier_fields = [\"mx_MRN\"]\nlead_number = { authority = \"LSQ\" }\n\
                       default_country_code = \"1\"\ntime_zone = \"America/New_York\"\n";

const PATIENTS: usize = 12;
/// Leads that people make.
const CALLERS: usize = 5;

/// The bridge, the EHR's own interfaces, and what was to come of everything so far.
struct Day {
    bridge: Bridge,
    ehr: ehr::Handle,
    adt: Client,
    siu: Client,
    sent: usize,
    /// Messages of the EHR that it has told of already.
    told: usize,
    writes: BTreeMap<&'static str, usize>,
    messages: BTreeMap<String, usize>,
}

/// One patient as the EHR has it.
#[derive(Clone)]
struct Patient {
    mrn: String,
    family: String,
    city: &'static str,
    phone: String,
}

impl Patient {
    fn new(number: usize) -> Self {
        Self {
            mrn: format!("E{number}"),
            family: format!("Family{number}"),
            city: "Rye",
            phone: format!("(207)555-01{number:02}"),
        }
    }

    fn pid(&self) -> String {
        let Self {
            mrn,
            family,
            city,
            phone,
        } = self;
        format!("PID|1||{mrn}^^^CLINIC^MR||{family}^Ana||19840219|F|||^^{city}||{phone}")
    }
}

impl Day {
    async fn begin() -> anyhow::Result<Self> {
        let ehr = bridge::ehr(ehr::Settings {
            assigns: Some("CLINIC".into()),
            ..ehr::Settings::default()
        })
        .await?;
        let (adt, siu) = (free_address()?, free_address()?);
        let mut documents = channel("out", &ehr);
        for (id, address) in [("adt", adt), ("siu", siu)] {
            documents.push_str(&format!(
                "[[channels]]\nid = \"{id}\"\naddress = \"{address}\"\n\n"
            ));
        }
        let events = [
            ("adt", "ADT^A04"),
            ("adt", "ADT^A08"),
            ("siu", "SIU^S12"),
            ("siu", "SIU^S14"),
        ];
        for (channel, event) in events {
            let entity = match channel {
                "adt" => "entity = \"lead\"",
                _ => {
                    "entity = \"activity\"\nlead_behaviour = \"update-only\"\n\
                     activity = { code = 205, key_field = \"mx_Custom_1\" }"
                }
            };
            documents.push_str(&format!(
                "[[flows]]\nid = \"{event}\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"{channel}\"\n\
                 event = \"{event}\"\nprimary_search_field = \"mx_MRN\"\n{entity}\n\n"
            ));
        }
        let mrn = "read_back = [{ path = \"PID-3[.4='CLINIC'].1\", field = \"mx_MRN\" }]";
        let key = "read_back = [{ path = \"SCH-2.1\", field = \"mx_Custom_1\", activity = true }]";
        for (id, event, webhook, more) in [
            ("register", "ADT^A04", "lead-create", mrn),
            ("update", "ADT^A08", "lead-update", mrn),
            ("book", "SIU^S12", "lead-activity-create", key),
            ("change", "SIU^S14", "lead-activity-update", ""),
        ] {
            let entity = if webhook.contains("activity") {
                "activity"
            } else {
                "lead"
            };
            let outbound = format!("webhook = \"{webhook}\", {more}");
            let outbound = outbound.trim_end_matches(", ");
            documents.push_str(&flow(id, "out", event, entity, outbound));
        }
        let appointment = format!("{PATIENT}\n{APPOINTMENT}");
        let to_ehr = format!("{TO_EHR}\n{APPOINTMENT_TO_EHR}");
        let to_ehr = to_ehr.replace(
            "[[place]]\ntarget = \"EVN-2\"\nfact = \"received-at\"\nsteps = [\"date-time\"]\n",
            "",
        );
        let mut flows = Vec::new();
        for (channel, flow) in events {
            let mapping = if channel == "adt" {
                PATIENT
            } else {
                &appointment
            };
            flows.push(Mapped {
                flow,
                mapping,
                template: None,
            });
        }
        // Appointments have no EVN.
        let (head, rest) = TEMPLATE.split_once("\rEVN").context("EVN")?;
        let (_, rest) = rest.split_once('\r').context("more than EVN")?;
        let of_visits = format!("{head}\r{rest}");
        for (flow, mapping, template) in [
            ("register", TO_EHR, TEMPLATE),
            ("update", TO_EHR, TEMPLATE),
            ("book", &to_ehr, &of_visits),
            ("change", &to_ehr, &of_visits),
        ] {
            flows.push(Mapped {
                flow,
                mapping,
                template: Some(template),
            });
        }
        let settings = Settings {
            latency: Duration::from_millis(40),
            log_calls: true,
            ..bridge::prompt()
        };
        let bridge = Bridge::open(settings, ACCOUNT, &documents, &flows).await?;
        let (adt, siu) = (bridge.connect(adt).await?, bridge.connect(siu).await?);
        Ok(Self {
            bridge,
            ehr,
            adt,
            siu,
            sent: 0,
            told: 0,
            writes: BTreeMap::new(),
            messages: BTreeMap::new(),
        })
    }

    /// The EHR sends a message of its own.
    async fn send(&mut self, event: &str, segments: &str) -> anyhow::Result<()> {
        self.sent += 1;
        let at = Zoned::now().strftime("%Y%m%d%H%M%S%z").to_string();
        let (code, trigger) = event.split_once('^').context("an event")?;
        let recorded = match code {
            "ADT" => format!("EVN|{trigger}|{at}\r"),
            _ => String::new(),
        };
        let text = format!(
            "MSH|^~\\&|EHR|CLINIC|LIG|CRM|{at}||{event}|E{}|P|2.5.1\r{recorded}{segments}\r",
            self.sent
        );
        let line = match code {
            "ADT" => &mut self.adt,
            _ => &mut self.siu,
        };
        let answer = line.exchange(text.as_bytes()).await?;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.contains("MSA|AA"), "{answer}");
        Ok(())
    }

    async fn adt(&mut self, event: &str, patient: &Patient) -> anyhow::Result<()> {
        self.send(event, &patient.pid()).await
    }

    async fn siu(
        &mut self,
        event: &str,
        patient: &Patient,
        key: &str,
        status: &str,
    ) -> anyhow::Result<()> {
        let schedule = format!(
            "SCH||{key}^CLINIC|||||||||^^^20261201100000-0500{}{status}\r{}",
            "|".repeat(14),
            patient.pid()
        );
        self.send(event, &schedule).await
    }

    /// The EHR tells of all that it has taken since: the same values, with what it knows of them itself.
    async fn tell_back(&mut self) -> anyhow::Result<()> {
        let received = self.ehr.received();
        for message in &received[self.told..] {
            ensure!(
                message.findings.is_empty() && message.repeats == 0,
                "{:?}\n{}",
                message.findings,
                message.text
            );
            let (event, field) = (message.event.as_str(), |name: &str, number| {
                message.field(name, number)
            });
            // Its own number first, as in its answer; the lead's number stays beside it.
            let ids = field("PID", 3);
            let ids = match ids.contains("^^^CLINIC") {
                true => ids,
                false => {
                    let number = self.number_of(&ids)?;
                    format!("{number}^^^CLINIC^MR~{ids}")
                }
            };
            let pid = format!(
                "PID|1||{ids}||{}||{}||||{}||{}",
                field("PID", 5),
                field("PID", 7),
                field("PID", 11),
                field("PID", 13)
            );
            let segments = match event {
                "ADT^A04" | "ADT^A08" => pid,
                _ => {
                    let filler = match field("SCH", 2) {
                        filler if filler.is_empty() => format!("F-{}^CLINIC", field("SCH", 1)),
                        filler => filler,
                    };
                    format!(
                        "SCH|{}|{filler}|||||||||{}{}{}\r{pid}",
                        field("SCH", 1),
                        field("SCH", 11),
                        "|".repeat(14),
                        field("SCH", 25)
                    )
                }
            };
            let event = if event == "ADT^A04" { "ADT^A08" } else { event };
            self.send(event, &segments).await?;
        }
        self.told = received.len();
        Ok(())
    }

    /// The number that the EHR has given the lead of these identifiers.
    fn number_of(&self, ids: &str) -> anyhow::Result<String> {
        let number = ids
            .split('~')
            .find(|id| id.contains("LSQ"))
            .and_then(|id| id.split('^').next())
            .context("the lead's number")?;
        let leads = self.bridge.office.simulator.leads();
        let lead = leads
            .iter()
            .zip(1_001..)
            .find(|(_, held)| held.to_string() == number)
            .map(|(lead, _)| lead);
        let mrn = lead.and_then(|lead| lead.values.get("mx_MRN"));
        Ok(mrn.context("the lead's MRN")?.clone())
    }

    fn expect_writes(&mut self, change: &'static str, count: usize) {
        *self.writes.entry(change).or_default() += count;
    }

    fn expect_messages(&mut self, event: &str, count: usize) {
        *self.messages.entry(event.to_owned()).or_default() += count;
    }

    /// Lets everything come to rest and holds it against what is expected by now.
    ///
    /// What is lacking may be on its way still; what is too much is not taken back, so that the next check sees it.
    async fn check(&self, when: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            self.bridge.quiet(PATIENCE).await?;
            let (writes, messages) = self.counts();
            if writes == self.writes && messages == self.messages {
                return Ok(());
            }
            ensure!(
                started.elapsed() < PATIENCE / 4,
                "{when}: writes {writes:?}, wanted {:?}; messages {messages:?}, wanted {:?}\n{:#?}",
                self.writes,
                self.messages,
                self.bridge.deliveries().await?
            );
        }
    }

    /// Writes to LeadSquared by what they did, and messages to the EHR by event.
    fn counts(&self) -> (BTreeMap<&'static str, usize>, BTreeMap<String, usize>) {
        let mut writes = BTreeMap::new();
        for write in self.bridge.office.simulator.writes() {
            let change = match write.change {
                Change::LeadCreated => "lead created",
                Change::LeadUpdated => "lead updated",
                Change::ActivityCreated => "activity created",
                Change::ActivityUpdated => "activity updated",
            };
            *writes.entry(change).or_default() += 1;
        }
        let mut messages = BTreeMap::new();
        for message in self.ehr.received() {
            *messages.entry(message.event).or_default() += 1;
        }
        (writes, messages)
    }

    /// The same after the EHR has told of what it took: it costs nothing.
    async fn check_both_ways(&mut self, when: &str) -> anyhow::Result<()> {
        self.check(when).await?;
        self.tell_back().await?;
        self.check(&format!("{when}, and the EHR told of it")).await
    }

    fn lead(&self, mrn: &str) -> anyhow::Result<String> {
        let mut found = self.bridge.office.simulator.leads_with("mx_MRN", mrn);
        ensure!(found.len() == 1, "{} leads of {mrn}", found.len());
        Ok(found.remove(0).id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_back_and_forth_over_a_day() -> anyhow::Result<()> {
    let mut day = Day::begin().await?;
    let mut patients: Vec<Patient> = (0..PATIENTS).map(Patient::new).collect();

    for patient in &patients {
        day.adt("ADT^A04", patient).await?;
    }
    day.expect_writes("lead created", PATIENTS);
    day.check("the EHR registers patients").await?;

    for patient in &mut patients {
        patient.city = "Bath";
        day.adt("ADT^A08", patient).await?;
    }
    day.expect_writes("lead updated", PATIENTS);
    day.check("the EHR changes patients").await?;

    // The second of two comes as soon as the first is written, and before anybody has noted so.
    for patient in &mut patients {
        let before = day.bridge.office.simulator.writes().len();
        patient.city = "Salem";
        day.adt("ADT^A08", patient).await?;
        day.bridge
            .office
            .simulator
            .until(|counts| counts.writes > before)
            .await;
        patient.city = "Kittery";
        day.adt("ADT^A08", patient).await?;
        day.bridge
            .office
            .simulator
            .until(|counts| counts.writes > before + 1)
            .await;
    }
    day.expect_writes("lead updated", 2 * PATIENTS);
    day.check("the EHR changes patients twice").await?;

    for (patient, number) in patients.iter_mut().zip(0..) {
        patient.phone = format!("(207)555-02{number:02}");
        let lead = day.lead(&patient.mrn)?;
        ensure!(day.bridge.edit_lead(&lead, &[("Phone", &patient.phone)])?);
    }
    day.expect_messages("ADT^A08", PATIENTS);
    day.check_both_ways("people change patients").await?;

    for patient in &patients {
        let lead = day.lead(&patient.mrn)?;
        ensure!(
            day.bridge
                .edit_lead(&lead, &[("Notes", "called at noon")])?
        );
    }
    day.check("people change what the EHR is not told").await?;

    // What people wrote is taken back where it came from: that is news, and no echo.
    let phones: Vec<String> = patients.iter().map(|known| known.phone.clone()).collect();
    for (patient, number) in patients.iter_mut().zip(0..) {
        patient.phone = format!("(207)555-01{number:02}");
        day.adt("ADT^A08", patient).await?;
    }
    day.expect_writes("lead updated", PATIENTS);
    day.check("the EHR takes a change back").await?;
    // And people insist.
    for (patient, phone) in patients.iter_mut().zip(phones) {
        let lead = day.lead(&patient.mrn)?;
        ensure!(day.bridge.edit_lead(&lead, &[("Phone", &phone)])?);
        patient.phone = phone;
    }
    day.expect_messages("ADT^A08", PATIENTS);
    day.check_both_ways("people change it again").await?;

    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let family = format!("Caller{number}");
        let values = [
            ("LastName", family.as_str()),
            ("FirstName", "Bo"),
            ("mx_Date_of_Birth", "1990-03-04"),
            ("mx_City", "Eliot"),
        ];
        callers.push(day.bridge.create_lead(&values)?);
    }
    day.expect_messages("ADT^A04", CALLERS);
    // The number that the EHR gives them.
    day.expect_writes("lead updated", CALLERS);
    day.check_both_ways("people make leads").await?;

    for (patient, number) in patients.iter().zip(0..) {
        day.siu("SIU^S12", patient, &format!("A{number}"), "Booked")
            .await?;
    }
    day.expect_writes("activity created", PATIENTS);
    day.check("the EHR books").await?;
    for (patient, number) in patients.iter().zip(0..) {
        day.siu("SIU^S14", patient, &format!("A{number}"), "Arrived")
            .await?;
    }
    day.expect_writes("activity updated", PATIENTS);
    day.check("the EHR changes bookings").await?;

    let mut bookings = Vec::new();
    for lead in &callers {
        let values = [("Status", "Booked"), ("mx_Custom_2", "2026-12-02 15:30:00")];
        bookings.push(day.bridge.create_activity(lead, 205, &values)?);
    }
    day.expect_messages("SIU^S12", CALLERS);
    // The number that the EHR gives the appointment.
    day.expect_writes("activity updated", CALLERS);
    day.check_both_ways("people book").await?;
    for booking in &bookings {
        let simulator = &day.bridge.office.simulator;
        let edited = simulator.edit_activity(booking, &[("Status", "Confirmed")]);
        edited.map_err(anyhow::Error::msg)?;
    }
    day.expect_messages("SIU^S14", CALLERS);
    day.check_both_ways("people change bookings").await?;

    // And then there is nothing more.
    let calls = day.bridge.office.simulator.calls().len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    day.check("the evening").await?;
    ensure!(day.bridge.office.simulator.calls().len() == calls);
    ensure!(day.bridge.office.simulator.leads().len() == PATIENTS + CALLERS);
    for delivery in day.bridge.deliveries().await? {
        ensure!(
            ["delivered", "skipped"].contains(&delivery.state.as_str()),
            "{delivery:?}"
        );
    }
    day.bridge.office.host.stop().await;
    Ok(())
}
