//! Releases; they never change.

use super::{Catalog, parse};
use crate::flow::{AccountId, Digest, FlowId, Release};
use crate::store::Error;
use crate::store::database::Sql;

/// A release with when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRow {
    pub digest: Digest,
    pub release: Release,
    pub created_at_ms: i64,
    /// Who made it.
    pub author: String,
}

impl Catalog {
    /// The release of a digest; none when it is not kept.
    pub async fn release(
        &self,
        account: &AccountId,
        digest: &Digest,
    ) -> Result<Option<Release>, Error> {
        let values = vec![account.as_str().into(), digest.as_str().into()];
        let rows = self.shared.one(&RELEASE, values).await?;
        rows.first().map(|row| parse(row, 0)).transpose()
    }

    /// The releases of a flow, newest first.
    pub async fn releases(
        &self,
        account: &AccountId,
        flow: &FlowId,
    ) -> Result<Vec<ReleaseRow>, Error> {
        let values = vec![account.as_str().into(), flow.as_str().into()];
        let rows = self.shared.one(&RELEASES, values).await?;
        rows.iter()
            .map(|row| {
                Ok(ReleaseRow {
                    digest: Digest::from(row.string(0)?),
                    release: parse(row, 1)?,
                    created_at_ms: row.int(2)?,
                    author: row.string(3)?,
                })
            })
            .collect()
    }

    /// The releases that name a component, for people.
    pub(super) async fn releases_of(
        &self,
        account: &AccountId,
        component: &Digest,
    ) -> Result<Vec<String>, Error> {
        let values = vec![account.as_str().into(), component.as_str().into()];
        let rows = self.shared.one(&USERS, values).await?;
        rows.iter()
            .map(|row| Ok(format!("release {} of flow {}", row.text(0)?, row.text(1)?)))
            .collect()
    }
}

static USERS: Sql = Sql {
    text: "select id, flow_id from release where account_id = ? and component_id = ? order by created_at",
    kinds: &[],
};

static RELEASE: Sql = Sql {
    text: "select document from release where account_id = ? and id = ?",
    kinds: &[],
};

static RELEASES: Sql = Sql {
    text:
        "select id, document, created_at, author from release where account_id = ? and flow_id = ?
order by created_at desc, id",
    kinds: &[],
};
