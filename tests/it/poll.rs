//! What no webhook tells is found by reading the account regularly: once, without echo, wherever the host is killed.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::flow::AccountId;
use ligature::simulator::ehr::{self, Handle};
use ligature::simulator::lead_squared::{Fault, Kind, Settings, When};
use ligature_tests::bridge::{Bridge, ehr};
use ligature_tests::clinic::Clinic;
use ligature_tests::http;
use ligature_tests::office::{Office, lead_squared};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::outbound::{self, APPOINTMENT, PATIENT, TEMPLATE, channel, flow};

/// Readings happen when a test wants them, and wait for no webhook.
const POLL: &str = "poll = { interval_ms = 3600000, settle_ms = 0 }\n";

const PATIENCE: Duration = Duration::from_secs(60);

const UPDATE: &str =
    "webhook = \"lead-update\", condition = [{ field = \"mx_MRN\", present = true }]";

async fn bridge(ehr: &Handle, flows: &[(&str, &str, &str)]) -> anyhow::Result<Bridge> {
    let mut documents = channel("out", ehr);
    for (id, event, outbound) in flows {
        documents.push_str(&flow(id, "out", event, "lead", outbound));
    }
    let mapped: Vec<_> = flows
        .iter()
        .map(|(id, ..)| ((*id).to_owned(), PATIENT.to_owned()))
        .collect();
    let bridge = outbound::without_webhooks(POLL, &documents, &mapped).await?;
    let started = read(&bridge).await?;
    ensure!(started["is_on"] == true, "{started}");
    Ok(bridge)
}

/// Has the account read once.
async fn read(bridge: &Bridge) -> anyhow::Result<Value> {
    bridge.call("POST", "accounts/clinic/poll", json!({})).await
}

