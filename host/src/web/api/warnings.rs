//! How often rows of a flow's mapping let messages go on without their value.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::json;
use super::error::{Error, Problem};
use super::list::{Asked, part};
use super::{flows, rfc3339};
use crate::access::Right;
use crate::store::journal::warnings::{Per, WarningCount};
use crate::web::Web;

/// Which warnings.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichWarnings {
    /// `minute`, kept for two days, or `hour`, kept for ninety; `hour` if left out.
    per: Option<String>,
    /// RFC 3339; the last 24 hours if left out.
    from: Option<String>,
    /// RFC 3339; now if left out.
    to: Option<String>,
    /// Those of one release.
    release: Option<String>,
}

/// The warnings of a flow in a time, by row and by minute or hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct Warnings {
    rows: Vec<RowWarnings>,
    times: Vec<TimeWarnings>,
}

/// All warnings of one row for one cause.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RowWarnings {
    release: String,
    /// Empty for a row that the component made up, and where it broke.
    row: String,
    /// What the release in force calls it.
    label: String,
    /// What it writes.
    target: String,
    /// `malformed`, `unmapped-code`, `several-values`, `too-many`, or the code of the failure with which it broke.
    cause: String,
    count: u64,
}

/// The warnings of one row in one minute or hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeWarnings {
    at: String,
    release: String,
    row: String,
    cause: String,
    count: u64,
}

fn rows(counts: &[WarningCount]) -> Vec<RowWarnings> {
    let mut rows: Vec<RowWarnings> = Vec::new();
    for one in counts {
        let alike = |known: &&mut RowWarnings| {
            known.release == one.release && known.row == one.row && known.cause == one.cause
        };
        match rows.iter_mut().find(alike) {
            Some(known) => known.count += one.count,
            None => rows.push(RowWarnings {
                release: one.release.clone(),
                row: one.row.clone(),
                label: String::new(),
                target: String::new(),
                cause: one.cause.clone(),
                count: one.count,
            }),
        }
    }
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.row.cmp(&b.row)));
    rows
}

/// Tells how often rows of a flow's mapping let a message go on without their value, and how often it broke.
#[utoipa::path(get, path = "/api/v1/flows/{id}/warnings", tag = "flows",
    params(("id" = String, Path), WhichWarnings),
    responses((status = 200, body = Warnings), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    Asked(which): Asked<WhichWarnings>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let per = match which.per.as_deref() {
        Some("minute") => Per::Minute,
        Some("hour") | None => Per::Hour,
        Some(_) => return Err(Error::bad("per is minute or hour")),
    };
    let at_ms = |text: &String| match text.parse::<Timestamp>() {
        Ok(at) => Ok(at.as_millisecond()),
        Err(_) => Err(Error::bad(
            "from and to are times such as 2026-01-31T00:00:00Z",
        )),
    };
    let to_ms = which.to.as_ref().map(at_ms).transpose()?;
    let to_ms = to_ms.unwrap_or_else(|| Timestamp::now().as_millisecond() + 1);
    let from_ms = which.from.as_ref().map(at_ms).transpose()?;
    let from_ms = from_ms.unwrap_or(to_ms - 24 * Per::Hour.ms());
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let journal = web.pipeline.store.journal();
    let counts = journal.warnings(&flow.account, &flow.id, per, (from_ms, to_ms));
    let mut counts = counts.await?;
    if let Some(release) = &which.release {
        counts.retain(|one| one.release == *release);
    }
    let mut rows = rows(&counts);
    let configuration = web.pipeline.configuration();
    let route = configuration.route(&flow.id);
    for in_force in route.into_iter().flat_map(|route| route.releases()) {
        for row in rows.iter_mut().filter(|row| row.label.is_empty()) {
            let mut known = in_force.component.manifest.rows.iter();
            if let Some(known) = known.find(|known| known.id == row.row) {
                row.label.clone_from(&known.label);
                row.target.clone_from(&known.target);
            }
        }
    }
    let times = counts.into_iter().map(|one| TimeWarnings {
        at: rfc3339(one.at_ms),
        release: one.release,
        row: one.row,
        cause: one.cause,
        count: one.count,
    });
    let warnings = Warnings {
        rows,
        times: times.collect(),
    };
    Ok(json(StatusCode::OK, &warnings))
}
