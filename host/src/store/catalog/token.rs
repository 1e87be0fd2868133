//! Tokens of the interface: what they may do is `access`'s business, here they are rows.

use super::Catalog;
use super::audit::{self, Author, Record};
use crate::store::database::{Row, Sql, Value};
use crate::store::writer::Planned;
use crate::store::{Error, now_ms};

/// A token, of whose secret only the digest is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: String,
    pub name: String,
    /// Words with blanks between them.
    pub rights: String,
    /// SHA-256 of the secret.
    pub digest: Vec<u8>,
    pub created_at_ms: i64,
    pub used_at_ms: Option<i64>,
    pub revoked_at_ms: Option<i64>,
    /// The id of the person who made it, and their login; none for one made on the command line.
    pub maker: Option<(String, String)>,
    pub expires_at_ms: Option<i64>,
}

impl Catalog {
    /// Keeps a new token.
    pub async fn add_token(&self, token: &TokenRow, author: &Author) -> Result<(), Error> {
        let values = vec![
            token.id.as_str().into(),
            token.name.as_str().into(),
            token.rights.as_str().into(),
            token.digest.clone().into(),
            token.created_at_ms.into(),
            Value::optional_text(token.maker.as_ref().map(|(id, _)| id.as_str())),
            Value::optional_int(token.expires_at_ms),
        ];
        let record = Record::of("add", "", "token", &token.name);
        self.shared
            .writer
            .plain(
                vec![Planned::one(&ADD, values), audit::plain(author, &record)],
                false,
            )
            .await?;
        Ok(())
    }

    /// All tokens, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, Error> {
        let rows = self.shared.one(&ALL, vec![1.into()]).await?;
        rows.iter().map(token).collect()
    }

    pub async fn token(&self, id: &str) -> Result<Option<TokenRow>, Error> {
        let rows = self.shared.one(&ONE, vec![id.into()]).await?;
        rows.first().map(token).transpose()
    }

    /// Notes that the token was used at `now_ms`.
    pub async fn token_used(&self, id: &str, now_ms: i64) -> Result<(), Error> {
        let values = vec![now_ms.into(), id.into()];
        self.shared
            .writer
            .plain(vec![Planned::one(&USED, values)], false)
            .await?;
        Ok(())
    }

    /// Revokes the tokens of this name, or the one of this id; gives how many.
    ///
    /// # Errors
    /// `NotFound` when none is in use.
    pub async fn revoke_token(&self, name: &str, author: &Author) -> Result<usize, Error> {
        let values = vec![Value::from(now_ms()), name.into(), name.into()];
        let record = Record::of("revoke", "", "token", name);
        let rows = self
            .shared
            .writer
            .plain(
                vec![Planned::one(&REVOKE, values), audit::plain(author, &record)],
                false,
            )
            .await?;
        match rows.first().map_or(0, Vec::len) {
            0 => Err(Error::NotFound(format!("a token {name:?} that is in use"))),
            revoked => Ok(revoked),
        }
    }
}

fn token(row: &Row) -> Result<TokenRow, Error> {
    let maker = row.optional(7, Row::string)?;
    let login = row.optional(8, Row::string)?;
    Ok(TokenRow {
        id: row.string(0)?,
        name: row.string(1)?,
        rights: row.string(2)?,
        digest: row.bytes(3)?.to_vec(),
        created_at_ms: row.int(4)?,
        used_at_ms: row.optional(5, Row::int)?,
        revoked_at_ms: row.optional(6, Row::int)?,
        maker: maker.map(|id| (id, login.unwrap_or_default())),
        expires_at_ms: row.optional(9, Row::int)?,
    })
}

static ADD: Sql = Sql {
    text: "insert into token (id, name, rights, digest, created_at, maker, expires_at) values (?, ?, ?, ?, ?, ?, ?)",
    kinds: &[],
};

static ALL: Sql = Sql {
    text: "select t.id, t.name, t.rights, t.digest, t.created_at, t.used_at, t.revoked_at, t.maker, p.login, t.expires_at
from token t left join person p on p.id = t.maker
where 1 = ? order by t.created_at, t.id",
    kinds: &[],
};

static ONE: Sql = Sql {
    text: "select t.id, t.name, t.rights, t.digest, t.created_at, t.used_at, t.revoked_at, t.maker, p.login, t.expires_at
from token t left join person p on p.id = t.maker
where t.id = ?",
    kinds: &[],
};

static USED: Sql = Sql {
    text: "update token set used_at = ? where id = ?",
    kinds: &[],
};

static REVOKE: Sql = Sql {
    text: "update token set revoked_at = ? where (name = ? or id = ?) and revoked_at is null returning id",
    kinds: &[],
};
