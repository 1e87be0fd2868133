//! A candidate over stored messages: exact counts, in time, whatever ends in between; nothing is written anywhere.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::config::Mapping;
use ligature::flow::account::Keys;
use ligature::flow::shadow::State;
use ligature::flow::{Account, Channel, Digest, Direction, Flow, MessageId};
use ligature::pipeline::Pipeline;
use ligature::pipeline::activate::{self, Source};
use ligature::pipeline::configuration::Configuration;
use ligature::pipeline::shadow::{Over, Standing};
use ligature::serve::{self, Open};
use ligature::store::catalog::{Author, Expected};
use ligature::store::journal::{Arrival, Rank, Route, Routed, Start};
use ligature::vault::Key;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{CITY, CITY_IN_CAPITALS, activate, candidate, mapping, open, registration, send};

/// A store with a flow and messages, and nobody who carries them out.
struct Yard {
    open: Open,
    pipeline: Pipeline,
    flow: Flow,
}

const MESSAGES: usize = 10_000;
const ROWS: usize = 60;

/// A document of 60 rows, of which the 37th takes its value from `path`.
fn document(path: &str) -> String {
    let mut text =
        "format = 1\nname = \"Wide\"\nversion = \"1\"\nevents = [\"ADT^A04\"]\n".to_owned();
    for row in 1..=ROWS {
        let rule = match row {
            37 => format!("path = \"{path}\""),
            _ => match row % 6 {
                0 => "path = \"PID-3.1\"".to_owned(),
                1 => "path = \"PID-5.1\"\nsteps = [\"trim\", \"upper\"]".to_owned(),
                2 => "path = \"PID-7\"\nsteps = [\"date\"]".to_owned(),
                3 => "path = \"PID-8\"\nsteps = [{ map = { F = \"Female\", M = \"Male\" }, default = \"Other\" }]".to_owned(),
                4 => "path = \"PID-19\"".to_owned(),
                _ => "concat = [\"PID-5.2\", \"PID-5.1\"]".to_owned(),
            },
        };
        let _ = write!(text, "\n[[lead]]\ntarget = \"mx_F{row}\"\n{rule}\n");
    }
    text
}

/// Every fourth message has the same in both places, another has it in neither, and so on.
fn message(number: usize) -> String {
    let (city, zip) = match number % 4 {
        0 => ("Rye", "Rye"),
        1 => ("Rye", "04530"),
        2 => ("Rye", ""),
        _ => ("", "04530"),
    };
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A04|Y{number}|P|2.5.1\rEVN|A04\r\
         PID|1||M{number}^^^CLINIC^MR||Fenwick^Odalys||19800101|F|||^^{city}^^{zip}\rPV1|1|O\r"
    )
}

const KEY: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";

impl Yard {
    async fn open(storage: &str, folder: &std::path::Path) -> anyhow::Result<Self> {
        let artefacts = Mapping::with_artefacts(folder.join("artefacts"));
        let key = Key::from_hex(1, KEY)?;
        let open = serve::open(storage, true, vec![key], &artefacts).await?;
        let catalog = open.store.catalog();
        let account: Account =
            toml::from_str("id = \"clinic\"\nname = \"Clinic\"\napi = \"http://127.0.0.1:1\"\n")?;
        let flow = catalog.list().await?.flows.pop();
        if flow.is_none() {
            catalog.put_account(&account).await?;
            let keys = Keys {
                access_key: "a".into(),
                secret_key: "s".into(),
            };
            catalog.put_keys(&account.id, &keys).await?;
            let channel: Channel = toml::from_str(
                "id = \"ehr\"\naccount = \"clinic\"\nname = \"EHR\"\naddress = \"127.0.0.1:0\"\n",
            )?;
            catalog.put_channel(&channel).await?;
            let flow: Flow = toml::from_str(
                "id = \"wide\"\naccount = \"clinic\"\nname = \"Wide\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"ehr\"\n\
                 event = \"ADT^A04\"\nentity = \"lead\"\nprimary_search_field = \"mx_F6\"\nstatus = { state = \"active\" }\n",
            )?;
            let source = Source::Document(document("PID-11.3"));
            let ready = activate::prepare(&open.runtime, &flow, source, &[]).await?;
            let changes = ready.changes(flow, Expected::New);
            catalog.apply(&changes, &Author::host()).await?;
        }
        let flow = catalog
            .list()
            .await?
            .flows
            .pop()
            .context("a flow")?
            .document;
        let configuration = Configuration::load(&open.store, &open.runtime).await?;
        let pipeline = Pipeline::new(open.store.clone(), open.runtime.clone(), configuration);
        Ok(Self {
            open,
            pipeline,
            flow,
        })
    }

