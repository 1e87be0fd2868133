//! (f) Finishing: 20 values for 20 fields of a lead, as a registration has them, phones beside plain text.

use std::hint::black_box;

use jiff::civil::{date, datetime};
use ligature::flow::mapped::{DateTime, Value};
use ligature::flow::{Account, Flow};
use ligature::leadsquared::LeadField;
use ligature::sync::finish::{Fields, Finish, phone};
use serde_json::json;
use tokio::time::Instant;

use crate::load::Times;

const ROUNDS: usize = 400;
const CALLS: u32 = 50;

pub(crate) fn run() -> anyhow::Result<serde_json::Value> {
    let account: Account =
        toml::from_str("id = \"a\"\nname = \"A\"\napi = \"http://127.0.0.1:1\"")?;
    let flow: Flow = toml::from_str(
        r#"
id = "f"
account = "a"
name = "F"
direction = "ehr-to-leadsquared"
channel = "c"
event = "ADT^A04"
entity = "lead"
primary_search_field = "mx_MRN"
default_country_code = "1"
time_zone = "America/New_York"
status = { state = "active" }
"#,
    )?;
    let text = |text: &str| Value::Text(text.into());
    let at = DateTime {
        at: datetime(2026, 11, 20, 9, 30, 0, 0),
        offset_minutes: None,
    };
    let values = [
        ("mx_MRN", "Text", text("0012345")),
        ("FirstName", "Text", text("Odalys")),
        ("LastName", "Text", text("Fenwick")),
        ("EmailAddress", "Email", text("odalys@example.org")),
        ("Phone", "Phone", text("(617)555-0143X12")),
        ("Mobile", "Phone", text("+91 98450 98450")),
        ("mx_Work_Phone", "Phone", text("1-617-555-0144")),
        ("mx_Birth_Date", "Date", Value::Date(date(1984, 2, 19))),
        ("mx_Registered", "Date", Value::DateTime(at)),
        ("mx_Admitted", "Date", text("20261120093000-0500")),
        ("mx_Sex", "Select", text("female")),
        ("mx_Clinic", "Select", text("North")),
        ("mx_Consent", "Boolean", text("Y")),
        ("mx_Weight", "Number", text("62.5")),
        ("mx_Street_1", "Text", text("1 Elm Street")),
        ("mx_City", "Text", text("Boston")),
        ("mx_State", "Text", text("MA")),
        ("mx_Zip", "Text", text("02110")),
        ("mx_Country", "Text", text("USA")),
        ("mx_Language", "Text", text("en")),
    ];
    let fields: Fields = values
        .iter()
        .map(|(name, data_type, _)| LeadField {
            schema_name: (*name).into(),
            data_type: (*data_type).into(),
            display_name: (*name).into(),
            max_length: Some(100),
            is_mandatory: false,
            is_unique: false,
            is_locked_after_create: false,
            options: match *data_type {
                "Select" => ["Female", "Male", "North", "South"]
                    .map(String::from)
                    .to_vec(),
                _ => Vec::new(),
            },
        })
        .collect();
    let started = Instant::now();
    anyhow::ensure!(phone("(617)555-0143", Some("1")).is_some(), "a number");
    let first = started.elapsed();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..CALLS {
            let finish = Finish::new(&account, &flow, &fields);
            for (name, _, value) in &values {
                let finished = finish.lead_value(name, value.clone());
                anyhow::ensure!(matches!(black_box(finished), Ok(Ok(Some(_)))), "{name}");
            }
        }
        times[0].push(started.elapsed() / CALLS);
        let started = Instant::now();
        for _ in 0..CALLS {
            black_box(phone(black_box("(617)555-0143X12"), Some("1")));
        }
        times[1].push(started.elapsed() / CALLS);
    }
    let [all, one] = times.map(|times| Times::new(times).quantile(0.5).as_secs_f64() * 1e6);
    eprintln!("  20 values p50 {all:.2} µs, one phone {one:.2} µs, the first phone {first:?}");
    let round = |value: f64| (value * 100.0).round() / 100.0;
    Ok(json!({
        "finish_20_values_us": round(all),
        "one_phone_us": round(one),
        "first_phone_ms": round(first.as_secs_f64() * 1e3),
    }))
}
