//! `demo --bare`: a host with nothing in it, and the two simulators, to be set up in the console.

use std::io::Write;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{
    Args, DEFAULT_EHR, DEFAULT_EHR_PAGE, DEFAULT_HTTP, DEFAULT_LEADSQUARED, Folder, bind, key,
};
use crate::config::{Console, DEFAULT_CONCURRENCY, Mapping};
use crate::flow::account::{Keys, Reach};
use crate::serve::{self, Sockets};
use crate::simulator::ehr;
use crate::simulator::lead_squared::{Settings, Simulator};

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
    let settings = Settings::default();
    let keys = Keys {
        access_key: settings.keys.access_key.clone(),
        secret_key: settings.keys.secret_key.clone(),
    };
    let simulator = Simulator::start(leadsquared, settings, &tracker, simulated.clone())?;
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
    stop.await;
    host.stop().await;
    simulated.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(ExitCode::SUCCESS)
}
