//! Code tables: what each code of the EHR is called in LeadSquared, and the inbox of codes that have no entry.

use askama::Template;
use axum::body::Body as Bytes;
use axum::extract::{RawPathParams, Request, State};
use axum::http::HeaderValue;
use axum::response::Response;

use super::cookie::encoded;
use super::form::Form;
use super::show::Time;
use super::visit::{Faults, Frame, Visit, again, done, html, refused, told};
use crate::access::Right;
use crate::flow::{AccountId, CodeTable};
use crate::store::catalog::Kept;
use crate::web::Web;
use crate::web::api::code_tables::{self as tables, Unproven};
use crate::web::api::error::Error;
use crate::web::api::list::part;
use crate::web::fault::Fault;

/// Misses shown at once.
const MOST: usize = 100;

#[derive(Template)]
#[template(path = "code_tables.html")]
struct TablesPage {
    frame: Frame,
    faults: Faults,
    accounts: Vec<(String, String)>,
    tables: Vec<Line>,
    name: String,
}

struct Line {
    account: String,
    name: String,
    changed: Time,
    misses: usize,
    stopped: u64,
}

#[derive(Template)]
#[template(path = "code_table.html")]
struct TablePage {
    frame: Frame,
    faults: Faults,
    account: String,
    name: String,
    version: i64,
    columns: Vec<String>,
    entries: Vec<(String, Vec<String>)>,
    ignores_case: bool,
    misses: Vec<Miss>,
    sees: bool,
    /// Flows that have an earlier version until a shadow run has proven this one.
    unproven: Vec<Unproven>,
}

struct Miss {
    code: String,
    count: u64,
    stopped: u64,
    last: Time,
}

async fn tables_page(
    web: &Web,
    visit: &Visit,
    faults: Faults,
    name: String,
) -> Result<TablesPage, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let journal = web.pipeline.store.journal();
    let mut lines = Vec::new();
    for head in listing.code_tables {
        let misses = journal
            .misses(&head.account, &head.name, None, MOST)
            .await?;
        lines.push(Line {
            account: head.account.to_string(),
            changed: Time::of(head.updated_at_ms),
            misses: misses.len(),
            stopped: misses.iter().map(|miss| miss.stopped).sum(),
            name: head.name,
        });
    }
    let accounts = listing.accounts.into_iter().map(|kept| kept.document);
    Ok(TablesPage {
        frame: visit.frame("code-tables"),
        faults,
        accounts: accounts
            .map(|account| (account.id.to_string(), account.name))
            .collect(),
        tables: lines,
        name,
    })
}

/// Lists code tables.
pub async fn list(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    html(&tables_page(&web, &visit, Faults::default(), String::new()).await?)
}

/// Makes an empty table.
pub async fn create(State(web): State<Web>, visit: Visit, form: Form) -> Result<Response, Fault> {
    let name = form.get("name").to_owned();
    let table = CodeTable::new(form.get("account").into(), name.clone());
    match tables::keep(&web, &visit.headers, table, None).await {
        Ok(()) => {
            let to = path(form.get("account"), &name);
            Ok(done(&visit, &to, "The table is there. Add its codes."))
        }
        Err(fault) => again(&tables_page(&web, &visit, Faults::of(&fault), name).await?),
    }
}

fn path(account: &str, name: &str) -> String {
    format!("/code-tables/{}/{}", encoded(account), encoded(name))
}

async fn kept(web: &Web, params: &RawPathParams) -> Result<Kept<CodeTable>, Fault> {
    let account = AccountId::from(part(params, "account")?);
    let name = part(params, "name")?;
    let catalog = web.pipeline.store.catalog();
    catalog
        .code_table(&account, &name)
        .await?
        .ok_or(Fault::NotFound)
}

