//! Whether a release shall be in force: what it changes, what it would have done to real messages, what it still lacks.

use askama::Template;
use axum::extract::{Query, RawPathParams, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::cookie::encoded;
use super::flows::{behaviour_words, event_words};
use super::form::Form;
use super::show::{count, short_digests};
use super::visit::{Frame, Visit, done, html, refused, told};
use super::webhooks;
use crate::flow::{Digest, Direction, Entity, Flow, Status, shadow};
use crate::pipeline::account::custom::Lacking;
use crate::pipeline::activate;
use crate::pipeline::shadow::Standing;
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::list::part;
use crate::web::api::{flows, lacking, shadows};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "mapping_start.html")]
struct StartPage {
    frame: Frame,
    flow: Flow,
    version: i64,
    release: Option<String>,
    number: usize,
    is_running: bool,
    /// It was never in force: whoever starts it confirms what is unusual about it.
    is_draft: bool,
    checks: Vec<String>,
    differences: Vec<String>,
    next: String,
    /// Fields that the flow writes and the account lacks, and what of them cannot be made.
    lacking: Vec<Lacking>,
    others: Vec<String>,
    /// What LeadSquared must tell of the flow; none for one to LeadSquared.
    webhook: Option<Result<webhooks::Shown, String>>,
    /// Flows that hear of the same change in LeadSquared.
    alike: Vec<String>,
    shadow: Option<Shadow>,
    /// The release must be proven before it comes into force.
    needs_shadow: bool,
}

/// A shadow run as the page shows it.
struct Shadow {
    standing: Standing,
    is_running: bool,
    /// It went to its end, and proves the release.
    is_done: bool,
    /// Fields that would get something else, with how often.
    fields: Vec<(String, u64)>,
    ends: Vec<(String, u64)>,
}

/// Which release.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// Its digest; the newest one if left out.
    release: Option<String>,
}

fn next(flow: &Flow, channel: &str) -> String {
    let event = event_words(flow);
    let behaviour = match flow.entity {
        Entity::Lead => flow.lead_behaviour,
        Entity::Activity => flow.activity_behaviour,
    };
    let behaviour = behaviour_words(behaviour).to_lowercase();
    let search = &flow.primary_search_field;
    match (&flow.outbound, flow.entity) {
        (Some(_), _) => {
            format!("The next change in LeadSquared that fits is sent over {channel} as {event}.")
        }
        (None, Entity::Lead) => {
            format!("The next {event} over {channel} finds its lead by {search}: {behaviour}.")
        }
        (None, Entity::Activity) => format!(
            "The next {event} over {channel} becomes an activity of the lead found by {search}: {behaviour}."
        ),
    }
}

/// The newest shadow run of a release of a flow.
async fn newest_shadow(web: &Web, flow: &Flow, release: &Digest) -> Result<Option<Shadow>, Fault> {
    let all = web.pipeline.store.shadows().list().await?;
    let of_release = all.iter().filter(|shadow| {
        shadow.flow == flow.id
            && shadow.account == flow.account
            && shadow.what.candidate == *release
    });
    // Ids are UUIDv7: the newest is the greatest.
    let newest = of_release.max_by(|a, b| a.id.cmp(&b.id));
    Ok(newest.map(|shadow| {
        let standing = Standing::of(shadow);
        let other = |counts: &shadow::Counts| {
            counts.changed
                + counts.newly_empty
                + counts.newly_filled
                + counts.newly_refused
                + counts.newly_skipped
        };
        let fields = standing.fields.iter();
        let fields = fields.map(|(field, counts)| (field.clone(), other(counts)));
        let mut fields: Vec<_> = fields.filter(|(_, count)| *count > 0).collect();
        fields.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let ends = standing.ends.iter();
        Shadow {
            is_running: shadow.state == shadow::State::Running,
            is_done: shadow.state == shadow::State::Done,
            fields,
            ends: ends.map(|(end, count)| (end.clone(), *count)).collect(),
            standing,
        }
    }))
}