/// Reads the account until a reading shows what is wanted: what happened within a second is listed after it.
async fn read_until(bridge: &Bridge, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let started = Instant::now();
    loop {
        let standing = read(bridge).await?;
        if wanted(&standing) {
            return Ok(standing);
        }
        ensure!(started.elapsed() < PATIENCE, "not found: {standing}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Until everything that was done so far has been looked at: the reading goes beyond the present second.
async fn read_all(bridge: &Bridge) -> anyhow::Result<Value> {
    let now = jiff::Timestamp::now();
    let is_beyond = |standing: &Value| {
        let text = standing["read_up_to"].as_str().unwrap_or_default();
        text.parse::<jiff::Timestamp>().is_ok_and(|at| at > now)
    };
    read_until(bridge, is_beyond).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_no_webhook_told_is_told_once() -> anyhow::Result<()> {
    let ehr = ehr(ehr::Settings::default()).await?;
    let bridge = bridge(&ehr, &[("update", "ADT^A08", UPDATE)]).await?;
    let lead = bridge.create_lead(&[("LastName", "Reyes"), ("mx_MRN", "77")])?;
    // The flow takes changes, and a new lead is none.
    let standing = read_until(&bridge, |it| it["found"]["leads"] == 1).await?;
    ensure!(standing["kept"] == 0, "{standing}");
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "Rye")])?);
    let standing = read_until(&bridge, |it| it["kept"] == 1).await?;
    let summary = standing["summary"].as_str().context("words")?;
    ensure!(summary.contains("became messages"), "{standing}");
    let received = bridge.until(&ehr, 1).await?;
    ensure!(received[0].field("PID", 11).contains("Rye"));
    // An activity moves the lead up in the list, and is no change of it; nor is a field that nobody asks for.
    let booked = bridge
        .office
        .simulator
        .create_activity(&lead, 205, &[("mx_Custom_1", "A-1")]);
    booked.map_err(anyhow::Error::msg)?;
    ensure!(bridge.edit_lead(&lead, &[("JobTitle", "Nurse")])?);
    for _ in 0..2 {
        let standing = read_all(&bridge).await?;
        ensure!(standing["kept"] == 1, "{standing}");
    }
    let messages = bridge.settled(1).await?;
    ensure!(
        messages.len() == 1 && ehr.received().len() == 1,
        "{messages:#?}"
    );
    let account = bridge.call("GET", "accounts/clinic", json!({})).await?;
    let words = account["poll"].as_str().context("words")?;
    ensure!(words.starts_with("read every 3600 s"), "{account}");
    bridge.office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_told_is_not_told_again() -> anyhow::Result<()> {
    let ehr = ehr(ehr::Settings::default()).await?;
    let flows = [
        ("register", "ADT^A04", "webhook = \"lead-create\""),
        ("update", "ADT^A08", UPDATE),
    ];
    let bridge = bridge(&ehr, &flows).await?;
    let made = json!({ "address": bridge.office.address(), "limit": 30 });
    bridge
        .call("POST", "accounts/clinic/webhooks", made)
        .await?;
    let lead = bridge.create_lead(&[("LastName", "Reyes"), ("mx_MRN", "77")])?;
    bridge.until(&ehr, 1).await?;
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "Rye")])?);
    bridge.until(&ehr, 2).await?;
    let standing = read_all(&bridge).await?;
    ensure!(
        standing["kept"] == 0 && standing["found"]["told"] == 1,
        "{standing}"
    );

    // A webhook is turned off, and what it would have told is found.
    let webhooks = bridge.office.simulator.webhooks();
    for webhook in &webhooks {
        ensure!(bridge.office.simulator.enable_webhook(&webhook.id, false));
    }
    ensure!(bridge.edit_lead(&lead, &[("FirstName", "Odile")])?);
    let second = bridge.create_lead(&[("LastName", "Novak"), ("mx_MRN", "78")])?;
    let standing = read_until(&bridge, |it| it["kept"] == 2).await?;
    ensure!(standing["error"].is_null(), "{standing}");
    let received = bridge.until(&ehr, 4).await?;
    let events: Vec<_> = received.iter().map(|it| it.event.as_str()).collect();
    let registrations = events.iter().filter(|event| **event == "ADT^A04").count();
    ensure!(registrations == 2, "{events:?}");
    // Told after all, and late: once is enough.
    let secret = bridge
        .call("POST", "accounts/clinic/webhooks/secret", json!({}))
        .await?;
    let lead = &bridge.office.simulator.leads_with("mx_MRN", "78")[0];
    ensure!(lead.id == second);
    let modified = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(3_600);
    let modified = modified.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let body = json!({ "ProspectID": second, "LastName": "Novak", "mx_MRN": "78", "CreatedOn": modified, "ModifiedOn": modified });
    let hook = format!("{}/hooks/clinic/lead-create", bridge.office.address());
    let request = http().post(hook).body(body.to_string());
    let secret = secret["secret"].as_str().context("a secret")?;
    let answer = request.header("x-ligature-secret", secret).send().await?;
    ensure!(answer.status() == 200);
    let late = bridge.call("GET", "messages?limit=1", json!({})).await?;
    ensure!(late.to_string().contains("told-by-poll"), "{late}");

    for webhook in &webhooks {
        ensure!(bridge.office.simulator.enable_webhook(&webhook.id, true));
    }
    ensure!(bridge.edit_lead(&second, &[("mx_City", "Lowell")])?);
    bridge.until(&ehr, 5).await?;
    let standing = read_all(&bridge).await?;
    ensure!(standing["kept"] == 2, "{standing}");
    ensure!(ehr.received().len() == 5);
    bridge.office.host.stop().await;
    Ok(())
}

