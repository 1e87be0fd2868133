//! Channels: the list with how each stands on this host, one channel with its settings, the doctor.

use askama::Template;
use axum::extract::{Query, RawPathParams, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel_form::Fields;
use super::form::{Form, free_id};
use super::show::Time;
use super::visit::{Faults, Frame, Visit, again, done, html, if_match, refused};
use crate::flow::Channel;
use crate::flow::channel::Kind;
use crate::pipeline::send::Sending;
use crate::pipeline::wire::Certificate;
use crate::store::catalog::{Kept, Listing};
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::channels::{self, ChannelView};
use crate::web::api::doctor::{self, Diagnosis};
use crate::web::api::error::Error;
use crate::web::api::list::part;
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "channels.html")]
struct ChannelsPage {
    frame: Frame,
    channels: Vec<Line>,
    has_account: bool,
}

#[derive(Template)]
#[template(path = "channel.html")]
struct ChannelPage {
    frame: Frame,
    faults: Faults,
    /// None for a new one.
    line: Option<Line>,
    version: i64,
    is_inbound: bool,
    fields: Fields,
    accounts: Vec<(String, String)>,
    diagnosis: Option<Diagnosis>,
}

/// A channel as it stands on this host.
struct Line {
    name: String,
    id: String,
    is_inbound: bool,
    address: String,
    state: &'static str,
    said: String,
    has_tls: bool,
    peers: String,
    connected: Vec<Peer>,
    last: Option<Time>,
    certificates: Vec<Certificate>,
    flows: Vec<(String, String)>,
}

struct Peer {
    address: String,
    subject: String,
    since: Time,
}

/// How a channel stands: a word, what is to be said of it, its address in use.
fn standing(web: &Web, channel: &Channel) -> (&'static str, String, String) {
    let own = channel.address.to_string();
    let Some(target) = &channel.target else {
        return match web.pipeline.listening(&channel.id) {
            Some(Ok(address)) => ("listening", String::new(), address.to_string()),
            Some(Err(fault)) => ("broken", fault, own),
            None => ("waiting", "not tried yet".to_owned(), own),
        };
    };
    let target = target.address.to_string();
    match web.pipeline.sending(&channel.id) {
        Some(Sending::Here(line)) => ("connected", String::new(), line.address().to_owned()),
        Some(Sending::Elsewhere) => {
            let text = "another host has this connection";
            ("elsewhere", text.to_owned(), target)
        }
        Some(Sending::Not(fault)) => ("broken", fault, target),
        None => ("waiting", "not tried yet".to_owned(), target),
    }
}

async fn line(web: &Web, listing: &Listing, kept: &Kept<Channel>) -> Result<Line, Fault> {
    let channel = &kept.document;
    let view = channels::view(web, kept.clone()).await?;
    let (state, said, address) = standing(web, channel);
    let ChannelView {
        connected,
        certificates,
        last_message_at_ms,
        ..
    } = view;
    let peers: Vec<_> = channel
        .allowed_peers
        .iter()
        .map(|network| network.0.to_string())
        .collect();
    let target = channel.target.as_ref();
    let flows = listing.flows.iter().map(|kept| &kept.document);
    Ok(Line {
        name: channel.name.clone(),
        id: channel.id.to_string(),
        is_inbound: target.is_none(),
        address,
        state,
        said,
        has_tls: channel.tls.is_some() || target.is_some_and(|target| target.tls.is_some()),
        peers: match peers.is_empty() {
            true => "any".into(),
            false => peers.join(", "),
        },
        connected: connected
            .into_iter()
            .map(|peer| Peer {
                address: peer.address,
                subject: peer.subject.unwrap_or_default(),
                since: Time::of(peer.since_ms),
            })
            .collect(),
        last: last_message_at_ms.map(Time::of),
        certificates,
        flows: flows
            .filter(|flow| flow.channel == channel.id && flow.account == channel.account)
            .map(|flow| (flow.id.to_string(), flow.name.clone()))
            .collect(),
    })
}

/// Lists channels.
pub async fn list(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let mut lines = Vec::new();
    for kept in &listing.channels {
        lines.push(line(&web, &listing, kept).await?);
    }
    html(&ChannelsPage {
        frame: visit.frame("channels"),
        channels: lines,
        has_account: !listing.accounts.is_empty(),
    })
}

fn accounts(listing: &Listing) -> Vec<(String, String)> {
    let accounts = listing.accounts.iter().map(|kept| &kept.document);
    accounts
        .map(|account| (account.id.to_string(), account.name.clone()))
        .collect()
}

/// Which way a new channel goes.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// `out` for one to the EHR.
    #[serde(default)]
    way: String,
}