/// Asks whether a release shall be in force, and says what happens then.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let kept = flows::kept(&catalog, &part(&params, "id")?).await?;
    let flow = kept.document;
    let rows = catalog.releases(&flow.account, &flow.id).await?;
    let active = rows
        .iter()
        .find(|row| flow.release.as_ref() == Some(&row.digest));
    let wanted = match &asked.release {
        Some(digest) => rows.iter().position(|row| row.digest.as_str() == digest),
        None => (!rows.is_empty()).then_some(0),
    };
    let release = wanted.map(|at| &rows[at]);
    let listing = catalog.list().await?;
    let channel = listing
        .channels
        .iter()
        .find(|kept| kept.document.id == flow.channel);
    let channel = channel.map_or("its channel", |kept| kept.document.name.as_str());
    let templates = web.pipeline.store.templates();
    let has_sample = templates.get(&flow.account, &flow.id).await?.is_some();
    let mut checks =
        vec!["Every row is well formed, and its component was made and loaded.".to_owned()];
    checks.push(match has_sample {
        true => "The sample message can be mapped.".into(),
        false => "There is no sample message: nothing was tried.".into(),
    });
    let digest = release.map(|row| &row.digest);
    // What LeadSquared does not tell just now is told when the flow is started.
    let lack = Box::pin(lacking::of(&web, &flow, digest)).await;
    let lack = lack.unwrap_or_default();
    let webhook = match flow.direction {
        Direction::EhrToLeadSquared => None,
        Direction::LeadSquaredToEhr => {
            let shown = webhooks::shown(&web, &visit, &flow.account, Some(&flow));
            Some(Box::pin(shown).await)
        }
    };
    let shadow = match digest {
        Some(digest) => newest_shadow(&web, &flow, digest).await?,
        None => None,
    };
    let is_other = active.is_some() && active.map(|row| &row.digest) != digest;
    html(&StartPage {
        frame: visit.frame("flows"),
        version: kept.version,
        number: wanted.map_or(0, |at| rows.len() - at),
        release: digest.map(ToString::to_string),
        is_running: active.is_some(),
        is_draft: flow.status == Status::Draft,
        differences: match release {
            Some(row) => {
                let active = active.map(|row| &row.release);
                let texts = activate::differences(active, &row.release);
                texts.iter().map(|text| short_digests(text)).collect()
            }
            None => Vec::new(),
        },
        checks,
        next: next(&flow, channel),
        lacking: lack.fields,
        others: lack.others,
        webhook,
        alike: flows::told_of_the_same(&listing, &flow)
            .map(|other| other.name.clone())
            .collect(),
        needs_shadow: flow.require_shadow && is_other,
        shadow,
        flow,
    })
}

/// Where it is asked whether a release shall be in force.
pub(super) fn path(id: &str, release: &str) -> String {
    format!("/flows/{id}/start?release={}", encoded(release))
}

/// Where the page of a release is.
fn page_of(id: &str, form: &Form) -> String {
    match form.some("release") {
        Some(release) => path(id, &release),
        None => format!("/flows/{id}/start"),
    }
}

/// Runs a release over the messages of the last day, without any effect.
pub async fn begin_shadow(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = page_of(&part(&params, "id")?, &form);
    let body = Unread::of(json!({ "release": form.get("release") }));
    let beginning = shadows::create(State(web), visit.headers.clone(), params, body);
    Ok(told(
        &visit,
        &to,
        Box::pin(beginning).await,
        "The release runs over the messages of the last day, without any effect.",
    ))
}

/// Ends a shadow run.
pub async fn cancel_shadow(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = page_of(&part(&params, "id")?, &form);
    let id = part(&params, "shadow")?;
    Ok(match shadows::end(&web, &visit.headers, &id).await {
        Ok(_) => done(&visit, &to, "The shadow run is ended."),
        Err(fault) => refused(&visit, &to, &fault),
    })
}

/// Makes every field that the flow writes and the account lacks.
pub async fn make_fields(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let to = match form.has("back") {
        true => format!("/flows/{id}"),
        false => page_of(&id, &form),
    };
    let release = form.some("release").map(Digest::from);
    let making = lacking::make_all(&web, &visit.headers, &id, release.as_ref());
    Ok(match Box::pin(making).await {
        Ok(made) => {
            let count = count(made.fields.len(), "field is", "fields are");
            let text = format!("{count} made in LeadSquared.");
            done(&visit, &to, &text)
        }
        Err(fault) => refused(&visit, &to, &fault),
    })
}
