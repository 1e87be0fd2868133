//! Whether a release may come into force in a flow that takes only those that a shadow run has proven.
//!
//! Asked wherever a release comes into force because a person says so: by the interface, by files, by a saved code table.

use crate::flow::shadow::{Shadow, State};
use crate::flow::{Digest, Flow};
use crate::store::catalog::audit::Record;
use crate::store::{self, Store};

/// Why a release is not proven.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    #[error("the flow takes only releases that a shadow run has proven: name its id")]
    Nameless,
    #[error(
        "the flow takes only releases that a shadow run has proven, and there is none of release {release}: \
         `ligature flow shadow start {flow}` makes one"
    )]
    None { flow: String, release: Digest },
    #[error("the flow has no shadow run {0}")]
    Unknown(String),
    #[error("it is {0}: it proves nothing before it is done")]
    NotDone(State),
    #[error("it is of release {0}, not of this one")]
    OfAnother(Digest),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Whether `flow`, as it stands, takes `release` only with a proof; its first one has nothing to be compared with.
pub fn is_needed(flow: &Flow, release: Option<&Digest>) -> bool {
    flow.require_shadow && flow.release.is_some() && release != flow.release.as_ref()
}

/// The shadow run `id`, which proves `release` for `flow`; none where nobody names one and none is needed.
///
/// # Errors
/// Why it proves nothing.
pub async fn named(
    store: &Store,
    flow: &Flow,
    release: Option<&Digest>,
    id: Option<&str>,
) -> Result<Option<Shadow>, Unproven> {
    let Some(id) = id else {
        return match is_needed(flow, release) {
            true => Err(Unproven::Nameless),
            false => Ok(None),
        };
    };
    let shadow = store.shadows().get(id).await?;
    let shadow = shadow.filter(|shadow| is_of(shadow, flow));
    let shadow = shadow.ok_or_else(|| Unproven::Unknown(id.into()))?;
    if shadow.state != State::Done {
        return Err(Unproven::NotDone(shadow.state));
    }
    if release != Some(&shadow.what.candidate) {
        return Err(Unproven::OfAnother(shadow.what.candidate));
    }
    Ok(Some(shadow))
}

/// Any shadow run that proves `release` for `flow`; none where none is needed.
///
/// # Errors
/// There is none.
pub async fn any(store: &Store, flow: &Flow, release: &Digest) -> Result<Option<Shadow>, Unproven> {
    if !is_needed(flow, Some(release)) {
        return Ok(None);
    }
    let mut shadows = store.shadows().list().await?.into_iter();
    let proof = shadows.find(|shadow| {
        is_of(shadow, flow) && shadow.state == State::Done && shadow.what.candidate == *release
    });
    match proof {
        Some(proof) => Ok(Some(proof)),
        None => Err(Unproven::None {
            flow: flow.id.to_string(),
            release: release.clone(),
        }),
    }
}

/// What the audit is told of a proof.
pub fn record(proof: &Shadow) -> Record {
    Record::of("prove", proof.account.as_str(), "shadow", &proof.id)
}

fn is_of(shadow: &Shadow, flow: &Flow) -> bool {
    shadow.flow == flow.id && shadow.account == flow.account
}
