//! What LeadSquared knows of an account, and fields that are added to it.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Body, Unread, json};
use super::error::{Error, Problem};
use super::list::{Asked, part};
use super::{accounts, rfc3339};
use crate::access::{Caller, Right};
use crate::flow::check::Fault;
use crate::flow::{Account, AccountId};
use crate::hl7::Path;
use crate::pipeline::account::custom::{Proposal, propose};
use crate::pipeline::account::{self, ActivityType, Field, Slot, User};
use crate::store::catalog::audit::Record;
use crate::store::catalog::metadata::Read;
use crate::web::Web;

/// What was read of LeadSquared, and when.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadView<T: ToSchema> {
    items: Vec<T>,
    read_at: String,
}

/// A user, and whether they may use the connector.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    user: User,
    may_use: bool,
}

/// How much was read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Synchronised {
    lead_fields: usize,
    activity_types: usize,
    users: usize,
    /// The account's new address, if LeadSquared serves it at another host now.
    moved_to: Option<String>,
}

/// A field to be made in LeadSquared. What is left out is proposed from the HL7 path.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct FieldInput {
    /// Where its values come from, such as `PID-16`.
    path: Option<String>,
    display_name: Option<String>,
    /// As LeadSquared calls it: `Text`, `Number`, `Phone`, `Date`, `Select`, `Boolean`, ...
    data_type: Option<String>,
    max_length: Option<u32>,
    /// The choices of a select field: letters, digits, blanks and underscores.
    options: Option<Vec<String>>,
}

/// A field that was made, and what is left for a person to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldMade {
    field: Field,
    /// A new field is not unique, and the API cannot make it so.
    next: &'static str,
}

/// A place in a message.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Place {
    /// Such as `PID-16`.
    path: String,
}

fn answer<T: Serialize + ToSchema>(read: Read<Vec<T>>) -> Response {
    let view = ReadView {
        items: read.document,
        read_at: rfc3339(read.read_at_ms),
    };
    json(StatusCode::OK, &view)
}

async fn account(
    web: &Web,
    headers: &HeaderMap,
    params: &RawPathParams,
    right: Right,
) -> Result<(Account, Caller), Error> {
    let caller = web.may(headers, right).await?;
    let catalog = web.pipeline.store.catalog();
    let kept = accounts::kept(&catalog, &part(params, "id")?).await?;
    Ok((kept.document, caller))
}

fn code(params: &RawPathParams) -> Result<u32, Error> {
    let code = part(params, "code")?;
    code.parse()
        .map_err(|_| Error::not_found(format!("activity type {code}")))
}

/// Reads lead fields, activity types and users of LeadSquared again, now; an account that it serves at another host is
/// taken there first.
#[utoipa::path(post, path = "/api/v1/accounts/{id}/synchronise", tag = "metadata", params(("id" = String, Path)),
    responses((status = 200, body = Synchronised), (status = "default", body = Problem)))]
pub async fn synchronise(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let (account, _) = account(&web, &headers, &params, Right::Map).await?;
    let moved_to = Box::pin(web.pipeline.follow(&account.id)).await?;
    let lead_fields = web.pipeline.read_lead_fields(&account.id).await?;
    let activity_types = web.pipeline.read_activity_types(&account.id).await?;
    let users = web.pipeline.read_users(&account.id).await?;
    let read = Synchronised {
        lead_fields: lead_fields.document.len(),
        activity_types: activity_types.document.len(),
        users: users.document.len(),
        moved_to,
    };
    Ok(json(StatusCode::OK, &read))
}

/// Lists lead fields, as they were read last.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/fields", tag = "metadata", params(("id" = String, Path)),
    responses((status = 200, body = ReadView<Field>), (status = "default", body = Problem)))]
pub async fn fields(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let (account, _) = account(&web, &headers, &params, Right::View).await?;
    Ok(answer(web.pipeline.lead_fields(&account.id).await?))
}

/// Lists users, as they were read last, and says who may use the connector.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/users", tag = "metadata", params(("id" = String, Path)),
    responses((status = 200, body = ReadView<UserView>), (status = "default", body = Problem)))]
pub async fn users(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let (account, _) = account(&web, &headers, &params, Right::Administer).await?;
    let Read {
        document,
        read_at_ms,
    } = web.pipeline.users(&account.id).await?;
    let users = document.into_iter().map(|user| UserView {
        may_use: account::may_use(&account, &user),
        user,
    });
    Ok(answer(Read {
        document: users.collect(),
        read_at_ms,
    }))
}

/// Lists activity types, as they were read last.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/activity-types", tag = "metadata", params(("id" = String, Path)),
    responses((status = 200, body = ReadView<ActivityType>), (status = "default", body = Problem)))]
pub async fn activity_types(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let (account, _) = account(&web, &headers, &params, Right::View).await?;
    Ok(answer(web.pipeline.activity_types(&account.id).await?))
}

/// Lists the slots of an activity type, as they were read last.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/activity-types/{code}/slots", tag = "metadata",
    params(("id" = String, Path), ("code" = u32, Path)),
    responses((status = 200, body = ReadView<Slot>), (status = "default", body = Problem)))]
