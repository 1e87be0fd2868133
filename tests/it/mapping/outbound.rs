//! Outbound components: what an honest one fills, how each misbehaviour ends, and that a component runs one way only.

use ligature::flow::change::{Filling, Placement, Value as Placed};
use ligature::flow::mapped::OnError;
use ligature::flow::{Account, Flow};
use ligature::hl7::fill::{Facts, default_fixed, fill};
use ligature::mapping::Manifest;
use ligature::pipeline::activate::{self, Refused, Source};
use ligature::sync::outgoing::Outgoing;

use super::*;

struct Misbehaving {
    fixture: Fixture,
    component: Arc<Component>,
    release: Arc<Release>,
}

impl Misbehaving {
    fn new() -> Self {
        let fixture = Fixture::new();
        let component = fixture.load(&guests::guest("misbehaving-outbound"));
        let release = Arc::new(release(&component));
        Self {
            fixture,
            component,
            release,
        }
    }

    fn run(&self, way: &str) -> Run<Composed> {
        let change = format!(
            r#"{{"event":"lead-update","lead":{{
                "before":{{"LastName":"Hartman"}},
                "after":{{"LastName":"Hartmann","Way":"{way}","Phone":"+1-2075550134","Salary":"98765"}}}},
                "activity":{{"after":{{"Status":"Booked"}}}}}}"#
        );
        let input = ChangeInput {
            tables: table("codes", "A", "known"),
            ..change_input(&self.release, &change)
        };
        self.fixture.runtime.compose(self.component.clone(), input)
    }
}

fn shown(run: &Run<Composed>) -> Vec<String> {
    let Ok(Composed::Write(placements)) = &run.outcome else {
        panic!("{:?}", run.outcome);
    };
    let show = |placement: &Placement| {
        let value = match &placement.value {
            Placed::Text(text) => text.clone(),
            Placed::Phone { number, form } => format!("{number} {form:?}"),
            other => format!("{other:?}"),
        };
        let required = match placement.on_error {
            OnError::Refuse => "!",
            _ => "",
        };
        format!("{}{required} {value}", placement.path)
    };
    placements.iter().map(show).collect()
}

#[test]
fn every_misbehaviour_ends_with_its_own_code_and_sentence() {
    let guest = Misbehaving::new();
    let check = |way: &str, code: &str, part: &str| {
        let run = guest.run(way);
        let Err(failure) = &run.outcome else {
            panic!("{way}: it was composed");
        };
        let sentence = failure.sentence();
        assert_eq!(failure.code(), code, "{way}: {sentence}");
        assert!(sentence.contains(part), "{way}: {sentence}");
        // What the guest wrote may be patient data.
        for secret in ["Hartman", "2075550134", "98765"] {
            assert!(!sentence.contains(secret), "{way}: {sentence}");
            assert!(!format!("{failure:?}").contains(secret), "{way}");
        }
    };
    let not_granted = "mapping-not-granted";
    check(
        "read-ungranted",
        not_granted,
        "reads a lead field that it does not ask for",
    );
    check(
        "read-made-up",
        not_granted,
        "reads a lead field that it does not ask for",
    );
    check(
        "write-ungranted",
        not_granted,
        "fills PID-19, which this release does not grant",
    );
    check("write-control-id", not_granted, "fills MSH-10");
    let bad = "mapping-bad-answer";
    check("no-path", bad, "a place in it is no path");
    check("condition", bad, "PID-3 cannot be filled: a condition");
    check("twice", bad, "assigns \"PID-5\" twice");
    check("inside", bad, "assigns \"PID-13\" twice");
    check("many", bad, "too many");
    check("date", bad, "a date or time in it does not exist");
    check(
        "large-answer",
        "mapping-over-limit",
        "more than 16 MiB at once",
    );
    check("panic", "mapping-trapped", "it stopped itself");
    check("refuse", "mapping-refused", "a reason of its own");
}

