//! `ligature demo`: both ways on one machine, between a simulated EHR and a simulated LeadSquared.
//!
//! Built from the same parts as `serve`; nothing here is a shortcut but the simulators at the far ends.

mod bare;

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Zoned;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::flow::plan::{Plan, Said};
use super::flow::setup::Setup;
use crate::access::door::Opens;
use crate::access::people;
use crate::config::{Console, DEFAULT_CONCURRENCY, Mapping};
use crate::flow::AccountId;
use crate::flow::account::{Keys, Reach};
use crate::hl7;
use crate::mllp::sender::{Sender, Target, Timeouts};
use crate::pipeline::Pipeline;
use crate::serve::{self, Sockets};
use crate::simulator::ehr;
use crate::simulator::lead_squared::{self, Settings, Simulator};
use crate::store::catalog::Author;
use crate::store::journal::{DeliveryRow, Filter, MessageRow, State, WrittenRow};
use crate::vault::Key;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends after the sample messages: exit status 0 only if every one got where it should.
    #[arg(long)]
    once: bool,
    /// Begins with nothing: no account, no channel, no flow; the console leads to the first patient.
    #[arg(long, conflicts_with_all = ["once", "json", "mllp_addr"])]
    bare: bool,
    /// Prints one JSON object with the addresses first, then one for each message.
    #[arg(long)]
    json: bool,
    /// Where to keep the store; a temporary folder without it.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to listen for MLLP [default: 127.0.0.1:2575, or a free port]
    #[arg(long, value_name = "ADDR")]
    mllp_addr: Option<SocketAddr>,
    /// Where to serve the console [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "ADDR")]
    http_addr: Option<SocketAddr>,
    /// Where the LeadSquared simulator listens [default: 127.0.0.1:8081, or a free port]
    #[arg(long, value_name = "ADDR")]
    leadsquared_addr: Option<SocketAddr>,
    /// Where the EHR simulator takes messages [default: 127.0.0.1:2576, or a free port]
    #[arg(long, value_name = "ADDR")]
    ehr_addr: Option<SocketAddr>,
    /// Where the EHR simulator shows them [default: 127.0.0.1:8082, or a free port]
    #[arg(long, value_name = "ADDR")]
    ehr_page_addr: Option<SocketAddr>,
}

const DEFAULT_MLLP: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2575);
const DEFAULT_HTTP: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_LEADSQUARED: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);

const DEFAULT_EHR: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2576);
const DEFAULT_EHR_PAGE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8082);

/// How long one sample message may take from its first byte to its last write.
const PATIENCE: Duration = Duration::from_secs(30);

/// The files of `examples/quickstart`, built in so that the binary alone is enough.
macro_rules! quickstart {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../examples/quickstart/", $name)))),*]
    };
}

const SETUP: &str = include_str!("../../../examples/quickstart/setup.toml");
const MAPPINGS: &[(&str, &[u8])] = quickstart![
    "adt-a04-lead.toml",
    "siu-s12-activity.toml",
    "lead-update-adt-a08.toml",
    "adt-a08-template.hl7",
    "adt-a04-sample.hl7",
    "siu-s12-sample.hl7",
];
const SAMPLES: &[(&str, &[u8])] = quickstart!["adt-a04.hl7", "siu-s12.hl7"];

/// The addresses in use; the first line with `--json`.
#[derive(Debug, Serialize)]
struct Addresses {
    mllp: SocketAddr,
    http: SocketAddr,
    leadsquared: SocketAddr,
    /// Where the simulated EHR takes messages, and where it shows them.
    ehr: SocketAddr,
    ehr_page: SocketAddr,
    access_key: String,
    secret_key: String,
    /// Signs in to the console, as often as it is opened while the demo runs.
    console: String,
}

/// What became of one message; a line with `--json`.
#[derive(Debug, Serialize)]
struct Report {
    sample: &'static str,
    event: String,
    control_id: String,
    acknowledgement: String,
    state: String,
    reason: String,
    written: Vec<String>,
    duration_ms: u64,
    #[serde(skip)]
    arrived: bool,
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    if args.bare {
        return Box::pin(bare::run(args, out)).await;
    }
    let mut stop = std::pin::pin!(serve::stop_signal()?);
    // Every socket first: a port given by flag that is taken ends the demo before anything is made.
    let (mllp, mllp_moved) = bind("--mllp-addr", args.mllp_addr, DEFAULT_MLLP).await?;
    let (http, http_moved) = bind("--http-addr", args.http_addr, DEFAULT_HTTP).await?;
    let (leadsquared, leadsquared_moved) = bind(
        "--leadsquared-addr",
        args.leadsquared_addr,
        DEFAULT_LEADSQUARED,
    )
    .await?;
    let (ehr, ehr_moved) = bind("--ehr-addr", args.ehr_addr, DEFAULT_EHR).await?;
    let (ehr_page, ehr_page_moved) =
        bind("--ehr-page-addr", args.ehr_page_addr, DEFAULT_EHR_PAGE).await?;

