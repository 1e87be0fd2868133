//! The simulator over real HTTP, with a plain HTTP client that knows nothing of ours.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

struct Bench {
    simulator: Handle,
    http: reqwest::Client,
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
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build();
    Bench {
        simulator,
        http: http.expect("a client"),
    }
}

fn unlimited() -> Settings {
    Settings {
        rate_limit: None,
        seed: Some(1),
        ..Settings::default()
    }
}

impl Bench {
    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let keys = self.simulator.keys();
        let answer = request
            .header("X-LSQ-AccessKey", &keys.access_key)
            .header("x-lsq-secretkey", &keys.secret_key)
            .send()
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.simulator.api());
        self.send(self.http.post(url).json(&body)).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.simulator.api());
        self.send(self.http.get(url)).await
    }

    /// Creates a lead and gives its id.
    async fn lead(&self, values: &[(&str, &str)]) -> String {
        let (status, body) = self.post(&lead("Lead.Create"), pairs(values)).await;
        assert_eq!(status, 200, "{body}");
        body["Message"]["Id"].as_str().expect("an id").to_owned()
    }
}

fn lead(call: &str) -> String {
    format!("/v2/LeadManagement.svc/{call}")
}

fn activity(call: &str) -> String {
    format!("/v2/ProspectActivity.svc/{call}")
}

fn pairs(values: &[(&str, &str)]) -> Value {
    values
        .iter()
        .map(|(name, value)| json!({"Attribute": name, "Value": value}))
        .collect()
}

/// The status and the exception, or `ok`.
fn verdict((status, body): &(u16, Value)) -> String {
    let exception = body["ExceptionType"].as_str().unwrap_or("ok");
    format!("{status} {exception}")
}

