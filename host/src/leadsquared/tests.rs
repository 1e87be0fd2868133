//! The client against the simulator, over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::simulator::lead_squared::{Fault, Handle, Kind, RateLimit, Settings, Simulator, When};

/// An account with a client for it; it lives as long as the test's runtime.
struct Bench {
    simulator: Handle,
    client: Client,
}

async fn bench(settings: Settings) -> Bench {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let simulator = Simulator::start(
        listener,
        settings,
        &TaskTracker::new(),
        CancellationToken::new(),
    )
    .expect("an address");
    let client = client(
        &simulator.api(),
        &simulator,
        Budget::new(0, Duration::ZERO, None),
    );
    Bench { simulator, client }
}

fn client(api: &str, simulator: &Handle, budget: Budget) -> Client {
    let keys = simulator.keys();
    let config = Config {
        api: api.to_owned(),
        keys: Keys {
            access_key: keys.access_key.clone(),
            secret_key: keys.secret_key.clone(),
        },
        timeout: Duration::from_millis(1_000),
    };
    Client::new(&config, Arc::new(budget)).expect("a client")
}

fn unlimited() -> Settings {
    Settings {
        rate_limit: None,
        seed: Some(1),
        ..Settings::default()
    }
}

fn ana() -> Vec<Attribute> {
    vec![
        Attribute::text("FirstName", "Ana"),
        Attribute::text("Phone", "+1-5551234567"),
        Attribute::text("mx_MRN", "0100045"),
    ]
}

fn booking(lead: &str, key: &str) -> NewActivity {
    NewActivity {
        lead_id: lead.to_owned(),
        code: 205,
        note: Some("booked".into()),
        at: Some("2026-10-09 15:30:00".into()),
        fields: vec![
            Attribute::text("mx_Custom_1", key),
            Attribute::text("Status", "Booked"),
        ],
    }
}

#[tokio::test]
async fn a_lead_is_created_found_updated_and_read() {
    let Bench { simulator, client } = bench(unlimited()).await;
    let id = client.create_lead(&ana()).await.expect("created");
    for (field, value) in [
        ("mx_MRN", "0100045"),
        ("Phone", "+1-5551234567"),
        ("ProspectID", id.as_str()),
    ] {
        let found = client
            .search(field, value, &["FirstName"])
            .await
            .expect("searched");
        assert_eq!(found.len(), 1, "{field}");
        assert_eq!(found[0].id, id);
        assert_eq!(found[0].get("FirstName"), Some("Ana"));
        assert_eq!(found[0].get("LastName"), None, "not asked for");
    }
    assert_eq!(client.search("mx_MRN", "100045", &[]).await, Ok(vec![]));
    assert_eq!(client.search("mx_MRN", " ", &[]).await, Ok(vec![]));

    let change = [
        Attribute::text("mx_City", "Zürich"),
        Attribute::clear("FirstName"),
    ];
    client
        .update_lead(&id, &change, false)
        .await
        .expect("updated");
    let lead = client.lead_by_id(&id).await.expect("read").expect("there");
    assert_eq!(lead.get("mx_City"), Some("Zürich"));
    assert_eq!(lead.get("FirstName"), None);

    let mut again = ana();
    again.push(Attribute::text("LastName", "Ortiz"));
    assert_eq!(
        client.create_or_update_lead(&again, "mx_MRN").await,
        Ok(id.clone())
    );
    assert_eq!(simulator.leads_with("LastName", "Ortiz").len(), 1);

    simulator.delete_lead(&id);
    assert_eq!(client.lead_by_id(&id).await, Ok(None));
    assert_eq!(
        client.update_lead(&id, &change, false).await,
        Err(Error::LeadNotFound)
    );
}

#[tokio::test]
async fn an_activity_is_created_changed_and_found_among_many() {
    let Bench { client, simulator } = bench(unlimited()).await;
    let lead = client.create_lead(&ana()).await.expect("created");
    let wanted = client
        .create_activity(&booking(&lead, "APPT-1"))
        .await
        .expect("created");
    for number in 2..=230 {
        let key = format!("APPT-{number}");
        client
            .create_activity(&booking(&lead, &key))
            .await
            .expect("created");
    }
    let find = async |key: &str| client.find_activity(&lead, 205, "mx_Custom_1", key).await;
    assert_eq!(
        find("APPT-1").await,
        Ok(Some(wanted.clone())),
        "the oldest is on the last page"
    );
    assert_eq!(find("APPT-0").await, Ok(None));

    let update = ActivityUpdate {
        id: wanted.clone(),
        code: 205,
        note: None,
        fields: vec![
            Attribute::text("Status", "Cancelled"),
            Attribute::clear("mx_Custom_1"),
        ],
    };
    client.update_activity(&update).await.expect("updated");
    assert_eq!(find("APPT-1").await, Ok(None));
    let kept = &simulator.activities()[0];
    assert_eq!(
        (kept.note.as_str(), kept.values["Status"].as_str()),
        ("booked", "Cancelled")
    );

    let gone = ActivityUpdate {
        id: "00000000-0000-4000-8000-000000000000".into(),
        ..update
    };
    assert_eq!(
        client.update_activity(&gone).await,
        Err(Error::ActivityNotFound)
    );
    simulator.delete_lead(&lead);
    assert_eq!(
        client.create_activity(&booking(&lead, "X")).await,
        Err(Error::LeadNotFound)
    );
    assert_eq!(find("APPT-2").await, Ok(None));
}