    let folder = Folder::of(&args)?;
    let data = folder.path();

    let simulated = CancellationToken::new();
    let tracker = TaskTracker::new();
    let settings = Settings::default();
    let keys = Keys {
        access_key: settings.keys.access_key.clone(),
        secret_key: settings.keys.secret_key.clone(),
    };
    let simulator = Simulator::start(leadsquared, settings, &tracker, simulated.clone())?;
    let ehr_page_addr = ehr_page.local_addr()?;
    let settings = ehr::Settings::default();
    let stop_ehr = simulated.clone();
    let ehr = ehr::Simulator::start(ehr, Some(ehr_page), settings, &tracker, stop_ehr)?;

    let mut setup = Setup::embedded(SETUP, &HashMap::from_iter(MAPPINGS.iter().copied()))?;
    setup.account.api = simulator.api();
    for channel in &mut setup.channels {
        match &mut channel.target {
            Some(target) => target.address = ehr.address().to_string().try_into()?,
            None => channel.address = mllp.local_addr()?,
        }
    }
    // The simulator starts empty: what was written to the one before is no guide.
    for (flow, _) in &mut setup.flows {
        flow.skip_unchanged = false;
    }
    let account = setup.account.id.clone();
    let channel = setup
        .channels
        .first()
        .context("the quickstart has a channel")?
        .id
        .clone();
    let storage = format!("sqlite:{}", data.join("ligature.db").display());
    let open = serve::open(
        &storage,
        true,
        vec![key(data)?],
        &Mapping::with_artefacts(data.join("artefacts")),
    )
    .await?;
    let said = Said {
        keys: Ok(keys.clone()),
        accept_findings: false,
    };
    let planning = Plan::make(setup, &open.store, &open.runtime, said);
    let plan = Box::pin(planning).await?;
    plan.carry_out(&open.store).await?;
    let sockets = Sockets {
        http: Some(http),
        channels: HashMap::from([(channel, mllp)]),
    };
    let host = Box::pin(serve::start(
        open,
        Console {
            simulator: Some(Reach {
                api: simulator.api(),
                keys: keys.clone(),
            }),
            ..Console::at(DEFAULT_HTTP)
        },
        DEFAULT_CONCURRENCY,
        sockets,
    ))
    .await?;

