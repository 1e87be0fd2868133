//! Every combination of entity, lead behaviour, activity behaviour and what LeadSquared holds: calls, records, outcome.
//!
//! All of them run at once through one host, each with a patient of its own. Rules that must hold whatever happens are
//! checked one by one; the whole table is compared with `host/docs/behaviours.md`, which administrators read.
//! `UPDATE_DOCS=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::leadsquared::{self, Attribute, Budget, NewActivity};
use ligature::simulator::lead_squared::Settings;
use ligature_tests::clinic::{Clinic, UNLIMITED, unlimited};
use ligature_tests::mllp::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep};

const BEHAVIOURS: [&str; 4] = ["capture", "create-only", "update-only", "nothing"];
const LEADS: [&str; 6] = [
    "unknown",
    "known by primary",
    "known by secondary",
    "twice",
    "another person",
    "deleted since",
];
const LEAD_EVENTS: [&str; 4] = ["A04", "A05", "A08", "A31"];
/// The registration that makes the host know a lead that is deleted then.
const EARLIER: &str = "A01";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Case {
    number: usize,
    lead_behaviour: usize,
    /// None for lead flows.
    activity_behaviour: Option<usize>,
    lead: &'static str,
    has_activity: bool,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for lead_behaviour in 0..4 {
            for activity_behaviour in [None, Some(0), Some(1), Some(2), Some(3)] {
                for lead in LEADS {
                    // Nobody has no appointment, and a lead flow knows of none.
                    let may_have = activity_behaviour.is_some() && lead != "unknown";
                    for has_activity in [false, true] {
                        if has_activity && !may_have {
                            continue;
                        }
                        cases.push(Self {
                            number: 1_000 + cases.len(),
                            lead_behaviour,
                            activity_behaviour,
                            lead,
                            has_activity,
                        });
                    }
                }
            }
        }
        cases
    }

    fn event(&self) -> String {
        match self.activity_behaviour {
            None => format!("ADT^{}", LEAD_EVENTS[self.lead_behaviour]),
            Some(activity) => format!("SIU^S{}", 12 + 4 * self.lead_behaviour + activity),
        }
    }

    fn message(&self, event: &str) -> String {
        let number = self.number;
        let now = jiff::Zoned::now().strftime("%Y%m%d%H%M%S%z");
        let schedule = match event.starts_with("SIU") {
            true => format!("SCH|K{number}||||||||||||||||||||||||Booked\r"),
            false => String::new(),
        };
        // What the earlier registration said has changed since.
        let family = match event.ends_with(EARLIER) {
            true => "Before",
            false => "Ortiz",
        };
        format!(
            "MSH|^~\\&|EHR|CLINIC|LIG|LSQ|{now}||{event}|C{number}{event}|P|2.5.1\r{schedule}\
             PID|1||M{number}^^^CLINIC^MR||{family}^Ana||19840219|F|||||^NET^Internet^mail{number}@example.com\r"
        )
    }

    fn email(&self) -> String {
        format!("mail{}@example.com", self.number)
    }

    fn mrn(&self) -> String {
        format!("M{}", self.number)
    }
}

const LEAD_MAPPING: &str = r#"
format = 1
name = "Patient"
version = "1"
events = ["ADT^A01"]

[[lead]]
target = "mx_MRN"
path = "PID-3[.5='MR'].1"

[[lead]]
target = "EmailAddress"
path = "PID-13.4"

[[lead]]
target = "LastName"
path = "PID-5.1"

[[lead]]
target = "mx_Date_of_Birth"
path = "PID-7"
steps = ["date"]
"#;

const ACTIVITY_MAPPING: &str = r#"
[[activity]]
key = { path = "SCH-1.1" }

[[activity.field]]
target = "Status"
path = "SCH-25.1"
"#;

