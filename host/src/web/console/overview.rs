//! The overview: how much comes and goes, what waits and why, what is left of the calls, which flows fail.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::flows::{dead, state_words};
use super::messages::why_of;
use super::show::{Time, count, utc};
use super::visit::{Frame, Visit, html};
use crate::flow::{Account, Status};
use crate::pipeline::load::duration;
use crate::pipeline::outlook::{self, Outlook};
use crate::pipeline::tally::{self, Series, Span, Sums};
use crate::store::catalog::Listing;
use crate::store::journal::State as Delivery;
use crate::web::Web;
use crate::web::fault::Fault;

/// The chart's measures, in its own units: a bar with its gap, and the height of each half.
const STEP: f64 = 10.0;
const HALF: f64 = 60.0;

/// Reasons shown of each account.
const MOST_REASONS: usize = 12;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    span: &'static str,
    accounts: Vec<Part>,
    /// Alerts that have not ended.
    alerts: usize,
    /// Setting up is not at its end: nothing is transferred yet.
    is_begun: bool,
    certificates: Vec<CertificateLine>,
    disk: Option<DiskLine>,
}

/// A certificate that ends at some time, the next one first.
struct CertificateLine {
    /// The channel's id; empty for the console.
    channel: String,
    of: String,
    subject: String,
    days_left: i64,
}

struct DiskLine {
    free: String,
    percent: u64,
}

/// One account.
struct Part {
    name: String,
    id: String,
    /// What flows must be told of, and nobody tells.
    missing: Vec<String>,
    since: Time,
    today: Sums,
    chart: Chart,
    reasons: Vec<Reason>,
    /// What people are told of the calls; none where nothing limits them.
    calls: Option<Calls>,
    flows: Vec<Line>,
}

struct Chart {
    width: f64,
    bars: Vec<Bar>,
    /// The same for those who do not see it.
    said: String,
    from: Time,
    most: u64,
}

/// One step of time: what came upwards, what became of it downwards.
struct Bar {
    x: f64,
    received: f64,
    delivered: f64,
    failed: f64,
    said: String,
}

struct Reason {
    flow: String,
    flow_name: String,
    state: &'static str,
    text: String,
    count: u64,
    /// When the first of them is tried again by itself.
    next: Option<Time>,
}

struct Calls {
    plan: String,
    today: String,
    forecast: String,
}

/// A flow that somebody should look at.
struct Line {
    id: String,
    name: String,
    state: &'static str,
    reason: String,
    failed: u64,
    /// Of this flow, whenever they failed.
    dead: u64,
    waiting: u64,
}

/// How far back the chart goes.
#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    span: String,
}

/// Shows the overview.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let (word, span) = match asked.span.as_str() {
        "day" => ("day", Span::Day),
        "week" => ("week", Span::Week),
        _ => ("hour", Span::Hour),
    };
    let listing = web.pipeline.store.catalog().list().await?;
    let mut accounts = Vec::new();
    for kept in &listing.accounts {
        let account = &kept.document;
        let names: BTreeMap<String, String> = (listing.flows.iter())
            .filter(|kept| kept.document.account == account.id)
            .map(|kept| (kept.document.id.to_string(), kept.document.name.clone()))
            .collect();
        let zone = web.pipeline.configuration().zone(&account.id);
        let today = web.pipeline.today(&account.id, &zone).await?;
        let figures = web.pipeline.figures(&account.id, span).await?;
        let outlook = outlook::outlook(&web.pipeline, &account.id).await?;
        let flows = listing.flows.iter().filter_map(|kept| {
            let flow = &kept.document;
            let id = flow.id.to_string();
            let failed = today.flows.get(&id).map_or(0, |sums| sums.failed);
            let waiting = today.waiting.get(&id).copied().unwrap_or_default();
            let waiting = waiting.queued + waiting.waiting + waiting.parked;
            let is_still = flow.status != Status::Active && waiting > 0;
            let wants_a_look = flow.account == account.id && (failed > 0 || is_still);
            let (state, reason) = state_words(&flow.status);
            wants_a_look.then(|| Line {
                id,
                name: flow.name.clone(),
                state,
                reason,
                failed,
                dead: 0,
                waiting,
            })
        });
        let mut flows: Vec<Line> = flows.collect();
        for line in &mut flows {
            line.dead = dead(&web, &account.id, &line.id).await?;
        }
        flows.sort_by_key(|line| std::cmp::Reverse(line.failed));
        let missing = web.pipeline.missing_webhooks(&account.id).await?;
        accounts.push(Part {
            name: name_of(account),
            id: account.id.to_string(),
            missing: missing.iter().map(ToString::to_string).collect(),
            since: Time::of(today.since_ms),
            today: today.sums,
            chart: chart(&figures, word),
            reasons: reasons(&today.reasons, &names),
            calls: outlook.as_ref().and_then(calls),
            flows,
        });
    }
    let standing = web.pipeline.store.alerts().standing().await?;
    let flows = listing.flows.iter().map(|kept| &kept.document.status);
    html(&OverviewPage {
        frame: visit.frame("overview"),
        span: word,
        alerts: standing
            .iter()
            .filter(|alert| alert.ended_at_ms.is_none())
            .count(),
        is_begun: flows.filter(|status| **status != Status::Draft).count() == 0,
        certificates: certificates(&web, &listing),
        disk: web.pipeline.disk().map(|disk| DiskLine {
            free: format!("{:.1} GiB", disk.free_bytes as f64 / f64::from(1 << 30)),
            percent: disk.free_percent,
        }),
        accounts,
    })
}