/// Asks for a new channel.
pub async fn new(
    State(web): State<Web>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    html(&ChannelPage {
        frame: visit.frame("channels"),
        faults: Faults::default(),
        line: None,
        version: 0,
        is_inbound: asked.way != "out",
        fields: Fields::default(),
        accounts: accounts(&listing),
        diagnosis: None,
    })
}

/// Makes a channel; this host listens, or sends, at once.
pub async fn create(State(web): State<Web>, visit: Visit, form: Form) -> Result<Response, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let is_inbound = form.get("way") != "out";
    let fields = Fields::sent(&form);
    let taken = |id: &str| {
        let mut channels = listing.channels.iter();
        channels.any(|kept| kept.document.id.as_str() == id)
    };
    let usual = if is_inbound { "ehr" } else { "to-ehr" };
    let id = free_id(fields.get("name"), usual, taken);
    let accounts = accounts(&listing);
    let account = match (form.some("account"), accounts.first()) {
        (Some(account), _) => account,
        (None, Some((only, _))) => only.clone(),
        (None, None) => String::new(),
    };
    let document = fields.document(json!({ "id": id, "account": account }), is_inbound);
    let headers = visit.headers.clone();
    let body = Unread::of(json!({ "channel": document }));
    let making = channels::create(State(web.clone()), headers, body);
    match Box::pin(making).await {
        Ok(_) => Ok(done(
            &visit,
            &format!("/channels/{id}"),
            "The channel is made.",
        )),
        Err(fault) => again(&ChannelPage {
            frame: visit.frame("channels"),
            faults: Faults::of(&fault),
            line: None,
            version: 0,
            is_inbound,
            fields,
            accounts,
            diagnosis: None,
        }),
    }
}

async fn page(
    web: &Web,
    visit: &Visit,
    id: &str,
    sent: Option<(Fields, Faults)>,
    diagnosis: Option<Diagnosis>,
) -> Result<ChannelPage, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let kept = channels::find(listing.clone(), id)?;
    let (fields, faults) = sent.unwrap_or_else(|| (Fields::of(&kept.document), Faults::default()));
    Ok(ChannelPage {
        frame: visit.frame("channels"),
        faults,
        line: Some(line(web, &listing, &kept).await?),
        version: kept.version,
        is_inbound: kept.document.kind() == Kind::Inbound,
        fields,
        accounts: accounts(&listing),
        diagnosis,
    })
}

/// Shows a channel.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    html(&page(&web, &visit, &part(&params, "id")?, None, None).await?)
}

/// Keeps the settings of a channel; its connections are made anew.
pub async fn save(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let listing = web.pipeline.store.catalog().list().await?;
    let channel = channels::find(listing, &id)?.document;
    let fields = Fields::sent(&form);
    let before = serde_json::to_value(&channel).unwrap_or_default();
    let document = fields.document(before, channel.target.is_none());
    let version: Value = form
        .get("version")
        .parse::<i64>()
        .unwrap_or_default()
        .into();
    let body = Unread::of(json!({ "channel": document, "version": version }));
    let headers = visit.headers.clone();
    let saving = channels::save(State(web.clone()), headers, params, body);
    match Box::pin(saving).await {
        Ok(_) => Ok(done(
            &visit,
            &format!("/channels/{id}"),
            "The channel is saved.",
        )),
        Err(fault) => {
            let sent = Some((fields, Faults::of(&fault)));
            again(&page(&web, &visit, &id, sent, None).await?)
        }
    }
}

/// Asks the doctor.
pub async fn examine(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let diagnosis = Box::pin(doctor::diagnose(&web, &visit.headers, &id)).await;
    match diagnosis {
        Ok(diagnosis) => html(&page(&web, &visit, &id, None, Some(diagnosis)).await?),
        Err(fault) => Ok(refused(&visit, &format!("/channels/{id}"), &fault)),
    }
}

/// Deletes a channel whose name was typed.
pub async fn delete(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let listing = web.pipeline.store.catalog().list().await?;
    let name = channels::find(listing, &id)?.document.name;
    let to = format!("/channels/{id}");
    if form.get("name") != name {
        let text = format!("type {name:?} to delete the channel; nothing was deleted");
        return Ok(refused(&visit, &to, &Error::bad(text)));
    }
    let headers = if_match(&visit, &form);
    let deleting = channels::delete(State(web), headers, params);
    Ok(match Box::pin(deleting).await {
        Ok(_) => done(
            &visit,
            "/channels",
            &format!("The channel {name} is deleted; its messages stay."),
        ),
        Err(fault) => refused(&visit, &to, &fault),
    })
}