fn setup(api: &str, mllp: std::net::SocketAddr) -> String {
    let mut text = format!(
        "[account]\nid = \"clinic\"\nname = \"Clinic\"\napi = \"{api}\"\n{UNLIMITED}\n\n\
         [[channels]]\nid = \"ehr\"\nname = \"EHR\"\naddress = \"{mllp}\"\n"
    );
    let mut flow = |event: &str, rest: &str| {
        let _ = write!(
            text,
            "\n[[flows]]\nid = \"{event}\"\nname = \"{event}\"\ndirection = \"ehr-to-leadsquared\"\n\
             channel = \"ehr\"\nevent = \"{event}\"\nprimary_search_field = \"mx_MRN\"\n\
             secondary_search_field = \"EmailAddress\"\nwait_for_lead_ms = 1000\n{rest}\n"
        );
    };
    let lead = "entity = \"lead\"\nmapping = \"lead.toml\"";
    flow(&format!("ADT^{EARLIER}"), lead);
    for (at, event) in LEAD_EVENTS.iter().enumerate() {
        let behaviour = BEHAVIOURS[at];
        flow(
            &format!("ADT^{event}"),
            &format!("{lead}\nlead_behaviour = \"{behaviour}\""),
        );
    }
    for (lead, lead_behaviour) in BEHAVIOURS.iter().enumerate() {
        for (activity, activity_behaviour) in BEHAVIOURS.iter().enumerate() {
            flow(
                &format!("SIU^S{}", 12 + 4 * lead + activity),
                &format!(
                    "entity = \"activity\"\nmapping = \"activity.toml\"\n\
                     activity = {{ code = 205, key_field = \"mx_Custom_1\" }}\n\
                     lead_behaviour = \"{lead_behaviour}\"\nactivity_behaviour = \"{activity_behaviour}\""
                ),
            );
        }
    }
    text
}

/// What LeadSquared holds of one case before its message comes: the ids of its leads.
async fn prepare(client: &leadsquared::Client, case: &Case) -> anyhow::Result<Vec<String>> {
    let text = |name: &str, value: String| Attribute::text(name, value);
    let leads = match case.lead {
        "known by primary" => vec![vec![text("mx_MRN", case.mrn())]],
        "known by secondary" => vec![vec![text("EmailAddress", case.email())]],
        "twice" => vec![vec![text("EmailAddress", case.email())]; 2],
        "another person" => vec![vec![
            text("EmailAddress", case.email()),
            text("mx_MRN", format!("X{}", case.number)),
        ]],
        _ => Vec::new(),
    };
    let mut ids = Vec::new();
    for mut lead in leads {
        lead.push(text("LastName", "Before".into()));
        ids.push(client.create_lead(&lead).await?);
    }
    Ok(ids)
}

async fn book(client: &leadsquared::Client, case: &Case, lead: &str) -> anyhow::Result<()> {
    let activity = NewActivity {
        lead_id: lead.into(),
        code: 205,
        note: None,
        at: None,
        fields: vec![
            Attribute::text("mx_Custom_1", format!("K{}", case.number)),
            Attribute::text("Status", "Before"),
        ],
    };
    client.create_activity(&activity).await?;
    Ok(())
}

async fn finished(clinic: &Clinic, wanted: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let counts = clinic.site.json("/api/v1/counts").await?;
        let ended = ["delivered", "skipped", "dead"];
        let ended: u64 = ended
            .iter()
            .filter_map(|state| counts["deliveries"][state].as_u64())
            .sum();
        if ended == wanted {
            return Ok(());
        }
        ensure!(
            started.elapsed() < Duration::from_secs(90),
            "{ended} of {wanted} ended: {counts}\n{}",
            clinic.site.log()?
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// Flow to control id to delivery, from the host's own list.
async fn deliveries(clinic: &Clinic) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    let mut before = String::new();
    loop {
        let page = clinic
            .site
            .json(&format!("/api/v1/messages?limit=500{before}"))
            .await?;
        for message in page["messages"].as_array().context("messages")? {
            let id = message["control_id"].as_str().context("control id")?;
            found.insert(id.to_owned(), message["deliveries"][0].clone());
        }
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return Ok(found),
        }
    }
}

fn short(route: &str) -> &str {
    match route {
        "LeadManagement.svc/Leads.Get" => "search",
        "LeadManagement.svc/Lead.Create" => "create lead",
        "LeadManagement.svc/Lead.Update" => "update lead",
        "ProspectActivity.svc/Retrieve" => "look for activity",
        "ProspectActivity.svc/Create" => "create activity",
        "ProspectActivity.svc/CustomActivity/Update" => "update activity",
        other => other,
    }
}