/// The certificates of this host, those that end first first.
fn certificates(web: &Web, listing: &Listing) -> Vec<CertificateLine> {
    let channels = listing.channels.iter().map(|kept| &kept.document);
    let of_channels = channels.flat_map(|channel| {
        let certificates = web.pipeline.certificates(channel).into_iter();
        certificates.map(|certificate| CertificateLine {
            channel: channel.id.to_string(),
            of: channel.name.clone(),
            subject: certificate.subject,
            days_left: certificate.days_left,
        })
    });
    let console = web.pipeline.console_certificate().into_iter();
    let console = console.map(|certificate| CertificateLine {
        channel: String::new(),
        of: "Console".into(),
        subject: certificate.subject,
        days_left: certificate.days_left,
    });
    let mut all: Vec<_> = of_channels.chain(console).collect();
    all.sort_by_key(|line| line.days_left);
    all
}

fn name_of(account: &Account) -> String {
    match account.name.is_empty() {
        true => account.id.to_string(),
        false => account.name.clone(),
    }
}

fn chart(figures: &Series, span: &str) -> Chart {
    let most = figures.points.iter().map(|point| {
        let sums = &point.sums;
        sums.received.max(sums.delivered + sums.failed)
    });
    let most = most.max().unwrap_or(0);
    let height = |count: u64| count as f64 / most.max(1) as f64 * HALF;
    let bars = figures.points.iter().enumerate().map(|(number, point)| {
        let sums = &point.sums;
        Bar {
            x: number as f64 * STEP,
            received: height(sums.received),
            delivered: height(sums.delivered),
            failed: height(sums.failed),
            said: format!(
                "{} UTC: {} received, {} delivered, {} failed",
                utc(point.at_ms).get(..16).unwrap_or_default(),
                sums.received,
                sums.delivered,
                sums.failed
            ),
        }
    });
    let total = |count: fn(&Sums) -> u64| -> u64 {
        figures.points.iter().map(|point| count(&point.sums)).sum()
    };
    Chart {
        width: figures.points.len() as f64 * STEP,
        bars: bars.collect(),
        said: format!(
            "Last {span}: {} received, {} made, {} skipped, {} failed",
            count(total(|sums| sums.received), "message", "messages"),
            count(total(|sums| sums.delivered), "delivery", "deliveries"),
            total(|sums| sums.skipped),
            total(|sums| sums.failed),
        ),
        from: Time::of(figures.points.first().map_or(0, |point| point.at_ms)),
        most,
    }
}

fn reasons(open: &[tally::Reason], names: &BTreeMap<String, String>) -> Vec<Reason> {
    let reasons = open.iter().take(MOST_REASONS).map(|open| {
        let state = Delivery::parse(open.state).unwrap_or(Delivery::Queued);
        Reason {
            flow_name: names.get(&open.flow).unwrap_or(&open.flow).clone(),
            flow: open.flow.clone(),
            state: open.state,
            text: why_of(state, &open.text),
            count: open.count,
            next: open.due_at_ms.map(Time::of),
        }
    });
    reasons.collect()
}

fn calls(outlook: &Outlook) -> Option<Calls> {
    if outlook.calls_per_window.is_none() && outlook.calls_of_today.is_none() {
        return None;
    }
    let plan = outlook.calls_per_window.map_or_else(
        || "no limit in a window".to_owned(),
        |calls| format!("{calls} calls in {} s", outlook.window_ms as f64 / 1_000.0),
    );
    let today = match outlook.calls_of_today {
        Some(most) => format!("{} of {most} used", outlook.used_today),
        None => format!("{} used", outlook.used_today),
    };
    let forecast = match (outlook.open_deliveries, outlook.empty_in_ms) {
        (0, _) => "nothing waits".to_owned(),
        (open, Some(ms)) => format!(
            "{}, about {:.0} calls: done in about {}",
            count(open, "delivery", "deliveries"),
            outlook.expected_calls,
            duration(ms)
        ),
        (open, None) => count(open, "delivery", "deliveries"),
    };
    Some(Calls {
        plan,
        today,
        forecast,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tally::Point;

    #[test]
    fn the_chart_is_as_high_as_its_highest_step() {
        let point = |at_ms, received, delivered, failed| Point {
            at: String::new(),
            at_ms,
            sums: Sums {
                received,
                delivered,
                failed,
                ..Sums::default()
            },
        };
        let figures = Series {
            step_ms: 60_000,
            points: vec![
                point(0, 2, 1, 1),
                point(60_000, 4, 2, 0),
                point(120_000, 0, 0, 0),
            ],
            channels: BTreeMap::new(),
            flows: BTreeMap::new(),
        };
        let chart = chart(&figures, "hour");
        assert_eq!((chart.most, chart.width), (4, 30.0));
        let heights: Vec<_> = (chart.bars.iter())
            .map(|bar| (bar.received, bar.delivered, bar.failed))
            .collect();
        assert_eq!(
            heights,
            [(30.0, 15.0, 15.0), (60.0, 30.0, 0.0), (0.0, 0.0, 0.0)]
        );
        assert_eq!(
            chart.said,
            "Last hour: 6 messages received, 3 deliveries made, 0 skipped, 1 failed"
        );
        assert_eq!(
            chart.bars[1].said,
            "1970-01-01 00:01 UTC: 4 received, 2 delivered, 0 failed"
        );
    }
}
