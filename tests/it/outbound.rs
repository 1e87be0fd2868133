//! What a person does in LeadSquared reaches the EHR as HL7: once, in order, about the right patient, and never as an echo.

mod crash;
mod table;

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::flow::Status;
use ligature::simulator::ehr;
use ligature::simulator::lead_squared::{Settings, Webhooks};
use ligature_tests::http;
use ligature_tests::office::{Office, lead_squared};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a change may be on its way on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The patient of this sample must never reach an EHR.
pub(crate) const TEMPLATE: &str = "MSH|^~\\&|LIG|CRM|EHR|CLINIC|20260101||ADT^A08|T1|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
EVN|A08|20260101\rSCH|TPL1||||||||||^^^20260101\r\
PID|1||TPL77^^^CLINIC^MR||TPLFAMILY^TPLGIVEN||19500101|F|||TPLSTREET^^TPLCITY||TPLPHONE\rPV1|1|O|TPLWARD\r";

pub(crate) const PATIENT: &str = r#"
format = 1
direction = "leadsquared-to-ehr"
name = "Patient"
version = "1"

[[place]]
target = "EVN-2"
fact = "received-at"
steps = ["date-time"]

[[place]]
target = "PV1-2"
constant = "N"

[[place]]
target = "PID-3.1"
field = "lead.mx_MRN"

[[place]]
target = "PID-5.1"
field = "lead.LastName"

[[place]]
target = "PID-5.2"
field = "lead.FirstName"

[[place]]
target = "PID-11.3"
field = "lead.mx_City"
null = "clear"
"#;

pub(crate) const APPOINTMENT: &str = r#"
[[place]]
target = "SCH-2.1"
field = "activity.mx_Custom_1"

[[place]]
target = "SCH-25"
field = "activity.Status"
"#;

/// The account knows which field holds the patient identifier, and tells the EHR its own number.
pub(crate) const ACCOUNT: &str =
    "identifier_fields = [\"mx_MRN\"]\nlead_number = { authority = \"LSQ\" }\n";

pub(crate) async fn ehr(settings: ehr::Settings) -> anyhow::Result<ehr::Handle> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    Ok(ehr::Simulator::start(
        listener, None, settings, &tracker, stop,
    )?)
}

pub(crate) fn channel(id: &str, ehr: &ehr::Handle) -> String {
    format!(
        "[[channels]]\nid = \"{id}\"\n[channels.target]\naddress = \"{}\"\nanswer_timeout_ms = 1000\n\n",
        ehr.address()
    )
}

/// An office whose flows are in force and whose webhooks are made.
pub(crate) struct Bridge {
    pub(crate) office: Office,
    token: String,
}

impl Bridge {
    /// Opens one with `documents` for channels and flows, each flow with the mapping that `mapping` gives it.
    pub(crate) async fn open(documents: &str, flows: &[(String, String)]) -> anyhow::Result<Self> {
        let bridge = Self::without_webhooks("", documents, flows).await?;
        let made = json!({ "address": bridge.office.address(), "limit": 30 });
        bridge
            .call("POST", "accounts/clinic/webhooks", made)
            .await?;
        Ok(bridge)
    }

