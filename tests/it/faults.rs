//! Bad input and faults around the host: what is answered, what is kept, and that it goes on.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::simulator::lead_squared::{Fault, Kind, Settings, When};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::mllp::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// A host with one registration flow; `channel` holds further lines of its channel.
async fn clinic(channel: &str, settings: Settings) -> anyhow::Result<Clinic> {
    let account = format!("{UNLIMITED}\nlook_up_wait_ms = 300\ncall_timeout_ms = 500");
    let setup = Setup {
        account: &account,
        channel,
        leads: &["ADT^A04"],
        activities: &[],
    };
    Clinic::start(settings, setup).await
}

fn registration(control_id: &str, mrn: &str) -> String {
    format!(
        "MSH|^~\\&|SEND|CLINIC|LIG|LSQ|20261120093000||ADT^A04|{control_id}|P|2.5.1\rEVN|A04|20261120093000\r\
         PID|1||{mrn}^^^CLINIC^MR||Fenwick^Odalys||19840219|F\rPV1|1|O\r"
    )
}

/// The newest messages of the journal, as the interface lists them.
async fn messages(clinic: &Clinic) -> anyhow::Result<Vec<Value>> {
    let page = clinic.site.json("/api/v1/messages").await?;
    Ok(page["messages"].as_array().context("messages")?.clone())
}

