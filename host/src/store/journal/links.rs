//! What is known of the other system: patient identifier to prospect id, activity key to activity id.
//!
//! Links outlive messages. Keys are kept as hashes; they change only when a delivery is settled.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Journal, column};
use crate::flow::AccountId;
use crate::flow::release::hex;
use crate::store::Error;
use crate::store::database::{Kind, Row, Script, Sql, Value};
use crate::vault::Place;
use Kind::{Bytes, Int, Text};

/// The kind of links whose target is a patient identifier itself: kept sealed.
pub const ALIAS: &str = "alias";

/// What a link is found by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LinkKey {
    /// Keeps equal keys of different kinds apart, for example `lead mx_MRN` and `activity 205`.
    pub kind: String,
    pub key: String,
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKey({}, redacted)", self.kind)
    }
}

/// What a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTarget {
    /// Prospect id or activity id.
    pub target: String,
    /// The lead of an activity.
    pub parent: Option<String>,
}

/// A link to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub key: LinkKey,
    pub to: LinkTarget,
}

impl Journal {
    /// What each key leads to, in the order asked.
    pub async fn links(
        &self,
        account: &AccountId,
        keys: &[LinkKey],
    ) -> Result<Vec<Option<LinkTarget>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let hashes: Vec<_> = keys
            .iter()
            .map(|key| self.link_hash(account, key))
            .collect();
        let rows = hashes
            .iter()
            .flat_map(|hash| [account.as_str().into(), hash.into()])
            .collect();
        let mut found = Vec::new();
        for row in self.shared.rows(&LINKS, rows).await? {
            let target = LinkTarget {
                target: row.string(1)?,
                parent: row.optional(2, Row::string)?,
            };
            found.push((row.bytes(0)?, target));
        }
        hashes
            .iter()
            .zip(keys)
            .map(|(hash, key)| {
                let Some((_, to)) = found.iter().find(|(known, _)| known == hash) else {
                    return Ok(None);
                };
                let mut to = to.clone();
                if key.kind == ALIAS {
                    to.target = self.open_alias(account, hash, &to.target)?;
                }
                Ok(Some(to))
            })
            .collect()
    }

    /// The target of a link as it is kept.
    pub(super) fn kept_target(&self, account: &AccountId, link: &Link) -> Result<String, Error> {
        if link.key.kind != ALIAS {
            return Ok(link.to.target.clone());
        }
        let id = hex(&self.link_hash(account, &link.key));
        let sealed = self
            .shared
            .vault
            .seal(&alias_place(account, &id), link.to.target.as_bytes())?;
        Ok(hex(&sealed))
    }

    fn open_alias(&self, account: &AccountId, hash: &[u8], kept: &str) -> Result<String, Error> {
        let broken = || Error::Database("a link is not of this program's form".into());
        let sealed = unhex(kept).ok_or_else(broken)?;
        let id = hex(hash);
        let plain = self
            .shared
            .vault
            .open(&alias_place(account, &id), &sealed)?;
        String::from_utf8(plain).map_err(|_| broken())
    }

    pub(super) fn link_hash(&self, account: &AccountId, key: &LinkKey) -> Arc<[u8]> {
        self.hash(account, &format!("link {}", key.kind), &key.key)
    }
}

fn alias_place<'a>(account: &'a AccountId, id: &'a str) -> Place<'a> {
    Place {
        account: account.as_str(),
        id,
        column: column::ALIAS,
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

static LINKS: Sql = Sql {
    text: "with v(account_id, key) as (values {rows})
select l.key, l.target, l.parent
from v cross join link l
where l.account_id = v.account_id and l.key = v.key",
    kinds: &[Text, Bytes],
};

static KEEP: Sql = Sql {
    text: "with v(account_id, key, target, parent, updated_at) as (values {rows})
insert {or_rollback} into link (account_id, key, target, parent, updated_at)
select account_id, key, target, parent, updated_at from v
where account_id is not null
on conflict (account_id, key) do update
set target = excluded.target, parent = excluded.parent, updated_at = excluded.updated_at",
    kinds: &[Text, Bytes, Text, Text, Int],
};

static FORGET: Sql = Sql {
    text: "with v(account_id, key) as (values {rows})
delete from link where (account_id, key) in (select account_id, key from v where account_id is not null)",
    kinds: &[Text, Bytes],
};

static FORGET_BELOW: Sql = Sql {
    text: "with v(account_id, key) as (values {rows})
delete from link where parent is not null and (account_id, parent) in (
  select gone.account_id, gone.target from v cross join link gone where gone.account_id = v.account_id and gone.key = v.key)",
    kinds: &[Text, Bytes],
};

/// The link changes of one batch; of several to one key the last holds.
#[derive(Default)]
pub(in crate::store) struct Changes(BTreeMap<(Arc<str>, Arc<[u8]>), To>);

/// What becomes of a link.
#[derive(Clone)]
pub(in crate::store) enum To {
    /// It leads to a target, which may have a parent.
    Keep(Value, Value),
    Forget,
    /// With every link whose parent is its target.
    ForgetWithAllBelow,
}

/// One link change, by the hash of its key.
pub(in crate::store) type Change = (Arc<[u8]>, To);

impl Changes {
    pub(in crate::store) fn add(&mut self, account: &Arc<str>, changes: &[Change]) {
        for (key, to) in changes {
            self.0.insert((account.clone(), key.clone()), to.clone());
        }
    }

    pub(in crate::store) fn write(self, script: &mut Script, now: i64) {
        let mut keep = Vec::new();
        let mut forget = Vec::new();
        let mut below = Vec::new();
        for ((account, key), to) in self.0 {
            let row = [Value::Text(account), Value::Bytes(key)];
            match to {
                To::Keep(target, parent) => {
                    keep.extend(row);
                    keep.extend([target, parent, now.into()]);
                }
                To::Forget => forget.extend(row),
                To::ForgetWithAllBelow => {
                    below.extend(row.clone());
                    forget.extend(row);
                }
            }
        }
        script.rows(&FORGET_BELOW, below);
        script.rows(&FORGET, forget);
        script.rows(&KEEP, keep);
    }
}
