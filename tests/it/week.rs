//! Week one: seven days of two hospitals and a practice, told in `week/script.md`, ending with exactly the leads,
//! appointments and messages of `week/expected.md`. Both are written to be read by people of a clinic.
//!
//! What is scaled. The week is told in seconds, while the host goes by the real clock: messages carry the times of the
//! script in MSH-7, EVN-2, EVN-6 and their appointments, everything else is counted from when they come.
//! - What is late, and the clock change, go by the messages' times and are as they would be.
//! - LeadSquared's four hours out of reach last as long as the messages of these hours take; the first of each patient has
//!   failed at least once before it comes back, and waits between tries as it would.
//! - An appointment waits half a minute for its patient in place of fifteen, and a lost answer is looked up after 300 ms in
//!   place of ten seconds.
//! - An update that says what was written is settled without a call for a day of the real clock, which is the whole week
//!   here: in a clinic, one that comes more than a day later is written again, with the same values.
//! - Automations are not run for events older than a day. All of these are: `max_age_ms` is set to ten years, so that
//!   LeadSquared tells of every write and the way back is tried with all of them.
//!
//! Start at [`Week::play`]. `script` reads the table, `feeds` writes messages as Epic, Cerner and athena do, `report` writes
//! what came of it. `UPDATE_DOCS=1` writes `expected.md` anew; read it then.

mod feeds;
mod report;
mod script;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use ligature::simulator::ehr;
use ligature::simulator::lead_squared::{Fault, Kind, LeadView, Settings, When};
use ligature_tests::bridge::{self, Bridge, Mapped, PATIENCE};
use ligature_tests::mllp::Client;
use ligature_tests::site::free_address;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use feeds::Feed;
use script::{Person, Row, Script};

const ACCOUNT: &str = r#"
identifier_fields = ["mx_Harbor_MRN", "mx_Quarry_MRN", "mx_Practice_Number"]
birth_date_field = "mx_Date_of_Birth"
lead_number = { authority = "LSQ" }
default_country_code = "1"
time_zone = "America/New_York"
look_up_wait_ms = 300
"#;

/// The script, and what must come of it.
const SCRIPT: &str = include_str!("week/script.md");
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/it/week/expected.md");

const HARBOR_PATIENT: &str = include_str!("week/harbor-patient.toml");
const HARBOR_VISIT: &str = include_str!("week/harbor-visit.toml");
const QUARRY_PATIENT: &str = include_str!("week/quarry-patient.toml");
const QUARRY_VISIT: &str = include_str!("week/quarry-visit.toml");
const PRACTICE_PATIENT: &str = include_str!("week/practice-patient.toml");
const PRACTICE_VISIT: &str = include_str!("week/practice-visit.toml");
const TO_HARBOR: &str = include_str!("week/to-harbor.toml");
const TO_HARBOR_VISIT: &str = include_str!("week/to-harbor-visit.toml");
const TO_QUARRY: &str = include_str!("week/to-quarry.toml");

/// Messages as the two hospitals want them, of patients who must never be told of.
const HARBOR_ADT: &str = "MSH|^~\\&|LSQ|CRM|EPIC|HARBOR|20260101080000||ADT^A08^ADT_A01|T1|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
EVN|A08|20260101080000\rPID|1||T77^^^HARBOR^MR||TEMPLATE^TESSA||19500101|F|||1 SAMPLE ROAD^^SAMPLETON||(207)555-0190\r\
PD1||||1009^SAMPLER^SUE\rPV1|1|O|CLN9^^^HARBOR\r";
const HARBOR_SIU: &str = "MSH|^~\\&|LSQ|CRM|EPIC|HARBOR|20260101080000||SIU^S12^SIU_S12|T2|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
SCH|T-9001^LSQ||||||||||^^30^20260101090000||||||||||||||Booked\rPID|1||T77^^^HARBOR^MR||TEMPLATE^TESSA||19500101|F\r\
PV1|1|O|CLN9^^^HARBOR\rRGS|1|A\rAIS|1|A|99213^Sample visit\rAIP|1|A|1009^SAMPLER^SUE\r";
const QUARRY_ADT: &str = "MSH|^~\\&|LSQ|CRM|CERNER|QUARRY|20260101080000||ADT^A08|T3|P|2.3|||AL|NE||8859/1\r\
EVN|A08|20260101080000\rPID|1||T88^^^QUARRY^MR||TEMPLATE^THEO||19500202|M|||2 SAMPLE ROAD^^SAMPLETON||(207)555-0191\r\
PV1|1|O|QCL9^^^QUARRY\rZPI|1|SAMPLE\r";

