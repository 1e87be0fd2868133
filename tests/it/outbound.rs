//! What a person does in LeadSquared reaches the EHR as HL7: once, in order, about the right patient, and never as an echo.

mod crash;
mod day;
mod many;
mod readers;
mod table;

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::simulator::ehr;
use ligature::simulator::lead_squared::Settings;
use ligature_tests::bridge::{self, Bridge, Mapped, PATIENCE};
use tokio::time::{Instant, sleep};

/// The patient of this sample must never reach an EHR.
pub(crate) const TEMPLATE: &str = "MSH|^~\\&|LIG|CRM|EHR|CLINIC|20260101||ADT^A08|T1|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
EVN|A08|20260101\rSCH|TPL1||||||||||^^^20260101\r\
PID|1||TPL77^^^CLINIC^MR||TPLFAMILY^TPLGIVEN||19500101|F|||TPLSTREET^^TPLCITY||TPLPHONE\rPV1|1|O|TPLWARD\r";

pub(crate) const PATIENT: &str = r#"
format = 1
direction = "leadsquared-to-ehr"
name = "Patient"
version = "1"

[[place]]
target = "EVN-2"
fact = "received-at"
steps = ["date-time"]

[[place]]
target = "PV1-2"
constant = "N"

[[place]]
target = "PID-3.1"
field = "lead.mx_MRN"

[[place]]
target = "PID-5.1"
field = "lead.LastName"

[[place]]
target = "PID-5.2"
field = "lead.FirstName"

[[place]]
target = "PID-11.3"
field = "lead.mx_City"
null = "clear"
"#;

pub(crate) const APPOINTMENT: &str = r#"
[[place]]
target = "SCH-2.1"
field = "activity.mx_Custom_1"

[[place]]
target = "SCH-25"
field = "activity.Status"
"#;

/// The account knows which field holds the patient identifier, and tells the EHR its own number.
pub(crate) const ACCOUNT: &str =
    "identifier_fields = [\"mx_MRN\"]\nlead_number = { authority = \"LSQ\" }\n";

pub(crate) fn channel(id: &str, ehr: &ehr::Handle) -> String {
    format!(
        "[[channels]]\nid = \"{id}\"\n[channels.target]\naddress = \"{}\"\nanswer_timeout_ms = 1000\n\n",
        ehr.address()
    )
}

/// A bridge whose flows all fill the one template, each with the mapping that it is given with.
pub(crate) async fn open(documents: &str, flows: &[(String, String)]) -> anyhow::Result<Bridge> {
    Bridge::open(bridge::prompt(), ACCOUNT, documents, &mapped(flows)).await
}

/// The same with further settings of the account, with no webhook made yet, and with every call noted.
pub(crate) async fn without_webhooks(
    account: &str,
    documents: &str,
    flows: &[(String, String)],
) -> anyhow::Result<Bridge> {
    let settings = Settings {
        log_calls: true,
        ..bridge::prompt()
    };
    let account = format!("{ACCOUNT}{account}");
    Bridge::without_webhooks(settings, &account, documents, &mapped(flows)).await
}

fn mapped(flows: &[(String, String)]) -> Vec<Mapped<'_>> {
    let flows = flows.iter().map(|(id, mapping)| Mapped {
        flow: id,
        mapping,
        template: Some(TEMPLATE),
    });
    flows.collect()
}

