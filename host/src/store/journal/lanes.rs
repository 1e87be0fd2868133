//! SQLite: lanes live in the memory of the one connection that writes.
//!
//! One process works on the file, so who works on what need not outlive it, and an append is spared a third of its
//! pages. Everything a lane is made of stands in its deliveries; a new connection makes the lanes anew, and whoever
//! held a lease under the old one has lost it. On PostgreSQL hosts share the lanes, so they are tables like any other.

use crate::store::database::{Script, Sql};

/// The tables `lane` and `lane_entry` of PostgreSQL's schema.
const TABLES: [&str; 3] = [
    "create temp table lane (
  account_id text not null,
  lane blob not null,
  owner text,
  fence bigint not null,
  due_at bigint,
  rank bigint not null,
  opened bigint not null default 0,
  primary key (lane, account_id)
) without rowid",
    "create index temp.lane_due on lane (rank, due_at) where due_at is not null",
    "create temp table lane_entry (
  account_id text not null,
  lane blob not null,
  seq bigint not null,
  delivery_id text not null,
  primary key (lane, account_id, seq)
) without rowid",
];

/// What was running under the old connection is to be run again.
static QUEUE_RUNNING: Sql = Sql {
    text: "with recursive account(id) as (
  select min(account_id) from delivery
  union all
  select (select min(d.account_id) from delivery d where d.account_id > account.id) from account where account.id is not null)
update or rollback delivery set state = 'queued', updated_at = ?
where account_id in (select id from account) and state = 'running'",
    kinds: &[],
};

/// The lanes of a delivery stand one behind the other, 16 bytes each; see [`super::HASH_BYTES`].
static ENTRIES: Sql = Sql {
    text: "with recursive account(id) as (
  select min(account_id) from delivery
  union all
  select (select min(d.account_id) from delivery d where d.account_id > account.id) from account where account.id is not null),
live(state, held) as (values ('queued', 0), ('waiting', 0), ('dead', 1)),
part(account_id, delivery_id, seq, lane, rest) as (
  select d.account_id, d.id, d.seq, substr(d.lanes, 1, 16), substr(d.lanes, 17)
  from account cross join live cross join delivery d
  where d.account_id = account.id and d.state = live.state and (live.held = 0 or d.holds = 1)
  union all
  select account_id, delivery_id, seq, substr(rest, 1, 16), substr(rest, 17) from part where length(rest) > 0)
insert or rollback into lane_entry (account_id, lane, seq, delivery_id)
select account_id, lane, seq, delivery_id from part
where ? > 0",
    kinds: &[],
};

/// A lane is due when its head is; of the columns beside `min`, SQLite gives those of the row that has it.
static LANES: Sql = Sql {
    text: "insert or rollback into lane (account_id, lane, fence, due_at, rank)
select h.account_id, h.lane, 0, max(?, coalesce(d.due_at, 0)), (
  select min(o.rank) from lane_entry x cross join delivery o
  where x.account_id = h.account_id and x.lane = h.lane and o.account_id = x.account_id and o.id = x.delivery_id)
from (select account_id, lane, min(seq), delivery_id from lane_entry group by lane, account_id) h
cross join delivery d
where d.account_id = h.account_id and d.id = h.delivery_id",
    kinds: &[],
};

/// Adds what a new connection needs before its first transaction.
pub(in crate::store) fn make(script: &mut Script, now: i64) {
    for table in TABLES {
        script.plain(table);
    }
    script.plain("begin immediate");
    for sql in [&QUEUE_RUNNING, &ENTRIES, &LANES] {
        script.one(sql, vec![now.into()]);
    }
    script.plain("commit");
}