/// What each feed sends, and what becomes of it.
const LEAD_EVENTS: [&str; 2] = ["A04", "A08"];
const VISIT_EVENTS: [&str; 5] = ["S12", "S13", "S14", "S15", "S26"];

/// By which fields a flow finds the leads of a feed's patients; appointments say no email.
fn search_fields(feed: Feed, is_visit: bool) -> &'static str {
    match feed {
        Feed::Harbor if is_visit => "primary_search_field = \"mx_Harbor_MRN\"\n",
        Feed::Quarry if is_visit => "primary_search_field = \"mx_Quarry_MRN\"\n",
        Feed::Harbor => {
            "primary_search_field = \"mx_Harbor_MRN\"\nsecondary_search_field = \"EmailAddress\"\n"
        }
        Feed::Quarry => {
            "primary_search_field = \"mx_Quarry_MRN\"\nsecondary_search_field = \"EmailAddress\"\n"
        }
        Feed::Practice => {
            "primary_search_field = \"mx_Practice_Number\"\nsecondary_search_field = \"mx_Quarry_MRN\"\n"
        }
    }
}

/// One row of the script as it was played.
struct Played {
    row: Row,
    /// Of the message that was sent; none where LeadSquared was worked in.
    control_id: Option<String>,
    /// The acknowledgement's code.
    answer: String,
    /// What LeadSquared told the host of meanwhile, by message id.
    told: Vec<String>,
    /// What reached the hospitals meanwhile: Harbor, Quarry.
    sent: [Vec<ehr::Received>; 2],
}

/// Everything that takes part.
struct Week {
    bridge: Bridge,
    ehrs: [ehr::Handle; 2],
    lines: BTreeMap<(Feed, bool), Client>,
    people: BTreeMap<String, Person>,
    /// The last messages of each feed about each person, by whether they were about a visit.
    last: BTreeMap<(Feed, bool, String), String>,
    sent: usize,
    is_down: bool,
    played: Vec<Played>,
}