    /// The same with further settings of the account, and with no webhook made yet.
    pub(crate) async fn without_webhooks(
        account: &str,
        documents: &str,
        flows: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let settings = Settings {
            rate_limit: None,
            log_calls: true,
            webhooks: Webhooks {
                spacing: Duration::from_millis(5),
                grouped: None,
                plan_limit: 30,
                ..Webhooks::default()
            },
            ..Settings::default()
        };
        let simulator = lead_squared(settings).await?;
        let account = format!("{ACCOUNT}{account}");
        let office = Office::open_as(None, simulator, &account, documents).await?;
        let token = office.token("all,see-patient-data").await?;
        let bridge = Self { office, token };
        for (id, mapping) in flows {
            let path = format!("accounts/clinic/flows/{id}/template");
            let template = json!({ "message": TEMPLATE, "made_up": true });
            bridge.call("PUT", &path, template).await?;
            let version = bridge
                .call("GET", &format!("flows/{id}"), json!({}))
                .await?["version"]
                .clone();
            let activation =
                json!({ "mapping": mapping, "version": version, "confirm_no_condition": true });
            bridge
                .call("POST", &format!("flows/{id}/activate"), activation)
                .await?;
        }
        let mut configurations = bridge.office.host.pipeline.configurations();
        let in_force = configurations.wait_for(|configuration| {
            let is_active = |id: &str| {
                let route = configuration.route(&id.into());
                route.is_some_and(|route| {
                    route.release.is_some() && route.flow.status == Status::Active
                })
            };
            flows.iter().all(|(id, _)| is_active(id))
        });
        timeout(PATIENCE, in_force).await??;
        Ok(bridge)
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/{path}", self.office.address());
        let request = http()
            .request(method.parse()?, url)
            .bearer_auth(&self.token);
        let request = match method {
            "GET" => request,
            _ => request.body(body.to_string()),
        };
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        ensure!(
            (200..300).contains(&status),
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Deliveries as they stand: flow, state, reason, and the lead that they are about.
    pub(crate) async fn deliveries(&self) -> anyhow::Result<Vec<Delivery>> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let page = self
                .call("GET", &format!("messages?limit=200{after}"), json!({}))
                .await?;
            for message in page["messages"].as_array().context("messages")? {
                for delivery in message["deliveries"].as_array().into_iter().flatten() {
                    found.push(Delivery {
                        flow: text(&delivery["flow"]),
                        record: text(&message["control_id"]),
                        state: text(&delivery["state"]),
                        reason: text(&delivery["reason_code"]),
                        detail: text(&delivery["reason"]),
                    });
                }
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&before={next}"),
                None => return Ok(found),
            }
        }
    }