/// A flow to the EHR; `outbound` are its settings.
pub(crate) fn flow(id: &str, channel: &str, event: &str, entity: &str, outbound: &str) -> String {
    let activity = match entity {
        "activity" => "activity = { code = 205, key_field = \"mx_Custom_1\" }\n",
        _ => "",
    };
    format!(
        "[[flows]]\nid = \"{id}\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"{channel}\"\nevent = \"{event}\"\n\
         entity = \"{entity}\"\n{activity}outbound = {{ {outbound} }}\n\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_is_registered_gets_its_number_and_is_kept_up() -> anyhow::Result<()> {
    let ehr = bridge::ehr(ehr::Settings {
        assigns: Some("CLINIC".into()),
        ..ehr::Settings::default()
    })
    .await?;
    let documents = [
        channel("out", &ehr),
        flow(
            "register",
            "out",
            "ADT^A04",
            "lead",
            "webhook = \"lead-create\", read_back = [{ path = \"PID-3[.4='CLINIC'].1\", field = \"mx_MRN\" }]",
        ),
        flow("update", "out", "ADT^A08", "lead", "webhook = \"lead-update\""),
        flow("book", "out", "SIU^S12", "activity", "webhook = \"lead-activity-create\""),
    ]
    .concat();
    let booked = format!("{PATIENT}{APPOINTMENT}");
    let flows = [
        ("register", PATIENT),
        ("update", PATIENT),
        ("book", &booked),
    ];
    let flows = flows.map(|(id, mapping)| (id.to_owned(), mapping.to_owned()));
    let bridge = open(&documents, &flows).await?;

    // A person makes a lead: the EHR registers the patient and gives a number, which goes into the lead.
    let lead = bridge.create_lead(&[
        ("FirstName", "Odalys"),
        ("LastName", "Quill|feather"),
        ("mx_City", "Rye"),
    ])?;
    let received = bridge.until(&ehr, 1).await?;
    let number = received[0].field("PID", 3);
    ensure!(
        received[0].event == "ADT^A04" && received[0].findings.is_empty(),
        "{received:?}"
    );
    ensure!(
        number.contains("^^^LSQ^PT"),
        "the lead's own number: {number}"
    );
    ensure!(received[0].field("PID", 5) == "Quill\\F\\feather^Odalys");
    let started = Instant::now();
    let mrn = loop {
        let leads = bridge.office.simulator.leads();
        let found = leads
            .into_iter()
            .find(|known| known.id == lead)
            .context("the lead")?;
        match found.values.get("mx_MRN") {
            Some(mrn) if !mrn.is_empty() => break mrn.clone(),
            _ => ensure!(
                started.elapsed() < PATIENCE,
                "no number came back: {:?}",
                bridge.deliveries().await?
            ),
        }
        sleep(Duration::from_millis(20)).await;
    };

    // Another change, of something that the mapping reads, and of something that it does not.
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "Bath")])?);
    let received = bridge.until(&ehr, 2).await?;
    ensure!(
        received[1].event == "ADT^A08" && received[1].field("PID", 3).starts_with(&mrn),
        "{received:?}"
    );
    ensure!(received[1].field("PID", 11).contains("Bath"));
    ensure!(bridge.edit_lead(&lead, &[("Company", "Quiet")])?);
    // Emptied by a person: the EHR is told to empty it.
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "")])?);
    let received = bridge.until(&ehr, 3).await?;
    ensure!(
        received[2].field("PID", 11).contains("\"\""),
        "{received:?}"
    );

    let booking = bridge.office.simulator.create_activity(
        &lead,
        205,
        &[("mx_Custom_1", "B-1"), ("Status", "Booked")],
    );
    booking.map_err(anyhow::Error::msg)?;
    let received = bridge.until(&ehr, 4).await?;
    ensure!(
        received[3].event == "SIU^S12" && received[3].field("SCH", 2) == "B-1",
        "{received:?}"
    );

    // One registration, three changes of a person, one booking.
    let deliveries = bridge.settled(5).await?;
    let reasons: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.reason.as_str())
        .collect();
    ensure!(
        reasons
            .iter()
            .filter(|reason| **reason == "delivered")
            .count()
            == 4,
        "{deliveries:#?}"
    );
    ensure!(
        reasons.contains(&"nothing-mapped-changed"),
        "{deliveries:#?}"
    );
    for received in ehr.received() {
        ensure!(
            received.repeats == 0 && !received.text.contains("TPL"),
            "{}",
            received.text
        );
    }
    bridge.office.host.stop().await;
    Ok(())
}