impl Week {
    async fn begin(people: BTreeMap<String, Person>) -> anyhow::Result<Self> {
        let harbor = bridge::ehr(ehr::Settings {
            application: "EPIC".into(),
            facility: "HARBOR".into(),
            assigns: Some("HARBOR".into()),
            ..ehr::Settings::default()
        })
        .await?;
        let quarry = bridge::ehr(ehr::Settings {
            application: "CERNER".into(),
            facility: "QUARRY".into(),
            ..ehr::Settings::default()
        })
        .await?;
        let mut documents = String::new();
        let mut addresses = BTreeMap::new();
        let mut flows: Vec<(String, &str, Option<&str>)> = Vec::new();
        for feed in Feed::ALL {
            for is_visit in [false, true] {
                let address = free_address()?;
                addresses.insert((feed, is_visit), address);
                let name = feed.name();
                let (channel, code, events, mapping) = match is_visit {
                    false => (
                        format!("{name}-adt"),
                        "ADT",
                        &LEAD_EVENTS[..],
                        patient_of(feed),
                    ),
                    true => (
                        format!("{name}-siu"),
                        "SIU",
                        &VISIT_EVENTS[..],
                        visit_of(feed),
                    ),
                };
                documents.push_str(&format!(
                    "[[channels]]\nid = \"{channel}\"\naddress = \"{address}\"\n\
                     exclusions = {{ names = [\"ZZ*\"] }}\n\n"
                ));
                let entity = match is_visit {
                    false => "entity = \"lead\"\nlead_source = \"EHR\"\n",
                    true => {
                        "entity = \"activity\"\nlead_behaviour = \"update-only\"\nwait_for_lead_ms = 30000\n\
                         activity = { code = 205, key_field = \"mx_Custom_1\" }\n"
                    }
                };
                for event in events {
                    let id = format!("{name}-{}", event.to_lowercase());
                    documents.push_str(&format!(
                        "[[flows]]\nid = \"{id}\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"{channel}\"\n\
                         event = \"{code}^{event}\"\nother_person = {{ create = {{ keep_in = \"Notes\" }} }}\n\
                         automations = {{ run = true, max_age_ms = 315360000000 }}\n{}{entity}\n",
                        search_fields(feed, is_visit)
                    ));
                    flows.push((id, mapping, None));
                }
            }
        }
        for (id, target) in [("to-harbor", &harbor), ("to-quarry", &quarry)] {
            documents.push_str(&format!(
                "[[channels]]\nid = \"{id}\"\ntarget = {{ address = \"{}\" }}\n\n",
                target.address()
            ));
        }
        let alive = "{ field = \"mx_Deceased\", not_in = [\"1\", \"true\"] }";
        let of_harbor = "{ field = \"mx_Harbor_MRN\", present = true }";
        let of_quarry = "{ field = \"mx_Quarry_MRN\", present = true }";
        let stage = "{ field = \"ProspectStage\", in = [\"Patient\"] }";
        let number = "read_back = [{ path = \"PID-3[.4='HARBOR'].1\", field = \"mx_Harbor_MRN\" }]";
        let visit =
            "read_back = [{ path = \"SCH-2.1\", field = \"mx_Custom_1\", activity = true }]";
        for (id, channel, event, webhook, rest, mapping, template) in [
            (
                "harbor-told-of-new",
                "to-harbor",
                "ADT^A28",
                "lead-create",
                format!("condition = [{stage}, {alive}], {number}"),
                TO_HARBOR,
                HARBOR_ADT,
            ),
            (
                "harbor-told-of-changes",
                "to-harbor",
                "ADT^A08",
                "lead-update",
                format!("condition = [{of_harbor}, {alive}]"),
                TO_HARBOR,
                HARBOR_ADT,
            ),
            (
                "harbor-told-of-visits",
                "to-harbor",
                "SIU^S12",
                "lead-activity-create",
                format!("condition = [{of_harbor}, {alive}], {visit}"),
                TO_HARBOR_VISIT,
                HARBOR_SIU,
            ),
            (
                "quarry-told-of-changes",
                "to-quarry",
                "ADT^A08",
                "lead-update",
                format!("condition = [{of_quarry}, {alive}]"),
                TO_QUARRY,
                QUARRY_ADT,
            ),
        ] {
            let entity = match webhook {
                "lead-activity-create" => "entity = \"activity\"\nactivity = { code = 205 }",
                _ => "entity = \"lead\"",
            };
            documents.push_str(&format!(
                "[[flows]]\nid = \"{id}\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"{channel}\"\n\
                 event = \"{event}\"\n{entity}\noutbound = {{ webhook = \"{webhook}\", {rest} }}\n\n"
            ));
            flows.push((id.to_owned(), mapping, Some(template)));
        }
        let numbers = ["mx_Harbor_MRN", "mx_Quarry_MRN", "mx_Practice_Number"];
        let standard = ["EmailAddress", "Phone", "Mobile"];
        let settings = Settings {
            unique: standard
                .iter()
                .chain(&numbers)
                .map(|&name| name.to_owned())
                .collect(),
            ..bridge::prompt()
        };
        let flows: Vec<_> = flows
            .iter()
            .map(|(flow, mapping, template)| Mapped {
                flow,
                mapping,
                template: *template,
            })
            .collect();
        let bridge = Bridge::open(settings, ACCOUNT, &documents, &flows).await?;
        let mut lines = BTreeMap::new();
        for (line, address) in addresses {
            lines.insert(line, bridge.connect(address).await?);
        }
        Ok(Self {
            bridge,
            ehrs: [harbor, quarry],
            lines,
            people,
            last: BTreeMap::new(),
            sent: 0,
            is_down: false,
            played: Vec::new(),
        })
    }

    /// Plays one row and lets it come to rest.
    async fn play(&mut self, row: Row) -> anyhow::Result<()> {
        let before = self.seen().await?;
        let so_far = self.ehrs.each_ref().map(|ehr| ehr.received().len());
        let (mut control_id, mut answer) = (None, String::new());
        match Feed::named(&row.who) {
            Some(feed) => {
                let (id, code) = self.tell(feed, &row).await?;
                (control_id, answer) = (Some(id), code);
            }
            None => self.work(&row).await?,
        }
        self.rest(&row).await?;
        let told = self.messages_of_leadsquared().await?;
        let told = told.into_iter().filter(|id| !before.contains(id)).collect();
        let mut sent = self.ehrs.each_ref().map(|ehr| ehr.received());
        for (received, so_far) in sent.iter_mut().zip(so_far) {
            received.drain(..so_far);
        }
        self.played.push(Played {
            row,
            control_id,
            answer,
            told,
            sent,
        });
        Ok(())
    }

