//! The connection doctor: one look at a listener, from its name to its acknowledgement, and a report in plain words.
//!
//! For the command line and the console alike. What it writes goes to another house's integration team, so nothing
//! that a message or an answer holds is in it: names, times, codes and counts only.
//! Knows HL7 and MLLP, and nothing of channels, flows or the store. Start at [`examine`]; what is sent is in
//! `doctor/probe.rs`, how an answer is judged in `doctor/answer.rs`.

mod answer;
mod probe;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use rustls::CertificateError;
use serde::Serialize;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::mllp::sender::Stream;
use crate::mllp::tls::{Connector, Expiry, Facts};
pub use probe::{Error, Probe};

/// What to look at.
#[derive(Debug, Clone)]
pub struct Question {
    /// `host:port`; an IPv6 address stands in brackets.
    pub address: String,
    /// TLS from the first byte; `None` for a plain connection.
    pub tls: Option<Connector>,
    /// What to send; [`Probe::harmless`] if nothing better is at hand.
    pub probe: Probe,
    /// For each step.
    pub limit: Duration,
}

/// What was found, step by step; the first bad step is the last.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was looked at.
    pub address: String,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
    /// The chain that the listener showed, its own certificate first.
    pub certificates: Vec<Facts>,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at.
    pub step: Step,
    /// How it went.
    pub verdict: Verdict,
    /// One sentence.
    pub text: String,
    /// What else is worth knowing, a sentence each.
    pub notes: Vec<String>,
    /// How long it took.
    pub duration_ms: u64,
}

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Name,
    Tcp,
    Tls,
    Sent,
    Framing,
    Acknowledgement,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Good,
    /// It works, and something about it is not as it should be.
    Odd,
    Bad,
    /// There was nothing to do.
    NotAsked,
}

impl Step {
    /// As the report calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Sent => "sent",
            Self::Framing => "framing",
            Self::Acknowledgement => "answer",
        }
    }
}

impl Verdict {
    /// As the report calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Odd => "odd",
            Self::Bad => "FAULT",
            Self::NotAsked => "-",
        }
    }
}

impl Check {
    fn new(step: Step, verdict: Verdict, started: Instant, text: impl Into<String>) -> Self {
        Self {
            step,
            verdict,
            text: text.into(),
            notes: Vec::new(),
            duration_ms: started.elapsed().as_millis() as u64,
        }
    }
}

impl Report {
    /// Whether every step went well; an oddity is no fault.
    pub fn is_well(&self) -> bool {
        self.checks
            .iter()
            .all(|check| check.verdict != Verdict::Bad)
    }
}

/// Looks at a listener; never fails, because a failure is what it reports.
///
/// Opens one connection, sends one message and closes it again.
pub async fn examine(question: Question) -> Report {
    let mut report = Report {
        address: question.address.clone(),
        checks: Vec::new(),
        certificates: Vec::new(),
    };
    if let Some(tcp) = tcp(&question, &mut report).await
        && let Some(stream) = tls(&question, tcp, &mut report).await
    {
        let checks = answer::exchange(stream, &question.probe, question.limit).await;
        report.checks.extend(checks);
    }
    report
}

/// Resolves the name and connects to the first address that answers.
async fn tcp(question: &Question, report: &mut Report) -> Option<TcpStream> {
    let started = Instant::now();
    let resolved = timeout(question.limit, lookup_host(question.address.as_str())).await;
    let addresses: Vec<SocketAddr> = match resolved {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(cause)) => {
            let text = format!("{} has no address: {cause}", question.address);
            let check = Check::new(Step::Name, Verdict::Bad, started, text);
            report.checks.push(check);
            return None;
        }
        Err(_) => {
            let text = format!("{} was not resolved in time", question.address);
            let check = Check::new(Step::Name, Verdict::Bad, started, text);
            report.checks.push(check);
            return None;
        }
    };
    let list: Vec<String> = addresses.iter().map(|one| one.ip().to_string()).collect();
    let text = format!("{} is {}", host(&question.address), list.join(", "));
    let check = Check::new(Step::Name, Verdict::Good, started, text);
    report.checks.push(check);

    let started = Instant::now();
    let mut notes = Vec::new();
    for address in addresses {
        let cause = match timeout(question.limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let own = stream.local_addr().map(|own| own.ip().to_string());
                let text = format!(
                    "connected to {address} from {}",
                    own.unwrap_or_else(|_| "an unknown address".to_owned())
                );
                let mut check = Check::new(Step::Tcp, Verdict::Good, started, text);
                check.notes = notes;
                report.checks.push(check);
                return Some(stream);
            }
            Ok(Err(cause)) => refusal(&cause),
            Err(_) => "no answer in time: a firewall may drop what is sent there".to_owned(),
        };
        notes.push(format!("{address}: {cause}"));
    }
    let text = match notes.len() {
        1 => notes.remove(0),
        _ => "none of the addresses takes connections".to_owned(),
    };
    let mut check = Check::new(Step::Tcp, Verdict::Bad, started, text);
    check.notes = notes;
    report.checks.push(check);
    None
}