    async fn fill(&self, count: usize) -> anyhow::Result<()> {
        let numbers: Vec<usize> = (0..count).collect();
        for part in numbers.chunks(500) {
            let arrivals = part.iter().map(|number| Arrival {
                id: MessageId::generate(),
                account: self.flow.account.clone(),
                channel: "ehr".into(),
                direction: Direction::EhrToLeadSquared,
                received_at_ms: jiff::Timestamp::now().as_millisecond(),
                payload: message(*number).into_bytes(),
                facts_only: false,
                control_id: format!("Y{number}"),
                event: "ADT^A04".into(),
                sender: "EPIC|MAIN".into(),
                version: "2.5.1".into(),
                duplicate: None,
                lanes: vec![format!("M{number}")],
                search: Vec::new(),
                acknowledgement: Vec::new(),
                warnings: String::new(),
                peer: "127.0.0.1".into(),
                load: None,
                origin: None,
                route: Route::Flows(vec![Routed {
                    flow: self.flow.id.clone(),
                    start: Start::Queued,
                    rank: Rank::new(1),
                }]),
            });
            self.open.store.journal().append(arrivals.collect()).await?;
        }
        Ok(())
    }

    /// A release of the document whose 37th row reads `path`.
    async fn candidate(&self, path: &str) -> anyhow::Result<Digest> {
        let source = Source::Document(document(path));
        let ready = activate::prepare(&self.open.runtime, &self.flow, source, &[]).await?;
        let digest = ready.release.digest();
        let [component, release, _] = ready.changes(self.flow.clone(), Expected::Any);
        let catalog = self.open.store.catalog();
        catalog
            .apply(&[component, release], &Author::host())
            .await?;
        Ok(digest)
    }

    async fn start(&self, candidate: &Digest) -> anyhow::Result<String> {
        let author = Author("test".into());
        let over = Over {
            limit: Some(100_000),
            ..Over::default()
        };
        let starting = self
            .pipeline
            .start_shadow(&self.flow, candidate, &over, &author);
        Ok(starting.await?.id)
    }

    async fn standing(&self, id: &str) -> anyhow::Result<Standing> {
        let shadow = self.open.store.shadows().get(id).await?;
        Ok(Standing::of(&shadow.context("the shadow run")?))
    }

    async fn close(self) {
        let owner = self.pipeline.owner.clone();
        let _ = self.open.store.journal().let_go(&owner).await;
        drop(self.pipeline);
        self.open.close().await;
    }
}

