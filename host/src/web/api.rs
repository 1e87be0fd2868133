//! The interface under `/api/v1`: what an administrator configures, and what became of messages.
//!
//! Each file is one noun: its routes, what they take and give. Everything is written down in the document at
//! `/api/v1/openapi.json`, which is made of these very handlers and types. Faults have one shape ([`error`]); a document is read with the place of
//! what is wrong in it ([`body`]). Start at [`routes`].

pub mod accounts;
pub mod activation;
pub mod again;
pub mod alerts;
pub mod body;
pub mod calls;
pub mod canary;
pub mod channels;
pub mod code_tables;
pub mod components;
pub mod doctor;
pub mod duplicate;
pub mod error;
pub mod figures;
pub mod flows;
pub mod inventory;
pub mod lacking;
pub mod list;
pub mod loads;
pub mod mappings;
pub mod metadata;
pub mod people;
pub mod poll;
pub mod preview;
pub mod records;
pub mod release_many;
pub mod releases;
pub mod replays;
pub mod retention;
pub mod reveal;
pub mod samples;
pub mod search;
pub mod setup;
pub mod shadows;
pub mod shared_mappings;
pub mod templates;
pub mod tokens;
pub mod traffic;
pub mod warnings;
pub mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};
use jiff::Timestamp;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::console::visit::guard_interface;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ligature",
        description = "Configuration and traffic of a bridge between hospital EHRs and LeadSquared. Whoever changes a document \
                       says which version was seen, by `version` in the body or by the header `If-Match`."
    ),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Document;

/// The tokens of `ligature token add`.
struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`ligature token add NAME --rights …`"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Every route with its part of the document.
fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(setup::show))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::snooze))
        .routes(routes!(alerts::settings, alerts::save_settings))
        .routes(routes!(alerts::test))
        .routes(routes!(accounts::list, accounts::create))
        .routes(routes!(accounts::show, accounts::save, accounts::delete))
        .routes(routes!(accounts::put_keys))
        .routes(routes!(accounts::discover))
        .routes(routes!(metadata::synchronise))
        .routes(routes!(metadata::fields, metadata::create_field))
        .routes(routes!(metadata::propose_field))
        .routes(routes!(metadata::activity_types))
        .routes(routes!(metadata::slots, metadata::create_slot))
        .routes(routes!(metadata::users))
        .routes(routes!(webhooks::show, webhooks::make))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(poll::show, poll::run))
        .routes(routes!(channels::list, channels::create))
        .routes(routes!(channels::show, channels::save, channels::delete))
        .routes(routes!(doctor::examine))
        .routes(routes!(retention::show))
        .routes(routes!(flows::list, flows::create))
        .routes(routes!(flows::show, flows::save, flows::delete))
        .routes(routes!(flows::versions))
        .routes(routes!(duplicate::create))
        .routes(routes!(templates::show, templates::save, templates::delete))
        .routes(routes!(releases::list, releases::create))
        .routes(routes!(releases::delete))
        .routes(routes!(activation::activate))
        .routes(routes!(activation::pause))
        .routes(routes!(canary::show, canary::begin))
        .routes(routes!(canary::promote))
        .routes(routes!(canary::end))
        .routes(routes!(inventory::list))
        .routes(routes!(inventory::component))
        .routes(routes!(shared_mappings::list))
        .routes(routes!(shared_mappings::show))
        .routes(routes!(shared_mappings::create))
        .routes(routes!(shared_mappings::activate))
        .routes(routes!(lacking::list, lacking::make))
        .routes(routes!(warnings::list))
        .routes(routes!(shadows::list))
        .routes(routes!(shadows::create))
        .routes(routes!(shadows::show))
        .routes(routes!(shadows::cancel))
        .routes(routes!(loads::list, loads::create))
        .routes(routes!(loads::show))
        .routes(routes!(loads::add))
        .routes(routes!(loads::start))
        .routes(routes!(loads::pause))
        .routes(routes!(loads::resume))
        .routes(routes!(loads::cancel))
        .routes(routes!(components::list, components::upload))
        .routes(routes!(components::show, components::delete))
        .routes(routes!(components::limit))
        .routes(routes!(components::bytes))
        .routes(routes!(code_tables::list))
        .routes(routes!(
            code_tables::show,
            code_tables::save,
            code_tables::delete
        ))
        .routes(routes!(code_tables::csv, code_tables::save_csv))
        .routes(routes!(code_tables::misses))
        .routes(routes!(traffic::messages))
        .routes(routes!(traffic::message))
        .routes(routes!(search::search))
        .routes(routes!(again::send_again))
        .routes(routes!(again::lineage))
        .routes(routes!(traffic::counts))
        .routes(routes!(traffic::deliveries))
        .routes(routes!(traffic::delivery))
        .routes(routes!(traffic::release))
        .routes(routes!(release_many::release))
        .routes(routes!(replays::replay))
        .routes(routes!(replays::verify))
        .routes(routes!(replays::bisect))
        .routes(routes!(calls::outlook))
        .routes(routes!(calls::replies))
        .routes(routes!(figures::today))
        .routes(routes!(figures::series))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(people::list, people::create))
        .routes(routes!(people::show, people::save))
        .routes(routes!(people::invite))
        .routes(routes!(people::untie))
        .routes(routes!(people::sign_out))
        .routes(routes!(preview::preview))
        .routes(routes!(samples::list))
        .routes(routes!(samples::show))
        .routes(routes!(mappings::list))
        .routes(routes!(reveal::reveal))
        .routes(routes!(records::list))
}

/// The interface and its document.
pub(super) fn router(web: &Web) -> Router<Web> {
    let (router, document) = routes().split_for_parts();
    // Made of types: a document that cannot be written is a fault of this program, and a test asks for it.
    let document: Arc<str> = document.to_pretty_json().unwrap_or_default().into();
    router
        .route(
            "/api/v1/openapi.json",
            get(async move || {
                (
                    [(header::CONTENT_TYPE, "application/json")],
                    document.to_string(),
                )
            }),
        )
        .route("/api/v1/{*rest}", any(async || error::Error::no_route()))
        .method_not_allowed_fallback(async || error::Error::no_method())
        .layer(from_fn_with_state(web.clone(), guard_interface))
}

/// RFC 3339, in UTC.
fn rfc3339(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms)
        .unwrap_or_default()
        .to_string()
}