#[tokio::test]
async fn keys_are_asked_for_in_headers_or_query() {
    let bench = bench(unlimited()).await;
    let keys = bench.simulator.keys().clone();
    let url = format!(
        "{}/v2/Authentication.svc/UserByAccessKey.Get",
        bench.simulator.api()
    );
    let status = async |query: &[(&str, &str)]| {
        let url = reqwest::Url::parse_with_params(&url, query).expect("an address");
        let answer = bench.http.get(url).send().await;
        answer.expect("an answer").status().as_u16()
    };
    let (access, secret) = (keys.access_key.as_str(), keys.secret_key.as_str());
    assert_eq!(status(&[]).await, 401);
    assert_eq!(
        status(&[("accessKey", access), ("secretKey", "no")]).await,
        401
    );
    assert_eq!(
        status(&[("accessKey", access), ("secretKey", secret)]).await,
        200
    );
    assert_eq!(
        status(&[("accesskey", access), ("secretkey", secret)]).await,
        200
    );
    assert_eq!(
        bench
            .get("/v2/Authentication.svc/UserByAccessKey.Get")
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn what_the_api_rejects_is_rejected_whole() {
    let bench = bench(unlimited()).await;
    let id = bench.lead(&[("FirstName", "Ana"), ("mx_MRN", "1")]).await;
    bench
        .lead(&[
            ("EmailAddress", "bo@example.com"),
            ("Phone", "+1-5550000002"),
        ])
        .await;
    let update = format!("{}?leadId={id}", lead("Lead.Update"));
    let nobody = format!(
        "{}?leadId=5f0c1b1e-0000-4000-8000-000000000000",
        lead("Lead.Update")
    );
    let booking = |code: Value, fields: Value| json!({"RelatedProspectId": id, "ActivityEvent": code, "Fields": fields});
    let cases = [
        (
            lead("Lead.Create"),
            json!({"not": "an array"}),
            "400 MXInvalidRequestException",
        ),
        (
            lead("Lead.Create"),
            pairs(&[("mx_City", "Austin")]),
            "500 MXMandatoryAttributeMissingException",
        ),
        (
            lead("Lead.Create"),
            pairs(&[("FirstName", "Bo"), ("mx_MRN", "1")]),
            "500 MXDuplicateEntryException",
        ),
        (
            lead("Lead.Create"),
            pairs(&[("FirstName", "Bo"), ("mx_Nope", "1")]),
            "500 MXUnknownAttributeException",
        ),
        (
            lead("Lead.Create"),
            pairs(&[("FirstName", "Bo"), ("CreatedOn", "1")]),
            "500 MXInvalidInputException",
        ),
        (
            lead("Lead.Create"),
            pairs(&[("FirstName", "Bo"), ("Score", "many")]),
            "500 MXInvalidDataTypeException",
        ),
        (
            lead("Lead.Update"),
            pairs(&[("FirstName", "Bo")]),
            "500 MXMandatoryAttributeMissingException",
        ),
        (
            nobody,
            pairs(&[("FirstName", "Bo")]),
            "500 MXInvalidEntityReferenceException",
        ),
        (
            update.clone(),
            pairs(&[("FirstName", "Bo"), ("Phone", "(555) 000-0002")]),
            "500 MXDuplicateEntryException",
        ),
        (
            update,
            pairs(&[("FirstName", "Bo"), ("mx_Date_of_Birth", "19800101")]),
            "500 MXInvalidDataTypeException",
        ),
        (
            lead("Lead.CreateOrUpdate"),
            pairs(&[("FirstName", "Bo"), ("SearchBy", "mx_City")]),
            "500 MXInvalidInputException",
        ),
        (
            lead("Lead.CreateOrUpdate"),
            pairs(&[
                ("EmailAddress", "new@example.com"),
                ("Phone", "+1-5550000002"),
            ]),
            "500 MXDuplicateEntryException",
        ),
        (
            lead("Lead.Capture"),
            pairs(&[
                ("SearchBy", "mx_MRN"),
                ("mx_MRN", "1"),
                ("Phone", "+1-5550000002"),
            ]),
            "500 MXDuplicateEntryException",
        ),
        (lead("Leads.GetById"), json!([]), "405 ok"),
        (lead("Lead.Nope"), json!([]), "404 ok"),
        (
            activity("Create"),
            booking(json!(null), json!([])),
            "500 MXInvalidDataTypeException",
        ),
        (
            activity("Create"),
            booking(json!(999), json!([])),
            "500 MXInvalidActivityException",
        ),
        (
            activity("Create"),
            booking(
                json!(205),
                json!([{"SchemaName": "mx_Custom_49", "Value": "x"}]),
            ),
            "500 MXUnknownAttributeException",
        ),
        (
            activity("Create"),
            booking(
                json!(205),
                json!([{"SchemaName": "mx_Custom_2", "Value": "20261009"}]),
            ),
            "500 MXInvalidDataTypeException",
        ),
        (
            activity("Create"),
            json!({"ActivityEvent": 205}),
            "500 MXMandatoryAttributeMissingException",
        ),
        (
            activity("CustomActivity/Update"),
            json!({"ProspectActivityId": id, "ActivityEvent": 205}),
            "500 MXUnknownProspectActivityException",
        ),
        (
            activity("CustomActivity/RetrieveByActivityEvent"),
            json!({"Parameter": {"FromDate": "2026-01-01", "ToDate": "2026-12-31"}}),
            "500 MXInvalidInputException",
        ),
    ];
    let before = (bench.simulator.leads(), bench.simulator.counts().writes);
    for (path, body, expected) in cases {
        let answer = bench.post(&path, body.clone()).await;
        assert_eq!(verdict(&answer), expected, "{path} {body} {}", answer.1);
    }
    assert_eq!(
        (bench.simulator.leads(), bench.simulator.counts().writes),
        before
    );

    let url = format!("{}{}", bench.simulator.api(), lead("Lead.Create"));
    let plain = bench.http.post(url).body("[]");
    assert_eq!(
        bench.send(plain).await.0,
        400,
        "the content type is asked for"
    );
}

#[tokio::test]
async fn leads_are_matched_as_the_api_matches_them() {
    let bench = bench(unlimited()).await;
    let ana = bench
        .lead(&[("EmailAddress", "ana@example.com"), ("mx_MRN", "1")])
        .await;
    let bo = bench
        .lead(&[("FirstName", "Bo"), ("Phone", "5550000002")])
        .await;
    let path = lead("Lead.CreateOrUpdate");
    let upsert = async |values: &[(&str, &str)]| {
        let (_, body) = bench.post(&path, pairs(values)).await;
        body["Message"]["Id"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        upsert(&[("EmailAddress", "ANA@example.com"), ("mx_City", "Austin")]).await,
        ana
    );
    assert_eq!(
        upsert(&[("Phone", "+1-5550000002"), ("mx_City", "Austin")]).await,
        bo
    );
    assert_eq!(
        upsert(&[
            ("SearchBy", "mx_MRN"),
            ("mx_MRN", "1"),
            ("LastName", "Ortiz")
        ])
        .await,
        ana
    );
    let new = upsert(&[
        ("SearchBy", "mx_MRN"),
        ("mx_MRN", ""),
        ("LastName", "Ortiz"),
    ])
    .await;
    assert!(new != ana && new != bo && !new.is_empty());

    let capture = async |behaviour: &str, values: &[(&str, &str)]| {
        let path = format!("{}?LeadUpdateBehavior={behaviour}", lead("Lead.Capture"));
        let (_, body) = bench.post(&path, pairs(values)).await;
        (
            body["Message"]["RelatedId"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            body["Message"]["IsCreated"] == true,
        )
    };
    let known = ("EmailAddress", "ana@example.com");
    assert_eq!(
        capture("DoNotUpdate", &[known, ("mx_City", "Boston")]).await,
        (ana.clone(), false)
    );
    assert_eq!(
        capture(
            "UpdateOnlyEmptyFields",
            &[known, ("mx_City", "Boston"), ("mx_State", "TX")]
        )
        .await
        .0,
        ana
    );
    assert_eq!(
        capture("DoNotUpdateUniqueFields", &[known, ("mx_MRN", "9")])
            .await
            .0,
        ana
    );
    let (other, is_new) = capture(
        "",
        &[("ProspectID", &ana), ("EmailAddress", "else@example.com")],
    )
    .await;
    assert!(is_new && other != ana);
    let lead = &bench.simulator.leads_with("mx_MRN", "1")[0];
    assert_eq!(lead.values["mx_City"], "Austin");
    assert_eq!(lead.values["mx_State"], "TX");
}

#[tokio::test]
async fn an_email_that_misses_goes_on_to_the_phone_when_told_to() {
    let bench = bench(Settings {
        match_phone_too: true,
        ..unlimited()
    })
    .await;
    let bo = bench
        .lead(&[("FirstName", "Bo"), ("Phone", "5550000002")])
        .await;
    let values = pairs(&[("EmailAddress", "bo@example.com"), ("Phone", "5550000002")]);
    let (_, body) = bench.post(&lead("Lead.CreateOrUpdate"), values).await;
    assert_eq!(body["Message"]["Id"], json!(bo));
}

#[tokio::test]
async fn leads_are_read_flat_with_everything_as_text() {
    let bench = bench(unlimited()).await;
    let id = bench
        .lead(&[
            ("FirstName", "Ana"),
            ("Phone", "(555) 000-0001"),
            ("DoNotCall", "true"),
        ])
        .await;
    let (_, by_id) = bench
        .get(&format!("{}?id={id}", lead("Leads.GetById")))
        .await;
    let flat = &by_id[0];
    assert_eq!(flat["ProspectID"], json!(id));
    assert_eq!(flat["Phone"], "+1-5550000001");
    assert_eq!(flat["DoNotCall"], "1");
    assert_eq!(flat["mx_MRN"], Value::Null);
    assert!(
        flat["CreatedOn"]
            .as_str()
            .is_some_and(|at| at.ends_with(".000")),
        "{flat}"
    );
    for phone in ["5550000001", "15550000001", "%2B1-5550000001"] {
        let path = format!("{}?phone={phone}", lead("RetrieveLeadByPhoneNumber"));
        assert_eq!(
            bench.get(&path).await.1[0]["ProspectID"],
            json!(id),
            "{phone}"
        );
    }
    let search = async |name: &str, value: &str, operator: &str| {
        let body = json!({
            "Parameter": {"LookupName": name, "LookupValue": value, "SqlOperator": operator},
            "Columns": {"Include_CSV": "ProspectID,FirstName"},
            "Paging": {"PageIndex": 1, "PageSize": 100}
        });
        let (status, body) = bench.post(&lead("Leads.Get"), body).await;
        (status, body.as_array().map_or(0, Vec::len))
    };
    bench.lead(&[("FirstName", "Bo")]).await;
    assert_eq!(search("FirstName", "Ana", "=").await, (200, 1));
    assert_eq!(search("FirstName", "%n%", "LIKE").await, (200, 1));
    assert_eq!(search("FirstName", "Ana", "<>").await, (200, 1));
    assert_eq!(search("DoNotCall", "1", "=").await, (200, 1));
    assert_eq!(search("DoNotCall", "true", "=").await, (500, 0));
    assert_eq!(
        search("mx_Nope", "Ana", "=").await,
        (200, 2),
        "silently unfiltered"
    );
}

#[tokio::test]
async fn metadata_grows() {
    let bench = bench(unlimited()).await;
    let field = json!({"DisplayName": "Chart Number", "DataType": "Text", "MaxLength": "10"});
    assert_eq!(bench.post(&lead("CreateLeadField"), field).await.0, 200);
    let (_, fields) = bench
        .get(&format!(
            "{}?schemaName=mx_Chart_Number",
            lead("LeadsMetaData.Get")
        ))
        .await;
    assert_eq!(fields[0]["MaxLength"], "10");
    assert_eq!(fields[0]["IsLeadIdentifier"], false);
    bench
        .lead(&[("FirstName", "Ana"), ("mx_Chart_Number", "7")])
        .await;

    let kind = json!({"ActivityEventName": "EHR Result", "Fields": [
        {"SchemaName": "mx_Custom_1", "DisplayName": "Order", "DataType": "String", "IsMandatory": true}]});
    let (_, made) = bench.post(&activity("CreateType"), kind).await;
    assert_eq!(made["Message"]["Id"], "206");
    let (_, types) = bench.get(&activity("ActivityTypes.Get")).await;
    assert_eq!(types[3]["ActivityEventName"], "EHR Result");
}

#[tokio::test]
async fn the_window_slides() {
    let bench = bench(Settings {
        rate_limit: Some(RateLimit {
            calls: 2,
            ..RateLimit::default()
        }),
        ..unlimited()
    })
    .await;
    let path = activity("ActivityTypes.Get");
    assert_eq!(bench.get(&path).await.0, 200);
    assert_eq!(bench.get(&path).await.0, 200);
    let (status, body) = bench.get(&path).await;
    assert_eq!(status, 429);
    assert_eq!(
        body["ExceptionMessage"],
        "API calls exceeded the limit of 2 in 5 second(s)"
    );
    let counts = bench.simulator.counts();
    assert_eq!((counts.calls, counts.limited), (2, 1));

    let origin = tokio::time::Instant::now();
    let mut window = rate::Window::default();
    let limit = RateLimit::default();
    let at = |ms: u64| origin + Duration::from_millis(ms);
    let admitted = |window: &mut rate::Window, ms| window.admits(&limit, at(ms));
    assert!((0..25).all(|ms| admitted(&mut window, ms)));
    assert!(!admitted(&mut window, 4_999));
    assert!(admitted(&mut window, 5_000));
    assert!(!admitted(&mut window, 5_000));
}

#[tokio::test]
async fn faults_and_state_are_had_over_http_too() {
    let bench = bench(unlimited()).await;
    let (status, waiting) = bench
        .post("/faults", json!([{"kind": "bad-gateway", "when": "after-effect", "route": "Lead.Create", "count": 2}]))
        .await;
    assert_eq!((status, waiting[0]["count"].clone()), (200, json!(2)));
    let ana = pairs(&[("FirstName", "<Ana>")]);
    assert_eq!(bench.post(&lead("Lead.Create"), ana.clone()).await.0, 502);
    let (_, state) = bench.get("/state").await;
    assert_eq!(state["counts"]["leads"], 1);
    assert_eq!(state["leads"][0]["values"]["FirstName"], "<Ana>");
    assert_eq!(state["writes"][0]["fault"], "bad-gateway");
    assert_eq!(
        state["writes"][0]["route"],
        "LeadManagement.svc/Lead.Create"
    );
    assert_eq!(state["writes"][0]["body"], ana.to_string());
    let (_, later) = bench.get("/state?after=1").await;
    assert_eq!(
        (later["writes"].clone(), later["leads"].clone()),
        (json!([]), Value::Null)
    );

    let url = format!("{}/faults", bench.simulator.api());
    assert_eq!(bench.send(bench.http.delete(url)).await.1, json!([]));
    let id = bench.lead(&[("FirstName", "Bo")]).await;
    assert_eq!(bench.post("/faults", json!({"kind": "spell"})).await.0, 400);
    bench
        .post("/faults", json!({"kind": "delete-lead", "lead": id}))
        .await;
    bench.simulator.until(|counts| counts.leads == 1).await;
    let page = bench.get("/").await.1;
    let page = page.as_str().expect("a page");
    assert!(
        page.contains("FirstName: &lt;Ana&gt;") && !page.contains("FirstName: Bo"),
        "{page}"
    );
}

#[tokio::test]
async fn a_lead_can_be_gone_by_the_time_it_is_written_to() {
    let bench = bench(unlimited()).await;
    let id = bench.lead(&[("FirstName", "Ana"), ("mx_MRN", "1")]).await;
    bench.simulator.inject(
        Fault::once(Kind::DeleteLead, When::BeforeEffect).on("ProspectActivity.svc/Create"),
    );
    let answer = bench
        .post(
            &activity("Create"),
            json!({"RelatedProspectId": id, "ActivityEvent": 205}),
        )
        .await;
    assert_eq!(verdict(&answer), "500 MXInvalidEntityReferenceException");
    bench.lead(&[("FirstName", "Ana"), ("mx_MRN", "1")]).await;
}

#[tokio::test]
async fn lead_and_activity_come_in_one_call_too() {
    let bench = bench(unlimited()).await;
    let both = json!({
        "LeadDetails": pairs(&[("FirstName", "Ana"), ("mx_MRN", "1"), ("SearchBy", "mx_MRN")]),
        "Activity": {"ActivityEvent": 205, "Fields": [{"SchemaName": "mx_Custom_1", "Value": "A1"}]}
    });
    let (_, first) = bench.post(&activity("CreateCustom"), both.clone()).await;
    let (_, second) = bench.post(&activity("CreateCustom"), both).await;
    assert_eq!(
        first["Message"]["RelatedId"],
        second["Message"]["RelatedId"]
    );
    let counts = bench.simulator.counts();
    assert_eq!(
        (counts.leads, counts.activities),
        (1, 2),
        "no activity is recognised"
    );
    let id = first["Message"]["Id"].as_str().expect("an id");
    let (_, details) = bench
        .get(&format!(
            "{}?activityId={id}",
            activity("GetActivityDetails")
        ))
        .await;
    assert_eq!(details["Fields"][0]["Value"], "A1");
}

mod webhooks;
