//! An office with flows of both directions in force, beside a simulated LeadSquared and simulated EHRs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::simulator::ehr;
use ligature::simulator::lead_squared::{Settings, Webhooks};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http;
use crate::mllp::Client;
use crate::office::{Office, lead_squared};

/// How long a change may be on its way on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks in a row at which nothing may have changed before everything is held to be at rest.
const RESTS: u32 = 8;

/// An office whose flows are in force and whose webhooks are made.
#[derive(Debug)]
pub struct Bridge {
    pub office: Office,
    token: String,
}

/// What a flow is put in force with; one to the EHR has a message to fill.
#[derive(Debug, Clone, Copy)]
pub struct Mapped<'a> {
    pub flow: &'a str,
    pub mapping: &'a str,
    pub template: Option<&'a str>,
}

/// A delivery as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub flow: String,
    /// The message's control id, or the lead or activity that changed.
    pub record: String,
    pub state: String,
    /// The code of the reason.
    pub reason: String,
    /// The sentence of the reason.
    pub detail: String,
}

/// A LeadSquared that tells of every change at once and has no limits.
pub fn prompt() -> Settings {
    Settings {
        rate_limit: None,
        webhooks: Webhooks {
            spacing: Duration::from_millis(5),
            grouped: None,
            plan_limit: 30,
            ..Webhooks::default()
        },
        ..Settings::default()
    }
}

/// A simulated EHR in this process.
pub async fn ehr(settings: ehr::Settings) -> anyhow::Result<ehr::Handle> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    Ok(ehr::Simulator::start(
        listener, None, settings, &tracker, stop,
    )?)
}

impl Bridge {
    /// Opens an office with `documents` for channels and flows and `account` for further lines of the account, puts
    /// `flows` in force and makes the webhooks that they need.
    pub async fn open(
        settings: Settings,
        account: &str,
        documents: &str,
        flows: &[Mapped<'_>],
    ) -> anyhow::Result<Self> {
        let bridge = Self::without_webhooks(settings, account, documents, flows).await?;
        let made = json!({ "address": bridge.office.address(), "limit": 30 });
        bridge
            .call("POST", "accounts/clinic/webhooks", made)
            .await?;
        Ok(bridge)
    }

    /// The same with no webhook made yet.
    pub async fn without_webhooks(
        settings: Settings,
        account: &str,
        documents: &str,
        flows: &[Mapped<'_>],
    ) -> anyhow::Result<Self> {
        let simulator = lead_squared(settings).await?;
        let office = Office::open_as(None, simulator, account, documents).await?;
        let token = office.token("all,see-patient-data").await?;
        let bridge = Self { office, token };
        for Mapped {
            flow,
            mapping,
            template,
        } in flows
        {
            // What is tested may write fields that the simulator does not have.
            let mut activation = json!({ "mapping": mapping, "confirm_lacking": true });
            if let Some(template) = template {
                let path = format!("accounts/clinic/flows/{flow}/template");
                let template = json!({ "message": template, "made_up": true });
                bridge.call("PUT", &path, template).await?;
                activation["confirm_no_condition"] = true.into();
            }
            let known = bridge
                .call("GET", &format!("flows/{flow}"), json!({}))
                .await?;
            activation["version"] = known["version"].clone();
            let path = format!("flows/{flow}/activate");
            bridge.call("POST", &path, activation).await?;
        }
        Ok(bridge)
    }

    /// Connects to a channel of the office, which may just be about to listen.
    pub async fn connect(&self, address: SocketAddr) -> anyhow::Result<Client> {
        let started = Instant::now();
        loop {
            match Client::connect(address).await {
                Ok(client) => return Ok(client),
                Err(error) if started.elapsed() > PATIENCE => return Err(error),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Calls the interface; anything but success is an error.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> anyhow::Result<Value> {
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

    /// Every message that came, newest first, as the interface lists it.
    pub async fn messages(&self) -> anyhow::Result<Vec<Value>> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("messages?limit=200{after}");
            let mut page = self.call("GET", &path, json!({})).await?;
            let messages = page["messages"].as_array_mut().context("messages")?;
            found.append(messages);
            match page["next"].as_str() {
                Some(next) => after = format!("&before={next}"),
                None => return Ok(found),
            }
        }
    }

    /// Every delivery as it stands, those of the newest message first.
    pub async fn deliveries(&self) -> anyhow::Result<Vec<Delivery>> {
        let mut found = Vec::new();
        for message in self.messages().await? {
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
        Ok(found)
    }

    /// Waits until `count` deliveries are there and none of them is queued or running.
    pub async fn settled(&self, count: usize) -> anyhow::Result<Vec<Delivery>> {
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

    /// Waits until nothing is on its way any more: no delivery is open, and LeadSquared has told all that it had to.
    pub async fn quiet(&self, limit: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let (mut before, mut rests) = (None, 0);
        loop {
            let counts = self.call("GET", "counts", json!({})).await?;
            let open = ["queued", "running", "waiting"];
            let is_open = open.iter().any(|state| counts["deliveries"][state] != 0);
            // A webhook that is on its way is in nobody's count: nothing may have come for a while.
            let told = (counts, self.office.simulator.counts().told);
            rests = match !is_open && before.as_ref() == Some(&told) {
                true => rests + 1,
                false => 0,
            };
            if rests >= RESTS {
                return Ok(());
            }
            ensure!(
                started.elapsed() < limit,
                "still open after {limit:?}: {:#?}",
                self.deliveries().await?
            );
            before = Some(told);
            sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until so many messages have reached the EHR.
    pub async fn until(
        &self,
        ehr: &ehr::Handle,
        count: usize,
    ) -> anyhow::Result<Vec<ehr::Received>> {
        let came = ehr.until(|received| received.len() >= count);
        match tokio::time::timeout(PATIENCE, came).await {
            Ok(received) => Ok(received),
            Err(_) => anyhow::bail!(
                "{count} messages wanted, {} came: {:#?}",
                ehr.received().len(),
                self.deliveries().await?
            ),
        }
    }

    /// A person makes a lead; gives its id.
    pub fn create_lead(&self, values: &[(&str, &str)]) -> anyhow::Result<String> {
        self.office
            .simulator
            .create_lead(values)
            .map_err(anyhow::Error::msg)
    }

    /// A person changes a lead; says whether anything became other than it was.
    pub fn edit_lead(&self, id: &str, values: &[(&str, &str)]) -> anyhow::Result<bool> {
        self.office
            .simulator
            .edit_lead(id, values)
            .map_err(anyhow::Error::msg)
    }

    /// A person makes an activity; gives its id.
    pub fn create_activity(
        &self,
        lead: &str,
        code: u32,
        values: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let simulator = &self.office.simulator;
        simulator
            .create_activity(lead, code, values)
            .map_err(anyhow::Error::msg)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
