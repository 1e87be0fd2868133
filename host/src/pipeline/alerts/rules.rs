//! The rules: what is wrong at this moment. Each goes by figures that are kept anyway and by what was noticed; none counts
//! rows of messages.

use jiff::tz::TimeZone;
use uuid::Uuid;

use super::{Found, usual};
use crate::flow::alert::{Kind, Settings};
use crate::flow::{AccountId, Channel, FlowId, Status};
use crate::pipeline::Pipeline;
use crate::pipeline::load::duration;
use crate::pipeline::outlook::outlook;
use crate::pipeline::send::Sending;
use crate::pipeline::tally::Span;
use crate::store;

const MINUTE_MS: i64 = 60_000;

/// What the store keeps by the minute.
const LOOKED_BACK_MS: i64 = 8 * 24 * 60 * MINUTE_MS;

/// A share of fewer deliveries than these says nothing.
const ENOUGH: u64 = 10;

/// A connection that lasted so long was meant to stay.
const STAYS_MS: i64 = 10 * MINUTE_MS;

type Wrong = Result<Vec<Found>, store::Error>;

/// Everything that is wrong now, by the rules that are on.
pub(super) async fn all(pipeline: &Pipeline, settings: &Settings, now_ms: i64) -> Wrong {
    let mut found = Vec::new();
    if let Some(minutes) = settings.threshold(Kind::Quiet) {
        found.extend(quiet(pipeline, minutes, now_ms).await?);
    }
    if let Some(minutes) = settings.threshold(Kind::Disconnected) {
        found.extend(disconnected(pipeline, minutes, now_ms));
    }
    if let Some(percent) = settings.threshold(Kind::FailureShare) {
        found.extend(failure_share(pipeline, percent).await?);
    }
    if let Some(count) = settings.threshold(Kind::FailuresInARow) {
        found.extend(in_a_row(pipeline, count));
    }
    if let Some(minutes) = settings.threshold(Kind::OldestWaiting) {
        found.extend(oldest(pipeline, minutes, now_ms).await?);
    }
    if let Some(percent) = settings.threshold(Kind::DailyQuota) {
        found.extend(quota(pipeline, percent).await?);
    }
    if settings.threshold(Kind::WebhookDisabled).is_some() {
        found.extend(hooks(pipeline).await?);
    }
    if settings.threshold(Kind::KeysRefused).is_some() {
        found.extend(keys(pipeline));
    }
    if let Some(days) = settings.threshold(Kind::Certificate) {
        found.extend(certificates(pipeline, days));
    }
    if let Some(percent) = settings.threshold(Kind::Disk) {
        found.extend(disk(pipeline, percent));
    }
    Ok(found)
}

fn of_channel(kind: Kind, channel: &Channel, text: String) -> Found {
    Found {
        kind,
        account: channel.account.to_string(),
        subject: channel.name.clone(),
        text,
    }
}

/// A flow as people know it.
fn of_flow(pipeline: &Pipeline, kind: Kind, account: &AccountId, flow: &str, text: &str) -> Found {
    let configuration = pipeline.configuration();
    let route = configuration.route(&FlowId::from(flow));
    let name = route.map_or_else(|| flow.to_owned(), |route| route.flow.name.clone());
    Found {
        kind,
        account: account.to_string(),
        text: format!("{name}: {text}."),
        subject: name,
    }
}

async fn quiet(pipeline: &Pipeline, minutes: u64, now_ms: i64) -> Wrong {
    let least_ms = minutes.cast_signed() * MINUTE_MS;
    let configuration = pipeline.configuration();
    let mut found = Vec::new();
    for channel in &configuration.channels {
        let last = Box::pin(pipeline.last_received(channel)).await?;
        // What was never used is not quiet, and what speaks need not be looked at further.
        let Some(last) = last.filter(|last| now_ms - last > least_ms) else {
            continue;
        };
        let zone: TimeZone = configuration.zone(&channel.account);
        let came = pipeline
            .minutes_with(channel, now_ms - LOOKED_BACK_MS)
            .await?;
        if let Some(silence) = usual::unusual(&came, now_ms, least_ms, &zone) {
            let text = format!(
                "{}: nothing was received for {}; at this hour of such a day it is {} at most.",
                channel.name,
                duration((now_ms - last - MINUTE_MS).max(0).unsigned_abs()),
                duration(silence.usual_ms.max(MINUTE_MS).unsigned_abs()),
            );
            found.push(of_channel(Kind::Quiet, channel, text));
        }
    }
    Ok(found)
}