/// What came of one case.
struct Seen {
    outcome: String,
    sentence: String,
    calls: Vec<String>,
    /// The patient's own leads, with what their last name says.
    leads: Vec<String>,
    /// Status of each activity with the case's key and whether it is under a lead of the patient.
    activities: Vec<(String, bool)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_of_behaviours_and_records() -> anyhow::Result<()> {
    let activity_mapping = format!(
        "{}{ACTIVITY_MAPPING}",
        LEAD_MAPPING.replace("ADT^A01", "SIU^S12")
    );
    let settings = Settings {
        // Two leads may hold one email here, so that a search can find two.
        unique: vec!["mx_MRN".into()],
        log_calls: true,
        ..unlimited()
    };
    let clinic = Clinic::of_files(
        settings,
        setup,
        &[
            ("lead.toml", LEAD_MAPPING),
            ("activity.toml", &activity_mapping),
        ],
    )
    .await?;
    let config = leadsquared::Config {
        api: clinic.simulator.api(),
        keys: leadsquared::Keys {
            access_key: clinic.simulator.keys().access_key.clone(),
            secret_key: clinic.simulator.keys().secret_key.clone(),
        },
        timeout: Duration::from_secs(10),
    };
    let budget = Budget::new(0, Duration::ZERO, None);
    let api = leadsquared::Client::new(&config, Arc::new(budget))?;
    let mut sender = Client::connect(clinic.site.mllp).await?;

    let cases = Case::all();
    let deleted: Vec<&Case> = cases
        .iter()
        .filter(|case| case.lead == "deleted since")
        .collect();
    for case in &deleted {
        sender
            .exchange(case.message(&format!("ADT^{EARLIER}")).as_bytes())
            .await?;
    }
    finished(&clinic, deleted.len() as u64).await?;
    let mut before: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for case in &cases {
        let mut ids = prepare(&api, case).await?;
        if case.lead == "deleted since" {
            let leads = clinic.simulator.leads_with("mx_MRN", &case.mrn());
            ids.extend(leads.into_iter().map(|lead| lead.id));
        }
        if case.has_activity {
            book(&api, case, ids.last().context("a lead")?).await?;
        }
        before.insert(case.number, ids);
    }
    for case in &deleted {
        for id in &before[&case.number] {
            ensure!(clinic.simulator.delete_lead(id));
        }
    }

    let prepared = clinic.simulator.calls().len();
    for case in &cases {
        sender
            .exchange(case.message(&case.event()).as_bytes())
            .await?;
    }
    finished(&clinic, (cases.len() + deleted.len()) as u64).await?;

    let mut seen = look(&clinic, &cases, &before, prepared).await?;
    for case in &cases {
        let seen = &seen[&case.number];
        rules(case, seen)
            .with_context(|| format!("{case:?}: {}, {:?}", seen.outcome, seen.calls))?;
    }
    let table = table(&cases, &mut seen);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/docs/behaviours.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, &table)?;
    }
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    ensure!(
        kept == table,
        "host/docs/behaviours.md is not what the host does; UPDATE_DOCS=1 writes it anew:\n{table}"
    );
    Ok(())
}

async fn look(
    clinic: &Clinic,
    cases: &[Case],
    before: &BTreeMap<usize, Vec<String>>,
    prepared: usize,
) -> anyhow::Result<BTreeMap<usize, Seen>> {
    let deliveries = deliveries(clinic).await?;
    let leads = clinic.simulator.leads();
    let activities = clinic.simulator.activities();
    let calls = clinic.simulator.calls();
    let mut seen = BTreeMap::new();
    for case in cases {
        let number = case.number.to_string();
        let own: Vec<_> = leads
            .iter()
            .filter(|lead| {
                let value = |field: &str| lead.values.get(field).map(String::as_str);
                value("mx_MRN") == Some(&case.mrn())
                    || (value("mx_MRN").is_none() && value("EmailAddress") == Some(&case.email()))
            })
            .collect();
        let ids: Vec<&str> = before[&case.number]
            .iter()
            .map(String::as_str)
            .chain(own.iter().map(|lead| lead.id.as_str()))
            .collect();
        let is_of_case = |text: &str| {
            ids.iter().any(|id| text.contains(id))
                || ["M", "mail", "K"]
                    .iter()
                    .any(|kind| text.contains(&format!("{kind}{number}")))
        };
        let mut made = Vec::new();
        for call in &calls[prepared..] {
            let body = String::from_utf8_lossy(&call.body);
            if is_of_case(&body) || call.query.iter().any(|(_, value)| is_of_case(value)) {
                made.push(short(&call.route).to_owned());
            }
        }
        let delivery = &deliveries[&format!("C{number}{}", case.event())];
        let text = |name: &str| delivery[name].as_str().unwrap_or_default().to_owned();
        let name = |lead: &&ligature::simulator::lead_squared::LeadView| {
            lead.values.get("LastName").cloned().unwrap_or_default()
        };
        seen.insert(
            case.number,
            Seen {
                outcome: format!("{} {}", text("state"), text("reason_code")),
                sentence: text("reason"),
                calls: made,
                leads: own.iter().map(name).collect(),
                activities: activities
                    .iter()
                    .filter(|held| held.values.get("mx_Custom_1") == Some(&format!("K{number}")))
                    .map(|held| {
                        let is_own = own.iter().any(|lead| lead.id == held.lead);
                        (
                            held.values.get("Status").cloned().unwrap_or_default(),
                            is_own,
                        )
                    })
                    .collect(),
            },
        );
    }
    Ok(seen)
}

