//! The statements of changes.
//!
//! A document whose version is not the one expected gets null for its new version, which its column refuses.

use super::Expected;
use crate::flow::Flow;
use crate::store::catalog::document;
use crate::store::database::{Sql, Value};
use crate::store::{Error, now_ms};

/// The statements that put one kind of document.
pub(super) struct Puts {
    any: Sql,
    new: Sql,
    at: Sql,
    pub(super) audit: Sql,
}

impl Puts {
    pub(super) fn put(
        &'static self,
        expected: Expected,
        key: Vec<Value>,
        document: Value,
    ) -> (&'static Sql, Vec<Value>) {
        let mut values = key.clone();
        values.push(document);
        match expected {
            Expected::Any => {
                values.push(now_ms().into());
                (&self.any, values)
            }
            Expected::New => {
                values.push(now_ms().into());
                (&self.new, values)
            }
            Expected::Version(version) => {
                values.extend(key);
                values.extend([version.into(), now_ms().into()]);
                (&self.at, values)
            }
        }
    }
}

macro_rules! puts {
    ($table:literal) => {
        Puts {
            any: Sql {
                text: concat!(
                    "insert into ", $table, " (account_id, id, document, version, updated_at) values (?, ?, ?, 1, ?)\n",
                    "on conflict (account_id, id) do update set document = excluded.document, version = ",
                    $table, ".version + 1, updated_at = excluded.updated_at\nreturning version"
                ),
                kinds: &[],
            },
            new: Sql {
                text: concat!(
                    "insert into ", $table, " (account_id, id, document, version, updated_at) values (?, ?, ?, 1, ?)\n",
                    "returning version"
                ),
                kinds: &[],
            },
            at: Sql {
                text: concat!(
                    "insert into ", $table, " (account_id, id, document, version, updated_at)\n",
                    "select ?, ?, ?, (select version + 1 from ", $table,
                    " where account_id = ? and id = ? and version = ?), ?\nwhere true\n",
                    "on conflict (account_id, id) do update set document = excluded.document, updated_at = excluded.updated_at,\n",
                    "version = case when ", $table, ".version = excluded.version - 1 then excluded.version end\n",
                    "returning version"
                ),
                kinds: &[],
            },
            audit: Sql {
                text: concat!(
                    "insert into audit (id, at, actor, action, account_id, kind, document, version)\n",
                    "select ?, ?, ?, ?, ?, ?, ?, (select version from ", $table, " where account_id = ? and id = ?)"
                ),
                kinds: &[],
            },
        }
    };
}

pub(super) static ACCOUNT: Puts = puts!("account");
pub(super) static CHANNEL: Puts = puts!("channel");
pub(super) static CODE_TABLE: Puts = puts!("code_table");
pub(super) static SHARED_MAPPING: Puts = puts!("shared_mapping");

pub(super) fn put_flow(
    flow: &Flow,
    expected: Expected,
    key: Vec<Value>,
) -> Result<(&'static Sql, Vec<Value>), Error> {
    let mut values = key.clone();
    values.extend([flow.channel.as_str().into(), document(flow)?]);
    values.extend(key);
    let sql = match expected {
        Expected::Any => &PUT_FLOW,
        Expected::New => &NEW_FLOW,
        Expected::Version(version) => {
            values.push(version.into());
            &FLOW_AT
        }
    };
    values.push(now_ms().into());
    Ok((sql, values))
}

/// The values of a statement that holds a document for deletion: its version, if one is expected, and its key.
pub(super) fn hold(expected: Expected, key: &[Value]) -> Vec<Value> {
    let version = match expected {
        Expected::Version(version) => Some(version),
        Expected::Any | Expected::New => None,
    };
    let mut values = vec![Value::optional_int(version)];
    values.extend_from_slice(key);
    values
}

pub(super) static PUT_KEYS: Sql = Sql {
    text: "update account set access_keys = ?, updated_at = ? where account_id = ?",
    kinds: &[],
};

/// A flow that was deleted and is made anew counts on from its last version.
static NEW_FLOW: Sql = Sql {
    text: "insert into flow (account_id, id, channel_id, document, version, updated_at)
select ?, ?, ?, ?, (select coalesce(max(version), 0) + 1 from flow_version where account_id = ? and flow_id = ?), ?
returning version",
    kinds: &[],
};

static PUT_FLOW: Sql = Sql {
    text: "insert into flow (account_id, id, channel_id, document, version, updated_at)
select ?, ?, ?, ?, (select coalesce(max(version), 0) + 1 from flow_version where account_id = ? and flow_id = ?), ?
where true
on conflict (account_id, id) do update
set channel_id = excluded.channel_id, document = excluded.document, updated_at = excluded.updated_at, version = flow.version + 1
returning version",
    kinds: &[],
};

