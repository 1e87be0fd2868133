//! Channels: where an EHR sends to, and where it is sent to. A running host listens, or sends, as soon as one is made.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Seen, Unread, json, versioned};
use super::error::{Error, Problem};
use super::list::{Asked, Page, Which, part};
use super::rfc3339;
use crate::access::Right;
use crate::flow::Channel;
use crate::flow::check::{self, Fault};
use crate::pipeline::send::Sending;
use crate::pipeline::wire::Certificate;
use crate::store::catalog::{Change, Expected, Kept, Listing};
use crate::web::Web;

const NOUN: &str = "channels";

/// A channel as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelView {
    channel: Channel,
    version: i64,
    updated_at: String,
    /// Where this host takes its messages; none while it does not.
    listening_on: Option<String>,
    /// Where this host sends its messages; none while it does not, for one while another host does.
    sending_to: Option<String>,
    /// Why this host does not listen or send as it is configured.
    fault: Option<String>,
    /// Who is connected to this host.
    pub(in crate::web) connected: Vec<PeerView>,
    /// When the last message came, to the minute; none if none came for a week.
    last_message_at: Option<String>,
    #[serde(skip)]
    pub(in crate::web) last_message_at_ms: Option<i64>,
    /// Certificates that end at some time: our own first, then those that it trusts or has seen.
    pub(in crate::web) certificates: Vec<Certificate>,
}

/// A peer that is connected.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeerView {
    pub(in crate::web) address: String,
    /// The subject of its certificate, where it showed one.
    pub(in crate::web) subject: Option<String>,
    since: String,
    #[serde(skip)]
    pub(in crate::web) since_ms: i64,
}

/// A channel to be made, or with changes.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct ChannelInput {
    channel: Channel,
    /// The version that was seen, for a change; or send it as `If-Match`.
    version: Option<i64>,
}

/// A channel with how it stands on this host.
pub(in crate::web) async fn view(web: &Web, kept: Kept<Channel>) -> Result<ChannelView, Error> {
    let peers = web.pipeline.peers(&kept.document.id).into_iter();
    let connected = peers.map(|peer| PeerView {
        address: peer.address.to_string(),
        subject: peer.subject.map(|subject| subject.to_string()),
        since: peer.since.to_string(),
        since_ms: peer.since.as_millisecond(),
    });
    let connected = connected.collect();
    let last_message_at_ms = Box::pin(web.pipeline.last_received(&kept.document)).await?;
    let (listening_on, fault) = match web.pipeline.listening(&kept.document.id) {
        Some(Ok(address)) => (Some(address.to_string()), None),
        Some(Err(fault)) => (None, Some(fault)),
        None => (None, None),
    };
    let (sending_to, fault) = match web.pipeline.sending(&kept.document.id) {
        Some(Sending::Here(line)) => (Some(line.address().to_owned()), fault),
        Some(Sending::Not(fault)) => (None, Some(fault)),
        Some(Sending::Elsewhere) | None => (None, fault),
    };
    Ok(ChannelView {
        certificates: web.pipeline.certificates(&kept.document),
        channel: kept.document,
        version: kept.version,
        updated_at: rfc3339(kept.updated_at_ms),
        listening_on,
        sending_to,
        fault,
        connected,
        last_message_at: last_message_at_ms.map(rfc3339),
        last_message_at_ms,
    })
}

pub(in crate::web) fn find(listing: Listing, id: &str) -> Result<Kept<Channel>, Error> {
    let mut channels = listing.channels.into_iter();
    let found = channels.find(|kept| kept.document.id.as_str() == id);
    found.ok_or_else(|| Error::not_found(format!("channel {id}")))
}