    let catalog = host.pipeline.store.catalog();
    let person = people::guest(&catalog, "demo@example.org", "Demo").await?;
    let entrance = host.door.make_link(Opens::SignsIn { person })?;
    let addresses = Addresses {
        console: format!("http://{}/enter/{entrance}", host.http),
        mllp: host.channels[0].1,
        http: host.http,
        leadsquared: simulator.address(),
        ehr: ehr.address(),
        ehr_page: ehr_page_addr,
        access_key: keys.access_key,
        secret_key: keys.secret_key,
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&addresses)?)?;
    } else {
        for (what, moved, now) in [
            ("MLLP", mllp_moved, addresses.mllp),
            ("console", http_moved, addresses.http),
            ("simulator", leadsquared_moved, addresses.leadsquared),
            ("EHR", ehr_moved, addresses.ehr),
            ("EHR's page", ehr_page_moved, addresses.ehr_page),
        ] {
            if let Some(usual) = moved {
                writeln!(out, "{usual} is taken: the {what} is at {now}")?;
            }
        }
        writeln!(
            out,
            "sending {} sample messages to {}\n",
            samples().count(),
            addresses.mllp
        )?;
    }
    out.flush()?;

    let far_ends = FarEnds {
        leadsquared: &simulator,
        ehr: &ehr,
    };
    let console = format!("http://{}", addresses.http);
    let both_ways = async {
        let sending = send_samples(&host.pipeline, addresses.mllp, args.json, out);
        let there = Box::pin(sending).await?;
        let back = change_a_lead(&host.pipeline, &account, &console, &far_ends).await?;
        back.print(args.json, out)?;
        anyhow::Ok(there && back.arrived)
    };
    let arrived = tokio::select! {
        arrived = both_ways => Some(arrived?),
        () = &mut stop => None,
    };
    if arrived.is_some() && !args.once {
        if !args.json {
            look_here(&addresses, data, out)?;
        }
        out.flush()?;
        stop.await;
    }
    host.stop().await;
    simulated.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(if arrived == Some(true) || !args.once {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where a demo keeps its things; one of its own goes with it.
struct Folder {
    data: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn of(args: &Args) -> anyhow::Result<Self> {
        let temporary = match &args.data {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("ligature-demo-")
                    .tempdir()?,
            ),
        };
        let own = temporary.as_ref().map(|folder| folder.path().to_owned());
        let data = args.data.clone().or(own).unwrap_or_default();
        std::fs::create_dir_all(&data)
            .with_context(|| format!("cannot make {}", data.display()))?;
        Ok(Self {
            data,
            _temporary: temporary,
        })
    }

    fn path(&self) -> &std::path::Path {
        &self.data
    }
}

/// Binds `given`, or the usual address, or a free port if the usual one is taken; the latter is said.
async fn bind(
    flag: &str,
    given: Option<SocketAddr>,
    usual: SocketAddr,
) -> anyhow::Result<(TcpListener, Option<SocketAddr>)> {
    if let Some(given) = given {
        let socket = TcpListener::bind(given)
            .await
            .with_context(|| format!("{flag}: cannot listen on {given}"))?;
        return Ok((socket, None));
    }
    match TcpListener::bind(usual).await {
        Ok(socket) => Ok((socket, None)),
        Err(_) => {
            let free = TcpListener::bind((usual.ip(), 0))
                .await
                .context("no free port on the loopback interface")?;
            Ok((free, Some(usual)))
        }
    }
}

/// The demo's own key, kept beside its store.
fn key(data: &std::path::Path) -> anyhow::Result<Key> {
    let file = data.join("key");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return Key::from_hex(1, &text).with_context(|| format!("{} holds no key", file.display()));
    }
    let key = Key::generate()?;
    write_private(&file, &key.to_hex())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(key)
}

fn write_private(file: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(text.as_bytes())
}

/// Sends each sample over one TCP connection and prints what became of it, as it goes.
async fn send_samples(
    pipeline: &Arc<Pipeline>,
    mllp: SocketAddr,
    json: bool,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let target = Target {
        address: mllp.to_string(),
        tls: None,
        timeouts: Timeouts::default(),
    };
    let mut sender = Box::pin(Sender::connect(&target)).await?;
    let mut all = true;
    for (sample, bytes) in samples() {
        // A control id of this start, so that starting again on the same data is not taken for a duplicate.
        let control_id = hl7::ack::control_id(uuid::Uuid::now_v7().as_u128());
        let message = hl7::stamp(bytes, &control_id, &Zoned::now())?;
        let started = Instant::now();
        let answer = sender
            .send(&message, |answer| read(answer, "MSA-2") == control_id)
            .await?;
        let code = read(&answer.payload, "MSA-1");
        let report = follow(pipeline, sample, control_id, code, started).await?;
        all &= report.arrived;
        report.print(json, out)?;
    }
    Ok(all)
}

/// The systems that are tied together.
struct FarEnds<'a> {
    leadsquared: &'a lead_squared::Handle,
    ehr: &'a ehr::Handle,
}

/// Changes a lead as a person does in LeadSquared, and follows the change to the EHR.
async fn change_a_lead(
    pipeline: &Arc<Pipeline>,
    account: &AccountId,
    console: &str,
    far_ends: &FarEnds<'_>,
) -> anyhow::Result<Report> {
    const SAMPLE: &str = "a lead is edited";
    let author = Author("demo".into());
    let made = pipeline.make_webhooks(account, None, Some(console), None, &author);
    Box::pin(made).await.context("webhooks")?;
    let leads = far_ends.leadsquared.leads();
    let has_number = |lead: &lead_squared::LeadView| {
        lead.values
            .get("mx_MRN")
            .is_some_and(|number| !number.is_empty())
    };
    let lead = leads.into_iter().find(has_number);
    let lead = lead
        .context("no sample became a lead with a record number")?
        .id;
    let before = far_ends.ehr.received().len();
    let started = Instant::now();
    // Another city at each start, or there would be no change.
    let city = format!("Portland {}", Zoned::now().strftime("%H:%M:%S"));
    let edited = far_ends.leadsquared.edit_lead(&lead, &[("mx_City", &city)]);
    edited.map_err(anyhow::Error::msg)?;
    let received = tokio::time::timeout(
        PATIENCE,
        far_ends.ehr.until(|received| received.len() > before),
    );
    let received = received.await.unwrap_or_default();
    let newest = received.last().filter(|_| received.len() > before);
    let answered = newest
        .map(|newest| newest.answered.clone())
        .unwrap_or_default();
    let report = follow(pipeline, SAMPLE, lead, answered, started).await?;
    Ok(Report {
        event: newest.map_or(report.event, |newest| newest.event.clone()),
        control_id: newest.map_or(report.control_id, |newest| newest.control_id.clone()),
        ..report
    })
}

