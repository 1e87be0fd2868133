//! An account's calls: what is left of them, and when its queue will be empty.

use std::sync::Arc;

use axum::extract::{RawPathParams, State};
use axum::response::{IntoResponse, Response};

use super::fault::Fault;
use crate::flow::AccountId;
use crate::pipeline::{Pipeline, outlook};

/// How the calls of one account stand.
pub async fn show_json(State(pipeline): State<Arc<Pipeline>>, params: RawPathParams) -> Response {
    let id = params.iter().find(|(name, _)| *name == "id");
    let account = AccountId::from(id.map(|(_, value)| value).unwrap_or_default());
    match outlook::outlook(&pipeline, &account).await {
        Ok(Some(outlook)) => axum::Json(outlook).into_response(),
        Ok(None) => Fault::NotFound.json(),
        Err(fault) => Fault::Store(fault).json(),
    }
}
