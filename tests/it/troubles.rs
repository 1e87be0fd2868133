//! LeadSquared in trouble: answers lost on every kind of write, keys refused for a while, an account that moves to another
//! host, a lead that was merged. No effect twice, no message lost, the reason shown.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::leadsquared::{self, Attribute, Budget};
use ligature::simulator::lead_squared::{
    By, Change, Elsewhere, Fault, Handle, Kind, RateLimit, Settings, Simulator, When,
};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::interface::Interface;
use ligature_tests::mllp::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a delivery may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A clinic with registrations, updates and appointments, a caller of its interface and a sender.
struct Bed {
    clinic: Clinic,
    api: Interface,
    sender: Client,
    sent: u32,
}

impl Bed {
    async fn open(settings: Settings) -> anyhow::Result<Self> {
        let setup = Setup {
            account: &format!(
                "{UNLIMITED}\ndefault_country_code = \"1\"\nlook_up_wait_ms = 200\ncall_timeout_ms = 500"
            ),
            channel: "",
            leads: &["ADT^A04", "ADT^A08"],
            activities: &["SIU^S12", "SIU^S14"],
        };
        let mut clinic = Clinic::prepare(None, settings, setup).await?;
        let api = clinic.site.token("view,map,administer,audit")?;
        clinic.host = Some(clinic.site.start().await?);
        let sender = Client::connect(clinic.site.mllp).await?;
        Ok(Self {
            clinic,
            api,
            sender,
            sent: 0,
        })
    }

    fn simulator(&self) -> &Handle {
        &self.clinic.simulator
    }

    /// Sends a message about the patient with this number, who lives in `city`; gives its control id.
    async fn send(&mut self, event: &str, mrn: &str, city: &str) -> anyhow::Result<String> {
        self.sent += 1;
        let id = format!("{}{mrn}", self.sent);
        let minute = self.sent % 60;
        let phone: u32 = mrn.trim_start_matches('Z').parse()?;
        let status = match event {
            "SIU^S12" => "Booked",
            _ => "Started",
        };
        let schedule = match event.starts_with("SIU") {
            true => format!("SCH|AP-{mrn}{}{status}\r", "|".repeat(24)),
            false => format!("EVN||202611200930{minute:02}\r"),
        };
        let message = format!(
            "MSH|^~\\&|EHR|CLINIC|LIG|LSQ|202611200930{minute:02}||{event}|{id}|P|2.5.1\r{schedule}\
             PID|1||{mrn}^^^CLINIC^MR||Fenwick^Odalys||19840219|F|||1 Elm^^{city}||(617) 555-01{phone:02}^PRN\r"
        );
        let answer = self.sender.exchange(message.as_bytes()).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.contains(&format!("MSA|AA|{id}")), "{answer}");
        Ok(id)
    }

    /// The delivery of a message, once it is as wanted.
    async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            let page = self.clinic.site.json("/api/v1/messages?limit=500").await?;
            let messages = page["messages"].as_array().into_iter().flatten();
            let mut of = messages.filter(|message| message["control_id"] == id);
            let message = of.next().context("the message is kept")?;
            if wanted(&message["deliveries"][0]) {
                let path = format!("/api/v1/messages/{}", message["id"].as_str().context("id")?);
                return Ok(self.clinic.site.json(&path).await?["deliveries"][0].clone());
            }
            ensure!(started.elapsed() < PATIENCE, "{id} stays {message}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn delivered(&self, id: &str) -> anyhow::Result<Value> {
        self.until(id, |delivery| delivery["state"] == "delivered")
            .await
    }

    /// Sends a message and waits until it is delivered.
    async fn tell(&mut self, event: &str, mrn: &str, city: &str) -> anyhow::Result<Value> {
        let id = self.send(event, mrn, city).await?;
        self.delivered(&id).await
    }

    async fn address(&self) -> anyhow::Result<String> {
        let account = self.api.get("/api/v1/accounts/clinic").await?.expect(200)?;
        Ok(account["account"]["api"]
            .as_str()
            .context("api")?
            .to_owned())
    }

    /// The account's host by the other name of this machine.
    fn other_name(&self) -> String {
        format!("localhost:{}", self.simulator().address().port())
    }
}