/// Waits until the newest message with `control_id` satisfies `wanted`.
async fn until(
    clinic: &Clinic,
    control_id: &str,
    wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let started = Instant::now();
    loop {
        let found = messages(clinic)
            .await?
            .into_iter()
            .find(|message| message["control_id"] == control_id);
        match found {
            Some(message) if wanted(&message) => return Ok(message),
            found => ensure!(
                started.elapsed() < Duration::from_secs(60),
                "not yet: {found:?}"
            ),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn delivery(message: &Value) -> &Value {
    &message["deliveries"][0]
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_is_no_message_is_answered_kept_and_survived() -> anyhow::Result<()> {
    let clinic = clinic("max_frame_bytes = 100000", unlimited()).await?;
    let mut client = Client::connect(clinic.site.mllp).await?;

    let answer = client.exchange(b"hello, is this the laboratory?").await?;
    ensure!(
        answer.windows(7).any(|part| part == b"MSA|AR|"),
        "not HL7 is answered AR"
    );
    let nameless = registration("", "Z1");
    let answer = client.exchange(nameless.as_bytes()).await?;
    ensure!(
        answer.windows(7).any(|part| part == b"MSA|AR|"),
        "no MSH-10 is answered AR"
    );
    let answer = client
        .exchange(registration("AFTER", "Z1").as_bytes())
        .await?;
    ensure!(
        answer.windows(12).any(|part| part == b"MSA|AA|AFTER"),
        "the connection goes on"
    );

    // Over the limit: no answer is possible, the connection closes, the host goes on.
    let large = vec![b'x'; 200_000];
    ensure!(
        client.exchange(&large).await.is_err(),
        "an endless frame is not answered"
    );
    let mut client = Client::connect(clinic.site.mllp).await?;
    client
        .write(b"\x0bMSH|^~\\&|SEND|CLINIC|LIG|LSQ|20261120||ADT^A04|HALF|P|2.5")
        .await?;
    drop(client);
    let mut client = Client::connect(clinic.site.mllp).await?;
    let answer = client
        .exchange(registration("LAST", "Z2").as_bytes())
        .await?;
    ensure!(
        answer.windows(11).any(|part| part == b"MSA|AA|LAST"),
        "the next connection works"
    );

    let started = Instant::now();
    loop {
        let messages = messages(&clinic).await?;
        let reasons: Vec<&str> = messages
            .iter()
            .filter_map(|message| message["reason_code"].as_str())
            .collect();
        let wanted = [
            "unreadable",
            "no-control-id",
            "mllp-frame-too-large",
            "mllp-frame-cut-off",
        ];
        if wanted.iter().all(|wanted| reasons.contains(wanted)) {
            return Ok(());
        }
        ensure!(
            started.elapsed() < Duration::from_secs(20),
            "kept: {reasons:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_again_gets_the_same_answer_and_has_one_effect() -> anyhow::Result<()> {
    let clinic = clinic("", unlimited()).await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    let first = client.exchange(registration("C1", "Z1").as_bytes()).await?;
    let mut other = Client::connect(clinic.site.mllp).await?;
    let second = other.exchange(registration("C1", "Z1").as_bytes()).await?;
    ensure!(first == second, "the stored acknowledgement is sent again");
    until(&clinic, "C1", |message| {
        delivery(message)["state"] == "delivered"
    })
    .await?;
    ensure!(
        messages(&clinic).await?.len() == 1 && clinic.simulator.writes().len() == 1,
        "one effect"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_flow_takes_is_kept_or_rejected_as_the_channel_says() -> anyhow::Result<()>
{
    for (channel, code, state) in [
        ("", "AA", "skipped"),
        ("no_flow = \"reject\"", "AR", "rejected"),
    ] {
        let clinic = clinic(channel, unlimited()).await?;
        let mut client = Client::connect(clinic.site.mllp).await?;
        let transfer = registration("T1", "Z1").replace("ADT^A04", "ADT^A02");
        let answer = client.exchange(transfer.as_bytes()).await?;
        let wanted = format!("MSA|{code}|T1");
        ensure!(
            String::from_utf8_lossy(&answer).contains(&wanted),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        let message = until(&clinic, "T1", |_| true).await?;
        ensure!(
            message["state"] == state && message["reason"] == "no flow takes ADT^A02",
            "{message}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn full_storage_is_answered_ae_until_there_is_room_again() -> anyhow::Result<()> {
    let clinic = clinic("", unlimited()).await?;
    let host = clinic.host.as_ref().context("the host runs")?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    let limit = |bytes: &str| -> anyhow::Result<()> {
        let set = Command::new("prlimit")
            .args([
                "--pid",
                &host.id().to_string(),
                &format!("--fsize={bytes}:unlimited"),
            ])
            .status()?;
        ensure!(set.success(), "prlimit");
        Ok(())
    };
    client
        .exchange(registration("BEFORE", "Z1").as_bytes())
        .await?;
    until(&clinic, "BEFORE", |message| {
        delivery(message)["state"] == "delivered"
    })
    .await?;
    limit("4096")?;
    let answer = client
        .exchange(registration("FULL", "Z2").as_bytes())
        .await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    ensure!(answer.contains("MSA|AE|FULL"), "{answer}");
    limit("unlimited")?;
    let started = Instant::now();
    loop {
        let answer = client
            .exchange(registration("FULL", "Z2").as_bytes())
            .await?;
        if answer.windows(11).any(|part| part == b"MSA|AA|FULL") {
            break;
        }
        ensure!(
            started.elapsed() < Duration::from_secs(30),
            "storage is back, messages are not taken"
        );
    }
    until(&clinic, "FULL", |message| {
        delivery(message)["state"] == "delivered"
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_leadsquared_is_gone_deliveries_wait_with_the_reason() -> anyhow::Result<()> {
    for (fault, reason) in [
        (Kind::Drop, "leadsquared-unavailable"),
        (Kind::BadGateway, "leadsquared-unavailable"),
        (Kind::Html, "leadsquared-unavailable"),
        (Kind::RateLimit, "leadsquared-rate-limited"),
    ] {
        let clinic = clinic("", unlimited()).await?;
        clinic
            .simulator
            .inject(Fault::once(fault, When::BeforeEffect).with_probability(1.0));
        let mut client = Client::connect(clinic.site.mllp).await?;
        client.exchange(registration("W1", "Z1").as_bytes()).await?;
        let message = until(&clinic, "W1", |message| {
            delivery(message)["state"] == "waiting"
        })
        .await?;
        let waiting = delivery(&message);
        ensure!(waiting["reason_code"] == reason, "{fault:?}: {waiting}");
        ensure!(
            waiting["reason"]
                .as_str()
                .is_some_and(|text| text.len() > 20),
            "{waiting}"
        );
        ensure!(waiting["due_at"].is_string(), "{waiting}");
        clinic.simulator.clear_faults();
        until(&clinic, "W1", |message| {
            delivery(message)["state"] == "delivered"
        })
        .await?;
        ensure!(clinic.simulator.leads().len() == 1, "one lead");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_looked_up_and_not_repeated() -> anyhow::Result<()> {
    let clinic = clinic("", unlimited()).await?;
    clinic
        .simulator
        .inject(Fault::once(Kind::Drop, When::AfterEffect).on("Lead.Create"));
    let mut client = Client::connect(clinic.site.mllp).await?;
    client.exchange(registration("U1", "Z1").as_bytes()).await?;
    let message = until(&clinic, "U1", |message| {
        delivery(message)["state"] == "delivered"
    })
    .await?;
    ensure!(
        clinic.simulator.writes().len() == 1,
        "{:?}",
        clinic.simulator.writes()
    );
    ensure!(
        delivery(&message)["attempts"].as_u64() >= Some(2),
        "{message}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_keys_hold_messages_and_lose_none() -> anyhow::Result<()> {
    let settings = Settings {
        other_region: Some("api-us11.leadsquared.com".into()),
        ..unlimited()
    };
    let clinic = clinic("", settings).await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    client.exchange(registration("K1", "Z1").as_bytes()).await?;
    let message = until(&clinic, "K1", |message| {
        delivery(message)["state"] == "waiting"
    })
    .await?;
    ensure!(
        delivery(&message)["reason_code"] == "leadsquared-unauthorized",
        "{message}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_patient_data_reaches_the_log_or_the_pages() -> anyhow::Result<()> {
    let clinic = clinic("", unlimited()).await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    client
        .exchange(
            registration("P1", "ZSECRETMRN")
                .replace("Fenwick", "ZSECRETNAME")
                .as_bytes(),
        )
        .await?;
    client
        .exchange(b"MSH|^~\\&|SEND\rPID|1||ZSECRETMRN")
        .await?;
    let message = until(&clinic, "P1", |message| {
        delivery(message)["state"] == "delivered"
    })
    .await?;
    let id = message["id"].as_str().context("id")?;
    let mut seen = clinic.site.log()?;
    for path in [
        "/messages".to_owned(),
        format!("/messages/{id}"),
        format!("/api/v1/messages/{id}"),
    ] {
        seen.push_str(&clinic.site.page(&path).await?);
    }
    ensure!(
        !seen.contains("ZSECRET"),
        "patient data in a log or on a page"
    );
    // The store's own files hold it sealed only.
    for file in ["ligature.db", "ligature.db-wal"] {
        let bytes = std::fs::read(clinic.site.path(file)).unwrap_or_default();
        ensure!(
            !bytes.windows(7).any(|part| part == b"ZSECRET"),
            "{file} holds patient data in clear"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_misbehaves_holds_nobody_else_up() -> anyhow::Result<()> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let misbehaving = ligature_tests::guests::guest("misbehaving");
    let ways = ["spin", "grow", "recurse", "panic"];
    let events = ways.map(|way| format!("TST^{way}"));
    let components: Vec<_> = events
        .iter()
        .map(|event| (event.as_str(), misbehaving.as_slice()))
        .collect();
    clinic.import(setup, &components)?;
    clinic.host = Some(clinic.site.start().await?);

    // Each way twice, an honest patient after each, all on one connection.
    let mut client = Client::connect(clinic.site.mllp).await?;
    let mut honest = 0;
    for round in 0..2 {
        for event in &events {
            let id = format!("{round}{}", &event[4..]);
            let bad = registration(&id, &format!("BAD{event}")).replace("ADT^A04", event);
            for message in [bad, registration(&format!("H{id}"), &format!("H{honest}"))] {
                let answer = client.exchange(message.as_bytes()).await?;
                ensure!(
                    answer.windows(7).any(|part| part == b"MSA|AA|"),
                    "a component never changes an acknowledgement"
                );
            }
            honest += 1;
        }
    }
    clinic
        .simulator
        .until(|counts| counts.leads >= honest)
        .await;

    // A time-out is tried again before it is dead; the rest is dead at once, each with a sentence of its own.
    for (way, states, reason) in [
        ("grow", ["dead", "dead"], "mapping-over-limit"),
        ("recurse", ["dead", "dead"], "mapping-trapped"),
        ("panic", ["dead", "dead"], "mapping-trapped"),
        ("spin", ["waiting", "dead"], "mapping-timed-out"),
    ] {
        let message = until(&clinic, &format!("0{way}"), |message| {
            states
                .iter()
                .any(|state| delivery(message)["state"] == *state)
        })
        .await?;
        let delivery = delivery(&message);
        ensure!(delivery["reason_code"] == reason, "{way}: {delivery}");
        let sentence = delivery["reason"].as_str().unwrap_or_default();
        ensure!(sentence.len() > 20, "{way} says what to do: {delivery}");
        ensure!(!sentence.contains("Fenwick"), "{way}: {sentence}");
    }
    Ok(())
}
