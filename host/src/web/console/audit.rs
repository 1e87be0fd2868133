//! Who did, saw, exported and approved what.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::cookie::encoded;
use super::show::{Time, iso};
use super::visit::{Frame, Visit, html};
use crate::flow::table::csv::is_formula;
use crate::store::catalog::audit::AuditRow;
use crate::web::Web;
use crate::web::fault::Fault;

/// Records on one page.
const PAGE: usize = 100;

/// Records of one export: what is older is in the interface, page by page.
const MOST_EXPORTED: usize = 10_000;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    who: String,
    what: String,
    records: Vec<Line>,
    /// The address of the next page.
    next: Option<String>,
    export: String,
}

struct Line {
    at: Time,
    actor: String,
    action: String,
    kind: String,
    document: String,
    account: String,
    version: Option<i64>,
}

/// Which records.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// A part of the person's or the token's name.
    #[serde(default)]
    who: String,
    /// A part of what was done, or of what it was done to.
    #[serde(default)]
    what: String,
    after: Option<String>,
}

impl Asked {
    fn wants(&self, row: &AuditRow) -> bool {
        let has = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let record = &row.record;
        let done = format!("{} {} {}", record.action, record.kind, record.document);
        has(&row.actor, self.who.trim()) && has(&done, self.what.trim())
    }

    fn query(&self) -> String {
        format!("who={}&what={}", encoded(&self.who), encoded(&self.what))
    }
}

/// Records that are asked for, newest first, and where the next ones begin.
async fn wanted(
    web: &Web,
    asked: &Asked,
    most: usize,
) -> Result<(Vec<AuditRow>, Option<String>), Fault> {
    let catalog = web.pipeline.store.catalog();
    let mut after = asked.after.clone();
    let mut found = Vec::new();
    // Filtered here: administrators make few records, and an index for parts of names would be for this page alone.
    while found.len() <= most {
        let rows = catalog.audit(after.as_deref(), 1_000).await?;
        let Some(last) = rows.last() else {
            return Ok((found, None));
        };
        after = Some(last.id.clone());
        found.extend(rows.into_iter().filter(|row| asked.wants(row)));
    }
    let is_more = found.len() > most;
    found.truncate(most);
    let next = found.last().map(|row| row.id.clone());
    Ok((found, next.filter(|_| is_more)))
}

/// Shows records.
pub async fn list(
    State(web): State<Web>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let (rows, next) = wanted(&web, &asked, PAGE).await?;
    let query = asked.query();
    let records = rows.into_iter().map(|row| Line {
        at: Time::of(row.at_ms),
        actor: row.actor,
        action: row.record.action,
        kind: row.record.kind,
        document: row.record.document,
        account: row.record.account,
        version: row.version,
    });
    html(&AuditPage {
        frame: visit.frame("audit"),
        records: records.collect(),
        next: next.map(|next| format!("/audit?{query}&after={}", encoded(&next))),
        export: format!("/audit.csv?{query}"),
        who: asked.who,
        what: asked.what,
    })
}

/// Gives the same as CSV, for a spreadsheet.
pub async fn export(State(web): State<Web>, Query(asked): Query<Asked>) -> Result<Response, Fault> {
    let (rows, _) = wanted(&web, &asked, MOST_EXPORTED).await?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = [
        "at", "actor", "action", "kind", "document", "account", "version",
    ];
    let written = writer.write_record(head).and_then(|()| {
        rows.iter().try_for_each(|row| {
            let version = row.version.map(|version| version.to_string());
            let record = &row.record;
            let cells = [
                &iso(row.at_ms),
                &row.actor,
                &record.action,
                &record.kind,
                &record.document,
                &record.account,
                &version.unwrap_or_default(),
            ];
            writer.write_record(cells.map(|cell| harmless(cell)))
        })
    });
    written.expect("memory takes everything, and every row has the same width");
    let text = writer.into_inner().expect("memory takes everything");
    let mut response = text.into_response();
    let headers = response.headers_mut();
    let csv = HeaderValue::from_static("text/csv; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, csv);
    let file = HeaderValue::from_static("attachment; filename=\"audit.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, file);
    Ok(response)
}

/// A cell; one that a spreadsheet would take for a formula is made text.
fn harmless(cell: &str) -> String {
    let mark = if is_formula(cell) { "'" } else { "" };
    format!("{mark}{cell}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas() {
        assert_eq!(harmless("a-b"), "a-b");
        assert_eq!(harmless("=1+1"), "'=1+1");
        assert_eq!(harmless("-x"), "'-x");
    }
}
