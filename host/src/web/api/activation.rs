//! A flow comes into force, and is held.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa::ToSchema;

use super::body::Unread;
use super::error::{Error, Problem};
use super::flows::{self, FlowView, NOUN};
use super::list::part;
use super::releases::{self, Wanted};
use super::webhooks::{self, Making};
use super::{lacking, shadows, shared_mappings};
use crate::access::{Caller, Right};
use crate::flow::check::Fault;
use crate::flow::{Digest, Flow, Grants, Release, Status};
use crate::pipeline::activate::Source;
use crate::pipeline::shadow::Standing;
use crate::store::catalog::audit::Record;
use crate::store::catalog::{Change, Expected};
use crate::web::Web;

/// What a flow is to run with: a mapping document, an uploaded component, a release, or none of them for what it has.
///
/// A release that was in force before brings back the settings and code tables of then.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct Activation {
    /// The text of a mapping document; its component is generated.
    mapping: Option<String>,
    /// The digest of a component of the account.
    component: Option<String>,
    /// The digest of a release of the flow.
    release: Option<String>,
    /// What an uploaded component may read and write; needed where it asks for more than the release in force grants.
    grants: Option<Grants>,
    /// The id of a shadow run of the release, which proves it; needed where the flow requires one.
    shadow: Option<String>,
    /// A search field that LeadSquared does not show as unique is meant all the same.
    confirm_not_unique: Option<bool>,
    /// A flow to the EHR without a condition is meant to send every lead.
    confirm_no_condition: Option<bool>,
    /// Fields that the flow writes and the account lacks are made in LeadSquared first; needs the right `administer`.
    make_fields: Option<bool>,
    /// The flow shall start although the account lacks fields that it writes: LeadSquared refuses every record with a value for
    /// one of them.
    confirm_lacking: Option<bool>,
    /// For a flow to the EHR: the webhook that it needs is made in LeadSquared first, where none tells of it yet; needs the
    /// right `administer`.
    make_webhook: Option<Making>,
    /// The version that was seen; or send it as `If-Match`.
    version: Option<i64>,
}

/// Why a flow is held.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct Pause {
    /// Shown with every delivery that waits.
    reason: String,
    /// The version that was seen; or send it as `If-Match`.
    version: Option<i64>,
}

/// Puts a flow in force; deliveries that waited for it go on.
///
/// A release that writes fields which the account does not have is refused as `lacking-fields`, unless they are made or that
/// is confirmed; one that is in force already is not asked about again. Where a webhook cannot be made, nothing comes into force.
#[utoipa::path(post, path = "/api/v1/flows/{id}/activate", tag = "flows", params(("id" = String, Path)),
    request_body = Activation,
    responses((status = 200, body = FlowView), (status = "default", body = Problem)))]
pub async fn activate(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Publish).await?;
    let mut body = sent.read().await?;
    let id = part(&params, "id")?;
    let seen = body.seen()?;
    let asked = Activating {
        wanted: Wanted::of(&mut body)?,
        grants: body.optional("grants", "flows.grants")?,
        confirmed: flows::Confirmed::of(&mut body)?,
        lacking: lacking::Said::of(&mut body)?,
        shadow: body.optional("shadow", "flows.shadow")?,
    };
    let webhook: Option<Making> = body.optional("make_webhook", "flows.make_webhook")?;
    body.end(NOUN, &[])?;
    let catalog = web.pipeline.store.catalog();
    let kept = flows::kept(&catalog, &id).await?;
    if seen.expected != Expected::Version(kept.version) {
        let unchanged = [Change::Flow(Box::new(kept.document), seen.expected)];
        let refused = catalog.apply(&unchanged, &caller.author()).await;
        return match refused {
            Err(fault) => Err(seen.refuse(fault)),
            // Somebody has just brought it to that version: what was seen is no longer certain.
            Ok(_) => Err(Error::new(
                StatusCode::CONFLICT,
                "conflict",
                "the flow changed: read it again first",
            )),
        };
    }
    shared_mappings::alone(&kept.document, &asked.wanted)?;
    let flow = kept.document.clone();
    let making = changes(&web, &caller, kept.document, seen.expected, asked);
    let (changes, proof) = Box::pin(making).await?;
    if let Some(webhook) = webhook {
        Box::pin(webhooks::make_for(&web, &caller, &flow, webhook)).await?;
    }
    catalog
        .apply(&changes, &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    let missing = webhooks::missing(&web, &flow).await?;
    Box::pin(flows::begun(
        &catalog,
        &id,
        StatusCode::OK,
        (proof, missing),
    ))
    .await
}

