//! The pages. Each file is one page or a few that belong together: handlers, what their templates show, what forms say.
//!
//! [`PAGES`] is the list of all of them with the right that each needs; [`visit`] asks for it before the handler runs,
//! and checks the token of every form. To add a page: a file here with its handlers and `struct …Page { frame: Frame, … }`,
//! a template in `templates`, a line in [`PAGES`], a line in `templates/base.html` if it has a place in the navigation.
//! What a page changes it changes by calling the handler of `api` that a script would call, with [`Visit::headers`].

pub mod access;
pub mod accounts;
pub mod alerts;
pub mod asset;
pub mod audit;
pub mod canary;
mod channel_form;
pub mod channels;
pub mod code_tables;
pub mod component;
pub mod component_upload;
pub mod cookie;
pub mod delivery;
pub mod enter;
pub mod enter_openid;
pub mod flow;
pub mod flow_additional;
pub mod flow_duplicate;
pub mod flow_new;
pub mod flow_start;
pub mod flow_steps;
pub mod flows;
pub mod form;
pub mod inventory;
pub mod mapping;
pub mod mapping_versions;
pub mod message;
pub mod messages;
pub mod overview;
pub mod own;
pub mod setup;
pub mod shared_mapping;
pub mod show;
pub mod visit;
mod way;
pub mod webhooks;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{MethodRouter, get, post};

use super::Web;
use super::api::code_tables::MAX_CSV_BYTES;
use crate::access::Right;
use crate::mapping::gate;
use crate::openid;
pub use visit::{Frame, Visit};

/// What somebody must have to use a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the ways in.
    Nothing,
    /// To be signed in.
    SignIn,
    /// A right.
    Right(Right),
}

/// One route of the console.
pub struct Page {
    /// `GET` or `POST`.
    pub method: &'static str,
    pub path: &'static str,
    pub needs: Needs,
    /// The largest form, in bytes.
    most: usize,
    route: fn() -> MethodRouter<Web>,
}

const fn page(
    method: &'static str,
    path: &'static str,
    needs: Needs,
    route: fn() -> MethodRouter<Web>,
) -> Page {
    Page {
        method,
        path,
        needs,
        most: FORM_BYTES,
        route,
    }
}

impl Page {
    /// The same for larger forms.
    const fn taking(self, most: usize) -> Self {
        Self { most, ..self }
    }
}

/// A form of what people type.
const FORM_BYTES: usize = 64 * 1024;

/// A form with a message, a mapping or the codes of a table.
const TEXT_BYTES: usize = 4 * 1024 * 1024;

/// A form with a component, or with a table as a file.
const FILE_BYTES: usize = gate::MAX_FILE_BYTES + FORM_BYTES;
const SHEET_BYTES: usize = MAX_CSV_BYTES + FORM_BYTES;

const VIEW: Needs = Needs::Right(Right::View);
const OPERATE: Needs = Needs::Right(Right::Operate);
const MAP: Needs = Needs::Right(Right::Map);
const PUBLISH: Needs = Needs::Right(Right::Publish);
const SEE: Needs = Needs::Right(Right::SeePatientData);
const AUDIT: Needs = Needs::Right(Right::Audit);
const ADMINISTER: Needs = Needs::Right(Right::Administer);