    /// One of the three systems sends a message; gives its control id and how it was answered.
    async fn tell(&mut self, feed: Feed, row: &Row) -> anyhow::Result<(String, String)> {
        let is_again = row.what == "sends again";
        let is_same = row.notes.iter().any(|note| note.contains("same number"));
        let is_visit = match is_again {
            true => row.notes.iter().any(|note| note.contains("appointment")),
            false => feeds::is_visit(&row.what)?,
        };
        let key = (feed, is_visit, row.about.clone());
        let text = match is_again {
            true => {
                let id = self.next_id(feed);
                let last = self.last.get(&key).context("nothing was sent before")?;
                match is_same {
                    true => last.clone(),
                    false => feeds::renumbered(last, &id, &row.at),
                }
            }
            false => {
                let id = self.next_id(feed);
                let person = self.person(&row.about)?;
                let is_late = row.get("happened").is_some();
                let mut told = person.clone();
                row.change(&mut told);
                // The lead's own activity has the number that the hospital gave it.
                let number = self.number_of_visit(row)?;
                let text = feeds::message(feed, row, &told, &id, number.as_deref())?;
                // Old news is nothing that anybody still believes.
                if !is_late {
                    self.people.insert(row.about.clone(), told);
                }
                text
            }
        };
        // What was sent with the first number is what comes again with it.
        if !is_again {
            self.last.insert(key, text.clone());
        }
        let line = self.lines.get_mut(&(feed, is_visit)).context("a line")?;
        let reply = line.exchange(text.as_bytes()).await?;
        let reply = String::from_utf8(reply)?;
        let code = reply.split("\rMSA|").nth(1).and_then(|msa| msa.get(..2));
        let id = text.split('|').nth(9).context("MSH-10")?.to_owned();
        Ok((id, code.context("MSA-1")?.to_owned()))
    }

    /// People of the clinic work in LeadSquared, or cannot.
    async fn work(&mut self, row: &Row) -> anyhow::Result<()> {
        let simulator = self.bridge.office.simulator.clone();
        match row.what.as_str() {
            "goes down" => {
                self.is_down = true;
                simulator.inject(Fault {
                    probability: Some(1.0),
                    ..Fault::once(Kind::Drop, When::BeforeEffect)
                });
                return Ok(());
            }
            "comes back" => {
                self.is_down = false;
                simulator.clear_faults();
                return Ok(());
            }
            _ => {}
        }
        let mut person = self.person(&row.about)?.clone();
        row.change(&mut person);
        let values: Vec<(&str, String)> = person.as_lead();
        let values: Vec<(&str, &str)> = values
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        match row.what.as_str() {
            "makes" => {
                let mut values = values;
                values.push(("ProspectStage", "Patient"));
                let lead = self.bridge.create_lead(&values)?;
                // The hospital's answer says under which number it has the patient.
                self.bridge.quiet(PATIENCE).await?;
                let leads = simulator.leads();
                let lead = leads.iter().find(|known| known.id == lead);
                let number = lead.and_then(|lead| lead.values.get("mx_Harbor_MRN"));
                person.set("Harbor", number.map_or("", String::as_str));
            }
            "edits" => {
                let lead = self.lead(&person)?;
                let changed: Vec<(&str, &str)> = values
                    .into_iter()
                    .filter(|(name, _)| row.touches(name))
                    .collect();
                ensure!(
                    self.bridge.edit_lead(&lead.id, &changed)?,
                    "nothing changed"
                );
            }
            "books" => {
                let lead = self.lead(&person)?;
                let starts = row.starts()?.context("on when?")?.0;
                let starts = starts.timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string();
                let service = row.get("for").unwrap_or_default();
                let values = [
                    ("Status", "Booked"),
                    ("mx_Custom_2", starts.as_str()),
                    ("mx_Custom_6", service),
                ];
                self.bridge.create_activity(&lead.id, 205, &values)?;
            }
            other => bail!("LeadSquared {other}?"),
        }
        self.people.insert(row.about.clone(), person);
        Ok(())
    }

