//! The way in by an identity provider: out to it, and back.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use tracing::warn;

use super::cookie;
use super::enter::{inside, sign_in_page};
use super::form::query;
use super::visit::Visit;
use crate::access::people::{self, Refused};
use crate::openid::{self, Entry, Provider};
use crate::web::Web;
use crate::web::api::error::Error;
use crate::web::fault::Fault;

/// How long somebody may take at the provider, in seconds.
const ENTRY_S: i64 = 10 * 60;

/// Sends the browser to the provider.
pub async fn begin(State(web): State<Web>, visit: Visit, uri: Uri) -> Result<Response, Fault> {
    let provider = provider(&web)?;
    let mut asked = query(uri.query().unwrap_or_default()).into_iter();
    let next = asked.find(|(name, _)| name == "next");
    let next = next.map(|(_, next)| next).unwrap_or_default();
    let entry = match Entry::new() {
        Ok(entry) => entry,
        Err(fault) => return Err(Error::from(Refused::Host(fault.into())).into()),
    };
    match provider.begin(&entry).await {
        Ok(address) => {
            let mut response = Redirect::to(address.as_str()).into_response();
            let kept = format!("{}.{}", entry.secret(), cookie::encoded(&next));
            let headers = &visit.headers;
            cookie::set(&mut response, headers, cookie::OPENID, &kept, ENTRY_S);
            Ok(response)
        }
        Err(fault) => said(&web, &visit, &next, &fault).await,
    }
}

/// Takes the browser back from the provider, and signs in whom it names.
pub async fn back(State(web): State<Web>, visit: Visit, uri: Uri) -> Result<Response, Fault> {
    let provider = provider(&web)?;
    let kept = cookie::read(&visit.headers, cookie::OPENID).unwrap_or_default();
    let (secret, next) = kept.split_once('.').unwrap_or_default();
    let next = cookie::decoded(next);
    let mut response = match Entry::kept(secret) {
        None => said(&web, &visit, "", &openid::Error::Astray).await?,
        Some(entry) => Box::pin(finish(&web, provider, &visit, &entry, &uri, &next)).await?,
    };
    // Good for one try only.
    cookie::clear(&mut response, &visit.headers, cookie::OPENID);
    Ok(response)
}

async fn finish(
    web: &Web,
    provider: &Provider,
    visit: &Visit,
    entry: &Entry,
    uri: &Uri,
    next: &str,
) -> Result<Response, Fault> {
    let address = visit.address();
    // Each try makes this host call the provider, so a stranger has only so many.
    if let Err(wait) = web.door.attempt_openid(&address) {
        let seconds = wait.as_secs() + 1;
        return refused(web, visit, next, Refused::Wait { seconds }).await;
    }
    let answer = query(uri.query().unwrap_or_default());
    let identity = match provider.finish(entry, &answer).await {
        Ok(identity) => identity,
        Err(fault) => return said(web, visit, next, &fault).await,
    };
    web.door.succeeded_openid(&address);
    let catalog = web.pipeline.store.catalog();
    match people::sign_in_as(&catalog, &identity).await {
        Ok(cookie) => Ok(inside(visit, &cookie, next)),
        Err(fault) => refused(web, visit, next, fault).await,
    }
}

fn provider(web: &Web) -> Result<&Provider, Fault> {
    web.openid.as_deref().ok_or(Fault::NotFound)
}

/// The way in again, with what went wrong at the provider; the log has it, too, for whoever runs the host.
async fn said(
    web: &Web,
    visit: &Visit,
    next: &str,
    fault: &openid::Error,
) -> Result<Response, Fault> {
    let status = match fault {
        openid::Error::Astray | openid::Error::Denied(_) => StatusCode::FORBIDDEN,
        _ => {
            warn!(%fault, "nobody can be signed in by OpenID Connect");
            StatusCode::BAD_GATEWAY
        }
    };
    sign_in_page(web, visit, next, "", (status, fault.to_string())).await
}

async fn refused(web: &Web, visit: &Visit, next: &str, fault: Refused) -> Result<Response, Fault> {
    let status = match &fault {
        Refused::Store(_) | Refused::Host(_) => return Err(Error::from(fault).into()),
        Refused::Wait { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::FORBIDDEN,
    };
    sign_in_page(web, visit, next, "", (status, fault.to_string())).await
}