/// Every page and form, with what it needs.
#[rustfmt::skip]
pub const PAGES: &[Page] = &[
    page("GET", "/", Needs::SignIn, || get(async || Redirect::to("/overview"))),
    page("GET", "/sign-in", Needs::Nothing, || get(enter::show)),
    page("POST", "/sign-in", Needs::Nothing, || post(enter::sign_in)),
    page("GET", "/sign-in/openid", Needs::Nothing, || get(enter_openid::begin)),
    page("GET", openid::BACK, Needs::Nothing, || get(enter_openid::back)),
    page("GET", "/first-start/{secret}", Needs::Nothing, || get(enter::first)),
    page("POST", "/first-start/{secret}", Needs::Nothing, || post(enter::make_first)),
    page("GET", "/enter/{secret}", Needs::Nothing, || get(enter::by_link)),
    page("GET", "/welcome/{id}/{secret}", Needs::Nothing, || get(enter::welcome)),
    page("POST", "/welcome/{id}/{secret}", Needs::Nothing, || post(enter::choose_password)),
    page("POST", "/sign-out", Needs::SignIn, || post(own::sign_out)),
    page("GET", "/own", Needs::SignIn, || get(own::show)),
    page("POST", "/own/password", Needs::SignIn, || post(own::change_password)),
    page("POST", "/own/sign-out", Needs::SignIn, || post(own::sign_out_everywhere)),
    page("GET", "/access", ADMINISTER, || get(access::show)),
    page("POST", "/access/roles/{id}", ADMINISTER, || post(access::save_roles)),
    page("GET", "/access/new", ADMINISTER, || get(access::new)),
    page("POST", "/access/new", ADMINISTER, || post(access::add)),
    page("GET", "/access/people/{id}", ADMINISTER, || get(access::person)),
    page("POST", "/access/people/{id}", ADMINISTER, || post(access::save)),
    page("POST", "/access/people/{id}/link", ADMINISTER, || post(access::link)),
    page("POST", "/access/people/{id}/untie", ADMINISTER, || post(access::untie)),
    page("POST", "/access/people/{id}/sign-out", ADMINISTER, || post(access::sign_out)),
    page("GET", "/setup", VIEW, || get(setup::show)),
    page("GET", "/setup/account", ADMINISTER, || get(setup::new)),
    page("POST", "/setup/account", ADMINISTER, || post(setup::connect)),
    page("GET", "/accounts/{id}", ADMINISTER, || get(accounts::show)),
    page("POST", "/accounts/{id}", ADMINISTER, || post(accounts::save)),
    page("POST", "/accounts/{id}/keys", ADMINISTER, || post(accounts::keys)),
    page("POST", "/accounts/{id}/webhooks", ADMINISTER, || post(webhooks::make)),
    page("POST", "/accounts/{id}/read", MAP, || post(accounts::read)),
    page("POST", "/accounts/{id}/delete", ADMINISTER, || post(accounts::delete)),
    page("GET", "/overview", VIEW, || get(overview::show)),
    page("GET", "/alerts", VIEW, || get(alerts::list)),
    page("POST", "/alerts/{id}/snooze", OPERATE, || post(alerts::snooze)),
    page("GET", "/alerts/settings", ADMINISTER, || get(alerts::settings)),
    page("POST", "/alerts/settings", ADMINISTER, || post(alerts::save)),
    page("POST", "/alerts/settings/test", ADMINISTER, || post(alerts::test)),
    page("GET", "/audit", AUDIT, || get(audit::list)),
    page("GET", "/audit.csv", AUDIT, || get(audit::export)),
    page("GET", "/messages", VIEW, || get(messages::list)),
    page("POST", "/messages", VIEW, || post(messages::search)),
    page("POST", "/messages/release", OPERATE, || post(messages::release)),
    page("GET", "/messages/{id}", VIEW, || get(message::show)),
    page("POST", "/messages/{id}", SEE, || post(message::reveal)),
    page("POST", "/messages/{id}/edit", OPERATE, || post(message::edit)).taking(TEXT_BYTES),
    page("GET", "/deliveries/{id}", VIEW, || get(delivery::show)),
    page("POST", "/deliveries/{id}", SEE, || post(delivery::reveal)),
    page("POST", "/deliveries/{id}/again", OPERATE, || post(delivery::again)),
    page("POST", "/deliveries/{id}/release", OPERATE, || post(message::release)),
    page("GET", "/flows", VIEW, || get(flows::list)),
    page("GET", "/flows/new", MAP, || get(flow_new::show)),
    page("POST", "/flows/new", MAP, || post(flow_new::create)),
    page("GET", "/flows/{id}", VIEW, || get(flow::show)),
    page("POST", "/flows/{id}/activate", PUBLISH, || post(flow::activate)),
    page("POST", "/flows/{id}/pause", OPERATE, || post(flow::pause)),
    page("POST", "/flows/{id}/canary", PUBLISH, || post(canary::begin)),
    page("POST", "/flows/{id}/canary/promote", PUBLISH, || post(canary::promote)),
    page("POST", "/flows/{id}/canary/end", PUBLISH, || post(canary::end)),
    page("GET", "/flows/{id}/component", VIEW, || get(component::show)),
    page("POST", "/flows/{id}/component", PUBLISH, || post(component_upload::upload)).taking(FILE_BYTES),
    page("POST", "/flows/{id}/settings", MAP, || post(component::save_settings)),
    page("POST", "/flows/{id}/approve", PUBLISH, || post(component::approve)),
    page("GET", "/inventory", VIEW, || get(inventory::list)),
    page("POST", "/flows/{id}/delete", MAP, || post(flow::delete)),
    page("GET", "/flows/{id}/duplicate", MAP, || get(flow_duplicate::show)),
    page("POST", "/flows/{id}/duplicate", MAP, || post(flow_duplicate::make)).taking(TEXT_BYTES),
    page("GET", "/flows/{id}/basic", MAP, || get(flow_steps::basic)),
    page("POST", "/flows/{id}/basic", MAP, || post(flow_steps::save_basic)),
    page("GET", "/flows/{id}/additional", MAP, || get(flow_additional::show)),
    page("POST", "/flows/{id}/additional", MAP, || post(flow_additional::save_details)),
    page("GET", "/flows/{id}/event", MAP, || get(flow_steps::event)),
    page("POST", "/flows/{id}/event", MAP, || post(flow_steps::save_event)).taking(TEXT_BYTES),
    page("GET", "/flows/{id}/mapping", VIEW, || get(mapping::show)),
    page("POST", "/flows/{id}/mapping", MAP, || post(mapping::save)).taking(TEXT_BYTES),
    page("GET", "/flows/{id}/start", VIEW, || get(flow_start::show)),
    page("POST", "/flows/{id}/shadow", MAP, || post(flow_start::begin_shadow)),
    page("POST", "/flows/{id}/shadow/{shadow}/cancel", MAP, || post(flow_start::cancel_shadow)),
    page("POST", "/flows/{id}/lacking-fields", ADMINISTER, || post(flow_start::make_fields)),
    page("GET", "/shared-mappings/{account}/{name}", VIEW, || get(shared_mapping::show)),
    page("POST", "/shared-mappings/{account}/{name}", PUBLISH, || post(shared_mapping::activate)),
    page("GET", "/flows/{id}/mapping/versions", VIEW, || get(mapping_versions::list)),
    page("GET", "/channels", VIEW, || get(channels::list)),
    page("GET", "/channels/new", ADMINISTER, || get(channels::new)),
    page("POST", "/channels/new", ADMINISTER, || post(channels::create)),
    page("GET", "/channels/{id}", VIEW, || get(channels::show)),
    page("POST", "/channels/{id}", ADMINISTER, || post(channels::save)),
    page("POST", "/channels/{id}/doctor", ADMINISTER, || post(channels::examine)),
    page("POST", "/channels/{id}/delete", ADMINISTER, || post(channels::delete)),
    page("GET", "/code-tables", VIEW, || get(code_tables::list)),
    page("POST", "/code-tables", MAP, || post(code_tables::create)),
    page("GET", "/code-tables/{account}/{name}", VIEW, || get(code_tables::show)),
    page("POST", "/code-tables/{account}/{name}", MAP, || post(code_tables::save)).taking(TEXT_BYTES),
    page("POST", "/code-tables/{account}/{name}/entry", MAP, || post(code_tables::add_entry)),
    page("POST", "/code-tables/{account}/{name}/csv", MAP, || post(code_tables::upload)).taking(SHEET_BYTES),
];

pub(super) fn router(web: &Web) -> Router<Web> {
    PAGES.iter().fold(Router::new(), |router, page| {
        let asked = (web.clone(), page.needs, page.most);
        let route = (page.route)().layer(from_fn_with_state(asked, visit::enter));
        router.route(page.path, route)
    })
}
