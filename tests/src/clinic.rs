//! A host with its flows beside a LeadSquared simulator in this process, which outlives it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use ligature::simulator::lead_squared::{Handle, Settings, Simulator};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::site::{Process, Site, quickstart};

/// A site whose account is the simulator.
#[derive(Debug)]
pub struct Clinic {
    pub site: Site,
    pub simulator: Handle,
    /// None until it is started.
    pub host: Option<Process>,
}

/// What is configured: further lines of the account and of the channel, and the events with what each becomes.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Lines of `[account]`, for example `look_up_wait_ms = 300`.
    pub account: &'a str,
    /// Lines of the channel, for example `no_flow = "reject"`.
    pub channel: &'a str,
    /// Events that become leads.
    pub leads: &'a [&'a str],
    /// Events that become activities of type 205 with their key in `mx_Custom_1`.
    pub activities: &'a [&'a str],
}

/// What a person approves of the tests' own component.
const APPROVED: &str = "choices = { grants = { reads = [\"PID-3\", \"PID-5\"], lead_targets = [\"mrn\", \"name\"], \
    activity_targets = [\"status\"] } }";

/// An account without a rate limit of its own.
pub const UNLIMITED: &str = "rate_plan = { calls = 0, window_ms = 5000 }";

/// A simulator without a rate limit.
pub fn unlimited() -> Settings {
    Settings {
        rate_limit: None,
        ..Settings::default()
    }
}

impl Clinic {
    /// Starts the simulator and puts the flows of `setup` into the store of a new site.
    pub async fn prepare(
        storage: Option<&str>,
        settings: Settings,
        setup: Setup<'_>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let simulator = Simulator::start(
            listener,
            settings,
            &TaskTracker::new(),
            CancellationToken::new(),
        )?;
        let clinic = Self {
            site: Site::new(storage)?,
            simulator,
            host: None,
        };
        clinic.import(setup, &[])?;
        Ok(clinic)
    }

    /// A started host with what `setup.toml` says, for which `text` is given the API's and the channel's address.
    pub async fn of_files(
        settings: Settings,
        text: impl FnOnce(&str, SocketAddr) -> String,
        files: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let simulator = Simulator::start(
            listener,
            settings,
            &TaskTracker::new(),
            CancellationToken::new(),
        )?;
        let site = Site::new(None)?;
        let text = text(&simulator.api(), site.mllp);
        let mut given = vec![("setup.toml", text.as_bytes())];
        given.extend(files.iter().map(|(name, text)| (*name, text.as_bytes())));
        let keys = simulator.keys();
        site.import(&given, (&keys.access_key, &keys.secret_key))?;
        let host = Some(site.start().await?);
        Ok(Self {
            site,
            simulator,
            host,
        })
    }

    /// Puts the flows of `setup` into the store; `components` are vendors', each with the event that its flow takes.
    pub fn import(&self, setup: Setup<'_>, components: &[(&str, &[u8])]) -> anyhow::Result<()> {
        let mut text = setup.text(&self.simulator.api(), self.site.mllp);
        for (event, _) in components {
            let rest = format!("entity = \"lead\"\ncomponent = \"{event}.wasm\"\n{APPROVED}");
            add_flow(&mut text, event, &rest);
        }
        let components: Vec<_> = components
            .iter()
            .map(|(event, component)| (format!("{event}.wasm"), *component))
            .collect();
        let lead = quickstart("adt-a04-lead.toml")?;
        let activity = quickstart("siu-s12-activity.toml")?;
        let mut files = vec![
            ("setup.toml", text.as_bytes()),
            ("lead.toml", lead.as_bytes()),
            ("activity.toml", activity.as_bytes()),
        ];
        files.extend(
            components
                .iter()
                .map(|(name, bytes)| (name.as_str(), *bytes)),
        );
        let keys = self.simulator.keys();
        self.site
            .import(&files, (&keys.access_key, &keys.secret_key))
    }

    /// The same as [`Clinic::prepare`] with its host started.
    pub async fn start(settings: Settings, setup: Setup<'_>) -> anyhow::Result<Self> {
        let mut clinic = Self::prepare(None, settings, setup).await?;
        clinic.host = Some(clinic.site.start().await?);
        Ok(clinic)
    }

    /// A started host whose one flow makes leads of registrations; `channel` holds further lines of its channel.
    pub async fn of_registrations(channel: &str) -> anyhow::Result<Self> {
        let setup = Setup {
            account: UNLIMITED,
            channel,
            leads: &["ADT^A04"],
            activities: &[],
        };
        Self::start(unlimited(), setup).await
    }

    /// Waits until no delivery is left that something still happens to; gives the counts by state.
    pub async fn settled(&self, limit: Duration) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            let counts = self.site.json("/api/v1/counts").await?;
            let open = ["queued", "running", "waiting"];
            if open.iter().all(|state| counts["deliveries"][state] == 0) {
                return Ok(counts);
            }
            ensure!(
                started.elapsed() < limit,
                "still open after {limit:?}: {counts}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Setup<'_> {
    fn text(&self, api: &str, mllp: SocketAddr) -> String {
        let mut text = format!(
            "[account]\nid = \"clinic\"\nname = \"Clinic\"\napi = \"{api}\"\n{}\n\n\
             [[channels]]\nid = \"ehr\"\nname = \"EHR\"\naddress = \"{mllp}\"\n{}\n",
            self.account, self.channel
        );
        let lead = "entity = \"lead\"\nmapping = \"lead.toml\"";
        let activity = "entity = \"activity\"\nmapping = \"activity.toml\"\n\
                        activity = { code = 205, key_field = \"mx_Custom_1\" }";
        let leads = self.leads.iter().map(|event| (event, lead));
        for (event, rest) in leads.chain(self.activities.iter().map(|event| (event, activity))) {
            add_flow(&mut text, event, rest);
        }
        text
    }
}

fn add_flow(text: &mut String, event: &str, rest: &str) {
    text.push_str(&format!(
        "\n[[flows]]\nid = \"{event}\"\nname = \"{event}\"\ndirection = \"ehr-to-leadsquared\"\n\
         channel = \"ehr\"\nevent = \"{event}\"\nprimary_search_field = \"mx_MRN\"\n{rest}\n"
    ));
}
