//! `demo --bare`: a host with nothing in it, and the two simulators, to be set up in the console.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{
    Args, DEFAULT_EHR, DEFAULT_EHR_PAGE, DEFAULT_HTTP, DEFAULT_LEADSQUARED, Folder, bind, key,
};
use crate::config::{Console, DEFAULT_CONCURRENCY, Mapping};
use crate::flow::account::{Keys, Reach};
use crate::serve::{self, Sockets};
use crate::simulator::ehr;
use crate::simulator::lead_squared::{Handle, Kept, Settings, Simulator};

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let stop = serve::stop_signal()?;
    let (http, _) = bind("--http-addr", args.http_addr, DEFAULT_HTTP).await?;
    let (leadsquared, _) = bind(
        "--leadsquared-addr",
        args.leadsquared_addr,
        DEFAULT_LEADSQUARED,
    )
    .await?;
    let (ehr, _) = bind("--ehr-addr", args.ehr_addr, DEFAULT_EHR).await?;
    let (ehr_page, _) = bind("--ehr-page-addr", args.ehr_page_addr, DEFAULT_EHR_PAGE).await?;
    let folder = Folder::of(&args)?;
    let data = folder.path();

    let (tracker, simulated) = (TaskTracker::new(), CancellationToken::new());
    let kept = read(data)?;
    let settings = kept.as_ref().map_or_else(Settings::to_keep, Kept::settings);
    let keys = Keys {
        access_key: settings.keys.access_key.clone(),
        secret_key: settings.keys.secret_key.clone(),
    };
    let simulator = Simulator::start(leadsquared, settings, &tracker, simulated.clone())?;
    if let Some(kept) = kept {
        simulator.restore(kept);
    }
    // The keys are in the store as soon as somebody connects the account: they must not be forgotten by a crash.
    keep(&simulator, data)?;
    let ehr_page_addr = ehr_page.local_addr()?;
    let ehr = ehr::Simulator::start(
        ehr,
        Some(ehr_page),
        ehr::Settings::default(),
        &tracker,
        simulated.clone(),
    )?;

    let storage = format!("sqlite:{}", data.join("ligature.db").display());
    let mapping = Mapping::with_artefacts(data.join("artefacts"));
    let open = serve::open(&storage, true, vec![key(data)?], &mapping).await?;
    let console = Console {
        simulator: Some(Reach {
            api: simulator.api(),
            keys,
        }),
        ..Console::at(DEFAULT_HTTP)
    };
    let sockets = Sockets {
        http: Some(http),
        ..Sockets::default()
    };
    let starting = serve::start(open, console, DEFAULT_CONCURRENCY, sockets);
    let host = Box::pin(starting).await?;
    let entrance = match serve::first_start(&host).await? {
        Some(link) => link,
        None => format!("http://{}", host.http),
    };
    writeln!(
        out,
        "console      {entrance}\nLeadSquared  http://{}/\nEHR          takes messages at {}, shows them at http://{ehr_page_addr}/\n\nCtrl-C ends the demo.",
        simulator.address(),
        ehr.address(),
    )?;
    out.flush()?;
    keep_until(stop, &simulator, data).await?;
    host.stop().await;
    keep(&simulator, data)?;
    simulated.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(ExitCode::SUCCESS)
}

/// How often what the simulated LeadSquared holds is kept.
const KEPT_EVERY: Duration = Duration::from_secs(5);

/// Where it is kept, beside the store.
const FILE: &str = "leadsquared.json";

fn read(data: &Path) -> anyhow::Result<Option<Kept>> {
    let file = data.join(FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let kept = Kept::parse(&text);
            let kept = kept.with_context(|| {
                format!(
                    "{} holds no simulated LeadSquared: delete it to begin anew",
                    file.display()
                )
            })?;
            Ok(Some(kept))
        }
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Writes the file whole or not at all, for its owner's eyes.
fn keep(simulator: &Handle, data: &Path) -> anyhow::Result<()> {
    let Some(kept) = simulator.kept() else {
        return Ok(());
    };
    let file = data.join(FILE);
    let mut written = tempfile::NamedTempFile::new_in(data)?;
    written.write_all(kept.to_text().as_bytes())?;
    written
        .persist(&file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(())
}

async fn keep_until(
    stop: impl Future<Output = ()>,
    simulator: &Handle,
    data: &Path,
) -> anyhow::Result<()> {
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = sleep(KEPT_EVERY) => keep(simulator, data)?,
        }
    }
}
