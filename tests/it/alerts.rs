//! Every rule of the alerts, brought about for real: said once by mail and by webhook when it begins and once when it ends,
//! unsaid while it is snoozed, and never with patient data.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use ligature::flow::alert::{Alert, Kind, Mail, Rule, Security, Settings};
use ligature::pipeline::Pipeline;
use ligature::simulator::ehr;
use ligature::simulator::lead_squared::{Fault, Kind as Wrong, When};
use ligature::store::alerts::Password;
use ligature::store::catalog::Author;
use ligature::store::journal::tally::Tallied;
use ligature_tests::bridge::{self, Bridge, Mapped, PATIENCE};
use ligature_tests::mllp::Client;
use ligature_tests::pki::Pki;
use ligature_tests::postbox::Postbox;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::outbound::{ACCOUNT, PATIENT, TEMPLATE, channel, flow};

const MINUTE_MS: i64 = 60_000;

/// One rule of the table.
struct Case {
    kind: Kind,
    /// Where the usual one would take an hour, one that no person could save.
    threshold: Option<u64>,
    /// Part of what is said.
    says: &'static str,
    /// What is over cannot be brought about again within the minute.
    once: bool,
}

const fn case(kind: Kind, threshold: Option<u64>, says: &'static str) -> Case {
    Case {
        kind,
        threshold,
        says,
        once: false,
    }
}

const CASES: [Case; 10] = [
    Case {
        once: true,
        ..case(Kind::Quiet, None, "nights: nothing was received for")
    },
    case(Kind::Disconnected, None, "front does not listen"),
    case(
        Kind::FailureShare,
        None,
        "more than 30 % of its deliveries of the last hour failed",
    ),
    case(
        Kind::FailuresInARow,
        None,
        "5 deliveries failed, one after the other",
    ),
    case(
        Kind::OldestWaiting,
        Some(0),
        "a delivery has been waiting for more than",
    ),
    case(
        Kind::DailyQuota,
        None,
        "calls to LeadSquared that this host may make today are used",
    ),
    case(
        Kind::WebhookDisabled,
        None,
        "was turned off by a person in LeadSquared",
    ),
    case(
        Kind::KeysRefused,
        None,
        "refuses the keys of account clinic",
    ),
    case(Kind::Certificate, None, "has ended"),
    case(Kind::Disk, Some(101), "The disk of this host's files"),
];

/// Rows of which one refuses a message whose birth date is none.
const REGISTRATIONS: &str = r#"
format = 1
name = "Registrations"
version = "1"

[[lead]]
target = "LastName"
path = "PID-5.1"

[[lead]]
target = "mx_Date_of_Birth"
path = "PID-7"
steps = ["date"]
on-error = "refuse"

[[lead]]
target = "mx_MRN"
path = "PID-3.1"
"#;

/// What the messages are about; of it nothing may be said to anybody.
const PATIENT_DATA: [&str; 5] = ["Quillfeather", "Odalys", "ZQ9", "19840219", "never"];

/// A clinic in which things go wrong.
struct Clinic {
    bridge: Bridge,
    mail: Postbox,
    web: Postbox,
    pki: Pki,
    /// Holds the address of a channel.
    taken: Option<TcpListener>,
    /// Messages that were sent, those that came to an end in LeadSquared, and those among them that failed.
    sent: u64,
    ended: u64,
    failed: u64,
}

impl Clinic {
    async fn open(ehr: &ehr::Handle) -> anyhow::Result<Self> {
        let listening = ["ehr", "nights", "front"];
        let listening =
            listening.map(|id| format!("[[channels]]\nid = {id:?}\naddress = \"127.0.0.1:0\"\n\n"));
        let registrations = "[[flows]]\nid = \"registrations\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"ehr\"\n\
             event = \"ADT^A04\"\nentity = \"lead\"\nprimary_search_field = \"mx_MRN\"\n\n";
        let documents = [
            listening.concat(),
            channel("out", ehr),
            registrations.to_owned(),
            flow(
                "update",
                "out",
                "ADT^A08",
                "lead",
                "webhook = \"lead-update\"",
            ),
        ]
        .concat();
        let flows = [
            Mapped {
                flow: "registrations",
                mapping: REGISTRATIONS,
                template: None,
            },
            Mapped {
                flow: "update",
                mapping: PATIENT,
                template: Some(TEMPLATE),
            },
        ];
        let bridge = Bridge::open(bridge::prompt(), ACCOUNT, &documents, &flows).await?;
        let pki = Pki::new()?;
        pki.issue("tls", &["localhost"])?;
        let tls = json!({ "id": "tls", "account": "clinic", "name": "tls", "address": "127.0.0.1:0",
            "tls": { "certificate": pki.path("tls.pem"), "key": pki.path("tls.key") } });
        bridge
            .call("POST", "channels", json!({ "channel": tls }))
            .await?;
        Ok(Self {
            bridge,
            mail: Postbox::mail().await?,
            web: Postbox::web().await?,
            pki,
            taken: None,
            sent: 0,
            ended: 0,
            failed: 0,
        })
    }

