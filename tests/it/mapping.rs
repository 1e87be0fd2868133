//! Components through the runtime: what an honest one gives, and how each misbehaviour ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ligature::flow::change::{Change, Composed};
use ligature::flow::mapped::{Mapped, Refusal, Value};
use ligature::flow::{CodeTable, Digest, Direction, FlowId, Release};
use ligature::hl7::Message;
use ligature::mapping::document::Document;
use ligature::mapping::{
    ChangeInput, Component, Config, Failure, Input, Run, Runtime, Tables, generate,
};
use ligature_tests::guests;

mod contract;
mod gate;
mod generated;
mod limits;
mod made;
mod outbound;

const MESSAGE: &[u8] = b"MSH|^~\\&|A|B|C|D|20260302||ADT^A04|1|P|2.5.1\r\
    PID|1||4711^^^B^MR||Hartmann^Lena||19880705|F|||||||||||987-65-4329\r";

/// A lead that moved and lost its phone number, with an appointment.
const CHANGE: &str = r#"{"event":"lead-activity-create",
    "lead":{
        "before":{"LastName":"Hartmann","Phone":"+1-2075550134","mx_City":"Portland","mx_MRN":"4711"},
        "after":{"FirstName":"Lena","LastName":"Hartmann","Phone":"","Mobile":null,"mx_City":"Bath","mx_Zip":"04530",
            "mx_MRN":"4711","ProspectAutoId":"3142","mx_Date_of_Birth":"1988-07-05","mx_Gender":"Female",
            "EmailAddress":"lena@example.org","Salary":"1"}},
    "activity":{"after":{"mx_Custom_1":"","ProspectActivityId":"e85e","mx_Custom_2":"2026-03-09 14:30:00",
        "mx_Custom_6":"Office visit","Status":"Booked","Note":"Bring reports"}}}"#;

/// A runtime with a folder of its own.
struct Fixture {
    runtime: Arc<Runtime>,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = start(folder.path());
        Self { runtime, folder }
    }

    fn load(&self, component: &[u8]) -> Arc<Component> {
        let loaded = self.runtime.load(component);
        loaded.unwrap_or_else(|rejected| panic!("{rejected}"))
    }
}

fn start(folder: &std::path::Path) -> Arc<Runtime> {
    let config = Config {
        // Machines that run tests are busy; only `limits` looks at the usual deadline.
        deadline: Duration::from_secs(20),
        ..Config::new(folder.into())
    };
    Arc::new(Runtime::new(config, mac).unwrap())
}

/// Stands in for the vault's: a digest with a key in front.
fn mac(bytes: &[u8]) -> [u8; 32] {
    let digest = Digest::of(&[b"key", bytes].concat());
    let half = digest.as_str().as_bytes()[..32].try_into();
    half.unwrap()
}

/// A release that grants all that the component asks for.
fn release(component: &Component) -> Release {
    Release {
        flow: FlowId::from("flow"),
        component: component.digest.clone(),
        grants: component.manifest.grants(),
        bindings: BTreeMap::new(),
        settings: BTreeMap::new(),
        tables: BTreeMap::new(),
    }
}

/// A code table of one column, under the component's name for it.
fn table(name: &str, code: &str, value: &str) -> Arc<Tables> {
    let mut table = CodeTable::new("account".into(), format!("The {name}"));
    table.entries.insert(code.into(), vec![value.into()]);
    Arc::new(Tables::from([(name.into(), Arc::new(table.into()))]))
}

fn input(release: &Arc<Release>, event: &str, message: &[u8]) -> Input {
    Input {
        message: Arc::new(Message::parse(message).unwrap()),
        release: release.clone(),
        tables: Default::default(),
        event: event.into(),
        received_at_ms: 1_772_438_114_000,
        time_zone: "America/New_York".into(),
        default_country_code: Some("1".into()),
        channel: "ehr".into(),
    }
}

fn change_input(release: &Arc<Release>, change: &str) -> ChangeInput {
    let change: Change = serde_json::from_str(change).unwrap();
    ChangeInput {
        change: Arc::new(change),
        release: release.clone(),
        tables: Default::default(),
        received_at_ms: 1_772_438_114_000,
        time_zone: "America/New_York".into(),
        default_country_code: Some("1".into()),
        channel: "ehr".into(),
    }
}

/// What a lead target was given, as text.
fn lead(run: &Run, target: &str) -> String {
    let Ok(Mapped::Write(write)) = &run.outcome else {
        panic!("{:?}", run.outcome.as_ref().map(|_| "skipped"));
    };
    let mut values = write.lead.iter().filter(|one| one.target == target);
    match values.next().map(|one| &one.value) {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn sentence<T>(run: &Run<T>) -> String {
    match &run.outcome {
        Ok(_) => panic!("it was mapped"),
        Err(failure) => failure.sentence(),
    }
}

#[tokio::test]
async fn an_example_plugin_maps_through_the_host() {
    let fixture = Fixture::new();
    let component = fixture.load(&guests::example("rust-appointments"));
    let mut release = release(&component);
    release
        .settings
        .insert("authority".into(), "LAKESIDE".into());
    let message = b"MSH|^~\\&|S|L|C|D|20260302||SIU^S15|1|P|2.5.1\r\
        SCH||B-9|||||||||^^^202603091030-0500\r\
        PID|1||1^^^X^MR~4711^^^LAKESIDE^MR||Hartmann^Lena\r\
        AIS|1||A^Office visit\rAIS|2||B^Blood test\rAIP|1||1001\rAIP|2||9\r\
        ZAP|video|https://visits.example.org/r/4711\r";
    let input = Input {
        tables: table("providers", "1001", "Dr Marta Reyes"),
        ..input(&Arc::new(release), "SIU^S15", message)
    };
    let run = fixture.runtime.to_lead_squared(&component, input).await;
    assert_eq!(lead(&run, "mrn"), "4711");
    let Ok(Mapped::Write(write)) = run.outcome else {
        panic!("skipped");
    };
    let activity = &write.activities[0];
    assert_eq!(activity.key.as_deref(), Some("B-9"));
    assert_eq!(activity.note.as_deref(), Some("Office visit, Blood test"));
    assert_eq!(activity.at.unwrap().at.to_string(), "2026-03-09T10:30:00");
    let fields: Vec<_> = activity.fields.iter().map(|field| &field.value).collect();
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(
        fields,
        [
            &text("Cancelled"),
            &text("Dr Marta Reyes"),
            &text("Video: https://visits.example.org/r/4711")
        ]
    );
}
