//! `ligature simulate leadsquared`: the simulator as a process of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::simulator::lead_squared::{Keys, RateLimit, Settings, Simulator};

/// What to stand in for.
#[derive(Debug, Subcommand)]
pub enum Simulate {
    /// Serves a LeadSquared account on a local port, until interrupted.
    ///
    /// Example: ligature simulate leadsquared --addr 127.0.0.1:8700 --rate-limit 25
    #[command(name = "leadsquared")]
    LeadSquared(LeadSquared),
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
    let Simulate::LeadSquared(args) = args;
    let listener = TcpListener::bind(args.addr)
        .await
        .with_context(|| format!("{} cannot be listened on", args.addr))?;
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

    tokio::signal::ctrl_c().await?;
    shutdown.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(())
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
        let Command {
            simulate: Simulate::LeadSquared(args),
        } = Command::from_arg_matches(&matches).expect("a command");
        args.settings()
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
