//! Components as bytes, known by their digest.

use std::fmt;

use super::{Catalog, parse};
use crate::flow::limits::Limits;
use crate::flow::{AccountId, Digest};
use crate::store::Error;
use crate::store::database::{Row, Sql};

/// What is known of a component beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentRow {
    pub digest: Digest,
    /// `generated`, `uploaded`, ...
    pub origin: String,
    /// The mapping document of a generated one, else empty.
    pub document: String,
    /// What was found out when it was uploaded, as its own room writes it; else empty.
    pub examination: String,
    pub size_bytes: i64,
    pub created_at_ms: i64,
    /// What it was given of its own.
    pub limits: Limits,
}

/// A component to be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct NewComponent {
    pub origin: String,
    pub document: String,
    /// What was found out when it was uploaded; else empty, which leaves what is kept.
    pub examination: String,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for NewComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NewComponent({}, {} bytes)",
            self.origin,
            self.bytes.len()
        )
    }
}

impl Catalog {
    /// The components of an account, newest first.
    pub async fn components(&self, account: &AccountId) -> Result<Vec<ComponentRow>, Error> {
        let rows = self
            .shared
            .one(&COMPONENTS, vec![account.as_str().into()])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ComponentRow {
                    digest: Digest::from(row.string(0)?),
                    origin: row.string(1)?,
                    document: row.string(2)?,
                    examination: row.string(3)?,
                    size_bytes: row.int(4)?,
                    created_at_ms: row.int(5)?,
                    limits: limits(row, 6)?,
                })
            })
            .collect()
    }

    /// The limits that a component was given of its own.
    pub async fn component_limits(
        &self,
        account: &AccountId,
        digest: &Digest,
    ) -> Result<Limits, Error> {
        let values = vec![account.as_str().into(), digest.as_str().into()];
        let rows = self.shared.one(&LIMITS, values).await?;
        let own = rows.first().map(|row| limits(row, 0)).transpose()?;
        Ok(own.unwrap_or_default())
    }

    /// The bytes of a component; none when it is not kept.
    pub async fn component_bytes(
        &self,
        account: &AccountId,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, Error> {
        let values = vec![account.as_str().into(), digest.as_str().into()];
        let rows = self.shared.one(&COMPONENT_BYTES, values).await?;
        rows.first()
            .map(|row| Ok(row.bytes(0)?.to_vec()))
            .transpose()
    }
}

fn limits(row: &Row, at: usize) -> Result<Limits, Error> {
    match row.is_null(at) {
        true => Ok(Limits::default()),
        false => parse(row, at),
    }
}

static LIMITS: Sql = Sql {
    text: "select limits from component where account_id = ? and id = ?",
    kinds: &[],
};

static COMPONENTS: Sql = Sql {
    text: "select id, origin, document, examination, size, created_at, limits from component where account_id = ? order by created_at desc, id",
    kinds: &[],
};

static COMPONENT_BYTES: Sql = Sql {
    text: "select bytes from component where account_id = ? and id = ?",
    kinds: &[],
};
