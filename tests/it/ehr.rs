//! Sending to an EHR: every answer that one can give, the connection to it, and who of several hosts has it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use ligature::flow::{Channel, ChannelId};
use ligature::pipeline::send::{Acknowledged, Sending, Then, Unsent};
use ligature::simulator::ehr::{Handle, Kind, Mood, Settings, Simulator};
use ligature::simulator::lead_squared;
use ligature_tests::office::{self, Office};
use ligature_tests::postgres;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a change may take to be in force on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn ehr(settings: Settings) -> anyhow::Result<Handle> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    Ok(Simulator::start(listener, None, settings, &tracker, stop)?)
}

fn channel(to: SocketAddr) -> String {
    format!(
        "[[channels]]\nid = \"out\"\n[channels.target]\naddress = \"{to}\"\nanswer_timeout_ms = 400\n\
         application_timeout_ms = 400\n"
    )
}

async fn office(storage: Option<&str>, to: SocketAddr) -> anyhow::Result<Office> {
    let simulator = office::lead_squared(lead_squared::Settings::default()).await?;
    Office::open(storage, simulator, &channel(to)).await
}

fn out() -> ChannelId {
    ChannelId::from("out")
}

/// Waits until the channel stands as wanted.
async fn until(office: &Office, wanted: impl Fn(&Option<Sending>) -> bool) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let sending = office.host.pipeline.sending(&out());
        if wanted(&sending) {
            return Ok(());
        }
        ensure!(
            started.elapsed() < PATIENCE,
            "the channel stays {sending:?}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

fn is_here(sending: &Option<Sending>) -> bool {
    matches!(sending, Some(Sending::Here(_)))
}

fn message(id: &str, asks: &str) -> String {
    format!(
        "MSH|^~\\&|LIGATURE|CRM|EHR|HOSP|20260301120000+0000||ADT^A08^ADT_A01|{id}|P|2.5.1|||{asks}||UNICODE UTF-8\r\
         EVN|A08|20260301120000\rPID|1||42^^^CRM^PI||Fenwick^Odalys||19800101|F\rPV1|1|O\r"
    )
}

async fn send(office: &Office, id: &str, asks: &str) -> Result<Acknowledged, Unsent> {
    let text = message(id, asks);
    let pipeline = &office.host.pipeline;
    pipeline.send(&out(), id, text.as_bytes()).await
}

fn shown(sent: &Result<Acknowledged, Unsent>) -> String {
    match sent {
        Ok(acknowledged) => format!("{:?}", acknowledged.outcome),
        Err(unsent) => format!("{:?}, {:?}", unsent.outcome, unsent.then()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_judged_as_the_table_says() -> anyhow::Result<()> {
    let ehr = ehr(Settings::default()).await?;
    let office = office(None, ehr.address()).await?;
    until(&office, is_here).await?;
    let rows = [
        (Kind::Honest, "", "Accepted"),
        (Kind::Aa, "", "Accepted"),
        (Kind::Ca, "", "Committed"),
        (Kind::Ae, "", "ApplicationError, SentAgain"),
        (Kind::Ce, "", "CommitError, SentAgain"),
        (Kind::Ar, "", "ApplicationReject, Dead"),
        (Kind::Cr, "", "CommitReject, Dead"),
        (Kind::UnknownCode, "", "UnknownCode, Repeated"),
        (Kind::Foreign, "", "Foreign, Repeated"),
        (Kind::NoMsa, "", "Foreign, Repeated"),
        (Kind::Rubbish, "", "Foreign, Repeated"),
        (Kind::Silent, "", "Silent, Repeated"),
        (Kind::Drop, "", "Lost, Repeated"),
        (Kind::Half, "", "Lost, Repeated"),
        (Kind::Honest, "AL|NE", "Committed"),
        (Kind::Honest, "AL|AL", "Accepted"),
        (Kind::Honest, "NE|AL", "Accepted"),
        (Kind::Honest, "ER|SU", "Accepted"),
        (Kind::Ca, "AL|AL", "NotApplied"),
        (Kind::Ce, "AL|AL", "CommitError, SentAgain"),
        (Kind::Ar, "AL|AL", "ApplicationReject, Dead"),
    ];
    for (at, (kind, asks, expected)) in rows.into_iter().enumerate() {
        let id = format!("ID{at}");
        ehr.tell(Mood::once(kind));
        let sent = send(&office, &id, asks).await;
        ensure!(shown(&sent) == expected, "{kind:?} {asks}: {sent:?}");
        // Whatever came before, the next message gets its own answer; what may have been taken is known again by its id.
        let repeated = sent.is_err_and(|unsent| unsent.then() == Then::Repeated);
        if repeated {
            let again = send(&office, &id, asks).await;
            ensure!(shown(&again) == "Accepted", "{kind:?} again: {again:?}");
        }
        let count = ehr.control_ids()[&id];
        ensure!(
            count == 1 + usize::from(repeated),
            "{kind:?}: {count} times"
        );
    }
    let received = ehr.received();
    let findings: Vec<_> = received.iter().flat_map(|it| &it.findings).collect();
    ensure!(findings.is_empty(), "{findings:?}");
    ensure!(ehr.noise().is_empty(), "{:?}", ehr.noise());
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_is_no_ehr() -> anyhow::Result<()> {
    let ehr = ehr(Settings::default()).await?;
    let office = office(None, ehr.address()).await?;
    until(&office, is_here).await?;
    ehr.tell(Mood::once(Kind::Noise));
    let sent = send(&office, "ID1", "").await;
    let shown = shown(&sent);
    ensure!(
        ["NotMllp, Repeated", "Silent, Repeated"].contains(&shown.as_str()),
        "{sent:?}"
    );
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_read_for_the_number_that_the_ehr_gives() -> anyhow::Result<()> {
    let settings = Settings {
        assigns: Some("EHR".into()),
        ..Settings::default()
    };
    let ehr = ehr(settings).await?;
    let office = office(None, ehr.address()).await?;
    until(&office, is_here).await?;
    let sent = send(&office, "ID1", "").await;
    let response = sent.ok().context("an acknowledgement")?.response;
    let pid = response.segments().find(|segment| segment.name() == "PID");
    let identifiers = pid.and_then(|pid| pid.field(3)).context("PID-3")?;
    ensure!(identifiers.starts_with("700001^^^EHR^MR~"));
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deliveries_share_one_connection() -> anyhow::Result<()> {
    let ehr = ehr(Settings::default()).await?;
    let office = office(None, ehr.address()).await?;
    until(&office, is_here).await?;
    let ids: Vec<String> = (0..30).map(|at| format!("ID{at}")).collect();
    let sent = join_all(ids.iter().map(|id| send(&office, id, ""))).await;
    for sent in &sent {
        ensure!(shown(sent) == "Accepted", "{sent:?}");
    }
    ensure!(ehr.connections() == 1, "{} connections", ehr.connections());
    ensure!(ehr.control_ids().values().all(|count| *count == 1));
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ehr_that_is_away_keeps_nobody_waiting() -> anyhow::Result<()> {
    let away = TcpListener::bind("127.0.0.1:0").await?;
    let address = away.local_addr()?;
    drop(away);
    let office = office(None, address).await?;
    until(&office, is_here).await?;
    let mut waits = Vec::new();
    for _ in 0..3 {
        let sent = send(&office, "ID1", "").await;
        ensure!(shown(&sent) == "NotSent, Waits", "{sent:?}");
        waits.push(sent.err().and_then(|unsent| unsent.wait));
    }
    ensure!(waits[2].is_some(), "{waits:?}");
    let wrong = office
        .host
        .pipeline
        .send(&out(), "ID2", b"no message")
        .await;
    ensure!(shown(&wrong) == "Unsendable, Dead", "{wrong:?}");
    let nowhere = ChannelId::from("nowhere");
    let text = message("ID3", "");
    let lost = office.host.pipeline.send(&nowhere, "ID3", text.as_bytes());
    ensure!(shown(&lost.await) == "NoLine, Waits");
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_channel_sends_to_its_new_target() -> anyhow::Result<()> {
    let (old, new) = (
        ehr(Settings::default()).await?,
        ehr(Settings::default()).await?,
    );
    let office = office(None, old.address()).await?;
    until(&office, is_here).await?;
    ensure!(shown(&send(&office, "ID1", "").await) == "Accepted");
    let catalog = office.host.pipeline.store.catalog();
    let mut channel: Channel = catalog.list().await?.channels[0].document.clone();
    let target = channel.target.as_mut().context("a target")?;
    target.address = new.address().to_string().parse()?;
    catalog.put_channel(&channel).await?;
    office.host.pipeline.changed();
    let wanted = new.address().to_string();
    let is_new = |sending: &Option<Sending>| matches!(sending, Some(Sending::Here(line)) if line.address() == wanted);
    until(&office, is_new).await?;
    ensure!(shown(&send(&office, "ID2", "").await) == "Accepted");
    ensure!(old.control_ids().len() == 1 && new.control_ids().len() == 1);
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_of_several_has_the_connection() -> anyhow::Result<()> {
    let database = postgres()?;
    let ehr = ehr(Settings::default()).await?;
    let first = office(Some(&database), ehr.address()).await?;
    until(&first, is_here).await?;
    let second = office(Some(&database), ehr.address()).await?;
    until(&second, |it| matches!(it, Some(Sending::Elsewhere))).await?;
    ensure!(shown(&send(&first, "ID1", "").await) == "Accepted");
    let sent = send(&second, "ID2", "").await;
    ensure!(shown(&sent) == "Elsewhere, Waits", "{sent:?}");
    first.host.stop().await;
    until(&second, is_here).await?;
    ensure!(shown(&send(&second, "ID2", "").await) == "Accepted");
    second.host.stop().await;
    Ok(())
}
