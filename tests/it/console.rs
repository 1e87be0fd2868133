//! The console, as people use it: real HTTP with a browser's cookies and forms, and Chromium where a page has a script.

mod alerts;
mod beginning;
mod channels;
mod components;
mod details;
mod flows;
mod forms;
mod journeys;
mod kinds;
mod looks;
mod mending;
mod messages;
mod openid;
mod options;
mod people;
mod races;
mod rights;
mod secure;
mod setup;
mod shared;
mod working;

use ligature::simulator::lead_squared::{Settings, Simulator};
use ligature_tests::office::Office;
use ligature_tests::visitor::Visitor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A clinic's channels and one flow.
const DOCUMENTS: &str = "[[channels]]\nid = \"ehr\"\naddress = \"127.0.0.1:0\"\n\
    [[flows]]\nid = \"registrations\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"ehr\"\nevent = \"ADT^A04\"\n\
    entity = \"lead\"\nprimary_search_field = \"mx_MRN\"\n";

/// A running host with its simulator, and nobody who may sign in.
async fn empty(storage: Option<&str>) -> anyhow::Result<Office> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let settings = Settings {
        rate_limit: None,
        ..Settings::default()
    };
    let simulator = Simulator::start(
        listener,
        settings,
        &TaskTracker::new(),
        CancellationToken::new(),
    )?;
    Office::open(storage, simulator, DOCUMENTS).await
}

/// The same with an administrator who is signed in.
async fn office(storage: Option<&str>) -> anyhow::Result<(Office, Visitor)> {
    let office = empty(storage).await?;
    let mut ana = Visitor::new(office.host.http);
    let link = ligature::serve::first_start(&office.host).await?;
    ana.begin(&link.unwrap_or_default()).await?;
    Ok((office, ana))
}