/// What a flow is to be put in force with, and what was said along with it.
pub(super) struct Activating {
    pub(super) wanted: Wanted,
    pub(super) grants: Option<Grants>,
    pub(super) confirmed: flows::Confirmed,
    pub(super) lacking: lacking::Said,
    pub(super) shadow: Option<String>,
}

/// What puts a flow in force, and the shadow run that proves its release.
pub(super) async fn changes(
    web: &Web,
    caller: &Caller,
    before: Flow,
    expected: Expected,
    asked: Activating,
) -> Result<(Vec<Change>, Option<Standing>), Error> {
    let Activating {
        wanted,
        grants,
        confirmed: said,
        lacking: of_lacking,
        shadow,
    } = asked;
    // What is unusual about a flow in force was confirmed when it came into force, or was changed since.
    let confirmed = match before.status {
        Status::Draft => said,
        Status::Active | Status::Paused(_) => flows::Confirmed::all(),
    };
    let catalog = web.pipeline.store.catalog();
    let mut flow = before.clone();
    flow.status = Status::Active;
    // Whoever puts it in force has seen what it went back from.
    flow.fell_back = None;
    let proof = async |digest: Option<&Digest>| {
        shadows::proof(web, &before, digest, shadow.as_deref()).await
    };
    let make_sure = async |release: &Release, document: Option<&str>| {
        let said = match releases::was_in_force(&catalog, &before, &release.digest()).await? {
            true => of_lacking.of_one_in_force(),
            false => of_lacking,
        };
        lacking::make_sure(web, caller, &before, (release, document), said).await
    };
    let record = Record::of("activate", flow.account.as_str(), "flow", flow.id.as_str());
    let mut changes = vec![Change::Note(record)];
    let source = match wanted {
        Wanted::Mapping(text) => Some(Source::Document(text)),
        Wanted::Component(digest) => {
            Some(releases::kept_component(&catalog, &flow, &digest).await?)
        }
        Wanted::Release(digest) => {
            let release = releases::of_flow(&catalog, &flow, &digest).await?;
            flow.choices = release.choices();
            flow.put_in_force(digest);
            None
        }
        Wanted::Active => None,
    };
    let proof = match source {
        Some(source) => {
            let preparing = releases::prepare(web, &mut flow, source, grants.as_ref());
            let ready = Box::pin(preparing).await?;
            flows::check(web, &flow, Some(&ready.release), confirmed).await?;
            let proof = proof(Some(&ready.release.digest())).await?;
            make_sure(&ready.release, Some(&ready.kept.document)).await?;
            changes.extend(ready.changes(flow, expected));
            proof
        }
        None => {
            let release = match &flow.release {
                Some(digest) => catalog.release(&flow.account, digest).await?,
                None => None,
            };
            let Some(release) = release else {
                let text = "the flow has none yet: send a mapping or the digest of a component";
                return Err(Error::invalid(NOUN, vec![Fault::new("mapping", text)]));
            };
            flows::check(web, &flow, Some(&release), confirmed).await?;
            let proof = proof(flow.release.as_ref()).await?;
            make_sure(&release, None).await?;
            changes.push(Change::Flow(Box::new(flow), expected));
            proof
        }
    };
    if let Some(proof) = &proof {
        let record = Record::of("prove", before.account.as_str(), "shadow", &proof.id);
        changes.push(Change::Note(record));
    }
    Ok((changes, proof))
}

/// Holds a flow: it takes messages, and their deliveries wait until it is activated again.
#[utoipa::path(post, path = "/api/v1/flows/{id}/pause", tag = "flows", params(("id" = String, Path)),
    request_body = Pause,
    responses((status = 200, body = FlowView), (status = "default", body = Problem)))]
pub async fn pause(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Operate).await?;
    let mut body = sent.read().await?;
    let id = part(&params, "id")?;
    let seen = body.seen()?;
    let reason: String = body.take("reason", "flows.status.reason")?;
    body.end(NOUN, &[])?;
    let catalog = web.pipeline.store.catalog();
    let mut flow = flows::kept(&catalog, &id).await?.document;
    if flow.status == Status::Draft {
        let text = "the flow is a draft and takes no messages";
        return Err(Error::invalid(NOUN, vec![Fault::new("status", text)]));
    }
    if reason.trim().is_empty() {
        let fault = Fault::new("status.reason", "say why: it is shown with all that waits");
        return Err(Error::invalid(NOUN, vec![fault]));
    }
    flow.status = Status::Paused(reason);
    let record = Record::of("pause", flow.account.as_str(), "flow", flow.id.as_str());
    let changes = [
        Change::Note(record),
        Change::Flow(Box::new(flow), seen.expected),
    ];
    catalog
        .apply(&changes, &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    flows::answer(&catalog, &id, StatusCode::OK).await
}
