//! A load generator: connections that send one message, wait for its acknowledgement, and send the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use ligature::mllp::sender::{Sender, Target, Timeouts};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Times of single answers, sorted.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0
            .get((last as f64 * share) as usize)
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn json_us(&self) -> Value {
        json!({ "p50_us": micros(self.quantile(0.5)), "p99_us": micros(self.quantile(0.99)) })
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

/// Sends `count` messages over `connections`, each made by `message` from its number.
pub(crate) async fn send(
    to: SocketAddr,
    connections: usize,
    count: usize,
    message: fn(usize) -> String,
) -> anyhow::Result<(Duration, Times)> {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let next = next.clone();
        tasks.spawn(async move {
            let target = Target {
                address: to.to_string(),
                tls: None,
                timeouts: Timeouts::default(),
            };
            let mut sender = Sender::connect(&target).await?;
            let mut times = Vec::with_capacity(count / connections + 1);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(times);
                }
                let answer = sender.send(message(number).as_bytes(), |_| true).await?;
                let positive = answer.payload.windows(7).any(|part| part == b"MSA|AA|");
                ensure!(positive, "message {number} was not acknowledged with AA");
                times.push(answer.duration);
            }
        });
    }
    let mut times = Vec::with_capacity(count);
    while let Some(sent) = tasks.join_next().await {
        times.extend(sent??);
    }
    Ok((started.elapsed(), Times::new(times)))
}

/// A registration of about 2 KB, a new patient for each number.
pub(crate) fn registration(number: usize) -> String {
    let filler = "^^^".repeat(20);
    let mut text = format!(
        "MSH|^~\\&|BENCH|CLINIC|LIG|LSQ|20261120093000||ADT^A04^ADT_A01|B{number:07}|P|2.5.1\r\
         EVN|A04|20261120093000\r\
         PID|1||ZB{number:07}^^^CLINIC^MR~9{number:07}^^^STATE^SS||Fenwick{number}^Odalys^Q^^Ms||19840219|F||2106-3|\
         1 Elm Street^Apt {number}^Boston^MA^02110^USA^H||^PRN^PH^^1^617^55{number:05}|||S||AC{number:07}\r\
         PV1|1|O|CL^R1^B1^MAIN||||1234^Attend^Ada^^^Dr|||MED||||1|||1234^Attend^Ada|OP|V{number:07}\r"
    );
    for line in 0..8 {
        text.push_str(&format!("NK1|{line}|Fenwick{line}^Rowan{filler}|SPO|2 Elm Street^^Boston^MA^02110|^PRN^PH^^1^617^5550143\r"));
    }
    text.push_str("GT1|1||Fenwick^Odalys||1 Elm Street^^Boston^MA^02110\rIN1|1|PLAN1|INS1|Example Mutual|PO Box 1^^Boston^MA^02110\r");
    text
}