    fn pipeline(&self) -> &Pipeline {
        &self.bridge.office.host.pipeline
    }

    /// Switches every rule off but one.
    async fn only(&self, kind: Kind, threshold: Option<u64>) -> anyhow::Result<()> {
        let rule = |of: Kind| Rule {
            enabled: of == kind,
            threshold: threshold.filter(|_| of == kind),
            owner: String::new(),
        };
        let settings = Settings {
            mail: Some(Mail {
                server: "127.0.0.1".into(),
                port: self.mail.address.port(),
                security: Security::None,
                from: "ligature@example.org".into(),
                user: None,
            }),
            webhook: Some(format!("http://{}/alerts", self.web.address)),
            owner: "ops@example.org".into(),
            rules: BTreeMap::from(Kind::ALL.map(|of| (of, rule(of)))),
        };
        let alerts = self.pipeline().store.alerts();
        let seen = alerts.settings().await?.version;
        let author = Author("test".into());
        alerts
            .put_settings(&settings, &Password::Stays, seen, &author)
            .await?;
        Ok(())
    }

    /// Looks until the newest alert of a rule has begun, or has ended.
    async fn until(&self, kind: Kind, has_begun: bool) -> anyhow::Result<Alert> {
        let started = Instant::now();
        loop {
            self.pipeline().look_for_alerts().await?;
            let newest = self.pipeline().store.alerts().newest(50).await?;
            let found = newest.into_iter().find(|alert| alert.kind == kind);
            match found {
                Some(alert) if alert.ended_at_ms.is_none() == has_begun => return Ok(alert),
                other => ensure!(
                    started.elapsed() < PATIENCE,
                    "{kind} has not {}: {other:?}",
                    if has_begun { "begun" } else { "ended" }
                ),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a patient of their own over a channel.
    async fn send(&mut self, over: &str, born: &str) -> anyhow::Result<()> {
        let number = self.sent;
        self.sent += 1;
        let message = format!(
            "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A04|M{number}|P|2.5.1\rEVN|A04\r\
             PID|1||ZQ9{number}^^^CLINIC^MR||Quillfeather^Odalys||{born}|F\rPV1|1|O\r"
        );
        let address = self.pipeline().listening(&over.into());
        let address = address.and_then(Result::ok).context("no listener")?;
        let answer = Client::connect(address)
            .await?
            .exchange(message.as_bytes())
            .await?;
        ensure!(answer.windows(7).any(|part| part == b"MSA|AA|"));
        Ok(())
    }

    /// Sends patients to LeadSquared, and waits until each is there or has failed.
    async fn patients(&mut self, count: u64, is_good: bool) -> anyhow::Result<()> {
        let state = if is_good { "delivered" } else { "dead" };
        let before = self.count(state).await?;
        for _ in 0..count {
            let born = if is_good { "19840219" } else { "never" };
            self.send("ehr", born).await?;
        }
        self.ended += count;
        self.failed += if is_good { 0 } else { count };
        self.until_count(state, |now| now >= before + count).await
    }

    async fn count(&self, state: &str) -> anyhow::Result<u64> {
        let counts = self.bridge.call("GET", "counts", json!({})).await?;
        counts["deliveries"][state].as_u64().context("a count")
    }

    async fn until_count(&self, state: &str, is_so: impl Fn(u64) -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let now = self.count(state).await?;
            if is_so(now) {
                return Ok(());
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "{now} are {state}: {:#?}",
                self.bridge.deliveries().await?
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// LeadSquared answers every call so until it is mended; a patient comes, and waits.
    async fn breaks(&mut self, wrong: Wrong) -> anyhow::Result<()> {
        let fault = Fault::once(wrong, When::BeforeEffect).with_probability(1.0);
        self.bridge.office.simulator.inject(fault);
        self.send("ehr", "19840219").await?;
        self.until_count("waiting", |now| now > 0).await
    }

    async fn heals(&mut self) -> anyhow::Result<()> {
        self.ended += 1;
        self.bridge.office.simulator.clear_faults();
        self.until_count("waiting", |now| now == 0).await
    }

    /// Changes a document of the configuration.
    async fn change(
        &self,
        noun: &str,
        id: &str,
        change: impl Fn(&mut Value),
    ) -> anyhow::Result<()> {
        let path = format!("{noun}s/{id}");
        let mut kept = self.bridge.call("GET", &path, json!({})).await?;
        let version = kept["version"].clone();
        let mut document = kept[noun].take();
        change(&mut document);
        let body = json!({ noun: document, "version": version });
        self.bridge.call("PUT", &path, body).await.map(drop)
    }

    async fn hook(&self, is_enabled: bool) -> anyhow::Result<()> {
        let simulator = &self.bridge.office.simulator;
        let hooks = simulator.webhooks();
        ensure!(!hooks.is_empty(), "no webhook was made");
        for hook in hooks {
            simulator.enable_webhook(&hook.id, is_enabled);
        }
        Ok(self.pipeline().mend_webhooks(&"clinic".into()).await?)
    }

    /// Whether too large a share of the hour's deliveries failed.
    fn is_failing(&self) -> bool {
        self.ended >= 10 && self.failed * 100 > self.ended * 30
    }

    /// Brings about what a rule looks for.
    async fn wrong(&mut self, case: &Case) -> anyhow::Result<()> {
        match case.kind {
            Kind::Quiet => {
                let now_ms = Timestamp::now().as_millisecond();
                let day_ms = 24 * 60 * MINUTE_MS;
                // A week of traffic by the minute, and 40 minutes of silence.
                let days = (1..=7).flat_map(|day| {
                    let at_ms = now_ms - day * day_ms;
                    (-20..20).map(move |minute| at_ms + minute * MINUTE_MS)
                });
                let today = (40..60).map(|minute| now_ms - minute * MINUTE_MS);
                let tallied = days.chain(today).map(|at_ms| Tallied {
                    account: "clinic".into(),
                    at_ms: at_ms - at_ms.rem_euclid(MINUTE_MS),
                    kind: "received".into(),
                    subject: "nights".into(),
                    count: 1,
                });
                let tallied: Vec<_> = tallied.collect();
                let journal = self.pipeline().store.journal();
                journal.add_tallies(&tallied).await?;
            }
            Kind::Disconnected => {
                let taken = TcpListener::bind("127.0.0.1:0")?;
                let address = taken.local_addr()?.to_string();
                self.taken = Some(taken);
                self.change("channel", "front", |channel| {
                    channel["address"] = address.as_str().into();
                })
                .await?;
            }
            Kind::FailureShare => {
                while !self.is_failing() {
                    self.patients(5, false).await?;
                }
            }
            Kind::FailuresInARow => self.patients(5, false).await?,
            Kind::OldestWaiting => self.breaks(Wrong::BadGateway).await?,
            Kind::DailyQuota => {
                self.change("account", "clinic", |account| {
                    account["rate_plan"]["daily"] = 2.into();
                })
                .await?;
                // The first call of the day may still be to come.
                let _ = self.pipeline().read_users(&"clinic".into()).await;
            }
            Kind::WebhookDisabled => self.hook(false).await?,
            Kind::KeysRefused => self.breaks(Wrong::Unauthorized).await?,
            Kind::Certificate => self.pki.issue_expired("tls")?,
            Kind::Disk => self.only(case.kind, case.threshold).await?,
        }
        Ok(())
    }

    /// Mends it.
    async fn right(&mut self, case: &Case) -> anyhow::Result<()> {
        match case.kind {
            Kind::Quiet => self.send("nights", "19840219").await?,
            Kind::Disconnected => self.taken = None,
            Kind::FailureShare => {
                while self.is_failing() {
                    self.patients(5, true).await?;
                }
            }
            Kind::FailuresInARow => self.patients(1, true).await?,
            Kind::OldestWaiting | Kind::KeysRefused => self.heals().await?,
            Kind::DailyQuota => {
                self.change("account", "clinic", |account| {
                    account["rate_plan"]["daily"] = Value::Null;
                })
                .await?;
            }
            Kind::WebhookDisabled => self.hook(true).await?,
            Kind::Certificate => self.pki.issue("tls", &["localhost"])?,
            Kind::Disk => self.only(case.kind, Some(1)).await?,
        }
        Ok(())
    }

    /// Everything that was said so far is `count` letters and `count` calls; gives the last of each.
    async fn said(&self, count: usize) -> anyhow::Result<(String, Value)> {
        // Whatever is left to say is said now.
        self.pipeline().look_for_alerts().await?;
        let (letters, calls) = (self.mail.until(count).await?, self.web.until(count).await?);
        ensure!(letters.len() == count, "{:?}", letters.last());
        ensure!(calls.len() == count, "{:?}", calls.last());
        for text in letters.iter().chain(&calls) {
            let told = PATIENT_DATA.into_iter().find(|data| text.contains(data));
            ensure!(told.is_none(), "{told:?} is in {text}");
        }
        let last = letters.last().cloned().unwrap_or_default();
        let call = calls.last().map_or("null", String::as_str);
        Ok((last, serde_json::from_str(call)?))
    }

    async fn check(&mut self, case: &Case) -> anyhow::Result<()> {
        let kind = case.kind;
        let before = self.mail.letters().len();
        // The disk is what it is: its rule is brought about by the number that it goes by.
        let threshold = if kind == Kind::Disk {
            Some(1)
        } else {
            case.threshold
        };
        self.only(kind, threshold).await?;
        self.said(before).await.context("before it began")?;

        self.wrong(case).await?;
        let begun = self.until(kind, true).await?;
        ensure!(begun.text.contains(case.says), "{}", begun.text);
        let (letter, call) = self.said(before + 1).await?;
        let subject = format!("Subject: [ligature] {}", kind.title());
        ensure!(
            letter.contains("<ops@example.org>") && unfolded(&letter).contains(&subject),
            "{letter}"
        );
        ensure!(
            call["kind"] == kind.as_str() && call["state"] == "begun" && call["text"] == begun.text,
            "{call}"
        );

        // Snoozed, its end is said, and another begin of it is not.
        let snooze = format!("alerts/{}/snooze", begun.id);
        self.bridge
            .call("POST", &snooze, json!({ "hours": 4 }))
            .await?;
        self.right(case).await?;
        self.until(kind, false).await?;
        let (letter, call) = self.said(before + 2).await?;
        ensure!(unfolded(&letter).contains("[ligature] Over: "), "{letter}");
        ensure!(
            call["kind"] == kind.as_str() && call["state"] == "ended",
            "{call}"
        );
        if !case.once {
            self.wrong(case).await?;
            let again = self.until(kind, true).await?;
            ensure!(
                again.id != begun.id
                    && again.subject == begun.subject
                    && again.snoozed_until_ms.is_some()
                    && again.began_told_at_ms.is_none(),
                "{again:?}"
            );
            self.said(before + 2).await.context("while snoozed")?;
            self.right(case).await?;
            self.until(kind, false).await?;
            self.said(before + 2).await.context("the end of it")?;
        }
        Ok(())
    }
}

/// Long lines of a letter's head are folded (RFC 5322, 2.2.3).
fn unfolded(letter: &str) -> String {
    letter.replace("\r\n ", " ")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_is_told_when_it_begins_and_when_it_ends() -> anyhow::Result<()> {
    let ehr = bridge::ehr(ehr::Settings::default()).await?;
    let mut clinic = Clinic::open(&ehr).await?;
    let mut wrong = Vec::new();
    for kind in Kind::ALL {
        let case = CASES.iter().find(|case| case.kind == kind);
        let case = case.with_context(|| format!("{kind} has no test"))?;
        if let Err(fault) = Box::pin(clinic.check(case)).await {
            wrong.push(format!("{kind}: {fault:#}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    clinic.bridge.office.host.stop().await;
    Ok(())
}

/// The clock is moved on by hand, which only a runtime of one thread lets do.
#[tokio::test]
async fn a_sender_that_stayed_connected_is_missed_when_it_is_gone() -> anyhow::Result<()> {
    let ehr = bridge::ehr(ehr::Settings::default()).await?;
    let clinic = Clinic::open(&ehr).await?;
    clinic.only(Kind::Disconnected, Some(0)).await?;
    let address = clinic.pipeline().listening(&"front".into());
    let address = address.and_then(Result::ok).context("no listener")?;
    let connected = async |count: usize| {
        let started = Instant::now();
        while clinic.pipeline().peers(&"front".into()).len() != count {
            ensure!(started.elapsed() < PATIENCE, "not {count} are connected");
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    let sender = Client::connect(address).await?;
    connected(1).await?;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11 * 60)).await;
    tokio::time::resume();
    drop(sender);
    connected(0).await?;
    let begun = clinic.until(Kind::Disconnected, true).await?;
    let text = "front: the sender at 127.0.0.1 was connected for 12 minutes and is gone.";
    ensure!(begun.text == text, "{}", begun.text);
    let _again = Client::connect(address).await?;
    connected(1).await?;
    clinic.until(Kind::Disconnected, false).await?;
    clinic.said(2).await?;
    clinic.bridge.office.host.stop().await;
    Ok(())
}
