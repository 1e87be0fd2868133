//! Existing data through a flow: its price first, once whatever happens, and held and gone on with at will.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::simulator::ehr;
use ligature::simulator::lead_squared::{Change, Settings};
use ligature_tests::bridge::ehr;
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::http;
use ligature_tests::mllp::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::outbound::{self, PATIENT, channel, flow};

const PATIENCE: Duration = Duration::from_secs(120);

/// A registration of now, so that nothing but the load keeps automations from running.
fn registration(number: usize, city: &str) -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%d%H%M%S+0000");
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|{now}||ADT^A04|{city}{number}|P|2.5.1\rEVN|A04\r\
         PID|1||M{number}^^^CLINIC^MR||Fenwick^Odalys||19800101||||^^{city}\rPV1|1|O\r"
    )
}

/// A host whose one flow makes leads of registrations, and a token for it.
struct Ward {
    clinic: Clinic,
    token: String,
}

impl Ward {
    async fn open(
        storage: Option<&str>,
        settings: Settings,
        account: &str,
    ) -> anyhow::Result<Self> {
        let setup = Setup {
            account,
            channel: "",
            leads: &["ADT^A04"],
            activities: &[],
        };
        let mut clinic = Clinic::prepare(storage, settings, setup).await?;
        let token = clinic
            .site
            .run(&["token", "add", "test", "--rights", "all"])?;
        let token = token.split_whitespace().last().context("a token")?;
        let token = token.to_owned();
        clinic.host = Some(clinic.site.start().await?);
        Ok(Self { clinic, token })
    }

    /// Writes files into a folder; gives its path.
    fn folder(&self, files: &[(&str, String)]) -> anyhow::Result<String> {
        let folder = self.clinic.site.path("history");
        std::fs::create_dir_all(&folder)?;
        for (name, text) in files {
            std::fs::write(folder.join(name), text)?;
        }
        Ok(folder.display().to_string())
    }

    fn load(&self, args: &[&str]) -> anyhow::Result<String> {
        let args = [&["flow", "load"], args].concat();
        self.clinic
            .site
            .ligature(&args, &[("LIGATURE_TOKEN", &self.token)])
    }

    async fn call(&self, method: &str, path: &str, body: String) -> anyhow::Result<Value> {
        let url = format!("http://{}/api/v1/{path}", self.clinic.site.http);
        let request = http().request(method.parse()?, url);
        let request = request.bearer_auth(&self.token);
        let request = match method {
            "GET" => request,
            _ => request.body(body),
        };
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_slice(&answer.bytes().await?)?;
        ensure!(
            (200..300).contains(&status),
            "{method} {path}: {status} {body}"
        );
        Ok(body)
    }

    /// Makes a load of registrations and begins it; gives its id.
    async fn begin(&self, messages: impl Iterator<Item = String>) -> anyhow::Result<String> {
        let body = json!({ "flow": "ADT^A04" }).to_string();
        let load = self.call("POST", "loads", body).await?;
        let id = load["id"].as_str().context("an id")?.to_owned();
        let messages: String = messages.collect();
        self.call("POST", &format!("loads/{id}/messages?total=0"), messages)
            .await?;
        self.call("POST", &format!("loads/{id}/start"), "{}".into())
            .await?;
        Ok(id)
    }

    async fn show(&self, id: &str) -> anyhow::Result<Value> {
        self.call("GET", &format!("loads/{id}"), String::new())
            .await
    }

