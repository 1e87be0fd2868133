//! Alerts: what goes wrong and went wrong, leaving one unsaid for a time, and who is told.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Unread, json, versioned};
use super::error::{Error, Problem};
use super::list::{Asked, Page, limit, part};
use super::rfc3339;
use crate::access::Right;
use crate::flow::alert::{Alert, Kind, Settings};
use crate::flow::check::Fault;
use crate::pipeline::alerts::Disk;
use crate::store::alerts::Password;
use crate::store::catalog::Expected;
use crate::web::Web;

const NOUN: &str = "alerts";
const HOUR_MS: i64 = 60 * 60 * 1_000;

/// An alert may be left unsaid for 30 days at most.
const MOST_HOURS: u32 = 30 * 24;

/// One alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertView {
    id: String,
    kind: Kind,
    /// Empty for what is this host's.
    account: String,
    subject: String,
    text: String,
    began_at: String,
    /// None while it lasts.
    ended_at: Option<String>,
    /// When its owners were told that it began.
    told_at: Option<String>,
    snoozed_until: Option<String>,
}

/// How many alerts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HowMany {
    /// At most so many, up to 500, newest first.
    limit: Option<usize>,
}

/// For how long an alert is left unsaid.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct Snooze {
    /// From 1 to 720.
    hours: u32,
}

/// Who is told of what.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingsView {
    pub(in crate::web) settings: Settings,
    pub(in crate::web) version: i64,
    /// Whether a password of the mail server is kept; it is never read back.
    pub(in crate::web) has_password: bool,
    /// Why somebody could not be told; none once it worked again.
    pub(in crate::web) untold: Option<String>,
    /// The room on the disk of this host's files.
    disk: Option<Disk>,
}

/// Other settings.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct SettingsInput {
    settings: Settings,
    /// The mail server's; the one that is kept stays if left out, an empty one takes it away.
    password: Option<String>,
    /// The version that was seen; or send it as `If-Match`.
    version: Option<i64>,
}

fn view(alert: Alert) -> AlertView {
    AlertView {
        id: alert.id,
        kind: alert.kind,
        account: alert.account,
        subject: alert.subject,
        text: alert.text,
        began_at: rfc3339(alert.began_at_ms),
        ended_at: alert.ended_at_ms.map(rfc3339),
        told_at: alert.began_told_at_ms.map(rfc3339),
        snoozed_until: alert.snoozed_until_ms.map(rfc3339),
    }
}

/// Lists alerts, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(HowMany),
    responses((status = 200, body = Page<AlertView>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(asked): Asked<HowMany>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let alerts = web.pipeline.store.alerts();
    let newest = alerts.newest(limit(asked.limit)).await?;
    let page = Page {
        items: newest.into_iter().map(view).collect(),
        next: None,
    };
    Ok(json(StatusCode::OK, &page))
}

/// Leaves an alert unsaid for some hours, and what is the same in that time.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/snooze", tag = "alerts", params(("id" = String, Path)),
    request_body = Snooze,
    responses((status = 200, body = AlertView), (status = "default", body = Problem)))]
pub async fn snooze(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Operate).await?;
    let mut body = sent.read().await?;
    let id = part(&params, "id")?;
    let hours: u32 = body.take("hours", "alerts.hours")?;
    body.end(NOUN, &[])?;
    if !(1..=MOST_HOURS).contains(&hours) {
        let fault = Fault::new("hours", format!("from 1 to {MOST_HOURS}"));
        return Err(Error::invalid(NOUN, vec![fault]));
    }
    let alerts = web.pipeline.store.alerts();
    let alert = alerts.get(&id).await?;
    let mut alert = alert.ok_or_else(|| Error::not_found(format!("alert {id}")))?;
    let until_ms = Timestamp::now().as_millisecond() + i64::from(hours) * HOUR_MS;
    alerts.snooze(&alert, until_ms, &caller.author()).await?;
    alert.snoozed_until_ms = Some(until_ms);
    Ok(json(StatusCode::OK, &view(alert)))
}

/// The settings as they stand.
pub(in crate::web) async fn standing(web: &Web) -> Result<SettingsView, Error> {
    let alerts = web.pipeline.store.alerts();
    let kept = alerts.settings().await?;
    Ok(SettingsView {
        settings: kept.document,
        version: kept.version,
        has_password: alerts.password().await?.is_some(),
        untold: web.pipeline.untold(),
        disk: web.pipeline.disk(),
    })
}

/// Shows who is told of what.
#[utoipa::path(get, path = "/api/v1/alert-settings", tag = "alerts",
    responses((status = 200, body = SettingsView), (status = "default", body = Problem)))]
pub async fn settings(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Error> {
    web.may(&headers, Right::Administer).await?;
    let view = standing(&web).await?;
    let version = view.version;
    Ok(versioned(StatusCode::OK, &view, version))
}

/// Changes who is told of what.
#[utoipa::path(put, path = "/api/v1/alert-settings", tag = "alerts", request_body = SettingsInput,
    responses((status = 200, body = SettingsView), (status = "default", body = Problem)))]
pub async fn save_settings(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let seen = body.seen()?;
    let settings: Settings = body.take("settings", NOUN)?;
    let password: Option<String> = body.optional("password", "alerts.password")?;
    body.end(NOUN, &["has_password", "untold", "disk"])?;
    Error::check(NOUN, settings.faults())?;
    let password = match password {
        None => Password::Stays,
        Some(text) if text.is_empty() => Password::Goes,
        Some(text) => Password::Is(text),
    };
    let version = match seen.expected {
        Expected::Version(version) => version,
        Expected::Any | Expected::New => 0,
    };
    let alerts = web.pipeline.store.alerts();
    alerts
        .put_settings(&settings, &password, version, &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    let view = standing(&web).await?;
    let version = view.version;
    Ok(versioned(StatusCode::OK, &view, version))
}

/// Sends a test by every way that is set.
#[utoipa::path(post, path = "/api/v1/alert-settings/test", tag = "alerts",
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn test(State(web): State<Web>, headers: HeaderMap) -> Result<StatusCode, Error> {
    web.may(&headers, Right::Administer).await?;
    let tried = Box::pin(web.pipeline.try_alerts()).await;
    tried.map_err(|fault| Error::new(StatusCode::BAD_GATEWAY, "not-told", fault.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}