/// The EHR gives the patient a number, this host writes it into the lead, and that is no news to the EHR.
#[tokio::test(flavor = "multi_thread")]
async fn what_this_host_wrote_is_no_change() -> anyhow::Result<()> {
    let ehr = ehr(ehr::Settings {
        assigns: Some("CLINIC".into()),
        ..ehr::Settings::default()
    })
    .await?;
    let read_back = "webhook = \"lead-create\", read_back = [{ path = \"PID-3[.4='CLINIC'].1\", field = \"mx_MRN\" }]";
    let flows = [
        ("register", "ADT^A04", read_back),
        ("update", "ADT^A08", "webhook = \"lead-update\""),
    ];
    let bridge = bridge(&ehr, &flows).await?;
    let lead = bridge.create_lead(&[("LastName", "Reyes"), ("mx_City", "Rye")])?;
    read_until(&bridge, |it| it["kept"] == 1).await?;
    bridge.until(&ehr, 1).await?;
    bridge.settled(1).await?;
    let held = bridge.office.simulator.leads();
    ensure!(held[0].values.contains_key("mx_MRN"), "{held:?}");
    let standing = read_all(&bridge).await?;
    ensure!(standing["kept"] == 1, "{standing}");
    // A person's change beside it is.
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "Lowell")])?);
    read_until(&bridge, |it| it["kept"] == 2).await?;
    let received = bridge.until(&ehr, 2).await?;
    ensure!(received[1].event == "ADT^A08" && received[1].field("PID", 11).contains("Lowell"));
    bridge.office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_fails_is_made_up_for() -> anyhow::Result<()> {
    let ehr = ehr(ehr::Settings::default()).await?;
    let bridge = bridge(&ehr, &[("update", "ADT^A08", UPDATE)]).await?;
    let lead = bridge.create_lead(&[("LastName", "Reyes"), ("mx_MRN", "77")])?;
    read_until(&bridge, |it| it["found"]["leads"] == 1).await?;
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "Rye")])?);
    let broken = Fault::once(Kind::BadGateway, When::default()).on("RecentlyModified");
    bridge.office.simulator.inject(broken);
    let failed = read(&bridge).await;
    ensure!(failed.is_err(), "{failed:?}");
    let standing = bridge
        .call("GET", "accounts/clinic/poll", json!({}))
        .await?;
    let summary = standing["summary"].as_str().context("words")?;
    ensure!(summary.contains("which failed"), "{standing}");
    let standing = read_until(&bridge, |it| it["kept"] == 1).await?;
    ensure!(standing["error"].is_null(), "{standing}");
    bridge.until(&ehr, 1).await?;
    bridge.office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_poll_stands_in_for_a_webhook_that_does_not_fit() -> anyhow::Result<()> {
    let ehr = ehr(ehr::Settings::default()).await?;
    let mut documents = channel("out", &ehr);
    for (id, event, entity, webhook) in [
        ("register", "ADT^A04", "lead", "lead-create"),
        ("update", "ADT^A08", "lead", "lead-update"),
        ("book", "SIU^S12", "activity", "lead-activity-create"),
        ("move", "SIU^S13", "activity", "lead-activity-update"),
    ] {
        let outbound = format!("webhook = \"{webhook}\"");
        documents.push_str(&flow(id, "out", event, entity, &outbound));
    }
    let flows = ["register", "update", "book", "move"];
    let mapped: Vec<_> = flows
        .iter()
        .map(|id| ((*id).to_owned(), PATIENT.to_owned()))
        .collect();
    let bridge = outbound::without_webhooks(POLL, &documents, &mapped).await?;
    let made = json!({ "address": bridge.office.address() });
    let webhooks = bridge
        .call("POST", "accounts/clinic/webhooks", made)
        .await?;
    ensure!(
        webhooks["used"] == 3 && webhooks["missing"] == json!([]),
        "{webhooks}"
    );
    ensure!(
        webhooks["polled"] == json!([{ "event": "lead-create" }]),
        "{webhooks}"
    );
    bridge.office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_without_condition_says_how_much_it_would_have_sent() -> anyhow::Result<()> {
    let ehr = ehr(ehr::Settings::default()).await?;
    let documents = channel("out", &ehr)
        + &flow(
            "update",
            "out",
            "ADT^A08",
            "lead",
            "webhook = \"lead-update\"",
        );
    let bridge = outbound::without_webhooks("", &documents, &[]).await?;
    for number in 0..3 {
        bridge.create_lead(&[("LastName", "Reyes"), ("mx_MRN", &number.to_string())])?;
    }
    // What happened within this second is not listed yet.
    sleep(Duration::from_millis(1_100)).await;
    let activation = |more: Value| {
        let mut body = json!({ "mapping": PATIENT, "version": 1 });
        body.as_object_mut()
            .into_iter()
            .for_each(|body| body.extend(more.as_object().cloned().unwrap_or_default()));
        bridge.call("POST", "flows/update/activate", body)
    };
    let refused = activation(json!({})).await;
    let text = refused.err().context("a refusal")?.to_string();
    ensure!(text.contains("would have been 3 leads"), "{text}");
    ensure!(text.contains("confirm_no_condition"), "{text}");
    let broken = Fault::once(Kind::BadGateway, When::default()).on("RecentlyModified");
    bridge.office.simulator.inject(broken);
    let refused = activation(json!({})).await;
    let text = refused.err().context("a refusal")?.to_string();
    ensure!(text.contains("is not known"), "{text}");
    activation(json!({ "confirm_no_condition": true })).await?;
    bridge.office.host.stop().await;
    Ok(())
}

/// A webhook of activities that leaves out what the mapping reads: one call, and never again for the same delivery.
#[tokio::test(flavor = "multi_thread")]
async fn fields_of_an_activity_that_a_webhook_lacks_are_read() -> anyhow::Result<()> {
    let ehr = ehr(ehr::Settings::default()).await?;
    let documents = channel("out", &ehr)
        + &flow(
            "book",
            "out",
            "SIU^S12",
            "activity",
            "webhook = \"lead-activity-create\"",
        );
    let mapping = format!("{PATIENT}{APPOINTMENT}");
    let bridge = outbound::without_webhooks("", &documents, &[("book".into(), mapping)]).await?;
    let simulator = &bridge.office.simulator;
    let lead = bridge.create_lead(&[("LastName", "Reyes"), ("mx_MRN", "77")])?;
    let booked = [("mx_Custom_1", "A-1"), ("Status", "Booked")];
    let activity = simulator.create_activity(&lead, 205, &booked);
    let activity = activity.map_err(anyhow::Error::msg)?;
    let secret = bridge
        .call("POST", "accounts/clinic/webhooks/secret", json!({}))
        .await?;
    let secret = secret["secret"].as_str().context("a secret")?;
    let tell = async |activity: &str| {
        let body = json!([{ "ProspectActivityId": activity, "RelatedProspectId": lead, "ActivityEvent": "205", "Data": { "Status": "Booked" } }]);
        let hook = format!(
            "{}/hooks/clinic/lead-activity-create",
            bridge.office.address()
        );
        let request = http().post(hook).body(body.to_string());
        let answer = request.header("x-ligature-secret", secret).send().await?;
        ensure!(answer.status() == 200);
        Ok(())
    };
    let reads = || {
        let calls = simulator.calls().into_iter();
        let reads = calls.filter(|call| call.route.ends_with("GetActivityDetails"));
        reads.count()
    };
    // The EHR does not answer at first: the same message goes again, without another call.
    ehr.tell(ehr::Mood {
        count: Some(1),
        ..ehr::Mood::always(ehr::Kind::Silent)
    });
    tell(&activity).await?;
    let received = bridge.until(&ehr, 2).await?;
    ensure!(
        received.iter().all(|it| it.field("SCH", 2) == "A-1"),
        "{received:?}"
    );
    ensure!(reads() == 1);
    // One that is gone is not told of.
    tell("e85e0000-0000-4000-8000-000000000001").await?;
    let deliveries = bridge.settled(2).await?;
    let gone = deliveries.iter().find(|it| it.state == "skipped");
    ensure!(
        gone.is_some_and(|it| it.reason == "activity-gone"),
        "{deliveries:#?}"
    );
    bridge.office.host.stop().await;
    Ok(())
}

/// Of two hosts on one PostgreSQL one reads, and the other one when it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn one_host_reads_an_account() -> anyhow::Result<()> {
    let storage = ligature_tests::postgres()?;
    let documents = "[[channels]]\nid = \"out\"\n[channels.target]\naddress = \"127.0.0.1:1\"\n\
         [[flows]]\nid = \"update\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"out\"\nevent = \"ADT^A08\"\n\
         entity = \"lead\"\nstatus = { state = \"paused\", reason = \"test\" }\noutbound = { webhook = \"lead-update\" }\n";
    let settings = ligature_tests::clinic::unlimited();
    let simulator = lead_squared(settings.clone()).await?;
    let keys = simulator.keys().clone();
    let first = Office::open_as(Some(&storage), simulator, POLL, documents).await?;
    let simulator = lead_squared(Settings { keys, ..settings }).await?;
    let second = Office::open_as(Some(&storage), simulator, POLL, documents).await?;
    let account = AccountId::from("clinic");
    for _ in 0..2 {
        ensure!(
            Box::pin(first.host.pipeline.poll(&account))
                .await?
                .is_some()
        );
        ensure!(
            Box::pin(second.host.pipeline.poll(&account))
                .await?
                .is_none()
        );
    }
    first.host.stop().await;
    ensure!(
        Box::pin(second.host.pipeline.poll(&account))
            .await?
            .is_some()
    );
    let standing = second.host.pipeline.poll_standing(&account).await?;
    ensure!(standing.last_run_at.is_some(), "{standing:?}");
    second.host.stop().await;
    Ok(())
}

