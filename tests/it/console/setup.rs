//! First start: from an empty host to the first patient, without script, with the simulator of the process.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::config::Console;
use ligature::flow::account::{Keys, Reach};
use ligature::simulator::lead_squared::Settings;
use ligature_tests::mllp::Client;
use ligature_tests::office::{Office, lead_squared};
use ligature_tests::postgres;
use ligature_tests::visitor::{Visitor, text_of};
use serde_json::Value;
use tokio::time::{Instant, sleep};

const MESSAGE: &str = "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A04|S1|P|2.5.1\rEVN|A04\r\
    PID|1||ZQ8001^^^CLINIC^MR||Fenwick^Odalys||19840219|F\rPV1|1|O\r";

async fn from_nothing(storage: Option<&str>) -> anyhow::Result<()> {
    let settings = Settings {
        rate_limit: None,
        ..Settings::default()
    };
    let simulator = lead_squared(settings).await?;
    let keys = simulator.keys();
    let console = Console {
        simulator: Some(Reach {
            api: simulator.api(),
            keys: Keys {
                access_key: keys.access_key.clone(),
                secret_key: keys.secret_key.clone(),
            },
        }),
        ..Console::at(([127, 0, 0, 1], 0).into())
    };
    let office = Office::bare(storage, simulator, console).await?;
    let mut ana = Visitor::new(office.host.http);
    let link = ligature::serve::first_start(&office.host).await?;
    ana.begin(&link.unwrap_or_default()).await?;

    // The list begins with everything open, and leads to the account.
    let page = ana.get("/setup").await?.text;
    ensure!(
        page.matches(">open<").count() == 5 && page.contains("href=\"/setup/account\""),
        "{}",
        text_of(&page)
    );
    let new = "/setup/account";
    let api = office.simulator.api();
    let wrong = [
        ("name", "Main Street Clinic"),
        ("access_key", "u$r1"),
        ("secret_key", "2"),
        ("api", api.as_str()),
    ];
    let page = ana.post(new, new, &wrong).await?;
    ensure!(
        page.status == 422
            && page.text.contains("Main Street Clinic")
            && !page.text.contains("u$r1"),
        "{}",
        text_of(&page.text)
    );
    let page = ana.submit(new, new, &[("simulator", "1")]).await?;
    ensure!(page.to == "/accounts/simulator", "{}", page.to);
    let said = text_of(&page.text);
    for part in [
        "America/New_York",
        "country code 1",
        "lead fields",
        "mx_MRN",
        "Select user role(s)",
        "Save & Next",
    ] {
        let plain = said.replace("&#38;", "&").replace("&amp;", "&");
        ensure!(plain.contains(part), "{part:?} is not in {said}");
    }
    let page = ana
        .submit(
            "/accounts/simulator",
            "/access/roles/simulator",
            &[("role", "Sales_User")],
        )
        .await?;
    ensure!(page.to == "/setup", "{}", page.to);

    // Settings of the account, with a fault at its field.
    let account = "/accounts/simulator";
    let fields = |country: &'static str| {
        [
            ("name", "Main Street Clinic"),
            ("default_country_code", country),
            ("time_zone", "America/Chicago"),
            ("identifier_fields", "mx_MRN"),
            ("calls", "25"),
            ("window_ms", "5000"),
            ("daily", ""),
            ("reserve_percent", "30"),
        ]
    };
    let refused = ana.post(account, account, &fields("+1")).await?;
    ensure!(
        refused.status == 422 && refused.text.contains("country calling code"),
        "{}",
        text_of(&refused.text)
    );
    let page = ana.submit(account, account, &fields("44")).await?;
    ensure!(
        page.text.contains("America/Chicago") && page.text.contains("Main Street Clinic"),
        "{}",
        text_of(&page.text)
    );

    // A channel, and what is wrong with one.
    let new = "/channels/new";
    let channel = |peers: &'static str| {
        [
            ("name", "Registrations"),
            ("address", "127.0.0.1:0"),
            ("allowed_peers", peers),
            ("ack_mode", "auto"),
        ]
    };
    let refused = ana.post(new, new, &channel("nowhere")).await?;
    ensure!(
        refused.status == 422 && refused.text.contains("nowhere"),
        "{}",
        text_of(&refused.text)
    );
    let page = ana.submit(new, new, &channel("127.0.0.0/8")).await?;
    ensure!(page.to == "/channels/registrations", "{}", page.to);

    // A starter set; the first of its flows is started with the fields that the account lacks.
    ana.submit("/flows/new", "/flows/new", &[("set", "registration")])
        .await?;
    let start = "/flows/adt-a04/start";
    let page = text_of(&ana.get(start).await?.text);
    for field in [
        "mx_Attending_Doctor",
        "mx_Patient_Class",
        "mx_Visit_Number",
        "mx_Visit_Status",
    ] {
        ensure!(page.contains(field), "{field} is not in {page}");
    }
    let page = ana
        .submit(start, "/flows/adt-a04/lacking-fields", &[])
        .await?;
    let said = text_of(&page.text);
    ensure!(
        said.contains("4 fields are made") && !said.contains("LeadSquared lacks"),
        "{said}"
    );
    let confirmed = [("confirm_not_unique", "1")];
    ana.submit(start, "/flows/adt-a04/activate", &confirmed)
        .await?;

    // The first patient.
    let listening = office.host.pipeline.listening(&"registrations".into());
    let address = listening
        .and_then(Result::ok)
        .context("the channel listens")?;
    let mut ehr = Client::connect(address).await?;
    let answer = ehr.exchange(MESSAGE.as_bytes()).await?;
    ensure!(answer.windows(7).any(|part| part == b"MSA|AA|"));
    let started = Instant::now();
    let page = loop {
        let page = ana.get("/setup").await?.text;
        if !page.contains(">open<") {
            break page;
        }
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "{}",
            text_of(&page)
        );
        sleep(Duration::from_millis(50)).await;
    };
    ensure!(
        text_of(&page).contains("patients become leads") && !page.contains("Fenwick"),
        "{}",
        text_of(&page)
    );
    let token = office.token("view").await?;
    let url = format!("{}/api/v1/setup", office.address());
    let answer = ligature_tests::http().get(url).bearer_auth(&token);
    let answer: Value = serde_json::from_slice(&answer.send().await?.bytes().await?)?;
    let steps = answer["steps"].as_array().context("steps")?;
    ensure!(
        steps.len() == 5 && steps.iter().all(|step| step["done"] == true),
        "{answer}"
    );

    // The channel as it stands, and what the doctor says of it.
    let channel = "/channels/registrations";
    let page = text_of(&ana.get(channel).await?.text);
    ensure!(
        page.contains("listening") && page.contains("127.0.0.1:") && page.contains("since"),
        "{page}"
    );
    let seen = ana
        .post(channel, "/channels/registrations/doctor", &[])
        .await?;
    ensure!(
        seen.status == 200 && text_of(&seen.text).contains("All is well"),
        "{}",
        text_of(&seen.text)
    );
    let page = text_of(&ana.get("/channels").await?.text);
    ensure!(
        page.contains("Registrations") && !page.contains("none for a week"),
        "{page}"
    );
    let kept = ana
        .post(
            channel,
            "/channels/registrations/delete",
            &[("name", "Registrations")],
        )
        .await?;
    ensure!(kept.to == channel, "a channel that flows use was deleted");

    // The flow again for another event, with the starter's sample.
    let duplicate = "/flows/adt-a04/duplicate";
    let same = ana
        .post(duplicate, duplicate, &[("event", "ADT^A04")])
        .await?;
    ensure!(same.status == 422, "{}", text_of(&same.text));
    let page = ana
        .submit(
            duplicate,
            duplicate,
            &[("event", "ADT^A05 Pre-admit"), ("name", "Pre-admissions")],
        )
        .await?;
    ensure!(page.to == "/flows/adt-a05/mapping", "{}", page.to);
    let page = ana.get("/flows/adt-a05/start").await?;
    ensure!(
        page.status == 200 && text_of(&page.text).contains("The sample message can be mapped"),
        "{}",
        text_of(&page.text)
    );
    ana.submit(
        "/flows/adt-a05/start",
        "/flows/adt-a05/activate",
        &confirmed,
    )
    .await?;
    let message = MESSAGE
        .replace("ADT^A04", "ADT^A05")
        .replace("|S1|", "|S2|");
    ehr.exchange(message.as_bytes()).await?;
    let started = Instant::now();
    while !text_of(&ana.get("/flows/adt-a05").await?.text).contains("1 delivered today") {
        ensure!(started.elapsed() < Duration::from_secs(60), "not delivered");
        sleep(Duration::from_millis(50)).await;
    }
    let page = text_of(&ana.get("/inventory").await?.text);
    ensure!(
        page.contains("Pre-admissions") && page.contains("generated"),
        "{page}"
    );
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_host_is_set_up_on_sqlite() -> anyhow::Result<()> {
    Box::pin(from_nothing(None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_host_is_set_up_on_postgresql() -> anyhow::Result<()> {
    Box::pin(from_nothing(Some(&postgres()?))).await
}
