//! Versions of flows, with who made them and when.

use super::{Catalog, parse};
use crate::flow::{AccountId, Flow, FlowId};
use crate::store::Error;
use crate::store::database::Sql;

/// A flow as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowVersion {
    pub version: i64,
    pub author: String,
    pub created_at_ms: i64,
    pub flow: Flow,
}

impl Catalog {
    /// The versions of a flow, newest first; those of a deleted one are kept.
    pub async fn flow_versions(
        &self,
        account: &AccountId,
        flow: &FlowId,
    ) -> Result<Vec<FlowVersion>, Error> {
        let values = vec![account.as_str().into(), flow.as_str().into()];
        let rows = self.shared.one(&VERSIONS, values).await?;
        rows.iter()
            .map(|row| {
                Ok(FlowVersion {
                    version: row.int(0)?,
                    author: row.string(1)?,
                    created_at_ms: row.int(2)?,
                    flow: parse(row, 3)?,
                })
            })
            .collect()
    }
}

static VERSIONS: Sql = Sql {
    text: "select version, author, created_at, document from flow_version
where account_id = ? and flow_id = ?
order by version desc",
    kinds: &[],
};