#[tokio::test]
async fn the_account_tells_what_it_is_made_of() {
    let Bench { client, .. } = bench(unlimited()).await;
    let fields = client.lead_fields().await.expect("fields");
    let unique: Vec<&str> = fields
        .iter()
        .filter(|field| field.is_unique)
        .map(|field| field.schema_name.as_str())
        .collect();
    assert_eq!(unique, ["EmailAddress", "Phone", "Mobile", "mx_MRN"]);
    let gender = fields
        .iter()
        .find(|field| field.schema_name == "mx_Gender")
        .expect("known");
    assert_eq!(gender.data_type, "Select");
    assert_eq!(gender.options, ["Female", "Male", "Other", "Unknown"]);
    assert_eq!(gender.max_length, Some(256));

    let types = client.activity_types().await.expect("types");
    assert!(types.contains(&ActivityType {
        code: 205,
        name: "EHR Appointment".into()
    }));
    let slots = client.activity_slots(205).await.expect("slots");
    assert_eq!(slots[0].schema_name, "mx_Custom_1");
    assert_eq!(slots[0].display_name, "Appointment Id");

    let caller = client.who_am_i().await.expect("caller");
    assert_eq!(caller.default_country_code.as_deref(), Some("1"));
    assert_eq!(caller.time_zone, "America/New_York");
}

/// Whether the call of a case was to take effect.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Took {
    Effect,
    None,
}

async fn check(fault: Fault, read: &str, write: &str, took: Took) {
    let Bench { simulator, client } = bench(unlimited()).await;
    let code = |error: Error| error.code().trim_start_matches("leadsquared-").to_owned();
    simulator.inject(fault.clone());
    let read_code = client.search("mx_MRN", "1", &[]).await.err().map(code);
    assert_eq!(read_code.as_deref(), Some(read), "{fault:?}");
    simulator.clear_faults();
    simulator.inject(fault.clone());
    let error = client.create_lead(&ana()).await.expect_err("fails");
    assert_eq!(error.outcome_unknown(), write == "outcome-unknown");
    assert_eq!(code(error), write, "{fault:?}");
    let leads = simulator.counts().leads;
    assert_eq!(leads, usize::from(took == Took::Effect), "{fault:?}");
    // The next call goes through, on a new connection where the old one is gone.
    if fault.kind != Kind::Delay {
        client.who_am_i().await.expect("well again");
    }
}

#[tokio::test]
async fn every_fault_says_what_is_known_of_the_effect() {
    use When::{AfterEffect, BeforeEffect};
    let (away, unknown) = ("unavailable", "outcome-unknown");
    let long = Duration::from_secs(600);
    check(
        Fault::once(Kind::Drop, BeforeEffect),
        away,
        unknown,
        Took::None,
    )
    .await;
    check(
        Fault::once(Kind::Drop, AfterEffect),
        away,
        unknown,
        Took::Effect,
    )
    .await;
    check(
        Fault::once(Kind::BadGateway, BeforeEffect),
        away,
        unknown,
        Took::None,
    )
    .await;
    check(
        Fault::once(Kind::BadGateway, AfterEffect),
        away,
        unknown,
        Took::Effect,
    )
    .await;
    check(
        Fault::once(Kind::Html, BeforeEffect),
        away,
        unknown,
        Took::None,
    )
    .await;
    check(
        Fault::once(Kind::Html, AfterEffect),
        away,
        unknown,
        Took::Effect,
    )
    .await;
    check(
        Fault::once(Kind::Delay, BeforeEffect).lasting(long),
        away,
        unknown,
        Took::None,
    )
    .await;
    check(
        Fault::once(Kind::Delay, AfterEffect).lasting(long),
        away,
        unknown,
        Took::Effect,
    )
    .await;
}

#[tokio::test]
async fn a_refused_connection_is_known_not_to_have_carried_anything() {
    let Bench { simulator, .. } = bench(unlimited()).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let client = client(
        &format!("http://{address}"),
        &simulator,
        Budget::new(0, Duration::ZERO, None),
    );
    let error = client.create_lead(&ana()).await.expect_err("fails");
    assert_eq!(error.code(), "leadsquared-unavailable");
}