/// What is wrong with a channel beside all others.
fn faults(channel: &Channel, listing: &Listing) -> Vec<Fault> {
    let others = listing.channels.iter().map(|kept| &kept.document);
    let mut faults = check::channel(channel, others.clone());
    let mut accounts = listing.accounts.iter();
    if !accounts.any(|kept| kept.document.id == channel.account) {
        faults.push(Fault::new(
            "account",
            format!("there is no account {}", channel.account),
        ));
    }
    let mut elsewhere =
        others.filter(|other| other.id == channel.id && other.account != channel.account);
    if elsewhere.next().is_some() {
        faults.push(Fault::new("id", "another account has a channel of this id"));
    }
    if let Some(tls) = &channel.tls {
        let files = [("tls.certificate", &tls.certificate), ("tls.key", &tls.key)];
        for (path, file) in files {
            if let Err(fault) = std::fs::metadata(file) {
                faults.push(Fault::new(
                    path,
                    format!("{} cannot be read by this host: {fault}", file.display()),
                ));
            }
        }
    }
    faults
}

/// Lists channels.
#[utoipa::path(get, path = "/api/v1/channels", tag = "channels", params(Which),
    responses((status = 200, body = Page<ChannelView>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let channels = web.pipeline.store.catalog().list().await?.channels;
    let mut wanted = Vec::new();
    for kept in channels {
        if which.wants(kept.document.account.as_str()) {
            let id = kept.document.id.to_string();
            wanted.push((id, view(&web, kept).await?));
        }
    }
    Ok(json(StatusCode::OK, &which.page(wanted)))
}

/// Makes a channel; this host listens at once.
#[utoipa::path(post, path = "/api/v1/channels", tag = "channels", request_body = ChannelInput,
    responses((status = 201, body = ChannelView), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let channel: Channel = body.take("channel", NOUN)?;
    body.end(NOUN, &[])?;
    let catalog = web.pipeline.store.catalog();
    Error::check(NOUN, faults(&channel, &catalog.list().await?))?;
    let id = channel.id.clone();
    let change = Change::Channel(Box::new(channel), Expected::New);
    catalog.apply(&[change], &caller.author()).await?;
    web.pipeline.put_in_force().await;
    let kept = find(catalog.list().await?, id.as_str())?;
    let version = kept.version;
    Ok(versioned(
        StatusCode::CREATED,
        &view(&web, kept).await?,
        version,
    ))
}

/// Shows a channel.
#[utoipa::path(get, path = "/api/v1/channels/{id}", tag = "channels", params(("id" = String, Path)),
    responses((status = 200, body = ChannelView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let listing = web.pipeline.store.catalog().list().await?;
    let kept = find(listing, &part(&params, "id")?)?;
    let version = kept.version;
    Ok(versioned(StatusCode::OK, &view(&web, kept).await?, version))
}

/// Changes a channel; its connections are closed after their messages in hand, and it listens anew.
#[utoipa::path(put, path = "/api/v1/channels/{id}", tag = "channels", params(("id" = String, Path)),
    request_body = ChannelInput,
    responses((status = 200, body = ChannelView), (status = "default", body = Problem)))]
pub async fn save(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let id = part(&params, "id")?;
    let seen = body.seen()?;
    let channel: Channel = body.take("channel", NOUN)?;
    let read_only = [
        "updated_at",
        "listening_on",
        "sending_to",
        "fault",
        "connected",
        "last_message_at",
        "certificates",
    ];
    body.end(NOUN, &read_only)?;
    let catalog = web.pipeline.store.catalog();
    let listing = catalog.list().await?;
    let mut faults = faults(&channel, &listing);
    let before = find(listing, &id)?.document;
    for (path, same) in [
        ("id", before.id == channel.id),
        ("account", before.account == channel.account),
    ] {
        if !same {
            faults.push(Fault::new(path, "cannot change"));
        }
    }
    Error::check(NOUN, faults)?;
    let change = Change::Channel(Box::new(channel), seen.expected);
    catalog
        .apply(&[change], &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    let kept = find(catalog.list().await?, &id)?;
    let version = kept.version;
    Ok(versioned(StatusCode::OK, &view(&web, kept).await?, version))
}

/// Deletes a channel that no flow names; its messages stay.
#[utoipa::path(delete, path = "/api/v1/channels/{id}", tag = "channels", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn delete(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let seen = Seen::of(&headers)?;
    let catalog = web.pipeline.store.catalog();
    let channel = find(catalog.list().await?, &part(&params, "id")?)?.document;
    let change = Change::DeleteChannel(channel.account, channel.id, seen.expected);
    catalog
        .apply(&[change], &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    Ok(StatusCode::NO_CONTENT)
}