fn disconnected(pipeline: &Pipeline, minutes: u64, now_ms: i64) -> Vec<Found> {
    let limit_ms = minutes.cast_signed() * MINUTE_MS;
    let configuration = pipeline.configuration();
    // Where several hosts listen, a sender may be at another.
    let is_shared = pipeline.store.journal().is_shared();
    let mut found = Vec::new();
    for channel in &configuration.channels {
        if let Some(Err(fault)) = pipeline.listening(&channel.id) {
            let text = format!("{} does not listen: {fault}.", channel.name);
            found.push(of_channel(Kind::Disconnected, channel, text));
            continue;
        }
        let Some(wire) = pipeline.wire(&channel.id).filter(|_| !is_shared) else {
            continue;
        };
        let left = wire.connections.left();
        let left = left.filter(|left| left.lasted.as_millis() as i64 >= STAYS_MS);
        let Some(left) = left.filter(|_| wire.connections.peers().is_empty()) else {
            continue;
        };
        let since_ms = now_ms - left.at.as_millisecond();
        if since_ms >= limit_ms {
            let text = format!(
                "{}: the sender at {} was connected for {} and is gone.",
                channel.name,
                left.address.ip(),
                duration(left.lasted.as_millis() as u64),
            );
            found.push(of_channel(Kind::Disconnected, channel, text));
        }
    }
    for channel in &configuration.targets {
        if let Some(Sending::Not(fault)) = pipeline.sending(&channel.id) {
            let text = format!("{} does not send: {fault}.", channel.name);
            found.push(of_channel(Kind::Disconnected, channel, text));
        }
    }
    found
}

async fn failure_share(pipeline: &Pipeline, percent: u64) -> Wrong {
    let mut found = Vec::new();
    let configuration = pipeline.configuration();
    for account in configuration.accounts() {
        let figures = pipeline.figures(account, Span::Hour).await?;
        for (flow, sums) in &figures.flows {
            let all = sums.delivered + sums.skipped + sums.failed;
            if all >= ENOUGH && sums.failed * 100 > all * percent {
                // The numbers change with every message; the alert stays the same.
                let text =
                    format!("more than {percent} % of its deliveries of the last hour failed");
                found.push(of_flow(pipeline, Kind::FailureShare, account, flow, &text));
            }
        }
    }
    Ok(found)
}

fn in_a_row(pipeline: &Pipeline, count: u64) -> Vec<Found> {
    let configuration = pipeline.configuration();
    let seen = pipeline.watch.seen().in_a_row.clone();
    let rows = seen.into_iter().filter(|(_, failures)| *failures >= count);
    let rows = rows.filter_map(|(flow, _)| {
        let account = configuration.route(&flow)?.flow.account.clone();
        let text = format!("{count} deliveries failed, one after the other");
        let kind = Kind::FailuresInARow;
        Some(of_flow(pipeline, kind, &account, flow.as_str(), &text))
    });
    rows.collect()
}

async fn oldest(pipeline: &Pipeline, minutes: u64, now_ms: i64) -> Wrong {
    let limit_ms = minutes.cast_signed() * MINUTE_MS;
    let configuration = pipeline.configuration();
    let journal = pipeline.store.journal();
    let mut found = Vec::new();
    for account in configuration.accounts() {
        for (flow, delivery) in journal.oldest_open(account).await? {
            let route = configuration.route(&flow);
            // What a person holds waits as it should.
            if route.is_some_and(|route| matches!(route.flow.status, Status::Paused(_))) {
                continue;
            }
            let Some(came_ms) = came_at(&delivery) else {
                continue;
            };
            if now_ms - came_ms >= limit_ms {
                let limit = duration(limit_ms.unsigned_abs());
                let text = format!("a delivery has been waiting for more than {limit}");
                let (kind, flow) = (Kind::OldestWaiting, flow.as_str());
                found.push(of_flow(pipeline, kind, account, flow, &text));
            }
        }
    }
    Ok(found)
}

