//! `ligature simulate`: the simulators as processes of their own.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::simulator::ehr;
use crate::simulator::lead_squared::{Keys, RateLimit, Settings, Simulator, Webhooks};

/// What to stand in for.
#[derive(Debug, Subcommand)]
pub enum Simulate {
    /// Serves a LeadSquared account on a local port, until interrupted.
    ///
    /// Example: ligature simulate leadsquared --addr 127.0.0.1:8700 --rate-limit 25
    #[command(name = "leadsquared")]
    LeadSquared(LeadSquared),
    /// Serves a hospital's EHR on a local port, until interrupted: it takes messages and holds against them what is wrong.
    ///
    /// Example: ligature simulate ehr --addr 127.0.0.1:2576 --answer ae --count 3
    Ehr(Ehr),
}

/// The simulated EHR.
#[derive(Debug, Args)]
pub struct Ehr {
    /// Where to take messages; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2576")]
    addr: SocketAddr,
    /// Where to serve the page; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8702")]
    http: SocketAddr,
    /// Answer AE to messages against which something is held.
    #[arg(long)]
    strict: bool,
    /// Give patients numbers under this assigning authority, in a PID of the answer.
    #[arg(long, value_name = "AUTHORITY")]
    assigns: Option<String>,
    /// What to do instead of an honest answer: aa, ae, ar, ca, ce, cr, foreign, no-msa, unknown-code, rubbish, noise,
    /// silent, drop or half. More can be told at /moods of the page.
    #[arg(long, value_name = "KIND", default_value = "honest", value_parser = kind)]
    answer: ehr::Kind,
    /// For how many messages; none is for all.
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// Answer so much later, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// Print one JSON object with the addresses.
    #[arg(long)]
    json: bool,
}

fn kind(text: &str) -> Result<ehr::Kind, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// The simulated account.
#[derive(Debug, Args)]
pub struct LeadSquared {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8700")]
    addr: SocketAddr,
    /// The access key that calls must carry; a new one is made when it is not given.
    #[arg(long, value_name = "KEY", requires = "secret_key")]
    access_key: Option<String>,
    /// The secret key that calls must carry.
    #[arg(long, value_name = "KEY", requires = "access_key")]
    secret_key: Option<String>,
    /// Calls allowed in one window; 0 is no limit.
    #[arg(long, value_name = "N", default_value_t = 25)]
    rate_limit: u32,
    /// Length of the window in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    rate_window_ms: u64,
    /// What a call beyond the limit is answered with: 429, 403 or 200.
    #[arg(long, value_name = "CODE", default_value_t = 429, value_parser = clap::value_parser!(u16).range(200..=499))]
    rate_status: u16,
    /// Calls allowed in all; none is no quota.
    #[arg(long, value_name = "N")]
    daily_quota: Option<u64>,
    /// Custom lead fields that are unique, besides email, phone and mobile.
    #[arg(
        long,
        value_name = "FIELDS",
        value_delimiter = ',',
        default_value = "mx_MRN"
    )]
    unique: Vec<String>,
    /// Answer logical errors with HTTP 200 instead of 500.
    #[arg(long)]
    errors_as_200: bool,
    /// Keep phone numbers as they are sent.
    #[arg(long)]
    keep_phones: bool,
    /// Let create-or-update without a search field go on from email to phone.
    #[arg(long)]
    match_phone_too: bool,
    /// Reject select values that are not among the options.
    #[arg(long)]
    reject_unknown_options: bool,
    /// Country calling code of numbers that have none.
    #[arg(long, value_name = "CODE", default_value = "1")]
    default_country_code: String,
    /// Answer every call as if the keys belonged to another region, whose host is given.
    #[arg(long, value_name = "HOST")]
    other_region: Option<String>,
    /// How long every call takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// How many webhooks the account's plan allows.
    #[arg(long, value_name = "N", default_value_t = 3)]
    webhooks: usize,
    /// Take a webhook's address without asking whether somebody answers there.
    #[arg(long)]
    unverified_webhooks: bool,
    /// Activities of such a time are told of together, in milliseconds; 0 tells of each at once.
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    webhook_group_ms: u64,
    /// Tell of leads without their custom fields.
    #[arg(long)]
    standard_fields_only: bool,
    /// Tell of updates that do not ask for it, too.
    #[arg(long)]
    tell_every_write: bool,
    /// Makes ids and chances repeatable.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Print one JSON object with address and keys.
    #[arg(long)]
    json: bool,
}