    /// Waits until `count` deliveries are there and none of them is queued or running.
    pub(crate) async fn settled(&self, count: usize) -> anyhow::Result<Vec<Delivery>> {
        let started = Instant::now();
        loop {
            let deliveries = self.deliveries().await?;
            let moves =
                |delivery: &Delivery| ["queued", "running"].contains(&delivery.state.as_str());
            if deliveries.len() >= count && !deliveries.iter().any(moves) {
                return Ok(deliveries);
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "{count} deliveries wanted: {deliveries:#?}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until so many messages have reached the EHR.
    pub(crate) async fn until(
        &self,
        ehr: &ehr::Handle,
        count: usize,
    ) -> anyhow::Result<Vec<ehr::Received>> {
        let came = ehr.until(|received| received.len() >= count);
        match timeout(PATIENCE, came).await {
            Ok(received) => Ok(received),
            Err(_) => anyhow::bail!("{count} messages wanted: {:#?}", self.deliveries().await?),
        }
    }

    pub(crate) fn create_lead(&self, values: &[(&str, &str)]) -> anyhow::Result<String> {
        self.office
            .simulator
            .create_lead(values)
            .map_err(anyhow::Error::msg)
    }

    pub(crate) fn edit_lead(&self, id: &str, values: &[(&str, &str)]) -> anyhow::Result<bool> {
        self.office
            .simulator
            .edit_lead(id, values)
            .map_err(anyhow::Error::msg)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) flow: String,
    pub(crate) record: String,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) detail: String,
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A flow to the EHR; `outbound` are its settings.
pub(crate) fn flow(id: &str, channel: &str, event: &str, entity: &str, outbound: &str) -> String {
    let activity = match entity {
        "activity" => "activity = { code = 205, key_field = \"mx_Custom_1\" }\n",
        _ => "",
    };
    format!(
        "[[flows]]\nid = \"{id}\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"{channel}\"\nevent = \"{event}\"\n\
         entity = \"{entity}\"\n{activity}outbound = {{ {outbound} }}\n\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_is_registered_gets_its_number_and_is_kept_up() -> anyhow::Result<()> {
    let ehr = ehr(ehr::Settings {
        assigns: Some("CLINIC".into()),
        ..ehr::Settings::default()
    })
    .await?;
    let documents = [
        channel("out", &ehr),
        flow(
            "register",
            "out",
            "ADT^A04",
            "lead",
            "webhook = \"lead-create\", read_back = [{ path = \"PID-3[.4='CLINIC'].1\", field = \"mx_MRN\" }]",
        ),
        flow("update", "out", "ADT^A08", "lead", "webhook = \"lead-update\""),
        flow("book", "out", "SIU^S12", "activity", "webhook = \"lead-activity-create\""),
    ]
    .concat();
    let booked = format!("{PATIENT}{APPOINTMENT}");
    let flows = [
        ("register", PATIENT),
        ("update", PATIENT),
        ("book", &booked),
    ];
    let flows = flows.map(|(id, mapping)| (id.to_owned(), mapping.to_owned()));
    let bridge = Bridge::open(&documents, &flows).await?;

    // A person makes a lead: the EHR registers the patient and gives a number, which goes into the lead.
    let lead = bridge.create_lead(&[
        ("FirstName", "Odalys"),
        ("LastName", "Quill|feather"),
        ("mx_City", "Rye"),
    ])?;
    let received = bridge.until(&ehr, 1).await?;
    let number = received[0].field("PID", 3);
    ensure!(
        received[0].event == "ADT^A04" && received[0].findings.is_empty(),
        "{received:?}"
    );
    ensure!(
        number.contains("^^^LSQ^PT"),
        "the lead's own number: {number}"
    );
    ensure!(received[0].field("PID", 5) == "Quill\\F\\feather^Odalys");
    let started = Instant::now();
    let mrn = loop {
        let leads = bridge.office.simulator.leads();
        let found = leads
            .into_iter()
            .find(|known| known.id == lead)
            .context("the lead")?;
        match found.values.get("mx_MRN") {
            Some(mrn) if !mrn.is_empty() => break mrn.clone(),
            _ => ensure!(
                started.elapsed() < PATIENCE,
                "no number came back: {:?}",
                bridge.deliveries().await?
            ),
        }
        sleep(Duration::from_millis(20)).await;
    };

    // Another change, of something that the mapping reads, and of something that it does not.
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "Bath")])?);
    let received = bridge.until(&ehr, 2).await?;
    ensure!(
        received[1].event == "ADT^A08" && received[1].field("PID", 3).starts_with(&mrn),
        "{received:?}"
    );
    ensure!(received[1].field("PID", 11).contains("Bath"));
    ensure!(bridge.edit_lead(&lead, &[("Company", "Quiet")])?);
    // Emptied by a person: the EHR is told to empty it.
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "")])?);
    let received = bridge.until(&ehr, 3).await?;
    ensure!(
        received[2].field("PID", 11).contains("\"\""),
        "{received:?}"
    );

    let booking = bridge.office.simulator.create_activity(
        &lead,
        205,
        &[("mx_Custom_1", "B-1"), ("Status", "Booked")],
    );
    booking.map_err(anyhow::Error::msg)?;
    let received = bridge.until(&ehr, 4).await?;
    ensure!(
        received[3].event == "SIU^S12" && received[3].field("SCH", 2) == "B-1",
        "{received:?}"
    );

    // One registration, three changes of a person, one booking.
    let deliveries = bridge.settled(5).await?;
    let reasons: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.reason.as_str())
        .collect();
    ensure!(
        reasons
            .iter()
            .filter(|reason| **reason == "delivered")
            .count()
            == 4,
        "{deliveries:#?}"
    );
    ensure!(
        reasons.contains(&"nothing-mapped-changed"),
        "{deliveries:#?}"
    );
    for received in ehr.received() {
        ensure!(
            received.repeats == 0 && !received.text.contains("TPL"),
            "{}",
            received.text
        );
    }
    bridge.office.host.stop().await;
    Ok(())
}
