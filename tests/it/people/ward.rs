//! A clinic with registrations, updates and appointments, and the messages about its patients.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::simulator::lead_squared::{LeadView, Settings};
use ligature_tests::clinic::{Clinic, UNLIMITED, unlimited};
use ligature_tests::mllp::Client;

const MAPPING: &str = r#"
format = 1
name = "Patient"
version = "1"
events = ["ADT^A04"]

[[lead]]
target = "mx_MRN"
path = "PID-3[.5='MR'].1"

[[lead]]
target = "EmailAddress"
path = "PID-13[.2='NET'].4"

[[lead]]
target = "Phone"
path = "PID-13[.2='PRN'].1"

[[lead]]
target = "FirstName"
path = "PID-5.2"

[[lead]]
target = "LastName"
path = "PID-5.1"

[[lead]]
target = "OwnerId"
path = "PV1-7.1"

[[lead]]
target = "mx_City"
path = "PID-11.3"

[[lead]]
target = "mx_Date_of_Birth"
path = "PID-7"
steps = ["date"]
"#;

const ACTIVITY: &str = r#"
[[activity]]
key = { path = "SCH-1.1" }

[[activity.field]]
target = "Status"
path = "SCH-25.1"
"#;

/// A clinic with registrations, updates and appointments; the texts are further lines of the account and of each flow.
pub(super) struct Ward {
    pub(super) clinic: Clinic,
    sender: Client,
    sent: usize,
}

/// One message about a patient; what is empty is not sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patient<'a> {
    pub(super) mrn: &'a str,
    pub(super) family: &'a str,
    pub(super) given: &'a str,
    pub(super) born: &'a str,
    pub(super) email: &'a str,
    pub(super) phone: &'a str,
    pub(super) city: &'a str,
    /// Seconds after now at which the event happened.
    pub(super) at: i64,
    /// SCH-1 and SCH-25.
    pub(super) appointment: Option<(&'a str, &'a str)>,
    /// Further segments.
    pub(super) more: &'a str,
}

impl Ward {
    pub(super) async fn open(account: &str, flow: &str) -> anyhow::Result<Self> {
        let activity = format!("{MAPPING}{ACTIVITY}");
        let settings = Settings {
            log_calls: true,
            ..unlimited()
        };
        let text = |api: &str, mllp: SocketAddr| {
            let mut text = format!(
                "[account]\nid = \"clinic\"\nname = \"Clinic\"\napi = \"{api}\"\n{UNLIMITED}\n\
                 default_country_code = \"1\"\n{account}\n\n\
                 [[channels]]\nid = \"ehr\"\nname = \"EHR\"\naddress = \"{mllp}\"\n"
            );
            let lead = "entity = \"lead\"\nmapping = \"lead.toml\"";
            let activity = "entity = \"activity\"\nmapping = \"activity.toml\"\n\
                            activity = { code = 205, key_field = \"mx_Custom_1\" }";
            for (event, kind) in [
                ("ADT^A04", lead),
                ("ADT^A08", lead),
                ("SIU^S12", activity),
                ("SIU^S14", activity),
                ("SIU^S15", activity),
            ] {
                text.push_str(&format!(
                    "\n[[flows]]\nid = \"{event}\"\nname = \"{event}\"\ndirection = \"ehr-to-leadsquared\"\n\
                     channel = \"ehr\"\nevent = \"{event}\"\nprimary_search_field = \"mx_MRN\"\n\
                     secondary_search_field = \"EmailAddress\"\n{kind}\n{flow}\n"
                ));
            }
            text
        };
        let files = [("lead.toml", MAPPING), ("activity.toml", activity.as_str())];
        let clinic = Clinic::of_files(settings, text, &files).await?;
        let sender = Client::connect(clinic.site.mllp).await?;
        Ok(Self {
            clinic,
            sender,
            sent: 0,
        })
    }

    /// Sends one message without waiting for what becomes of it.
    pub(super) async fn send(&mut self, event: &str, patient: Patient<'_>) -> anyhow::Result<()> {
        self.sent += 1;
        let now = jiff::Zoned::now();
        let at = now
            .checked_add(jiff::SignedDuration::from_secs(patient.at))?
            .strftime("%Y%m%d%H%M%S%z")
            .to_string();
        let schedule = patient.appointment.map_or(String::new(), |(key, status)| {
            format!("SCH|{key}{}{status}\r", "|".repeat(24))
        });
        let Patient {
            mrn,
            family,
            given,
            born,
            email,
            phone,
            city,
            more,
            ..
        } = patient;
        let message = format!(
            "MSH|^~\\&|EHR|CLINIC|LIG|LSQ|{at}||{event}|C{}|P|2.5.1\rEVN||{at}\r{schedule}\
             PID|1||{mrn}^^^CLINIC^MR||{family}^{given}||{born}||||^^{city}||^NET^Internet^{email}~{phone}^PRN\r{more}",
            self.sent
        );
        let answer = self.sender.exchange(message.as_bytes()).await?;
        ensure!(
            String::from_utf8_lossy(&answer).contains("MSA|AA"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    }

    /// Sends one message and gives state, code and sentence of its last delivery.
    pub(super) async fn tell(
        &mut self,
        event: &str,
        patient: Patient<'_>,
    ) -> anyhow::Result<String> {
        self.send(event, patient).await?;
        self.settle().await?;
        self.outcome(self.sent).await
    }

    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        self.clinic.settled(Duration::from_secs(20)).await?;
        Ok(())
    }

    pub(super) async fn outcome(&self, number: usize) -> anyhow::Result<String> {
        let page = self.clinic.site.json("/api/v1/messages?limit=500").await?;
        let id = format!("C{number}");
        let message = page["messages"]
            .as_array()
            .and_then(|all| all.iter().find(|message| message["control_id"] == id))
            .with_context(|| format!("{id} in {page}"))?;
        let deliveries = message["deliveries"].as_array().context("deliveries")?;
        let last = deliveries.last().context("a delivery")?;
        let text = |name: &str| last[name].as_str().unwrap_or_default().to_owned();
        Ok(format!(
            "{} {}: {}",
            text("state"),
            text("reason_code"),
            text("reason")
        ))
    }

    /// The one lead with this MRN.
    pub(super) fn lead(&self, mrn: &str) -> anyhow::Result<LeadView> {
        let mut leads = self.clinic.simulator.leads_with("mx_MRN", mrn);
        ensure!(leads.len() == 1, "{} leads with MRN {mrn}", leads.len());
        leads.pop().context("a lead")
    }

    pub(super) fn calls(&self) -> usize {
        self.clinic.simulator.calls().len()
    }
}

pub(super) fn value<'a>(lead: &'a LeadView, field: &str) -> &'a str {
    lead.values.get(field).map_or("", String::as_str)
}
