//! Lists: filters, a page at a time, and where the next one begins.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Error;

/// Items of one answer, unless it is said.
const PAGE: usize = 50;
/// Items of one answer at most.
const MOST: usize = 500;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T: ToSchema> {
    pub items: Vec<T>,
    /// What to send as `after` for the next page; none at the end.
    pub next: Option<String>,
}

/// Which items, and how many.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Those of one account.
    pub account: Option<String>,
    /// Those behind this one: `next` of the page before.
    pub after: Option<String>,
    /// At most so many, up to 500.
    pub limit: Option<usize>,
}

impl Which {
    /// The page that begins behind `after` of items in the order of their keys.
    pub fn page<T: ToSchema>(&self, items: impl IntoIterator<Item = (String, T)>) -> Page<T> {
        let after = self.after.as_deref().unwrap_or_default();
        let mut items: Vec<_> = items
            .into_iter()
            .filter(|(key, _)| key.as_str() > after)
            .collect();
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        let limit = limit(self.limit);
        let next = (items.len() > limit).then(|| items[limit - 1].0.clone());
        items.truncate(limit);
        Page {
            items: items.into_iter().map(|(_, item)| item).collect(),
            next,
        }
    }

    /// Whether something of `account` is asked for.
    pub fn wants(&self, account: &str) -> bool {
        self.account
            .as_deref()
            .is_none_or(|wanted| wanted == account)
    }
}

/// A limit as it is meant.
pub(super) fn limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(PAGE).clamp(1, MOST)
}

/// The query of a request.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(fault) => Err(Error::bad(fault.to_string())),
        }
    }
}

/// One part of the path.
pub(in crate::web) fn part(
    params: &axum::extract::RawPathParams,
    name: &str,
) -> Result<String, Error> {
    let mut found = params.iter().filter(|(known, _)| *known == name);
    let found = found.next().map(|(_, value)| value.to_owned());
    found.ok_or_else(Error::no_route)
}