impl LeadSquared {
    fn settings(&self) -> Settings {
        let keys = match (&self.access_key, &self.secret_key) {
            (Some(access_key), Some(secret_key)) => Keys {
                access_key: access_key.clone(),
                secret_key: secret_key.clone(),
            },
            _ => Keys::generate(),
        };
        let mut unique = ["EmailAddress", "Phone", "Mobile"]
            .map(String::from)
            .to_vec();
        unique.extend(self.unique.iter().filter(|name| !name.is_empty()).cloned());
        Settings {
            keys,
            rate_limit: (self.rate_limit > 0).then_some(RateLimit {
                calls: self.rate_limit,
                window: Duration::from_millis(self.rate_window_ms),
                status: self.rate_status,
            }),
            daily_quota: self.daily_quota,
            unique,
            errors_as_200: self.errors_as_200,
            normalise_phones: !self.keep_phones,
            match_phone_too: self.match_phone_too,
            reject_unknown_options: self.reject_unknown_options,
            default_country_code: self.default_country_code.clone(),
            other_region: self.other_region.clone(),
            latency: Duration::from_millis(self.latency_ms),
            webhooks: Webhooks {
                plan_limit: self.webhooks,
                verifies: !self.unverified_webhooks,
                grouped: (self.webhook_group_ms > 0)
                    .then_some(Duration::from_millis(self.webhook_group_ms)),
                standard_fields_only: self.standard_fields_only,
                every_write: self.tell_every_write,
                ..Webhooks::default()
            },
            log_calls: false,
            seed: self.seed,
        }
    }
}

/// Serves until interrupted.
///
/// # Errors
/// When the address is taken.
pub async fn run(args: Simulate, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    match args {
        Simulate::LeadSquared(args) => lead_squared(args, out).await,
        Simulate::Ehr(args) => ehr(args, out).await,
    }
}

async fn ehr(args: Ehr, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let (mllp, http) = (bind(args.addr).await?, bind(args.http).await?);
    let tracker = TaskTracker::new();
    let shutdown = CancellationToken::new();
    let settings = ehr::Settings {
        is_strict: args.strict,
        assigns: args.assigns,
        ..ehr::Settings::default()
    };
    let page = http.local_addr()?;
    let stop = shutdown.clone();
    let handle = ehr::Simulator::start(mllp, Some(http), settings, &tracker, stop)?;
    if args.answer != ehr::Kind::Honest || args.delay_ms > 0 {
        handle.tell(ehr::Mood {
            count: args.count,
            ..ehr::Mood::always(args.answer).after_ms(args.delay_ms)
        });
    }
    let address = handle.address();
    if args.json {
        let line = serde_json::json!({ "mllp": address, "http": page });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "EHR simulator on {address}")?;
        writeln!(
            out,
            "  page http://{page}/   state http://{page}/state   moods http://{page}/moods"
        )?;
        writeln!(out, "Ctrl-C ends it; nothing is kept.")?;
    }
    out.flush()?;
    until_interrupted(shutdown, tracker).await
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} cannot be listened on"))
}

async fn until_interrupted(
    shutdown: CancellationToken,
    tracker: TaskTracker,
) -> anyhow::Result<()> {
    tokio::signal::ctrl_c().await?;
    shutdown.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(())
}

async fn lead_squared(args: LeadSquared, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let listener = bind(args.addr).await?;
    let tracker = TaskTracker::new();
    let shutdown = CancellationToken::new();
    let handle = Simulator::start(listener, args.settings(), &tracker, shutdown.clone())?;
    let keys = handle.keys();
    if args.json {
        let line = serde_json::json!({
            "leadsquared": handle.api(),
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "LeadSquared simulator on {}", handle.api())?;
        writeln!(out, "  access key  {}", keys.access_key)?;
        writeln!(out, "  secret key  {}", keys.secret_key)?;
        writeln!(
            out,
            "  page {0}/   state {0}/state   faults {0}/faults",
            handle.api()
        )?;
        writeln!(out, "Ctrl-C ends it; nothing is kept.")?;
    }
    out.flush()?;
    until_interrupted(shutdown, tracker).await
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(subcommand)]
        simulate: Simulate,
    }

    fn settings(args: &str) -> Settings {
        Command::command().debug_assert();
        let words = ["simulate", "leadsquared"]
            .into_iter()
            .chain(args.split_whitespace());
        let matches = Command::command().get_matches_from(words);
        let Command { simulate } = Command::from_arg_matches(&matches).expect("a command");
        match simulate {
            Simulate::LeadSquared(args) => args.settings(),
            Simulate::Ehr(_) => unreachable!("leadsquared was asked for"),
        }
    }

    #[test]
    fn flags_become_settings() {
        let plain = settings("");
        assert_eq!(plain.rate_limit, Some(RateLimit::default()));
        assert_eq!(plain.unique, ["EmailAddress", "Phone", "Mobile", "mx_MRN"]);
        assert!(plain.keys.access_key.starts_with("u$r"));

        let other = settings(
            "--access-key a --secret-key b --rate-limit 0 --unique mx_MRN,mx_Chart --latency-ms 100 --errors-as-200",
        );
        assert_eq!(other.keys.secret_key, "b");
        assert_eq!(other.rate_limit, None);
        assert_eq!(other.unique[3..], ["mx_MRN", "mx_Chart"]);
        assert_eq!(other.latency, Duration::from_millis(100));
        assert!(other.errors_as_200);
    }
}
