//! Figures for an operator's monitoring, in the text exposition format of Prometheus, and whether the host is ready.
//!
//! Read from running numbers and from what is open, never by counting what is done; every label is the id of something
//! that is configured, or one of few words. No patient data. The format is `text`'s.

mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tokio::time::timeout;

use super::Web;
use super::api::error::Error;
use crate::flow::channel::Kind;
use crate::mapping::Used;
use crate::pipeline::Pipeline;
use crate::pipeline::send::Sending;
use crate::pipeline::tally::Counted;
use crate::store;
use text::Exposition;
use text::Type::{Counter, Gauge};

/// As Prometheus asks for it.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long the store may take to show that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says whether this host is worth being asked: the store answers, and the host is not about to end.
pub(super) async fn ready(State(web): State<Web>) -> Response {
    let not = |why: &str| {
        let text = format!("not ready: {why}\n");
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    };
    if web.pipeline.meters.is_stopping() {
        return not("the host is stopping");
    }
    let catalog = web.pipeline.store.catalog();
    match timeout(PATIENCE, catalog.session("")).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(_)) | Err(_) => not("the store does not answer"),
    }
}

/// Shows all figures to whoever may view.
pub(super) async fn show(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Error> {
    web.may_read(&headers).await?;
    let mut out = Exposition::default();
    process(&mut out);
    traffic(&mut out, &web.pipeline);
    open(&mut out, &web.pipeline).await?;
    calls(&mut out, &web.pipeline);
    wires(&mut out, &web.pipeline);
    components(&mut out, &web.pipeline);
    kept(&mut out, &web.pipeline).await?;
    let kind = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    Ok((kind, out.into_text()).into_response())
}

fn process(out: &mut Exposition) {
    out.family("ligature_build_info", Gauge, "The program's version.");
    out.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let Some(process) = text::Process::read() else {
        return;
    };
    let text = "Memory that the process holds.";
    out.family("process_resident_memory_bytes", Gauge, text);
    out.add(&[], process.resident_bytes);
    out.family("process_open_fds", Gauge, "Files and connections open.");
    out.add(&[], process.open_files);
    if let Some(most) = process.most_files {
        let text = "Files and connections that may be open.";
        out.family("process_max_fds", Gauge, text);
        out.add(&[], most);
    }
}

fn traffic(out: &mut Exposition, pipeline: &Pipeline) {
    let totals = pipeline.totals();
    let mut counted = |name: &str, text: &str, subject: &str, kinds: &[(Counted, &str)]| {
        out.family(name, Counter, text);
        for ((account, what, id), count) in &totals {
            let Some((_, outcome)) = kinds.iter().find(|(kind, _)| kind == what) else {
                continue;
            };
            let labels = [
                ("account", account.as_str()),
                (subject, id.as_str()),
                ("outcome", outcome),
            ];
            out.add(&labels, *count as f64);
        }
    };
    counted(
        "ligature_messages_total",
        "Messages that came and were kept; `not-taken` cannot be read, or the channel keeps it from flows.",
        "channel",
        &[
            (Counted::Received, "received"),
            (Counted::NotTaken, "not-taken"),
        ],
    );
    counted(
        "ligature_deliveries_total",
        "Deliveries that came to their end.",
        "flow",
        &[
            (Counted::Delivered, "delivered"),
            (Counted::Skipped, "skipped"),
            (Counted::Failed, "failed"),
        ],
    );
    let meters = &pipeline.meters;
    let text = "Answers to frames by their code; `none` where nothing was to be answered.";
    out.family("ligature_acknowledgements_total", Counter, text);
    for ((account, channel, code), count) in meters.answers.read() {
        let labels = [
            ("account", account.as_str()),
            ("channel", channel.as_str()),
            ("code", code),
        ];
        out.add(&labels, count as f64);
    }
    let text = "From a whole frame to its answer, which is after the commit.";
    out.histograms("ligature_acknowledgement_seconds", text);
    for ((account, channel), timing) in meters.answering.read() {
        let labels = [("account", account.as_str()), ("channel", channel.as_str())];
        out.histogram(&labels, &timing);
    }
    let text = "Tries of deliveries by the state that they ended in.";
    out.family("ligature_delivery_tries_total", Counter, text);
    for ((account, flow, state), count) in meters.tries.read() {
        let labels = [
            ("account", account.as_str()),
            ("flow", flow.as_str()),
            ("state", state),
        ];
        out.add(&labels, count as f64);
    }
    for (name, text, timings) in [
        (
            "ligature_delivery_try_seconds",
            "How long tries of deliveries took, waits for calls among it.",
            &meters.trying,
        ),
        (
            "ligature_delivered_after_seconds",
            "From when a message came to when it was delivered.",
            &meters.delivering,
        ),
    ] {
        out.histograms(name, text);
        for ((account, flow), timing) in timings.read() {
            let labels = [("account", account.as_str()), ("flow", flow.as_str())];
            out.histogram(&labels, &timing);
        }
    }
    let text = "Deliveries in hand on this host, each of another patient's lane.";
    out.family("ligature_lanes_in_hand", Gauge, text);
    out.add(&[], meters.in_hand() as f64);
}

/// What is not at its end: of the store, so that of several hosts each says the same.
async fn open(out: &mut Exposition, pipeline: &Pipeline) -> Result<(), store::Error> {
    let text =
        "Deliveries that are not at their end, by state and by the code of what they wait for.";
    out.family("ligature_deliveries_open", Gauge, text);
    for account in pipeline.configuration().accounts() {
        for open in pipeline.store.journal().open_reasons(account).await? {
            let labels = [
                ("account", account.as_str()),
                ("flow", open.flow.as_str()),
                ("state", open.state.as_str()),
                ("reason", open.code.as_str()),
            ];
            out.add(&labels, open.count as f64);
        }
    }
    let text = "Alerts that have begun and not ended.";
    out.family("ligature_alerts", Gauge, text);
    let standing = pipeline.store.alerts().standing().await?;
    let now = standing.iter().filter(|alert| alert.ended_at_ms.is_none());
    let mut counts = BTreeMap::new();
    for alert in now {
        let key = (alert.kind.as_str(), alert.account.as_str());
        *counts.entry(key).or_insert(0_u32) += 1;
    }
    for ((kind, account), count) in counts {
        out.add(&[("kind", kind), ("account", account)], f64::from(count));
    }
    Ok(())
}

fn calls(out: &mut Exposition, pipeline: &Pipeline) {
    let configuration = pipeline.configuration();
    let entries = configuration.accounts();
    let entries: Vec<_> = entries
        .filter_map(|id| Some((id.as_str(), configuration.account(id)?.client.budget())))
        .collect();
    let text = "Calls to LeadSquared by the status of their answer, or why there was none.";
    out.family("ligature_api_calls_total", Counter, text);
    for (account, budget) in &entries {
        for (status, count) in budget.answers.read() {
            let labels = [("account", *account), ("status", status.as_str())];
            out.add(&labels, count as f64);
        }
    }
    let text = "How long LeadSquared takes to answer.";
    out.histograms("ligature_api_call_seconds", text);
    for (account, budget) in &entries {
        for ((), timing) in budget.answering.read() {
            out.histogram(&[("account", account)], &timing);
        }
    }
    let gauges = [
        (
            "ligature_api_calls_waiting",
            "Calls that wait for their turn in the rate window.",
        ),
        (
            "ligature_api_window_limit",
            "Calls of one rate window at present; none is no limit.",
        ),
        (
            "ligature_api_day_calls",
            "Calls of this day of UTC, over restarts and hosts.",
        ),
        (
            "ligature_api_day_limit",
            "Calls of a day that hosts may make; none is no limit.",
        ),
    ];
    let standing = entries.iter().map(|(account, budget)| {
        let standing = budget.standing();
        let values = [
            Some(standing.waiting as f64),
            standing.limit.map(f64::from),
            Some(f64::from(standing.used.calls)),
            standing.daily_limit.map(f64::from),
        ];
        (*account, values)
    });
    let standing: Vec<_> = standing.collect();
    for (at, (name, text)) in gauges.into_iter().enumerate() {
        out.family(name, Gauge, text);
        for (account, values) in &standing {
            if let Some(value) = values[at] {
                out.add(&[("account", account)], value);
            }
        }
    }
}

fn wires(out: &mut Exposition, pipeline: &Pipeline) {
    let configuration = pipeline.configuration();
    let inbound = configuration.channels.iter();
    let channels: Vec<_> = inbound.chain(&configuration.targets).collect();
    let text = "Whether this host listens for a channel, or can send over it; none where another host sends.";
    out.family("ligature_channel_up", Gauge, text);
    for channel in &channels {
        let (direction, is_up) = match channel.kind() {
            Kind::Inbound => (
                "inbound",
                matches!(pipeline.listening(&channel.id), Some(Ok(_))),
            ),
            Kind::Outbound => match pipeline.sending(&channel.id) {
                Some(Sending::Elsewhere) => continue,
                sending => ("outbound", matches!(sending, Some(Sending::Here(_)))),
            },
        };
        let labels = [
            ("account", channel.account.as_str()),
            ("channel", channel.id.as_str()),
            ("direction", direction),
        ];
        out.add(&labels, f64::from(u8::from(is_up)));
    }
    let listening: Vec<_> = channels
        .iter()
        .filter_map(|channel| Some((channel, pipeline.wire(&channel.id)?.connections)))
        .collect();
    let text = "Senders that are connected to a channel.";
    out.family("ligature_connections", Gauge, text);
    for (channel, connections) in &listening {
        let labels = [
            ("account", channel.account.as_str()),
            ("channel", channel.id.as_str()),
        ];
        out.add(&labels, connections.peers().len() as f64);
    }
    let text = "Connections that a channel has taken.";
    out.family("ligature_connections_total", Counter, text);
    for (channel, connections) in &listening {
        let labels = [
            ("account", channel.account.as_str()),
            ("channel", channel.id.as_str()),
        ];
        out.add(&labels, connections.count() as f64);
    }
    let text = "Days until a certificate ends; negative once it has. The console's has no channel.";
    out.family("ligature_certificate_days", Gauge, text);
    let of_channels = channels.iter().flat_map(|channel| {
        let certificates = pipeline.certificates(channel).into_iter();
        certificates.map(|one| (channel.account.as_str(), channel.id.as_str(), one))
    });
    let console = pipeline.console_certificate().map(|one| ("", "", one));
    // A chain may name one subject twice; what ends first counts.
    let mut days = BTreeMap::new();
    for (account, channel, one) in of_channels.chain(console) {
        let known = days.entry((account, channel, one.subject));
        let least = known.or_insert(one.days_left);
        *least = one.days_left.min(*least);
    }
    for ((account, channel, subject), days) in &days {
        let labels = [
            ("account", *account),
            ("channel", *channel),
            ("subject", subject.as_str()),
        ];
        out.add(&labels, *days as f64);
    }
}

/// Of the components that serve somebody.
fn components(out: &mut Exposition, pipeline: &Pipeline) {
    let configuration = pipeline.configuration();
    let mut used = BTreeMap::new();
    for route in configuration.flows() {
        for in_force in route.releases() {
            let component = &in_force.release.component;
            if let Some(numbers) = pipeline.runtime.used(component) {
                let (account, digest) = (route.flow.account.as_str(), component.as_str());
                used.insert((account, digest.get(..12).unwrap_or(digest)), numbers);
            }
        }
    }
    type Read = fn(&Used) -> f64;
    let families: [(&str, _, &str, Read); 5] = [
        (
            "ligature_component_runs_total",
            Counter,
            "Runs of a component, named by the first digits of its digest.",
            |used| used.runs as f64,
        ),
        (
            "ligature_component_broke_total",
            Counter,
            "Runs that ended with a trap or a limit.",
            |used| used.broke as f64,
        ),
        (
            "ligature_component_run_seconds_total",
            Counter,
            "How long runs took, together.",
            |used| used.duration_us as f64 / 1e6,
        ),
        (
            "ligature_component_longest_run_seconds",
            Gauge,
            "The longest run since the start.",
            |used| used.most_duration_us as f64 / 1e6,
        ),
        (
            "ligature_component_most_memory_bytes",
            Gauge,
            "The most memory that a run took since the start.",
            |used| used.most_memory_bytes as f64,
        ),
    ];
    for (name, kind, text, read) in families {
        out.family(name, kind, text);
        for ((account, component), numbers) in &used {
            let labels = [("account", *account), ("component", *component)];
            out.add(&labels, read(numbers));
        }
    }
}

async fn kept(out: &mut Exposition, pipeline: &Pipeline) -> Result<(), store::Error> {
    let written = pipeline.store.written();
    for (name, text, count) in [
        (
            "ligature_store_commits_total",
            "Transactions that changed something; each is one disk sync.",
            written.commits,
        ),
        (
            "ligature_store_messages_total",
            "Messages written.",
            written.messages,
        ),
        (
            "ligature_store_settled_total",
            "Tries of deliveries written.",
            written.deliveries_settled,
        ),
    ] {
        out.family(name, Counter, text);
        out.add(&[], count as f64);
    }
    let text = "What the database takes on its disk.";
    out.family("ligature_store_bytes", Gauge, text);
    out.add(&[], pipeline.store.size_bytes().await? as f64);
    if let Some(disk) = pipeline.disk() {
        let text = "Room on the disk where this host keeps its files.";
        out.family("ligature_disk_free_bytes", Gauge, text);
        out.add(&[], disk.free_bytes as f64);
        let text = "The size of that disk.";
        out.family("ligature_disk_bytes", Gauge, text);
        out.add(&[], disk.total_bytes as f64);
    }
    let text = "When these figures were read.";
    out.family("ligature_read_timestamp_seconds", Gauge, text);
    out.add(&[], Timestamp::now().as_millisecond() as f64 / 1e3);
    Ok(())
}