/// What must hold of every case.
fn rules(case: &Case, seen: &Seen) -> anyhow::Result<()> {
    let behaviour = BEHAVIOURS[case.lead_behaviour];
    let (creates, updates) = (
        matches!(behaviour, "capture" | "create-only"),
        matches!(behaviour, "capture" | "update-only"),
    );
    let is_found = matches!(case.lead, "known by primary" | "known by secondary");
    if case.activity_behaviour.is_none() && behaviour == "nothing" {
        ensure!(seen.outcome == "skipped do-nothing", "nothing is done");
        ensure!(seen.calls.is_empty(), "no call is made");
        return Ok(());
    }
    if case.lead == "twice" {
        ensure!(seen.outcome == "dead several-leads", "two leads are nobody");
        ensure!(seen.leads == ["Before", "Before"], "neither is written");
        return Ok(());
    }
    let activity = case.activity_behaviour.map(|at| BEHAVIOURS[at]);
    let books = matches!(activity, Some("capture" | "create-only"));
    // That a known lead is gone is noticed when something is written to it, and not before.
    if case.lead == "deleted since" && !updates && !books {
        ensure!(seen.leads.is_empty() && seen.outcome.starts_with("skipped"));
        return Ok(());
    }
    let expected: &[&str] = match (is_found, creates, updates) {
        (true, _, true) => &["Ortiz"],
        (true, _, false) => &["Before"],
        (false, true, _) => &["Ortiz"],
        (false, false, _) => &[],
    };
    ensure!(
        seen.leads == expected,
        "leads {:?}, not {expected:?}",
        seen.leads
    );
    let others = seen.activities.iter().filter(|(_, own)| !own);
    ensure!(
        others.clone().all(|(status, _)| status == "Before"),
        "nobody else's activity is written"
    );
    let Some(activity) = activity else {
        return Ok(());
    };
    let own: Vec<&str> = seen
        .activities
        .iter()
        .filter(|(_, own)| *own)
        .map(|(status, _)| status.as_str())
        .collect();
    let has_lead = is_found || creates;
    let expected: &[&str] = match (is_found && case.has_activity, activity) {
        _ if !has_lead => &[],
        (true, "capture" | "update-only") => &["Booked"],
        (true, _) => &["Before"],
        (false, "capture" | "create-only") => &["Booked"],
        (false, _) => &[],
    };
    ensure!(own == expected, "activities {own:?}, not {expected:?}");
    if !has_lead {
        ensure!(seen.outcome == "skipped no-lead", "the lead was waited for");
    }
    Ok(())
}

fn table(cases: &[Case], seen: &mut BTreeMap<usize, Seen>) -> String {
    let mut text = String::from(
        "# What a flow does, by its behaviours and by what LeadSquared holds\n\n\
         Made by the test `behaviours`, which runs every line against the LeadSquared simulator. Calls are those of a\n\
         first message about a patient; once the host knows the lead there is no search, and an update that says what was\n\
         written last makes no call at all. \"Deleted since\" is a lead that the host knew. An activity without a lead was\n\
         waited for first, which is why its searches come twice.\n",
    );
    let mut section = String::new();
    for case in cases {
        let title = match case.activity_behaviour {
            None => format!("Lead flow, lead: {}", BEHAVIOURS[case.lead_behaviour]),
            Some(activity) => format!(
                "Activity flow, lead: {}, activity: {}",
                BEHAVIOURS[case.lead_behaviour], BEHAVIOURS[activity]
            ),
        };
        if title != section {
            let _ = write!(
                text,
                "\n## {title}\n\n| lead | activity | calls | outcome |\n| --- | --- | --- | --- |\n"
            );
            section = title;
        }
        let Seen {
            outcome,
            sentence,
            calls,
            ..
        } = &seen[&case.number];
        let activity = match (case.activity_behaviour, case.has_activity) {
            (None, _) => "",
            (_, true) => "known",
            (_, false) => "unknown",
        };
        let calls = match calls.is_empty() {
            true => "none".to_owned(),
            false => calls.join(", "),
        };
        let _ = writeln!(
            text,
            "| {} | {activity} | {calls} | **{outcome}**: {sentence} |",
            case.lead
        );
    }
    text
}