/// When the message of a delivery came: its id begins with one that tells the time.
fn came_at(delivery: &str) -> Option<i64> {
    let id = Uuid::parse_str(delivery.get(..36)?).ok()?;
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    i64::try_from(seconds * 1_000 + u64::from(nanoseconds / 1_000_000)).ok()
}

async fn quota(pipeline: &Pipeline, percent: u64) -> Wrong {
    let mut found = Vec::new();
    for account in pipeline.configuration().accounts() {
        let Some(calls) = outlook(pipeline, account).await? else {
            continue;
        };
        let Some(most) = calls.calls_of_today.map(u64::from) else {
            continue;
        };
        if u64::from(calls.used_today) * 100 >= most * percent {
            found.push(Found {
                kind: Kind::DailyQuota,
                account: account.to_string(),
                subject: account.to_string(),
                text: format!(
                    "{percent} % of the {most} calls to LeadSquared that this host may make today are used."
                ),
            });
        }
    }
    Ok(found)
}

async fn hooks(pipeline: &Pipeline) -> Wrong {
    let mut wrong: Vec<(AccountId, String)> = Vec::new();
    for (account, texts) in &pipeline.watch.seen().hooks {
        wrong.extend(texts.iter().map(|text| (account.clone(), text.clone())));
    }
    for account in pipeline.configuration().accounts() {
        for subject in pipeline.missing_webhooks(account).await? {
            wrong.push((account.clone(), format!("No webhook {subject} is there")));
        }
    }
    let found = wrong.into_iter().map(|(account, text)| Found {
        kind: Kind::WebhookDisabled,
        account: account.to_string(),
        text: format!("{text}: what changed meanwhile was not told to its flows."),
        subject: text,
    });
    Ok(found.collect())
}

fn keys(pipeline: &Pipeline) -> Vec<Found> {
    let seen = pipeline.watch.seen();
    let refused = seen.refused.iter().map(|account| Found {
        kind: Kind::KeysRefused,
        account: account.to_string(),
        subject: account.to_string(),
        text: format!("LeadSquared refuses the keys of account {account}: its messages wait."),
    });
    refused.collect()
}

fn certificates(pipeline: &Pipeline, days: u64) -> Vec<Found> {
    let configuration = pipeline.configuration();
    let ends = |left: i64| match left {
        ..0 => "has ended".to_owned(),
        _ => format!("ends in less than {days} days"),
    };
    let channels = configuration.channels.iter().chain(&configuration.targets);
    let mut found: Vec<Found> = Vec::new();
    for channel in channels {
        for certificate in pipeline.certificates(channel) {
            if certificate.days_left < days.cast_signed() {
                let end = ends(certificate.days_left);
                let subject = &certificate.subject;
                let text = format!("{}: the certificate {subject} {end}.", channel.name);
                found.push(Found {
                    subject: format!("{} {subject}", channel.name),
                    ..of_channel(Kind::Certificate, channel, text)
                });
            }
        }
    }
    let console = pipeline.console_certificate();
    if let Some(own) = console.filter(|own| own.days_left < days.cast_signed()) {
        found.push(Found {
            kind: Kind::Certificate,
            account: String::new(),
            text: format!(
                "The console's certificate {} {}.",
                own.subject,
                ends(own.days_left)
            ),
            subject: "console".into(),
        });
    }
    found
}

fn disk(pipeline: &Pipeline, percent: u64) -> Option<Found> {
    let disk = pipeline.disk().filter(|disk| disk.free_percent < percent)?;
    Some(Found {
        kind: Kind::Disk,
        account: String::new(),
        subject: "disk".into(),
        text: format!(
            "The disk of this host's files has less than {percent} % left of {} GiB: without room no message is taken.",
            disk.total_bytes >> 30
        ),
    })
}
