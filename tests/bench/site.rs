//! A host process with one registration flow, beside a simulator in this process.

use std::time::Duration;

use ligature::simulator::lead_squared::{Handle, Settings, Simulator};
use ligature_tests::site::{Process, Site, quickstart};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A host and the simulator that it writes to.
pub(crate) struct Bench {
    pub(crate) site: Site,
    pub(crate) simulator: Handle,
    pub(crate) host: Option<Process>,
}

impl Bench {
    /// Starts both; `calls` is the account's budget in a window of `window_ms`, 0 for none.
    pub(crate) async fn start(
        calls: u32,
        window_ms: u64,
        latency: Duration,
    ) -> anyhow::Result<Self> {
        let settings = Settings {
            rate_limit: None,
            latency,
            ..Settings::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let simulator = Simulator::start(
            listener,
            settings,
            &TaskTracker::new(),
            CancellationToken::new(),
        )?;
        let site = Site::new(None)?;
        let setup = format!(
            "[account]\nid = \"bench\"\nname = \"Bench\"\napi = \"{}\"\nrate_plan = {{ calls = {calls}, window_ms = {window_ms} }}\n\n\
             [[channels]]\nid = \"ehr\"\nname = \"EHR\"\naddress = \"{}\"\n\n\
             [[flows]]\nid = \"a04\"\nname = \"A04\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"ehr\"\nevent = \"ADT^A04\"\n\
             entity = \"lead\"\nprimary_search_field = \"mx_MRN\"\nmapping = \"adt-a04-lead.toml\"\n",
            simulator.api(),
            site.mllp
        );
        site.import(
            &[
                ("setup.toml", &setup),
                ("adt-a04-lead.toml", &quickstart("adt-a04-lead.toml")?),
            ],
            (&simulator.keys().access_key, &simulator.keys().secret_key),
        )?;
        let host = Some(site.start().await?);
        Ok(Self {
            site,
            simulator,
            host,
        })
    }
}
