//! The versions of a mapping: who made each, what it changed, and back to it.

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;

use super::show::Time;
use super::visit::{Frame, Visit, html};
use crate::flow::Flow;
use crate::web::Web;
use crate::web::api::list::part;
use crate::web::api::{flows, mappings};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "mapping_versions.html")]
struct VersionsPage {
    frame: Frame,
    flow: Flow,
    versions: Vec<Line>,
}

struct Line {
    number: usize,
    digest: String,
    made: Time,
    author: String,
    is_active: bool,
    is_first: bool,
    changes: Vec<String>,
}

/// Lists the versions.
pub async fn list(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let versions = mappings::versions(&web, &flow).await?;
    let first = versions.last().map(|version| version.number);
    let lines = versions.into_iter().map(|version| Line {
        number: version.number,
        digest: version.release.to_string(),
        made: Time::of(version.made_at_ms),
        author: version.author,
        is_active: version.is_active,
        is_first: first == Some(version.number),
        changes: version.changes,
    });
    html(&VersionsPage {
        frame: visit.frame("flows"),
        versions: lines.collect(),
        flow,
    })
}