/// Every message of the sample files, with the name of its file.
fn samples() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    SAMPLES.iter().flat_map(|(name, bytes)| {
        hl7::batch::split(bytes)
            .into_iter()
            .map(move |message| (*name, message))
    })
}

/// The text at `path`, empty where there is none or the bytes are no message.
fn read(message: &[u8], path: &str) -> String {
    let (Ok(message), Ok(path)) = (hl7::Message::parse(message), path.parse()) else {
        return String::new();
    };
    message.get(&path).text_or_empty().into_owned()
}

impl Report {
    fn print(&self, json: bool, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
        if json {
            writeln!(out, "{}", serde_json::to_string(self)?)?;
        } else {
            let what = match self.state.as_str() {
                "delivered" => self.written.join(", "),
                _ => self.reason.clone(),
            };
            writeln!(
                out,
                "{:<9} {:<20} {}  {:<10} {what}  {} ms",
                self.event, self.sample, self.acknowledgement, self.state, self.duration_ms
            )?;
        }
        Ok(out.flush()?)
    }
}

/// Waits until the message has come to an end on every flow that took it.
async fn follow(
    pipeline: &Pipeline,
    sample: &'static str,
    control_id: String,
    acknowledgement: String,
    started: Instant,
) -> anyhow::Result<Report> {
    let message = loop {
        let newest = pipeline
            .store
            .journal()
            .list(&Filter::default(), None, 20)
            .await?;
        let found = newest
            .rows
            .into_iter()
            .find(|message| message.control_id == control_id);
        match found {
            Some(message)
                if message
                    .deliveries
                    .iter()
                    .all(|delivery| delivery.state.is_final())
                    || started.elapsed() > PATIENCE =>
            {
                break message;
            }
            None if started.elapsed() > PATIENCE => {
                anyhow::bail!(
                    "{sample}: acknowledged with {acknowledgement}, and not in the journal"
                )
            }
            _ => sleep(Duration::from_millis(2)).await,
        }
    };
    let duration_ms = started.elapsed().as_millis() as u64;
    Ok(report(sample, message, acknowledgement, duration_ms))
}

fn report(
    sample: &'static str,
    message: MessageRow,
    acknowledgement: String,
    duration_ms: u64,
) -> Report {
    let delivered = |delivery: &DeliveryRow| delivery.state == State::Delivered;
    let (state, reason) = match message
        .deliveries
        .iter()
        .find(|delivery| !delivered(delivery))
    {
        Some(delivery) => (delivery.state.to_string(), delivery.detail.clone()),
        None if message.deliveries.is_empty() => (message.route.clone(), message.detail.clone()),
        None => ("delivered".to_owned(), String::new()),
    };
    Report {
        sample,
        event: message.event,
        control_id: message.control_id,
        arrived: matches!(acknowledgement.as_str(), "AA" | "CA") && state == "delivered",
        acknowledgement,
        state,
        reason,
        written: message
            .deliveries
            .iter()
            .flat_map(|delivery| delivery.written.iter().map(WrittenRow::to_string))
            .collect(),
        duration_ms,
    }
}

/// Says where to look and how to send one more.
fn look_here(
    addresses: &Addresses,
    data: &std::path::Path,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let samples = data.join("samples");
    std::fs::create_dir_all(&samples)?;
    for (name, bytes) in SAMPLES {
        std::fs::write(samples.join(name), bytes)?;
    }
    let program = std::env::current_exe()
        .map_or_else(|_| "ligature".into(), |path| path.display().to_string());
    writeln!(
        out,
        "\nconsole      {}\nLeadSquared  http://{}/   edit a lead there, and see it at the EHR\nEHR          http://{}/\nMLLP         {}\nsend one more:\n  {program} send {} --to {} --new-control-id\n\nCtrl-C ends the demo.",
        addresses.console,
        addresses.leadsquared,
        addresses.ehr_page,
        addresses.mllp,
        samples.join(SAMPLES[0].0).display(),
        addresses.mllp,
    )?;
    Ok(())
}