#[test]
fn a_field_that_the_manifest_names_but_nobody_granted_is_named() {
    let mut guest = Misbehaving::new();
    let mut release = (*guest.release).clone();
    release.grants.reads.retain(|read| read != "lead.LastName");
    guest.release = Arc::new(release);
    let sentence = sentence(&guest.run(""));
    assert!(
        sentence.contains("reads lead.LastName, which this release"),
        "{sentence}"
    );
}

#[test]
fn an_honest_run_reads_what_is_granted_and_fills_it() {
    let guest = Misbehaving::new();
    assert_eq!(shown(&guest.run("")), ["PID-5.1! Hartmann"]);
    assert_eq!(
        shown(&guest.run("probe-ungranted")),
        ["PID-5.1! Hartmann", "PID-5.2 true"]
    );
    assert_eq!(
        shown(&guest.run("many-fields")),
        ["PID-5.1! Hartmann", "PID-5.2 10000"]
    );
    let run = guest.run("everything");
    assert_eq!(run.log[0].text, "lead-update");
    assert_eq!(
        shown(&run),
        [
            "PID-5.1! Hartmann",
            "PID-5.2 known",
            "PID-5.3 LastName,Phone,Way",
            "PID-13.1 +1-2075550134 National",
            "PID-13[2].4 Null",
            "NK1[2]-2.1 Booked",
        ]
    );
    match guest.run("skip").outcome {
        Ok(Composed::Skip(why)) => assert_eq!(why, "not for us"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_component_runs_one_way_only() {
    let guest = Misbehaving::new();
    assert_eq!(guest.component.direction(), Direction::LeadSquaredToEhr);
    let input = input(&guest.release, "ADT^A04", MESSAGE);
    let run = guest
        .fixture
        .runtime
        .to_lead_squared(&guest.component, input)
        .await;
    assert!(sentence(&run).contains("the component maps changes in LeadSquared to HL7 messages"));

    let inbound = guest.fixture.load(&guests::guest("misbehaving"));
    assert_eq!(inbound.direction(), Direction::EhrToLeadSquared);
    let release = Arc::new(release(&inbound));
    let change = change_input(&release, CHANGE);
    let run = guest.fixture.runtime.to_ehr(&inbound, change).await;
    assert!(sentence(&run).contains("the component maps HL7 messages to LeadSquared"));
}

fn flow(direction: &str) -> Flow {
    let text = format!(
        "id = 'f'\naccount = 'a'\nname = 'F'\ndirection = '{direction}'\nchannel = 'c'\nevent = 'ADT^A08'\n\
         entity = 'lead'\nprimary_search_field = 'mx_MRN'\n"
    );
    toml::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_flow_takes_components_of_its_own_direction() {
    let fixture = Fixture::new();
    let outbound = include_str!("../../../examples/quickstart/lead-update-adt-a08.toml");
    let document = |text: &str| Source::Document(text.into());
    let ready = activate::prepare(
        &fixture.runtime,
        &flow("leadsquared-to-ehr"),
        document(outbound),
        &[],
    )
    .await
    .unwrap();
    assert!(
        ready
            .release
            .grants
            .places
            .contains(&"PID-13[2].4".to_owned())
    );
    assert!(
        ready
            .release
            .grants
            .reads
            .contains(&"lead.Phone".to_owned())
    );
    assert!(ready.release.bindings.is_empty());

    let refused = activate::prepare(
        &fixture.runtime,
        &flow("ehr-to-leadsquared"),
        document(outbound),
        &[],
    )
    .await;
    let Err(Refused::Component(text)) = refused else {
        panic!("it was taken");
    };
    assert_eq!(
        text,
        "it maps changes in LeadSquared to HL7 messages, but the flow carries HL7 messages to LeadSquared: \
         choose a component for the other world, or another flow"
    );
}

#[test]
fn the_manifest_of_an_outbound_document_lists_fields_and_places() {
    let fixture = Fixture::new();
    let text = include_str!("../../../examples/quickstart/activity-siu-s12.toml");
    let document = Document::parse(text).unwrap();
    let component = fixture.load(&generate::component(&document).unwrap());
    let Manifest {
        events,
        reads,
        places,
        lead_targets,
        ..
    } = &component.manifest;
    assert_eq!(events, &["lead-activity-create"]);
    assert!(reads.contains(&"activity.mx_Custom_2".to_owned()));
    assert!(places.contains(&"SCH-11.4".to_owned()));
    assert!(lead_targets.is_empty());
}

/// From the change to the bytes, as the pipeline goes: mapping, finishing, filling.
fn sent(document: &str, template: &[u8], event: (&str, &str), change: &str) -> String {
    let fixture = Fixture::new();
    let document = Document::parse(document).unwrap();
    let component = fixture.load(&generate::component(&document).unwrap());
    let release = Arc::new(release(&component));
    let run = fixture
        .runtime
        .compose(component, change_input(&release, change));
    let placements = match run.outcome {
        Ok(Composed::Write(placements)) => placements,
        other => panic!("{other:?}"),
    };

    let account: Account = toml::from_str(
        "id = 'a'\nname = 'A'\napi = 'http://127.0.0.1:1'\ntime_zone = 'America/New_York'\n\
         default_country_code = '1'\nrate_plan = { calls = 25, window_ms = 5000 }\n",
    )
    .unwrap();
    let finished = Outgoing::new(&account, &flow("leadsquared-to-ehr")).finish(placements);
    let finished = finished.unwrap();
    assert!(finished.left_out.is_empty(), "{:?}", finished.left_out);

    let time: jiff::Zoned = "2026-03-02T08:15:14-05:00[America/New_York]"
        .parse()
        .unwrap();
    let facts = Facts {
        control_id: "C000000001",
        time: &time,
        message_code: event.0,
        trigger_event: event.1,
    };
    let placements: Vec<_> = finished
        .fillings
        .iter()
        .map(Filling::as_placement)
        .collect();
    let template = Message::parse(template).unwrap();
    let bytes = fill(&template, &default_fixed(), &placements, &facts).unwrap();
    String::from_utf8(bytes).unwrap().replace('\r', "\n")
}

#[test]
fn the_quickstart_documents_fill_their_templates() {
    let update = sent(
        include_str!("../../../examples/quickstart/lead-update-adt-a08.toml"),
        include_bytes!("../../../examples/quickstart/adt-a08-template.hl7"),
        ("ADT", "A08"),
        CHANGE,
    );
    insta::assert_snapshot!(update, @r#"
    MSH|^~\&|LIGATURE|CRM|REGIS|LAKESIDE|20260302081514-0500||ADT^A08^ADT_A01|C000000001|P|2.5.1|||AL|NE||UNICODE UTF-8
    EVN|A08|20260302025514-0500
    PID|1||4711^^^LAKESIDE^MR~3142^^^LEADSQUARED^PI||Hartmann^Lena||19880705|F|||^^Bath^^04530||""~^NET^Internet^lena@example.org
    PV1||N
    "#);
    let booked = sent(
        include_str!("../../../examples/quickstart/activity-siu-s12.toml"),
        include_bytes!("../../../examples/quickstart/siu-s12-template.hl7"),
        ("SIU", "S12"),
        CHANGE,
    );
    insta::assert_snapshot!(booked, @r"
    MSH|^~\&|LIGATURE|CRM|SCHED|LAKESIDE|20260302081514-0500||SIU^S12^SIU_S12|C000000001|P|2.5.1|||AL|NE||8859/1
    SCH|e85e^LEADSQUARED|||||BOOKED|^Bring reports||||^^^20260309103000-0400||||||||||||||BOOKED
    PID|||4711^^^LAKESIDE^MR||Hartmann^Lena||19880705
    RGS|1
    AIS|1||^Office visit|20260309103000-0400
    ");
}