/// Where the host is killed while it reads, each change reaches the EHR, and once.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_found_is_lost_or_told_twice_by_kills() -> anyhow::Result<()> {
    const LEADS: usize = 60;
    const KILLS: usize = 10;
    let ehr = ehr(ehr::Settings::default()).await?;
    let text = |api: &str| {
        let channel = channel("out", &ehr).replace("id = \"out\"", "id = \"out\"\nname = \"out\"");
        let flow = flow("update", "out", "ADT^A08", "lead", UPDATE).replace(
            "outbound =",
            "name = \"update\"\nmapping = \"map.toml\"\ntemplate = \"template.hl7\"\noutbound =",
        );
        format!(
            "[account]\nid = \"clinic\"\nname = \"Clinic\"\napi = \"{api}\"\nidentifier_fields = [\"mx_MRN\"]\n{POLL}\
             rate_plan = {{ calls = 0, window_ms = 5000 }}\n\n{channel}{flow}"
        )
    };
    let files = [("map.toml", PATIENT), ("template.hl7", TEMPLATE)];
    let settings = ligature_tests::clinic::unlimited();
    let mut clinic = Clinic::of_files(settings, |api, _| text(api), &files).await?;
    clinic.host.take().context("a host")?.stop()?;
    let token = clinic
        .site
        .run(&["token", "add", "test", "--rights", "all"])?;
    let token = token.split_whitespace().last().context("a token")?;
    let poll = format!("http://{}/api/v1/accounts/clinic/poll", clinic.site.http);
    let read = async || -> anyhow::Result<Value> {
        let request = http().post(&poll).bearer_auth(token).body("{}");
        let answer = request.send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    };
    let host = clinic.site.start().await?;
    read().await?;
    let mut leads = Vec::new();
    for number in 0..LEADS {
        let number = number.to_string();
        let lead = [("LastName", "Reyes"), ("mx_MRN", number.as_str())];
        let lead = clinic.simulator.create_lead(&lead);
        leads.push(lead.map_err(anyhow::Error::msg)?);
    }
    let started = Instant::now();
    while read().await?["found"]["leads"] != LEADS {
        ensure!(started.elapsed() < PATIENCE, "not listed");
        sleep(Duration::from_millis(50)).await;
    }
    host.kill();
    let mut random = crate::crash::Random(0x1d0b_4321_8765_9abc);
    for kill in 0..KILLS {
        for lead in leads.iter().skip(kill * LEADS / KILLS).take(LEADS / KILLS) {
            let edited = clinic.simulator.edit_lead(lead, &[("mx_City", "Rye")]);
            ensure!(edited.map_err(anyhow::Error::msg)?);
        }
        clinic
            .simulator
            .set_latency(Duration::from_millis(random.next() % 20));
        let host = clinic.site.start().await?;
        let wait = Duration::from_millis(5 + random.next() % 120);
        let cut = tokio::time::timeout(wait, async {
            loop {
                if read().await.is_err() {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let _: Result<(), _> = cut.await;
        host.kill();
    }
    clinic.simulator.set_latency(Duration::ZERO);
    clinic.host = Some(clinic.site.start().await?);
    let started = Instant::now();
    loop {
        let standing = read().await?;
        let counts = clinic.settled(PATIENCE).await?;
        if ehr.received().len() >= LEADS && counts["deliveries"]["delivered"] == LEADS {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "{standing} {counts}");
        sleep(Duration::from_millis(50)).await;
    }
    read().await?;
    let counts = clinic.settled(PATIENCE).await?;
    ensure!(counts["deliveries"]["delivered"] == LEADS, "{counts}");
    let mut sent: Vec<(String, String)> = ehr
        .received()
        .into_iter()
        .map(|it| (it.field("PID", 3), it.control_id))
        .collect();
    sent.sort();
    // The same bytes may go again after a kill, with their control id.
    sent.dedup();
    ensure!(sent.len() == LEADS, "{sent:#?}");
    Ok(())
}