    async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            let load = self.show(id).await?;
            if wanted(&load) {
                return Ok(load);
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "{load}\n{}",
                self.clinic.site.log()?
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn is_over(load: &Value) -> bool {
    load["state"] == "done" && load["open"] == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_files_are_counted_priced_and_loaded_once() -> anyhow::Result<()> {
    let settings = Settings {
        log_calls: true,
        ..unlimited()
    };
    let plan = "rate_plan = { calls = 10, window_ms = 5000 }";
    let ward = Ward::open(Some(&ligature_tests::postgres()?), settings, plan).await?;
    let simulator = &ward.clinic.simulator;
    let batch: String = (0..12).map(|number| registration(number, "Rye")).collect();
    let batch = format!("FHS|^~\\&\rBHS|^~\\&\r{batch}BTS|12\rFTS|1\r");
    // Two of the patients once more, one message that is another flow's, and something that is none.
    let again: String = (0..2)
        .map(|number| registration(number, "Lowell"))
        .collect();
    let other = registration(99, "Rye").replace("A04", "A08");
    let files = [
        ("a.hl7", batch),
        ("b.hl7", again.replace('\r', "\n")),
        ("c.hl7", other),
        ("d.txt", "nothing of the kind".into()),
    ];
    let folder = ward.folder(&files)?;
    let planned = ward.load(&["start", "ADT^A04", &folder, "--plan"])?;
    // Twelve searches and creations, and two updates at the most; 2 calls a second.
    ensure!(
        planned.contains("14 messages about 12 patients"),
        "{planned}"
    );
    ensure!(
        planned.contains("calls to LeadSquared, about 1"),
        "{planned}"
    );
    ensure!(
        planned.contains("2 left out (1 ADT^A08, 1 unreadable)"),
        "{planned}"
    );
    ensure!(simulator.leads().is_empty());

    // One of them has come over the wire before.
    let mut wire = Client::connect(ward.clinic.site.mllp).await?;
    let first = registration(3, "Rye");
    wire.exchange(first.as_bytes()).await?;
    std::fs::write(ward.clinic.site.path("history").join("c.hl7"), first)?;
    let loaded = ward.load(&["start", "ADT^A04", &folder, "--yes"])?;
    ensure!(loaded.contains("all 15 messages taken"), "{loaded}");
    ensure!(
        simulator.leads().len() == 12,
        "{:?}",
        simulator.leads().len()
    );
    let listed = ward.load(&["list"])?;
    ensure!(
        listed.contains("cancelled") && listed.contains("done"),
        "{listed}"
    );
    let updates = simulator.calls().into_iter();
    let updates: Vec<_> = updates
        .filter(|call| call.route.ends_with("Lead.Update"))
        .collect();
    let fires = |query: &(String, String)| query.0 == "postUpdatedLead" && query.1 == "true";
    ensure!(!updates.is_empty(), "a second message of a patient updates");
    ensure!(
        !updates.iter().any(|call| call.query.iter().any(fires)),
        "automations are for what happens now: {updates:?}"
    );

    // Once more: it is all known.
    let writes = simulator.writes().len();
    let again = ward.load(&["start", "ADT^A04", &folder, "--yes"])?;
    ensure!(
        again.contains("all 15 messages taken; 0 delivered"),
        "{again}"
    );
    ensure!(simulator.writes().len() == writes);
    let refused = ward.load(&["start", "ADT^A04"]);
    ensure!(refused.is_err_and(|fault| fault.to_string().contains("--field")));
    Ok(())
}

/// Where no host runs, the store keeps the load for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_waits_for_a_host() -> anyhow::Result<()> {
    let mut ward = Ward::open(None, unlimited(), UNLIMITED).await?;
    ward.clinic.host.take().context("a host")?.stop()?;
    let batch: String = (0..5).map(|number| registration(number, "Rye")).collect();
    let folder = ward.folder(&[("a.hl7", batch)])?;
    let put = ward.load(&["start", "ADT^A04", &folder, "--yes"])?;
    ensure!(put.contains("begins when a host runs"), "{put}");
    ensure!(ward.clinic.simulator.leads().is_empty());
    ward.clinic.host = Some(ward.clinic.site.start().await?);
    let loads = ward.call("GET", "loads", String::new()).await?;
    let id = loads["items"][0]["id"].as_str().context("a load")?;
    ward.until(id, is_over).await?;
    ensure!(ward.clinic.simulator.leads().len() == 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_held_and_gone_on_with() -> anyhow::Result<()> {
    const MESSAGES: usize = 600;
    let ward = Ward::open(None, unlimited(), UNLIMITED).await?;
    ward.clinic
        .simulator
        .set_latency(Duration::from_millis(150));
    let messages = (0..MESSAGES).map(|number| registration(number, "Rye"));
    let id = ward.begin(messages).await?;
    ward.until(&id, |load| load["delivered"].as_u64() > Some(10))
        .await?;
    ward.call("POST", &format!("loads/{id}/pause"), "{}".into())
        .await?;
    let held = ward
        .until(&id, |load| load["state"] == "paused" && load["open"] == 0)
        .await?;
    let taken = held["taken"].as_u64().context("a number")?;
    ensure!(taken < MESSAGES as u64, "{held}");
    let summary = held["summary"].as_str().context("words")?;
    ensure!(summary.starts_with("paused: "), "{held}");
    // It is held over a restart, too.
    let pause = format!("loads/{id}/pause");
    let twice = ward.call("POST", &pause, "{}".into()).await;
    ensure!(twice.is_err_and(|fault| fault.to_string().contains("409")));
    let mut ward = ward;
    ward.clinic.host.take().context("a host")?.kill();
    ward.clinic.host = Some(ward.clinic.site.start().await?);
    ensure!(ward.show(&id).await?["taken"] == taken);
    ward.clinic.simulator.set_latency(Duration::ZERO);
    ward.load(&["resume", &id])?;
    let done = ward.until(&id, is_over).await?;
    ensure!(done["delivered"] == MESSAGES, "{done}");
    ensure!(ward.clinic.simulator.leads().len() == MESSAGES);

    // One that is ended leaves the rest undone, and takes nothing any more.
    ward.clinic
        .simulator
        .set_latency(Duration::from_millis(150));
    let messages = (0..MESSAGES).map(|number| registration(number, "Lowell"));
    let id = ward.begin(messages).await?;
    ward.until(&id, |load| load["taken"].as_u64() > Some(0))
        .await?;
    ward.load(&["cancel", &id])?;
    ward.clinic.simulator.set_latency(Duration::ZERO);
    let ended = ward
        .until(&id, |load| {
            load["state"] == "cancelled" && load["open"] == 0
        })
        .await?;
    ensure!(ended["taken"].as_u64() < Some(MESSAGES as u64), "{ended}");
    let more = format!("loads/{id}/messages?total=600");
    ensure!(
        ward.call("POST", &more, registration(1, "Rye"))
            .await
            .is_err()
    );
    ensure!(ward.load(&["resume", &id]).is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_load_is_lost_or_doubled_by_kills() -> anyhow::Result<()> {
    const MESSAGES: usize = 800;
    const KILLS: usize = 10;
    let mut ward = Ward::open(None, unlimited(), UNLIMITED).await?;
    ward.clinic.simulator.set_latency(Duration::from_millis(10));
    let messages = (0..MESSAGES).map(|number| registration(number, "Rye"));
    let id = ward.begin(messages).await?;
    let mut random = crate::crash::Random(0x5eed_1234_5678_9abc);
    for _ in 0..KILLS {
        sleep(Duration::from_millis(200 + random.next() % 1_200)).await;
        ward.clinic.host.take().context("a host")?.kill();
        ward.clinic.host = Some(ward.clinic.site.start().await?);
    }
    ward.clinic.simulator.set_latency(Duration::ZERO);
    let done = ward.until(&id, is_over).await?;
    ensure!(
        done["delivered"] == MESSAGES && done["taken"] == MESSAGES,
        "{done}"
    );
    let writes = ward.clinic.simulator.writes();
    let created = writes
        .iter()
        .filter(|write| write.change == Change::LeadCreated);
    ensure!(created.count() == MESSAGES);
    ensure!(ward.clinic.simulator.leads().len() == MESSAGES);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_go_to_the_ehr_once() -> anyhow::Result<()> {
    const LEADS: usize = 30;
    let ehr = ehr(ehr::Settings::default()).await?;
    let outbound =
        "webhook = \"lead-update\", condition = [{ field = \"mx_City\", in = [\"Rye\"] }]";
    let documents = [
        channel("out", &ehr),
        flow("update", "out", "ADT^A08", "lead", outbound),
        flow(
            "book",
            "out",
            "SIU^S12",
            "activity",
            "webhook = \"lead-activity-create\"",
        ),
    ];
    let flows = ["update", "book"].map(|id| (id.to_owned(), PATIENT.to_owned()));
    let bridge = outbound::without_webhooks("", &documents.concat(), &flows).await?;
    for number in 0..LEADS {
        let (number, city) = (number.to_string(), ["Rye", "Rye", "Lowell"][number % 3]);
        let lead = [
            ("LastName", number.as_str()),
            ("mx_MRN", number.as_str()),
            ("mx_City", city),
            ("ProspectStage", "Patient"),
        ];
        bridge.create_lead(&lead)?;
    }
    // Whom the EHR would not know is waited for, and nobody behind it.
    let nobody = [
        ("LastName", "Unknown"),
        ("mx_City", "Rye"),
        ("ProspectStage", "Patient"),
    ];
    bridge.create_lead(&nobody)?;
    let load = async |body: Value| -> anyhow::Result<Value> {
        let made = bridge.call("POST", "loads", body).await?;
        let id = made["id"].as_str().context("an id")?.to_owned();
        let started = Instant::now();
        loop {
            let load = bridge
                .call("GET", &format!("loads/{id}"), json!({}))
                .await?;
            match load["state"].as_str().unwrap_or_default() {
                "ready" => {
                    bridge
                        .call("POST", &format!("loads/{id}/start"), json!({}))
                        .await?;
                }
                "done" if load["open"] == 0 => return Ok(load),
                "failed" => anyhow::bail!("{load}"),
                _ => {}
            }
            ensure!(started.elapsed() < PATIENCE, "{load}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let by_field = json!({ "flow": "update", "leads": { "field": { "name": "ProspectStage", "value": "Patient" } } });
    let done = load(by_field.clone()).await?;
    ensure!(
        done["total"] == LEADS + 1 && done["taken"] == LEADS + 1,
        "{done}"
    );
    // The flow's condition holds besides.
    ensure!(
        done["delivered"] == 20 && done["skipped"] == 10 && done["aside"] == 1,
        "{done}"
    );
    ensure!(ehr.received().len() == 20);
    ensure!(
        ehr.received()
            .iter()
            .all(|it| it.field("PID", 11).contains("Rye"))
    );
    // Again, by another way: they would say what was sent last.
    let since =
        json!({ "flow": "update", "leads": { "changed": { "from": "2020-01-01T00:00:00Z" } } });
    let started = Instant::now();
    let again = loop {
        let again = load(since.clone()).await?;
        // What happened within this second is not listed yet.
        if again["total"] == LEADS + 1 {
            break again;
        }
        ensure!(started.elapsed() < PATIENCE, "{again}");
    };
    ensure!(
        again["delivered"] == 0 && again["skipped"] == LEADS,
        "{again}"
    );
    ensure!(ehr.received().len() == 20);

    // What cannot be: nothing is made of it.
    let failed =
        json!({ "flow": "update", "leads": { "field": { "name": "mx_None", "value": "1" } } });
    ensure!(
        load(failed)
            .await
            .is_err_and(|fault| fault.to_string().contains("failed"))
    );
    for wrong in [
        json!({ "flow": "update" }),
        json!({ "flow": "nowhere" }),
        json!({ "flow": "book", "leads": { "field": { "name": "mx_City", "value": "Rye" } } }),
        json!({ "flow": "update", "leads": { "changed": { "from": "yesterday" } } }),
    ] {
        let refused = bridge.call("POST", "loads", wrong.clone()).await;
        ensure!(
            refused.is_err_and(|fault| fault.to_string().contains("409")),
            "{wrong}"
        );
    }
    bridge.office.host.stop().await;
    Ok(())
}
