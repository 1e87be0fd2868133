//! Figures for monitoring: what a scrape of a working host shows, to whom, and in which form.

use anyhow::{Context, ensure};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::mllp::Client;
use std::collections::BTreeSet;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A message of a patient whose name nobody else has.
fn message(event: &str, control_id: &str) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||{event}|{control_id}|P|2.5.1\rEVN|A04\r\
         PID|1||MRN{control_id}^^^CLINIC^MR||Quillfeather^Odalys\rPV1|1|O\r"
    )
}

async fn read(clinic: &Clinic, path: &str, token: Option<&str>) -> anyhow::Result<(u16, String)> {
    let url = format!("http://{}{path}", clinic.site.http);
    let mut request = ligature_tests::http().get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// The value of the line that begins so.
fn value(text: &str, series: &str) -> anyhow::Result<f64> {
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let found = found.with_context(|| format!("{series} is not in\n{text}"))?;
    Ok(found.parse()?)
}

/// Every line is a comment or a sample of the family that was announced last, and no series comes twice.
fn well_formed(text: &str) -> anyhow::Result<()> {
    let (mut family, mut seen) = (String::new(), BTreeSet::new());
    let mut families = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').context("a type")?;
            ensure!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            ensure!(kind != "counter" || name.ends_with("_total"), "{line}");
            ensure!(families.insert(name.to_owned()), "{name} twice");
            name.clone_into(&mut family);
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').context("a value")?;
            ensure!(series.starts_with(&family), "{line} is not of {family}");
            ensure!(value.parse::<f64>().is_ok(), "{line}");
            ensure!(seen.insert(series.to_owned()), "{series} twice");
            let labels = series.split_once('{').map(|(_, labels)| labels);
            ensure!(
                labels.is_none_or(|labels| labels.ends_with("\"}")),
                "{line}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_tells_what_came_and_what_became_of_it() -> anyhow::Result<()> {
    let mut clinic = Clinic::of_registrations("").await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    for number in ["1", "2", "3"] {
        let sent = message("ADT^A04", number);
        client.exchange(sent.as_bytes()).await?;
    }
    // No flow takes it, and what is no message cannot be read.
    client.exchange(message("ADT^A60", "4").as_bytes()).await?;
    client.exchange(b"Quillfeather").await?;
    clinic.simulator.until(|counts| counts.leads == 3).await;
    clinic.settled(PATIENCE).await?;

    let (status, text) = read(&clinic, "/metrics", None).await?;
    ensure!(status == 200, "{status} {text}");
    well_formed(&text)?;
    let of_channel = "account=\"clinic\",channel=\"ehr\"";
    let of_flow = "account=\"clinic\",flow=\"ADT^A04\"";
    for (series, expected) in [
        (
            format!("ligature_messages_total{{{of_channel},outcome=\"received\"}}"),
            4.0,
        ),
        (
            format!("ligature_messages_total{{{of_channel},outcome=\"not-taken\"}}"),
            1.0,
        ),
        (
            format!("ligature_acknowledgements_total{{{of_channel},code=\"AA\"}}"),
            4.0,
        ),
        (
            format!("ligature_acknowledgements_total{{{of_channel},code=\"AR\"}}"),
            1.0,
        ),
        (
            format!("ligature_acknowledgement_seconds_count{{{of_channel}}}"),
            5.0,
        ),
        (
            format!("ligature_acknowledgement_seconds_bucket{{{of_channel},le=\"+Inf\"}}"),
            5.0,
        ),
        (
            format!("ligature_deliveries_total{{{of_flow},outcome=\"delivered\"}}"),
            3.0,
        ),
        (
            format!("ligature_delivery_tries_total{{{of_flow},state=\"delivered\"}}"),
            3.0,
        ),
        (
            format!("ligature_delivered_after_seconds_count{{{of_flow}}}"),
            3.0,
        ),
        (
            format!("ligature_channel_up{{{of_channel},direction=\"inbound\"}}"),
            1.0,
        ),
        (format!("ligature_connections{{{of_channel}}}"), 1.0),
        ("ligature_store_messages_total".to_owned(), 5.0),
    ] {
        let found = value(&text, &series)?;
        ensure!(found == expected, "{series} is {found}\n{text}");
    }
    for series in [
        "ligature_api_calls_total{account=\"clinic\",status=\"200\"}",
        "ligature_api_call_seconds_count{account=\"clinic\"}",
        "ligature_store_bytes",
        "ligature_disk_free_bytes",
        "process_open_fds",
    ] {
        ensure!(value(&text, series)? > 0.0, "{series}\n{text}");
    }
    ensure!(text.contains("ligature_component_runs_total{account=\"clinic\",component=\""));
    for secret in ["Quillfeather", "Odalys", "MRN1"] {
        ensure!(!text.contains(secret), "{secret} is in\n{text}");
    }
    ensure!(read(&clinic, "/readyz", None).await? == (200, "ready\n".into()));

    // What waits says why, by a code.
    clinic.host.take().context("a host")?.stop()?;
    clinic.site.ligature(&["flow", "export", "out"], &[])?;
    let file = clinic.site.path("out/setup.toml");
    let flow = std::fs::read_to_string(&file)?;
    let paused = flow.replace(
        "event = \"ADT^A04\"",
        "event = \"ADT^A04\"\nstatus = { state = \"paused\", reason = \"upgrade\" }",
    );
    std::fs::write(&file, paused)?;
    clinic.site.ligature(&["flow", "import", "out"], &[])?;
    clinic.host = Some(clinic.site.start().await?);
    let mut client = Client::connect(clinic.site.mllp).await?;
    client.exchange(message("ADT^A04", "5").as_bytes()).await?;
    let (_, text) = read(&clinic, "/metrics", None).await?;
    well_formed(&text)?;
    let open = text
        .lines()
        .find(|line| line.starts_with("ligature_deliveries_open{"));
    let open = open.with_context(|| format!("nothing waits\n{text}"))?;
    ensure!(open.contains(of_flow) && open.ends_with(" 1"), "{open}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_for_those_who_may_view() -> anyhow::Result<()> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let file = clinic.site.path("ligature.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(
        &file,
        text.replace("[http]\n", "[http]\nrequire_token = true\n"),
    )?;
    let (viewer, auditor) = (clinic.site.token("view")?, clinic.site.token("audit")?);
    clinic.host = Some(clinic.site.start().await?);
    let status = async |token| anyhow::Ok(read(&clinic, "/metrics", token).await?.0);
    ensure!(status(None).await? == 401);
    ensure!(status(Some(auditor.bearer())).await? == 403);
    ensure!(status(Some(viewer.bearer())).await? == 200);
    // Whether it is well anybody may ask.
    for path in ["/healthz", "/readyz"] {
        ensure!(read(&clinic, path, None).await?.0 == 200, "{path}");
    }
    Ok(())
}