/// The codes of all tries of a delivery.
fn codes(delivery: &Value) -> Vec<&str> {
    let history = delivery["history"].as_array().into_iter().flatten();
    history
        .filter_map(|attempt| attempt["code"].as_str())
        .collect()
}

/// A sentence that is worth reading.
fn says(delivery: &Value, word: &str) -> bool {
    let reason = delivery["reason"].as_str().unwrap_or_default();
    reason.len() > 20 && reason.contains(word)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_whose_answer_is_lost_has_one_effect() -> anyhow::Result<()> {
    let mut bed = Bed::open(unlimited()).await?;
    let kinds = [Kind::Delay, Kind::Drop, Kind::BadGateway, Kind::Html];
    let whens = [When::BeforeEffect, When::AfterEffect];
    let cases = kinds
        .iter()
        .flat_map(|kind| whens.map(|when| (*kind, when)));
    for (number, (kind, when)) in cases.enumerate() {
        let mrn = format!("Z{number}");
        for (event, route, city) in [
            ("ADT^A04", "Lead.Create", "Boston"),
            ("SIU^S12", "ProspectActivity.svc/Create", "Boston"),
            ("ADT^A08", "Lead.Update", "Salem"),
            ("SIU^S14", "CustomActivity/Update", "Salem"),
        ] {
            // Longer than a call may take, and than the wait before it is looked up what became of it.
            let fault = Fault::once(kind, when).on(route);
            bed.simulator()
                .inject(fault.lasting(Duration::from_millis(600)));
            let delivery = bed.tell(event, &mrn, city).await?;
            ensure!(
                codes(&delivery).contains(&"leadsquared-outcome-unknown"),
                "{kind:?} {when:?} on {route}: {delivery}"
            );
        }
        let lead = bed.simulator().leads_with("mx_MRN", &mrn);
        let [lead] = lead.as_slice() else {
            anyhow::bail!("{kind:?} {when:?}: {} leads", lead.len());
        };
        ensure!(
            lead.values["mx_City"] == "Salem",
            "{kind:?} {when:?}: {lead:?}"
        );
        let activities = bed.simulator().activities().into_iter();
        let key = format!("AP-{mrn}");
        let activities: Vec<_> = activities
            .filter(|activity| activity.values.get("mx_Custom_1") == Some(&key))
            .collect();
        let [activity] = activities.as_slice() else {
            anyhow::bail!("{kind:?} {when:?}: {} activities", activities.len());
        };
        ensure!(
            activity.lead == lead.id && activity.values["Status"] == "Started",
            "{kind:?} {when:?}: {activity:?}"
        );
        let writes = bed.simulator().writes();
        let made = |change: Change| {
            let of = writes.iter().filter(|write| write.lead == lead.id);
            of.filter(|write| write.change == change).count()
        };
        ensure!(
            [made(Change::LeadCreated), made(Change::ActivityCreated)] == [1, 1],
            "{kind:?} {when:?}: {writes:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_refused_for_a_while_hold_messages_and_lose_none() -> anyhow::Result<()> {
    let mut bed = Bed::open(unlimited()).await?;
    let address = bed.address().await?;
    bed.tell("ADT^A04", "Z1", "Boston").await?;
    let refused = Fault::once(Kind::Unauthorized, When::BeforeEffect).with_probability(1.0);
    bed.simulator().inject(refused);
    let mut waiting = Vec::new();
    for (event, mrn) in [("ADT^A08", "Z1"), ("SIU^S12", "Z1"), ("ADT^A04", "Z2")] {
        waiting.push(bed.send(event, mrn, "Salem").await?);
    }
    for id in [&waiting[0], &waiting[2]] {
        let delivery = bed
            .until(id, |delivery| {
                delivery["reason_code"] == "leadsquared-unauthorized"
            })
            .await?;
        ensure!(
            delivery["state"] == "waiting" && delivery["due_at"].is_string(),
            "{delivery}"
        );
        ensure!(says(&delivery, "keys"), "{delivery}");
    }
    bed.simulator().clear_faults();
    for id in &waiting {
        bed.delivered(id).await?;
    }
    ensure!(
        bed.address().await? == address,
        "nobody told of another host"
    );
    let simulator = bed.simulator();
    ensure!(
        simulator.leads().len() == 2 && simulator.activities().len() == 1,
        "one effect each"
    );
    ensure!(simulator.leads_with("mx_City", "Salem").len() == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_moves_is_followed() -> anyhow::Result<()> {
    for by in [
        By::Refusal { of_all: false },
        By::Refusal { of_all: true },
        By::Redirect,
        By::Announcement,
    ] {
        let mut bed = Bed::open(unlimited()).await?;
        bed.tell("ADT^A04", "Z1", "Boston").await?;
        let host = bed.other_name();
        bed.simulator().move_to(Some(Elsewhere {
            host: host.clone(),
            by,
        }));
        let there = format!("http://{host}");
        if by == By::Announcement {
            // Nothing is refused: it is found when metadata are read.
            let read = bed
                .api
                .post("/api/v1/accounts/clinic/synchronise", json!({}))
                .await?;
            let read = read.expect(200)?;
            ensure!(read["moved_to"] == there.as_str(), "{by:?}: {read}");
        }
        let delivery = bed.tell("ADT^A08", "Z1", "Salem").await?;
        ensure!(
            by == By::Announcement || codes(&delivery).contains(&"leadsquared-moved"),
            "{by:?}: {delivery}"
        );
        ensure!(
            bed.address().await? == there,
            "{by:?}: {}",
            bed.address().await?
        );
        let audit = bed
            .api
            .get("/api/v1/audit?account=clinic")
            .await?
            .expect(200)?;
        let records = audit["items"].as_array().context("items")?;
        let by_host = |action: &str| {
            let mut of = records.iter().filter(|record| record["actor"] == "host");
            of.any(|record| record["action"] == action && record["document"] == "clinic")
        };
        ensure!(by_host("follow") && by_host("update"), "{by:?}: {audit}");
        let leads = bed.simulator().leads();
        ensure!(
            leads.len() == 1 && leads[0].values["mx_City"] == "Salem",
            "{by:?}: {leads:?}"
        );
        ensure!(
            bed.simulator().writes().len() == 2,
            "{by:?}: one effect each"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_not_followed_in_circles_or_to_another_one() -> anyhow::Result<()> {
    // There, the keys are good; but that host sends back, or is another account's.
    for (goes_in_circles, by) in [
        (true, By::Refusal { of_all: true }),
        (false, By::Refusal { of_all: false }),
    ] {
        let mut bed = Bed::open(unlimited()).await?;
        bed.tell("ADT^A04", "Z1", "Boston").await?;
        let (here, address) = (bed.simulator().address().to_string(), bed.address().await?);
        let other = Simulator::start(
            TcpListener::bind("127.0.0.1:0").await?,
            Settings {
                keys: bed.simulator().keys().clone(),
                ..unlimited()
            },
            &TaskTracker::new(),
            CancellationToken::new(),
        )?;
        if goes_in_circles {
            other.move_to(Some(Elsewhere {
                host: here,
                by: By::Announcement,
            }));
        }
        let host = other.address().to_string();
        bed.simulator().move_to(Some(Elsewhere { host, by }));
        let id = bed.send("ADT^A08", "Z1", "Salem").await?;
        // Tried again and again, and looked for once.
        let delivery = bed
            .until(&id, |delivery| delivery["attempts"].as_u64() >= Some(3))
            .await?;
        ensure!(says(&delivery, "API is at"), "{delivery}");
        bed.clinic.site.says("not followed").await?;
        ensure!(
            bed.address().await? == address,
            "{goes_in_circles}: followed"
        );
        ensure!(
            other.counts().calls == 1 && other.counts().writes == 0,
            "{goes_in_circles}: {:?}",
            other.counts()
        );
        bed.simulator().move_to(None);
        bed.delivered(&id).await?;
        ensure!(bed.simulator().leads_with("mx_City", "Salem").len() == 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_was_merged_is_found_anew_by_its_key() -> anyhow::Result<()> {
    // Whether a merge takes the activities along is not known, nor with which status a lead is not found.
    for with_activities in [true, false] {
        let settings = Settings {
            errors_as_200: with_activities,
            ..unlimited()
        };
        let mut bed = Bed::open(settings).await?;
        let keys = bed.simulator().keys();
        let config = leadsquared::Config {
            api: bed.simulator().api(),
            keys: leadsquared::Keys {
                access_key: keys.access_key.clone(),
                secret_key: keys.secret_key.clone(),
            },
            timeout: Duration::from_secs(5),
        };
        let budget = Budget::new(0, Duration::from_secs(5), None);
        let people = leadsquared::Client::new(&config, budget.into())?;
        bed.tell("ADT^A04", "Z1", "Boston").await?;
        bed.tell("SIU^S12", "Z1", "Boston").await?;
        let typed = [
            Attribute::text("FirstName", "Odalys"),
            Attribute::text("EmailAddress", "odalys@example.org"),
        ];
        let survivor = people.create_lead(&typed).await?;
        let retired = bed.simulator().leads_with("mx_MRN", "Z1")[0].id.clone();
        ensure!(
            bed.simulator()
                .merge_leads(&survivor, &retired, with_activities)
        );

        let delivery = bed.tell("ADT^A08", "Z1", "Salem").await?;
        ensure!(codes(&delivery).contains(&"lead-gone"), "{delivery}");
        let leads = bed.simulator().leads();
        ensure!(
            leads.len() == 1 && leads[0].id == survivor && leads[0].values["mx_City"] == "Salem",
            "{with_activities}: {leads:?}"
        );
        bed.tell("SIU^S14", "Z1", "Salem").await?;
        let activities = bed.simulator().activities().into_iter();
        let activities: Vec<_> = activities
            .filter(|activity| activity.lead == survivor)
            .collect();
        ensure!(
            activities.len() == 1 && activities[0].values["Status"] == "Started",
            "{with_activities}: {activities:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_of_an_account_makes_no_difference() -> anyhow::Result<()> {
    // `leadsquared.md` 13: where accounts differ or nobody knows, the same messages come to the same end.
    let limited = |status| Settings {
        rate_limit: Some(RateLimit {
            calls: 2,
            window: Duration::from_millis(300),
            status,
        }),
        ..unlimited()
    };
    let ways = [
        ("usual", unlimited()),
        (
            "errors as 200",
            Settings {
                errors_as_200: true,
                ..unlimited()
            },
        ),
        (
            "phones as they come",
            Settings {
                normalise_phones: false,
                ..unlimited()
            },
        ),
        (
            "no other options",
            Settings {
                reject_unknown_options: true,
                ..unlimited()
            },
        ),
        (
            "phone matched too",
            Settings {
                match_phone_too: true,
                ..unlimited()
            },
        ),
        ("limit as 429", limited(429)),
        ("limit as 403", limited(403)),
        ("limit as 200", limited(200)),
    ];
    // Side by side: those that meet the limit wait for it.
    let mut all = JoinSet::new();
    for (way, settings) in ways {
        all.spawn(async move { one_way(way, settings).await.context(way) });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(())
}

async fn one_way(way: &str, settings: Settings) -> anyhow::Result<()> {
    let is_limited = settings.rate_limit.is_some();
    let mut bed = Bed::open(settings).await?;
    let mut ids = Vec::new();
    for (event, mrn, city) in [
        ("ADT^A04", "Z1", "Boston"),
        ("SIU^S12", "Z1", "Boston"),
        ("ADT^A04", "Z2", "Boston"),
        ("ADT^A08", "Z1", "Salem"),
        ("SIU^S14", "Z1", "Salem"),
    ] {
        ids.push(bed.send(event, mrn, city).await?);
    }
    for id in &ids {
        bed.delivered(id).await?;
    }
    let simulator = bed.simulator();
    let leads = simulator.leads_with("mx_MRN", "Z1");
    ensure!(
        simulator.leads().len() == 2
            && leads.len() == 1
            && leads[0].values["mx_City"] == "Salem"
            && leads[0].values["Phone"] == "+1-6175550101",
        "{way}: {leads:?}"
    );
    let activities = simulator.activities();
    ensure!(
        activities.len() == 1 && activities[0].values["Status"] == "Started",
        "{way}: {activities:?}"
    );
    ensure!(
        !is_limited || simulator.counts().limited > 0,
        "{way}: never over the limit"
    );
    Ok(())
}