    /// Waits until everything has come to rest, as far as it can.
    async fn rest(&self, row: &Row) -> anyhow::Result<()> {
        if self.is_down {
            return self.waits_for_leadsquared().await;
        }
        let started = Instant::now();
        loop {
            self.bridge.quiet(PATIENCE).await?;
            let deliveries = self.bridge.deliveries().await?;
            let waits = deliveries
                .iter()
                .any(|delivery| delivery.reason == "no-lead-yet");
            // Where the script says that it waits, nobody but the next row can end it.
            if waits == row.waits() {
                return Ok(());
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "waits: {waits}: {deliveries:#?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until what came while LeadSquared is away has been tried, or stands behind what has been.
    async fn waits_for_leadsquared(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let deliveries = self.bridge.deliveries().await?;
            let of = |state: &str| deliveries.iter().any(|delivery| delivery.state == state);
            if !of("running") && (!of("queued") || of("waiting")) {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "{deliveries:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn next_id(&mut self, feed: Feed) -> String {
        self.sent += 1;
        format!("{}{:06}", feed.name().to_uppercase(), self.sent)
    }

    fn person(&self, name: &str) -> anyhow::Result<&Person> {
        self.people
            .get(name)
            .with_context(|| format!("who is {name:?}?"))
    }

    /// A person's lead.
    fn lead(&self, person: &Person) -> anyhow::Result<LeadView> {
        let leads = self.bridge.office.simulator.leads();
        let mut found = leads.into_iter().filter(|lead| report::is_of(lead, person));
        let lead = found.next().context("a lead")?;
        ensure!(found.next().is_none(), "several leads of one person");
        Ok(lead)
    }

    /// The number that a hospital gave the visit that people booked for a patient.
    fn number_of_visit(&self, row: &Row) -> anyhow::Result<Option<String>> {
        if row.get("visit") != Some("as numbered") {
            return Ok(None);
        }
        let lead = self.lead(self.person(&row.about)?)?;
        let activities = self.bridge.office.simulator.activities();
        let own = activities.iter().filter(|known| known.lead == lead.id);
        let mut numbers = own.filter_map(|known| known.values.get("mx_Custom_1"));
        let number = numbers.rfind(|number| number.starts_with("F-"));
        Ok(Some(number.context("a visit with a number")?.clone()))
    }

    async fn seen(&self) -> anyhow::Result<Vec<String>> {
        self.messages_of_leadsquared().await
    }

    async fn messages_of_leadsquared(&self) -> anyhow::Result<Vec<String>> {
        let messages = self.bridge.messages().await?;
        let told = messages.iter().filter(|message| is_of_leadsquared(message));
        Ok(told
            .map(|message| message["id"].as_str().unwrap_or_default().to_owned())
            .collect())
    }
}

/// Whether a message is what LeadSquared told, and no HL7 message.
fn is_of_leadsquared(message: &Value) -> bool {
    message["event"]
        .as_str()
        .is_some_and(|event| event.starts_with("lead-"))
}

fn patient_of(feed: Feed) -> &'static str {
    match feed {
        Feed::Harbor => HARBOR_PATIENT,
        Feed::Quarry => QUARRY_PATIENT,
        Feed::Practice => PRACTICE_PATIENT,
    }
}

fn visit_of(feed: Feed) -> &'static str {
    match feed {
        Feed::Harbor => HARBOR_VISIT,
        Feed::Quarry => QUARRY_VISIT,
        Feed::Practice => PRACTICE_VISIT,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn week_one_ends_as_it_is_written_down() -> anyhow::Result<()> {
    let Script { people, rows } = Script::parse(SCRIPT)?;
    ensure!(rows.len() > 50, "{} rows", rows.len());
    let mut week = Week::begin(people).await?;
    for row in rows {
        let at = row.to_string();
        Box::pin(week.play(row)).await.context(at)?;
    }
    let found = report::write(&week).await?;
    // Whatever is written down: nothing is dead, nothing waits, and nobody else's values went out.
    for delivery in week.bridge.deliveries().await? {
        ensure!(
            ["delivered", "skipped"].contains(&delivery.state.as_str()),
            "{delivery:?}"
        );
    }
    for ehr in &week.ehrs {
        for message in ehr.received() {
            ensure!(
                message.findings.is_empty() && message.repeats == 0,
                "{:?}: {}",
                message.findings,
                message.text
            );
            let strangers = ["SAMPLE", "TEMPLATE", "TESS", "ZZTEST", "KNIGHT"];
            ensure!(
                !strangers.iter().any(|name| message.text.contains(name)),
                "{}",
                message.text
            );
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(EXPECTED, &found)?;
    }
    let expected = std::fs::read_to_string(EXPECTED).unwrap_or_default();
    ensure!(
        expected == found,
        "the week did not end as week/expected.md says; UPDATE_DOCS=1 writes it anew:\n{found}"
    );
    week.bridge.office.host.stop().await;
    Ok(())
}