#[tokio::test]
async fn a_page_that_is_not_the_api_is_told_from_an_answer() {
    let Bench { simulator, .. } = bench(unlimited()).await;
    let elsewhere = format!("{}/console", simulator.api());
    let client = client(&elsewhere, &simulator, Budget::new(0, Duration::ZERO, None));
    let error = client.create_lead(&ana()).await.expect_err("fails");
    assert_eq!(error.code(), "leadsquared-not-understood");
    assert!(error.is_transient() && !error.outcome_unknown());
}

#[tokio::test]
async fn logical_errors_are_told_apart_with_either_status() {
    for errors_as_200 in [false, true] {
        let Bench { client, simulator } = bench(Settings {
            errors_as_200,
            ..unlimited()
        })
        .await;
        let id = client.create_lead(&ana()).await.expect("created");
        let same_phone = [
            Attribute::text("Phone", "5551234567"),
            Attribute::text("mx_MRN", "2"),
        ];
        assert_eq!(
            client.create_or_update_lead(&same_phone, "mx_MRN").await,
            Err(Error::Duplicate {
                field: Some("Phone".into())
            })
        );
        let misspelt = [
            Attribute::text("mx_Citty", "x"),
            Attribute::text("mx_City", "y"),
        ];
        assert_eq!(
            client.update_lead(&id, &misspelt, false).await,
            Err(Error::Rejected {
                exception: "MXUnknownAttributeException".into(),
                fields: vec!["mx_Citty".into()]
            })
        );
        assert_eq!(
            simulator.leads_with("mx_City", "y"),
            vec![],
            "rejected whole"
        );
        assert_eq!(
            client.search("mx_Chart", "0100045", &[]).await,
            Err(Error::SearchIgnored {
                field: "mx_Chart".into()
            })
        );
    }
}

#[tokio::test]
async fn wrong_keys_are_unauthorized() {
    for settings in [
        unlimited(),
        Settings {
            other_region: Some("api-us11.leadsquared.com".into()),
            ..unlimited()
        },
    ] {
        let right = bench(unlimited()).await;
        let wrong = bench(settings).await;
        let client = client(
            &wrong.simulator.api(),
            &right.simulator,
            Budget::new(0, Duration::ZERO, None),
        );
        assert_eq!(client.create_lead(&ana()).await, Err(Error::Unauthorized));
    }
}

#[tokio::test]
async fn a_rate_limit_is_told_and_lowers_the_budget() {
    for status in [429, 403, 200] {
        let Bench { client, simulator } = bench(Settings {
            rate_limit: Some(RateLimit {
                calls: 2,
                window: Duration::from_secs(5),
                status,
            }),
            ..unlimited()
        })
        .await;
        client.who_am_i().await.expect("first");
        client.who_am_i().await.expect("second");
        assert_eq!(
            client.who_am_i().await,
            Err(Error::RateLimited { stated: Some(2) })
        );
        assert_eq!(client.budget().limit(), Some(2));
        assert_eq!(simulator.counts().limited, 1);
    }
}

#[tokio::test]
async fn a_client_within_its_plan_is_never_refused() {
    let limit = RateLimit {
        calls: 5,
        window: Duration::from_millis(100),
        status: 429,
    };
    let Bench { simulator, .. } = bench(Settings {
        rate_limit: Some(limit),
        ..unlimited()
    })
    .await;
    let budget = Budget::new(limit.calls, limit.window, None);
    let client = client(&simulator.api(), &simulator, budget);
    let calls = (0..30).map(|_| client.who_am_i());
    for outcome in futures_util::future::join_all(calls).await {
        outcome.expect("within the plan");
    }
    assert_eq!(simulator.counts().limited, 0);
}

#[tokio::test]
async fn calls_made_together_share_time_not_a_queue() {
    let Bench { client, simulator } = bench(unlimited()).await;
    simulator.set_latency(Duration::from_millis(100));
    let start = tokio::time::Instant::now();
    let calls = (0..300).map(|_| client.who_am_i());
    for outcome in futures_util::future::join_all(calls).await {
        outcome.expect("answered");
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_what_is_read(
        name in "[^<\\p{Cc}]{1,40}",
        mrn in "[0-9A-Za-z %&+/?#'\"é-]{1,20}",
    ) {
        prop_assume!(!mrn.trim().is_empty());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (id, found) = runtime.block_on(async {
            let Bench { client, .. } = bench(unlimited()).await;
            let sent = [Attribute::text("FirstName", name.clone()), Attribute::text("mx_MRN", mrn.clone())];
            let id = client.create_lead(&sent).await.expect("created");
            let found = client.search("mx_MRN", &mrn, &["FirstName"]).await.expect("searched");
            (id, found)
        });
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(&found[0].id, &id);
        prop_assert_eq!(found[0].get("FirstName"), Some(name.as_str()));
    }
}

mod webhooks;