pub async fn slots(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let (account, _) = account(&web, &headers, &params, Right::View).await?;
    let code = code(&params)?;
    Ok(answer(web.pipeline.slots(&account.id, code).await?))
}

/// Proposes a field for what stands at an HL7 path.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/fields/proposal", tag = "metadata",
    params(("id" = String, Path), Place),
    responses((status = 200, body = Proposal), (status = "default", body = Problem)))]
pub async fn propose_field(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    Asked(place): Asked<Place>,
) -> Result<Response, Error> {
    account(&web, &headers, &params, Right::View).await?;
    let path: Path = place.path.parse().map_err(bad_path)?;
    Ok(json(StatusCode::OK, &propose(&path)))
}

fn bad_path(fault: impl std::fmt::Display) -> Error {
    Error::invalid("fields", vec![Fault::new("path", fault.to_string())])
}

/// What is asked for, completed from the path.
fn wanted(body: &mut Body) -> Result<(Proposal, Vec<String>), Error> {
    let path: Option<String> = body.optional("path", "fields.path")?;
    let proposed = match path {
        Some(path) => Some(propose(&path.parse().map_err(bad_path)?)),
        None => None,
    };
    let name: Option<String> = body.optional("display_name", "fields.display_name")?;
    let data_type: Option<String> = body.optional("data_type", "fields.data_type")?;
    let length: Option<u32> = body.optional("max_length", "fields.max_length")?;
    let options: Option<Vec<String>> = body.optional("options", "fields.options")?;
    let same_type = data_type.is_none();
    let field = Proposal {
        display_name: name
            .or_else(|| Some(proposed.as_ref()?.display_name.clone()))
            .unwrap_or_default(),
        data_type: data_type
            .or_else(|| Some(proposed.as_ref()?.data_type.clone()))
            .unwrap_or_else(|| "Text".into()),
        max_length: length.or_else(|| proposed.filter(|_| same_type)?.max_length),
    };
    let options = options.unwrap_or_default();
    let mut faults = Vec::new();
    if field.display_name.trim().is_empty() {
        faults.push(Fault::new(
            "display_name",
            "name the field, or the path that it is for",
        ));
    }
    if (field.data_type == "Select") == options.is_empty() {
        let text = "a select field has options, and no other field has";
        faults.push(Fault::new("options", text));
    }
    // Others are answered with a bare 500 (leadsquared.md 6.2).
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == ' ' || c == '_';
    for (at, option) in options.iter().enumerate() {
        if option.is_empty() || !option.chars().all(is_plain) {
            let path = format!("options.{at}");
            let text = "LeadSquared takes letters, digits, blanks and underscores";
            faults.push(Fault::new(&path, text));
        }
    }
    Error::check("fields", faults)?;
    Ok((field, options))
}

/// Makes a lead field in LeadSquared.
#[utoipa::path(post, path = "/api/v1/accounts/{id}/fields", tag = "metadata", params(("id" = String, Path)),
    request_body = FieldInput,
    responses((status = 201, body = FieldMade), (status = "default", body = Problem)))]
pub async fn create_field(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let (account, caller) = account(&web, &headers, &params, Right::Administer).await?;
    let mut body = sent.read().await?;
    let (field, options) = wanted(&mut body)?;
    body.end("fields", &[])?;
    note(
        &web,
        &caller,
        &account.id,
        "lead-field",
        &field.display_name,
    )
    .await?;
    let field = web
        .pipeline
        .create_lead_field(&account.id, &field, &options)
        .await?;
    let made = FieldMade {
        field,
        next: "The field is not unique yet. To find leads by it, mark it as unique in LeadSquared, Settings > Leads > \
               Lead Fields (the wheel beside the field), then read the metadata again.",
    };
    Ok(json(StatusCode::CREATED, &made))
}

/// Adds a slot to an activity type of LeadSquared, the first that is free.
#[utoipa::path(post, path = "/api/v1/accounts/{id}/activity-types/{code}/slots", tag = "metadata",
    params(("id" = String, Path), ("code" = u32, Path)), request_body = FieldInput,
    responses((status = 201, body = Slot), (status = "default", body = Problem)))]
pub async fn create_slot(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let (account, caller) = account(&web, &headers, &params, Right::Administer).await?;
    let code = code(&params)?;
    let mut body = sent.read().await?;
    let (field, options) = wanted(&mut body)?;
    body.end("fields", &[])?;
    if !options.is_empty() {
        let text = "options of a slot are set in LeadSquared, Settings > Leads > Custom Activities";
        return Err(Error::invalid("fields", vec![Fault::new("options", text)]));
    }
    let what = format!("{code} {}", field.display_name);
    note(&web, &caller, &account.id, "activity-slot", &what).await?;
    let slot = web.pipeline.create_slot(&account.id, code, &field).await?;
    Ok(json(StatusCode::CREATED, &slot))
}

/// Records what is about to be made elsewhere: once it is, there is no way back.
pub(super) async fn note(
    web: &Web,
    caller: &Caller,
    account: &AccountId,
    kind: &str,
    what: &str,
) -> Result<(), Error> {
    let record = Record::of("create", account.as_str(), kind, what);
    let catalog = web.pipeline.store.catalog();
    Ok(catalog.note(&caller.author(), &record).await?)
}