/// The counts of a changed 37th row over `messages`, and of all others.
fn check_counts(standing: &Standing, messages: u64) -> anyhow::Result<()> {
    ensure!(standing.state == State::Done, "{}", standing.summary);
    ensure!(standing.messages == messages && standing.done == messages);
    ensure!(
        standing.different == messages / 4 * 3,
        "{}",
        standing.summary
    );
    for (field, counts) in &standing.fields {
        if field == "lead.mx_F37" {
            let quarter = messages / 4;
            let found = [
                counts.same,
                counts.changed,
                counts.newly_empty,
                counts.newly_filled,
            ];
            ensure!(found == [quarter; 4], "{counts:?}");
        } else {
            ensure!(
                counts.same == messages && counts.differences() == 0,
                "{field} {counts:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_of_sixty_is_found_in_ten_thousand_messages() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let storage = format!("sqlite:{}", folder.path().join("ligature.db").display());
    let yard = Box::pin(Yard::open(&storage, folder.path())).await?;
    yard.fill(MESSAGES).await?;
    let candidate = yard.candidate("PID-11.5").await?;
    let id = yard.start(&candidate).await?;
    let started = Instant::now();
    yard.pipeline.carry_shadow(&id).await?;
    let took = started.elapsed();
    let standing = yard.standing(&id).await?;
    check_counts(&standing, MESSAGES as u64)?;
    // All but the one that no message has, PID-19.
    ensure!(
        standing.fields.len() == ROWS - 10,
        "{:?}",
        standing.fields.keys()
    );
    ensure!(standing.samples.len() == 9, "{:?}", standing.samples);
    let shown = format!("{:?}", standing.samples);
    ensure!(shown.contains("Xxx") && !shown.contains("Rye"), "{shown}");
    let (base, candidate) = (&standing.cost_of_base, &standing.cost_of_candidate);
    ensure!(
        base.p50_fuel > Some(10_000) && base.p99_us >= base.p50_us,
        "{base:?}"
    );
    #[expect(clippy::print_stderr, reason = "a figure for the reader of the test")]
    {
        eprintln!("{MESSAGES} messages, {ROWS} rows, both releases: {took:.1?}");
        eprintln!("{base:?}\n{candidate:?}");
    }
    yard.close().await;
    Ok(())
}

async fn goes_on(storage: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let yard = Box::pin(Yard::open(storage, folder.path())).await?;
    yard.fill(1_000).await?;
    let candidate = yard.candidate("PID-11.5").await?;
    let id = yard.start(&candidate).await?;
    // Cut off again and again, wherever it is.
    let mut cut_off = 0;
    for wait_ms in [1, 5, 20, 80, 150] {
        let wait = Duration::from_millis(wait_ms);
        cut_off += u64::from(
            Box::pin(timeout(wait, yard.pipeline.carry_shadow(&id)))
                .await
                .is_err(),
        );
    }
    ensure!(cut_off > 0);
    yard.close().await;
    let yard = Box::pin(Yard::open(storage, folder.path())).await?;
    yard.pipeline.carry_shadow(&id).await?;
    check_counts(&yard.standing(&id).await?, 1_000)?;

    // The same again, cancelled: what it has found stays.
    let id = yard.start(&candidate).await?;
    let shadows = yard.open.store.shadows();
    let shadow = shadows.get(&id).await?.context("a shadow run")?;
    ensure!(shadows.cancel(&shadow, &Author::host()).await?);
    ensure!(!shadows.cancel(&shadow, &Author::host()).await?);
    yard.pipeline.carry_shadow(&id).await?;
    let standing = yard.standing(&id).await?;
    ensure!(
        standing.state == State::Cancelled && standing.done == 0,
        "{standing:?}"
    );
    yard.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_run_goes_on_where_it_was_on_sqlite() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let storage = format!("sqlite:{}", folder.path().join("ligature.db").display());
    Box::pin(goes_on(&storage)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_run_goes_on_where_it_was_on_postgres() -> anyhow::Result<()> {
    let storage = tokio::task::spawn_blocking(ligature_tests::postgres).await??;
    Box::pin(goes_on(&storage)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_put_in_force_on_the_strength_of_its_shadow_run() -> anyhow::Result<()> {
    // The first release has nothing to be proven on.
    let bridge = open("require_shadow = true\n").await?;
    let cities = ["Rye", "BATH", "", "Wells"];
    let messages = cities.iter().enumerate();
    send(
        &bridge,
        messages.map(|(number, city)| registration(number, city)),
    )
    .await?;
    bridge.settled(4).await?;
    let calls = bridge.office.simulator.counts().calls;
    let capitals = candidate(&bridge, &mapping(2, CITY_IN_CAPITALS)).await?;
    let refused = activate(&bridge, json!({ "release": capitals })).await;
    let refused = refused.err().context("not proven")?.to_string();
    ensure!(refused.contains("flows.shadow"), "{refused}");

    let body = json!({ "release": capitals });
    let started = bridge
        .call("POST", "flows/registrations/shadows", body)
        .await?;
    let path = format!("shadows/{}", started["id"].as_str().context("an id")?);
    let begun = Instant::now();
    let done = loop {
        let shadow = bridge.call("GET", &path, json!({})).await?;
        if shadow["state"] != "running" {
            break shadow;
        }
        ensure!(begun.elapsed() < Duration::from_secs(60), "{shadow}");
        sleep(Duration::from_millis(20)).await;
    };
    ensure!(done["state"] == "done" && done["messages"] == 4, "{done}");
    ensure!(
        done["fields"]["lead.mx_City"]
            == json!({
                "same": 1, "changed": 2, "newly_empty": 0, "newly_filled": 0, "newly_refused": 0, "newly_skipped": 0
            }),
        "{done}"
    );
    ensure!(
        !done.to_string().contains("Wells") && !done.to_string().contains("WELLS"),
        "{done}"
    );
    ensure!(
        done["samples"][0]["was"] == "Xxx" && done["samples"][0]["now"] == "XXX",
        "{done}"
    );
    ensure!(bridge.office.simulator.counts().calls == calls);
    let listed = bridge.call("GET", "shadows", json!({})).await?;
    ensure!(listed["items"][0]["id"] == started["id"], "{listed}");

    // Of another release it proves nothing.
    let other = candidate(&bridge, &mapping(3, CITY)).await?;
    let other = activate(
        &bridge,
        json!({ "release": other, "shadow": started["id"] }),
    )
    .await;
    ensure!(other.is_err());
    let active = activate(
        &bridge,
        json!({ "release": capitals, "shadow": started["id"] }),
    )
    .await?;
    ensure!(active["flow"]["release"] == capitals.as_str(), "{active}");
    ensure!(active["shadow"]["summary"] == done["summary"], "{active}");

    // Other choices are another release.
    let known = bridge.call("GET", "flows/registrations", json!({})).await?;
    let mut flow = known["flow"].clone();
    flow["choices"] = json!({ "bindings": { "mx_City": "mx_Town" } });
    let changed = json!({ "flow": flow, "version": known["version"] });
    let changed = bridge.call("PUT", "flows/registrations", changed).await;
    let changed = changed.err().context("not proven")?.to_string();
    ensure!(changed.contains("flows.shadow"), "{changed}");

    // A mapping that refuses and one that skips.
    for (mapping, expected) in [
        (
            mapping(4, "[[lead]]\ntarget = \"mx_City\"\npath = \"PID-11.3\"\nrequired = true\n"),
            "newly_refused",
        ),
        (
            mapping(5, CITY_IN_CAPITALS).replace(
                "[[lead]]\ntarget = \"mx_MRN\"",
                "[[skip]]\nreason = \"no city\"\nwhen = [{ not = { path = \"PID-11.3\", present = true } }]\n\n[[lead]]\ntarget = \"mx_MRN\"",
            ),
            "newly_skipped",
        ),
    ] {
        let body = json!({ "mapping": mapping });
        let started = bridge
            .call("POST", "flows/registrations/shadows", body)
            .await?;
        let id = started["id"].as_str().context("an id")?;
        let begun = Instant::now();
        let done = loop {
            let shadow = bridge
                .call("GET", &format!("shadows/{id}"), json!({}))
                .await?;
            if shadow["state"] != "running" {
                break shadow;
            }
            ensure!(begun.elapsed() < Duration::from_secs(60), "{shadow}");
            sleep(Duration::from_millis(20)).await;
        };
        // The one without a city; it has no city to lose, but a name.
        ensure!(done["fields"]["lead.LastName"][expected] == 1, "{done}");
        ensure!(done["fields"]["lead.LastName"]["same"] == 3, "{done}");
    }
    Ok(())
}