async fn page(
    web: &Web,
    visit: &Visit,
    kept: Kept<CodeTable>,
    faults: Faults,
) -> Result<TablePage, Fault> {
    let table = kept.document;
    let journal = web.pipeline.store.journal();
    let sees = visit.may(Right::SeePatientData);
    let misses = journal
        .misses(&table.account, &table.name, None, MOST)
        .await?;
    if let Some(caller) = visit.caller.as_ref().filter(|_| sees && !misses.is_empty()) {
        tables::seen(web, caller, &table.account, &table.name).await?;
    }
    let misses = misses.into_iter().map(|miss| Miss {
        code: if sees { miss.code } else { String::new() },
        count: miss.count,
        stopped: miss.stopped,
        last: Time::of(miss.last_at_ms),
    });
    let catalog = web.pipeline.store.catalog();
    let all = catalog.code_tables(&table.account).await?;
    let unproven = tables::unproven(&table.account, &table.name, &catalog.load().await?, &all);
    Ok(TablePage {
        unproven,
        frame: visit.frame("code-tables"),
        faults,
        account: table.account.to_string(),
        name: table.name,
        version: kept.version,
        columns: table.columns,
        entries: table.entries.into_iter().collect(),
        ignores_case: table.ignore_case,
        misses: misses.collect(),
        sees,
    })
}

/// Shows a table with its codes and misses.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let kept = kept(&web, &params).await?;
    html(&page(&web, &visit, kept, Faults::default()).await?)
}

/// Keeps a table as `change` makes it.
async fn change(
    web: &Web,
    visit: &Visit,
    params: &RawPathParams,
    form: &Form,
    text: &str,
    change: impl FnOnce(&mut CodeTable),
) -> Result<Response, Fault> {
    let kept = kept(web, params).await?;
    let mut table = kept.document.clone();
    change(&mut table);
    let to = path(table.account.as_str(), &table.name);
    let version = form.get("version").parse().ok();
    match tables::keep(
        web,
        &visit.headers,
        table.clone(),
        version.or(Some(kept.version)),
    )
    .await
    {
        Ok(()) => Ok(done(visit, &to, text)),
        Err(fault) => {
            let shown = Kept {
                document: table,
                ..kept
            };
            again(&page(web, visit, shown, Faults::of(&fault)).await?)
        }
    }
}

/// Keeps every entry as the form has it; lines without a code are left out.
pub async fn save(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let text = "Saved. Flows that use the table look up in the new one at once, but for those that want a shadow run first.";
    let saving = change(&web, &visit, &params, &form, text, |table| {
        let columns = table.columns.len();
        let values: Vec<Vec<String>> = (0..columns)
            .map(|at| form.all(&format!("value{at}")))
            .collect();
        let codes = form.all("code").into_iter().enumerate();
        table.ignore_case = form.has("ignore_case");
        table.entries = codes
            .filter(|(_, code)| !code.is_empty())
            .map(|(at, code)| {
                let row = values
                    .iter()
                    .map(|column| column.get(at).cloned().unwrap_or_default());
                (code, row.collect())
            })
            .collect();
    });
    Box::pin(saving).await
}

/// Adds one entry; deliveries that waited for it go on.
pub async fn add_entry(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let (code, value) = (form.get("code").to_owned(), form.get("value").to_owned());
    let text = "The entry is there. Deliveries that waited for it go on.";
    let saving = change(&web, &visit, &params, &form, text, |table| {
        let mut row = vec![String::new(); table.columns.len()];
        if let Some(first) = row.first_mut() {
            *first = value;
        }
        table.entries.insert(code, row);
    });
    Box::pin(saving).await
}

/// Puts the codes of a CSV file into a table.
pub async fn upload(
    State(web): State<Web>,
    mut visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = path(&part(&params, "account")?, &part(&params, "name")?);
    let Some(bytes) = form.file("file").cloned() else {
        let fault = Error::bad("choose a CSV file with a heading `code` and the columns");
        return Ok(refused(&visit, &to, &fault));
    };
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", form.get("version"))) {
        visit.headers.insert(axum::http::header::IF_MATCH, tag);
    }
    let request = Request::new(Bytes::from(bytes));
    let saving = tables::save_csv(State(web), visit.headers.clone(), params, request);
    Ok(told(
        &visit,
        &to,
        Box::pin(saving).await,
        "The file's codes are in the table.",
    ))
}