fn refusal(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => {
            "refused: the machine is there, but nothing listens on this port".to_owned()
        }
        _ => cause.to_string(),
    }
}

/// Shakes hands, if TLS is asked for.
async fn tls(question: &Question, tcp: TcpStream, report: &mut Report) -> Option<Stream> {
    let started = Instant::now();
    let Some(connector) = &question.tls else {
        let text = "not asked for: messages travel in clear text";
        let check = Check::new(Step::Tls, Verdict::NotAsked, started, text);
        report.checks.push(check);
        return Some(Stream::Plain(tcp));
    };
    let connecting = connector.connect(host(&question.address), tcp);
    let shaken = timeout(question.limit, connecting).await;
    report.certificates = connector.seen();
    let own = report.certificates.first();
    let (verdict, text, stream) = match shaken {
        Ok(Ok(stream)) => {
            let session = stream.get_ref().1;
            let version = session.protocol_version();
            let suite = session.negotiated_cipher_suite();
            let text = format!(
                "{} with {}",
                version.map_or("TLS", |version| version.as_str().unwrap_or("TLS")),
                suite.map_or("an unknown suite", |suite| {
                    suite.suite().as_str().unwrap_or("an unknown suite")
                }),
            );
            let now = Timestamp::now();
            let near = own.is_some_and(|own| own.expiry(now) != Expiry::Far);
            let verdict = if near { Verdict::Odd } else { Verdict::Good };
            (verdict, text, Some(Stream::Tls(Box::new(stream))))
        }
        Ok(Err(cause)) => (Verdict::Bad, why(&cause, own), None),
        Err(_) => {
            let text = "the handshake did not end in time: the port may be a plain one";
            (Verdict::Bad, text.to_owned(), None)
        }
    };
    let mut check = Check::new(Step::Tls, verdict, started, text);
    check.notes = report.certificates.iter().map(describe).collect();
    report.checks.push(check);
    stream
}

/// What a failed handshake means, and what to do.
fn why(cause: &io::Error, own: Option<&Facts>) -> String {
    let pin = own.map_or(String::new(), |own| format!(" (--tls-pin {})", own.sha256));
    let inner = cause.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => {
            "the peer answers TLS with something else: the port is a plain one".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(fault)) => match fault {
            CertificateError::UnknownIssuer => format!(
                "nobody trusted here has signed the certificate: get the authority's certificate (--tls-ca FILE), or trust this one alone{pin}"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate bears other names than the one connected to: connect by one of them, or name it (--server-name NAME)".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired: its owner must renew it".to_owned()
            }
            CertificateError::ApplicationVerificationFailure => {
                format!("the certificate is not the pinned one{pin}")
            }
            other => format!("the certificate is not trusted: {other}"),
        },
        Some(rustls::Error::AlertReceived(alert)) => format!(
            "the peer ended the handshake ({alert:?}): it may ask for a certificate of ours (--cert, --key)"
        ),
        _ if cause.kind() == io::ErrorKind::UnexpectedEof => {
            "the peer closed the connection in the handshake: the port may be a plain one, or this address not allowed"
                .to_owned()
        }
        _ => format!("the handshake failed: {cause}"),
    }
}

fn describe(facts: &Facts) -> String {
    let names = match facts.names.is_empty() {
        true => "no names".to_owned(),
        false => facts.names.join(", "),
    };
    let signer = match facts.issuer == facts.subject {
        true => "itself".to_owned(),
        false => facts.issuer.clone(),
    };
    let days = match facts.days_left(Timestamp::now()) {
        ended @ ..0 => format!("ended {} days ago", -ended),
        left => format!("{left} days left"),
    };
    format!(
        "certificate {}: for {names}; signed by {signer}; valid until {} ({days}); SHA-256 {}",
        facts.subject, facts.not_after, facts.sha256
    )
}

fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
        writeln!(f, "Connection report for {}, {now}\n", self.address)?;
        for check in &self.checks {
            let (verdict, step) = (check.verdict.label(), check.step.label());
            writeln!(
                f,
                "{verdict:<6}{step:<9}{} ({} ms)",
                check.text, check.duration_ms
            )?;
            for note in &check.notes {
                writeln!(f, "{:15}{note}", "")?;
            }
        }
        let end = match self.is_well() {
            true => "All is well.",
            false => "Not all is well: see FAULT above.",
        };
        writeln!(f, "\n{end}")
    }
}
