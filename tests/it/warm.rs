//! What a message costs once its patient is known: the last column of the tables in `host/docs/flows.md`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use ligature::simulator::lead_squared::Settings;
use ligature_tests::clinic::{Clinic, UNLIMITED, unlimited};
use ligature_tests::mllp::Client;
use ligature_tests::site::quickstart;

const BEHAVIOURS: [&str; 4] = ["capture", "create-only", "update-only", "nothing"];
const LEAD_EVENTS: [&str; 4] = ["A04", "A05", "A08", "A31"];

fn setup(api: &str, mllp: SocketAddr) -> String {
    let mut text = format!(
        "[account]\nid = \"clinic\"\nname = \"Clinic\"\napi = \"{api}\"\n{UNLIMITED}\n\n\
         [[channels]]\nid = \"ehr\"\nname = \"EHR\"\naddress = \"{mllp}\"\n"
    );
    let mut add = |event: &str, rest: &str| {
        text.push_str(&format!(
            "\n[[flows]]\nid = \"{event}\"\nname = \"{event}\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"ehr\"\n\
             event = \"{event}\"\nprimary_search_field = \"mx_MRN\"\n{rest}\n"
        ));
    };
    for (event, lead) in LEAD_EVENTS.iter().zip(BEHAVIOURS) {
        let rest =
            format!("entity = \"lead\"\nmapping = \"lead.toml\"\nlead_behaviour = \"{lead}\"");
        add(&format!("ADT^{event}"), &rest);
    }
    for (number, lead) in BEHAVIOURS.iter().enumerate() {
        for (other, activity) in BEHAVIOURS.iter().enumerate() {
            let rest = format!(
                "entity = \"activity\"\nmapping = \"activity.toml\"\nlead_behaviour = \"{lead}\"\n\
                 activity_behaviour = \"{activity}\"\nactivity = {{ code = 205, key_field = \"mx_Custom_1\" }}"
            );
            add(&format!("SIU^S{}", 12 + 4 * number + other), &rest);
        }
    }
    text
}

/// A message about the one patient; `news` are their family name and the appointment's provider.
fn message(event: &str, number: usize, news: &str) -> String {
    let at = format!("2026112009{:02}{:02}", number / 60, number % 60);
    let schedule = match event.starts_with("SIU") {
        true => format!("SCH|AP-1{}Booked\r", "|".repeat(24)),
        false => format!("EVN||{at}\r"),
    };
    format!(
        "MSH|^~\\&|EHR|CLINIC|LIG|LSQ|{at}||{event}|C{number}|P|2.5.1\r{schedule}\
         PID|1||Z1^^^CLINIC^MR||{news}^Ana||19840219|F\rAIP|1||7^{news}^Kim\r"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_patient_costs_what_the_tables_say() -> anyhow::Result<()> {
    let settings = Settings {
        log_calls: true,
        ..unlimited()
    };
    let (lead, activity) = (
        quickstart("adt-a04-lead.toml")?,
        quickstart("siu-s12-activity.toml")?,
    );
    let files = [
        ("lead.toml", lead.as_str()),
        ("activity.toml", activity.as_str()),
    ];
    let clinic = Clinic::of_files(settings, setup, &files).await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    let mut sent = 0;
    let mut tell = async |event: &str, news: &str| {
        sent += 1;
        let before = clinic.simulator.calls().len();
        client
            .exchange(message(event, sent, news).as_bytes())
            .await?;
        clinic.settled(Duration::from_secs(30)).await?;
        let calls = clinic.simulator.calls().split_off(before);
        let calls = calls
            .iter()
            .filter_map(|call| call.route.split('/').skip(1).last().map(str::to_owned));
        anyhow::Ok(calls.collect::<Vec<_>>())
    };
    // The patient and the appointment become known.
    tell("ADT^A04", "First").await?;
    tell("SIU^S12", "First").await?;

    let lead_call =
        |behaviour: usize| [Some("Lead.Update"), None, Some("Lead.Update"), None][behaviour];
    let activity_call = |behaviour: usize| [Some("Update"), None, Some("Update"), None][behaviour];
    for (behaviour, event) in LEAD_EVENTS.iter().enumerate() {
        let event = format!("ADT^{event}");
        let news = format!("News{}", char::from(b'a' + behaviour as u8));
        let calls = tell(&event, &news).await?;
        let expected: Vec<_> = lead_call(behaviour).into_iter().collect();
        ensure!(calls == expected, "{event}: {calls:?}");
        if lead_call(behaviour).is_some() {
            let calls = tell(&event, &news).await?;
            ensure!(calls.is_empty(), "{event} again: {calls:?}");
        }
    }
    for number in 0..16 {
        let event = format!("SIU^S{}", 12 + number);
        let news = format!("More{}", char::from(b'a' + number as u8));
        let calls = tell(&event, &news).await?;
        let expected = [lead_call(number / 4), activity_call(number % 4)];
        let expected: Vec<_> = expected.into_iter().flatten().collect();
        ensure!(calls == expected, "{event}: {calls:?}");
        let calls = tell(&event, &news).await?;
        ensure!(calls.is_empty(), "{event} again: {calls:?}");
    }
    Ok(())
}
