//! Webhooks of the simulator: how they are made, what they tell of, and how they give up.

use std::sync::Mutex;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};

use super::*;

/// What a receiver of webhooks got, and what it answers.
#[derive(Default)]
struct Receiver {
    status: u16,
    got: Mutex<Vec<(String, Bytes)>>,
}

impl Receiver {
    /// Starts one; gives its address.
    async fn start(status: u16) -> (String, Arc<Self>) {
        let receiver = Arc::new(Self {
            status,
            ..Self::default()
        });
        let router = Router::new().fallback(take).with_state(receiver.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        (format!("http://{address}/hook"), receiver)
    }

    /// Query and body of all that was delivered.
    fn got(&self) -> Vec<(String, Value)> {
        let got = self.got.lock().expect("no panic");
        got.iter()
            .map(|(query, body)| {
                let body = serde_json::from_slice(body).expect("JSON");
                (query.clone(), body)
            })
            .collect()
    }
}

async fn take(State(receiver): State<Arc<Receiver>>, request: Request) -> StatusCode {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let is_right = parts.headers.get("x-key").is_some_and(|key| key == "k");
    if parts.method == Method::HEAD || (body.is_empty() && is_right) {
        return StatusCode::OK;
    }
    if !is_right {
        return StatusCode::NOT_FOUND;
    }
    let query = parts.uri.query().unwrap_or_default().to_owned();
    receiver.got.lock().expect("no panic").push((query, body));
    StatusCode::from_u16(receiver.status).expect("a status")
}

fn quick(webhooks: Webhooks) -> Settings {
    Settings {
        webhooks: Webhooks {
            spacing: Duration::from_millis(1),
            grouped: webhooks.grouped.filter(|_| false),
            ..webhooks
        },
        ..unlimited()
    }
}

fn hook(url: &str, event: &str, activity: Option<&str>) -> Value {
    let properties = json!({ "ActivityEvent": activity.unwrap_or_default() });
    let mut body = json!({
        "URL": url, "Method": "POST", "ContentType": "application/json", "WebhookEvent": event,
        "WebhookProperties": properties.to_string(), "CustomHeaders": [{"Key": "x-key", "Value": "k"}],
    });
    if let Some(activity) = activity {
        body["ActivityEvent"] = activity.into();
    }
    body
}

fn service(call: &str) -> String {
    format!("/v2/Webhook.svc/{call}")
}

impl Bench {
    async fn hook(&self, body: Value) -> String {
        let (status, body) = self.post(&service("Create"), body).await;
        assert_eq!(status, 200, "{body}");
        body["Message"]["Id"].as_str().expect("an id").to_owned()
    }
}

#[tokio::test]
async fn what_a_webhook_must_be_like() {
    let bench = bench(quick(Webhooks::default())).await;
    let (url, _) = Receiver::start(200).await;
    let good = hook(&url, "2", Some("205"));
    let check = async |member: &str, value: Value, expected: &str| {
        let mut body = good.clone();
        body[member] = value;
        let answer = bench.post(&service("Create"), body).await;
        assert_eq!(verdict(&answer), expected, "{member}: {}", answer.1);
    };
    let invalid = "500 MXInvalidInputException";
    check(
        "WebhookProperties",
        json!({}),
        "400 MXInvalidRequestException",
    )
    .await;
    check("WebhookProperties", "no".into(), invalid).await;
    check(
        "WebhookProperties",
        "{\"ActivityEvent\":\"21\"}".into(),
        invalid,
    )
    .await;
    check(
        "ActivityEvent",
        Value::Null,
        "500 MXInvalidDataTypeException",
    )
    .await;
    check("WebhookEvent", "5".into(), invalid).await;
    check("Method", "GET".into(), invalid).await;
    check("ContentType", "text/html".into(), invalid).await;
    check("URL", "ftp://x".into(), invalid).await;
    check("URL", "http://127.0.0.1:1/".into(), invalid).await;
    // An empty body without the header is not answered with 200 there.
    check("CustomHeaders", json!([]), invalid).await;
    for _ in 0..3 {
        bench.hook(good.clone()).await;
    }
    let fourth = bench.post(&service("Create"), good).await;
    assert_eq!(verdict(&fourth), "500 MXLimitExceededException");
    let id = bench.simulator.webhooks()[0].id.clone();
    let (status, _) = bench.post(&service("Delete"), json!({})).await;
    assert_eq!(status, 405);
    let gone = format!("{}?webhookId={id}", service("Delete"));
    assert_eq!(bench.get(&gone).await.0, 200);
    assert_eq!(bench.get(&gone).await.0, 500);
}

#[tokio::test]
async fn what_is_told_of() {
    let settings = Webhooks {
        plan_limit: 30,
        ..Webhooks::default()
    };
    let bench = bench(quick(settings)).await;
    let (url, receiver) = Receiver::start(200).await;
    for event in ["3", "6"] {
        bench.hook(hook(&url, event, None)).await;
    }
    for event in ["2", "15"] {
        bench.hook(hook(&url, event, Some("205"))).await;
    }
    let told = async |count: usize| bench.simulator.until(|it| it.told == count).await;

    let id = bench.lead(&[("FirstName", "Ana"), ("mx_MRN", "1")]).await;
    told(1).await;
    let update = |more: &str| format!("{}?leadId={id}{more}", lead("Lead.Update"));
    bench
        .post(&update(""), pairs(&[("LastName", "Ortiz")]))
        .await;
    bench
        .post(
            &update("&postUpdatedLead=true"),
            pairs(&[("LastName", "Ortega")]),
        )
        .await;
    told(2).await;
    assert_eq!(
        bench.simulator.edit_lead(&id, &[("LastName", "Ortega")]),
        Ok(false)
    );
    assert_eq!(
        bench.simulator.edit_lead(&id, &[("LastName", "Oliva")]),
        Ok(true)
    );
    told(3).await;
    let made = bench
        .simulator
        .create_activity(&id, 205, &[("Status", "Booked")]);
    let made = made.expect("an activity");
    told(4).await;
    bench
        .simulator
        .edit_activity(&made, &[("Status", "Moved")])
        .expect("a change");
    told(5).await;
    bench
        .simulator
        .create_activity(&id, 21, &[])
        .expect("an activity of a type that nobody asks for");

    let got = receiver.got();
    assert_eq!(got.len(), 5);
    assert!(
        got[0].0.starts_with("entityType=webhook&entityId="),
        "{}",
        got[0].0
    );
    assert!(
        got[0].0.ends_with("&eventType=Lead_Post_Create"),
        "{}",
        got[0].0
    );
    assert_eq!(
        (&got[0].1["ProspectID"], &got[0].1["mx_MRN"]),
        (&json!(id), &json!("1"))
    );
    let names = |at: usize| {
        (
            &got[at].1["Before"]["LastName"],
            &got[at].1["After"]["LastName"],
        )
    };
    assert_eq!(names(1), (&json!("Ortiz"), &json!("Ortega")));
    assert_eq!(names(2), (&json!("Ortega"), &json!("Oliva")));
    assert_ne!(
        got[1].1["After"]["ModifiedBy"],
        got[2].1["After"]["ModifiedBy"]
    );
    assert_eq!(got[3].1["Data"]["Status"], "Booked");
    assert_eq!(
        (&got[4].1["ActivityEvent"], &got[4].1["Data"]["Status"]),
        (&json!("205"), &json!("Moved"))
    );
}

#[tokio::test]
async fn activities_come_together() {
    let mut settings = quick(Webhooks::default());
    settings.webhooks.grouped = Some(Duration::from_millis(100));
    let bench = bench(settings).await;
    let (url, receiver) = Receiver::start(200).await;
    bench.hook(hook(&url, "2", Some("205"))).await;
    let id = bench
        .simulator
        .create_lead(&[("FirstName", "Ana")])
        .expect("a lead");
    for _ in 0..30 {
        let made = bench.simulator.create_activity(&id, 205, &[]);
        made.expect("an activity");
    }
    bench.simulator.until(|counts| counts.told == 2).await;
    let sizes: Vec<_> = receiver
        .got()
        .iter()
        .map(|(_, body)| body.as_array().map(Vec::len))
        .collect();
    assert_eq!(sizes, [Some(25), Some(5)]);
}

#[tokio::test]
async fn a_webhook_that_is_not_answered_is_turned_off() {
    let bench = bench(quick(Webhooks::default())).await;
    let (url, receiver) = Receiver::start(503).await;
    let hook = bench.hook(hook(&url, "3", None)).await;
    for name in ["A", "B", "C", "D", "E"] {
        bench
            .simulator
            .create_lead(&[("FirstName", name)])
            .expect("a lead");
    }
    // Three tries each, and the tenth wrong answer is the last.
    bench.simulator.until(|counts| counts.not_told == 4).await;
    assert_eq!(receiver.got().len(), 10);
    assert_eq!(
        bench.simulator.webhooks()[0].status,
        "disabled after failures"
    );
    assert!(bench.simulator.enable_webhook(&hook, true));
    assert_eq!(bench.simulator.webhooks()[0].status, "enabled");
}

#[tokio::test]
async fn a_person_changes_leads_by_forms_and_as_json() {
    let bench = bench(unlimited()).await;
    let url = |path: &str| format!("{}{path}", bench.simulator.api());
    let form = async |path: &str, body: &str| {
        let request = bench.http.post(url(path)).body(body.to_owned());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.send().await.expect("an answer").status().as_u16()
    };
    // The browser is sent on to the page.
    assert_eq!(
        form("/leads", "FirstName=Ana&LastName=&mx_MRN=1").await,
        200
    );
    let lead = bench.simulator.leads().remove(0);
    assert_eq!(
        lead.values.get("FirstName").map(String::as_str),
        Some("Ana")
    );
    let (status, page) = bench.get(&format!("/leads/{}", lead.id)).await;
    assert!(
        status == 200 && page.to_string().contains("value=\\\"Ana\\\""),
        "{page}"
    );
    let edit = json!({ "values": { "FirstName": "Anna", "mx_MRN": null } });
    let (status, answer) = bench.post(&format!("/leads/{}", lead.id), edit).await;
    assert_eq!((status, &answer["id"]), (200, &json!(lead.id)));
    let values = bench.simulator.leads().remove(0).values;
    assert_eq!(values.get("FirstName").map(String::as_str), Some("Anna"));
    assert!(!values.contains_key("mx_MRN"));
    let booking = json!({ "code": 205, "note": "n", "values": { "Status": "Booked" } });
    let (status, made) = bench
        .post(&format!("/leads/{}/activities", lead.id), booking)
        .await;
    assert_eq!(status, 200, "{made}");
    let id = made["id"].as_str().expect("an id");
    assert_eq!(
        form(&format!("/activities/{id}"), "Status=Moved&note=m").await,
        200
    );
    let activity = bench.simulator.activities().remove(0);
    assert_eq!(
        (activity.note.as_str(), activity.values["Status"].as_str()),
        ("m", "Moved")
    );
    let wrong = json!({ "values": { "mx_None": "1" } });
    let (status, answer) = bench.post(&format!("/leads/{}", lead.id), wrong).await;
    assert!(
        status == 422 && answer.to_string().contains("mx_None"),
        "{answer}"
    );
    assert!(
        bench.simulator.writes().is_empty(),
        "a person's changes are no API writes"
    );
}

#[tokio::test]
async fn what_was_changed_lately_is_listed() {
    let bench = bench(unlimited()).await;
    bench.lead(&[("FirstName", "Ana")]).await;
    let second = bench.lead(&[("FirstName", "Bo")]).await;
    let path = lead("Leads.RecentlyModified");
    let ask = |from: &str, size: u32| {
        json!({
            "Parameter": { "FromDate": from, "ToDate": "2999-01-01 00:00:00" },
            "Columns": { "Include_CSV": "ProspectID, FirstName, mx_None" },
            "Paging": { "PageIndex": 2, "PageSize": size },
        })
    };
    let (status, page) = bench.post(&path, ask("2020-01-01 00:00:00", 1)).await;
    assert_eq!((status, &page["RecordCount"]), (200, &json!(2)));
    let expected = json!([
        {"Attribute": "ProspectID", "Value": second},
        {"Attribute": "FirstName", "Value": "Bo"},
        {"Attribute": "CanUpdate", "Value": "true"},
        {"Attribute": "Total", "Value": "2"},
    ]);
    assert_eq!(page["Leads"][0]["LeadPropertyList"], expected);
    assert_eq!(page["Leads"].as_array().map(Vec::len), Some(1));
    let (_, none) = bench.post(&path, ask("2998-01-01 00:00:00", 1)).await;
    assert_eq!(none, json!({ "RecordCount": 0 }));
    let large = bench.post(&path, ask("2020-01-01 00:00:00", 5_001)).await;
    assert_eq!(verdict(&large), "500 MXMandatoryFieldMissingException");
    let wrong = bench.post(&path, ask("yesterday", 1)).await;
    assert_eq!(verdict(&wrong), "500 MXInvalidInputException");
}