static FLOW_AT: Sql = Sql {
    text: "insert into flow (account_id, id, channel_id, document, version, updated_at)
select ?, ?, ?, ?, (select version + 1 from flow where account_id = ? and id = ? and version = ?), ?
where true
on conflict (account_id, id) do update
set channel_id = excluded.channel_id, document = excluded.document, updated_at = excluded.updated_at,
version = case when flow.version = excluded.version - 1 then excluded.version end
returning version",
    kinds: &[],
};

pub(super) static KEEP_VERSION: Sql = Sql {
    text: "insert into flow_version (account_id, flow_id, version, author, created_at, document)
select account_id, id, version, ?, ?, document from flow where account_id = ? and id = ?",
    kinds: &[],
};

pub(super) static FLOW_AUDIT: Sql = Sql {
    text: "insert into audit (id, at, actor, action, account_id, kind, document, version)
select ?, ?, ?, ?, ?, ?, ?, (select version from flow where account_id = ? and id = ?)",
    kinds: &[],
};

pub(super) static PUT_RELEASE: Sql = Sql {
    text:
        "insert into release (account_id, id, flow_id, component_id, document, created_at, author) values (?, ?, ?, ?, ?, ?, ?)
on conflict (account_id, id) do nothing",
    kinds: &[],
};

pub(super) static PUT_TABLE_VERSION: Sql = Sql {
    text:
        "insert into table_version (account_id, id, name, created_at, document) values (?, ?, ?, ?, ?)
on conflict (account_id, id) do nothing",
    kinds: &[],
};

pub(super) static PUT_LIMITS: Sql = Sql {
    text: "update component set limits = ? where account_id = ? and id = ?",
    kinds: &[],
};

pub(super) static PUT_COMPONENT: Sql = Sql {
    text: "insert into component (account_id, id, origin, document, examination, size, created_at, bytes) values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict (account_id, id) do update set examination = case
when excluded.examination = '' then component.examination
else excluded.examination end",
    kinds: &[],
};

pub(super) static HOLD_ACCOUNT: Sql = Sql {
    text: "update account set version = case
when version = coalesce(?, version)
and not exists (select 1 from channel where channel.account_id = account.account_id)
and not exists (select 1 from flow where flow.account_id = account.account_id)
then version end
where account_id = ?",
    kinds: &[],
};

pub(super) static HOLD_CHANNEL: Sql = Sql {
    text: "update channel set version = case
when version = coalesce(?, version)
and not exists (select 1 from flow where flow.account_id = channel.account_id and flow.channel_id = channel.id)
then version end
where account_id = ? and id = ?",
    kinds: &[],
};

pub(super) static HOLD_FLOW: Sql = Sql {
    text: "update flow set version = case when version = coalesce(?, version) then version end
where account_id = ? and id = ?",
    kinds: &[],
};

pub(super) static HOLD_CODE_TABLE: Sql = Sql {
    text:
        "update code_table set version = case when version = coalesce(?, version) then version end
where account_id = ? and id = ?",
    kinds: &[],
};

pub(super) static DELETE_ACCOUNT: &[&Sql] = &[
    &Sql {
        text: "delete from hook where account_id = ?",
        kinds: &[],
    },
    &Sql {
        text: "delete from metadata where account_id = ?",
        kinds: &[],
    },
    &Sql {
        text: "delete from code_table where account_id = ?",
        kinds: &[],
    },
    &Sql {
        text: "delete from table_version where account_id = ?",
        kinds: &[],
    },
    &Sql {
        text: "delete from shared_mapping where account_id = ?",
        kinds: &[],
    },
    &Sql {
        text: "delete from release where account_id = ?",
        kinds: &[],
    },
    &Sql {
        text: "delete from component where account_id = ?",
        kinds: &[],
    },
    &Sql {
        text: "delete from account where account_id = ?",
        kinds: &[],
    },
];

pub(super) static DELETE_CHANNEL: Sql = Sql {
    text: "delete from channel where account_id = ? and id = ?",
    kinds: &[],
};

pub(super) static DELETE_FLOW: Sql = Sql {
    text: "delete from flow where account_id = ? and id = ?",
    kinds: &[],
};

pub(super) static DELETE_COMPONENT: Sql = Sql {
    text: "delete from component where account_id = ? and id = ?",
    kinds: &[],
};

/// One that came into force meanwhile stays: the flow's document has its digest.
pub(super) static DELETE_RELEASE: Sql = Sql {
    text: "delete from release where account_id = ? and id = ? and not exists (
  select 1 from flow
  where flow.account_id = release.account_id and flow.id = release.flow_id
  and flow.document like '%' || release.id || '%')",
    kinds: &[],
};

pub(super) static DELETE_CODE_TABLE: Sql = Sql {
    text: "delete from code_table where account_id = ? and id = ?",
    kinds: &[],
};
