-- Traffic: what came in, its way through each flow, and what was written elsewhere.
-- Everything that tells about a patient is sealed; what is searched is a keyed hash.
-- Where a hash is part of a primary key it stands first: it tells rows apart at once, an account id does not.
-- Tables without rowid keep a row in its primary key's tree: one page to write instead of two.
-- Ids are UUIDv7, so new rows of these tables lie side by side.

create table sequence (
  name text not null primary key,
  value bigint not null
) without rowid;

insert into sequence (name, value) values ('seq', 0);

-- `kept` is `whole`, or `facts`: then there is no payload.
-- A row of this size goes to the end of a rowid table without moving its neighbours.
create table message (
  account_id text not null,
  id text not null,
  seq integer not null primary key,
  direction text not null,
  channel_id text not null,
  received_at bigint not null,
  event text not null,
  control_id text not null,
  sender text not null,
  version text not null,
  route text not null,
  reason text not null,
  detail text not null,
  remark text not null,
  warnings text not null,
  peer text not null,
  size bigint not null,
  kept text not null,
  load_id text,
  origin text,
  pinned text,
  acknowledgement blob,
  payload blob
);

create unique index message_id on message (account_id, id);

-- What was sent again, by the message that it was made from; `pinned` is the release that it goes through instead of the
-- flow's own.
create index message_origin on message (origin, account_id) where origin is not null;

create index message_load on message (load_id, account_id) where load_id is not null;

-- What no flow takes is kept whole for a while and then by its header facts; few messages, in the order of their age.
create index message_bare on message (account_id, kept, channel_id, id) where route <> 'flows';

create table delivery (
  account_id text not null,
  id text not null,
  message_id text not null,
  flow_id text not null,
  seq bigint not null,
  state text not null,
  attempts bigint not null,
  due_at bigint,
  updated_at bigint not null,
  reason text not null,
  detail text not null,
  holds bigint not null,
  rank bigint not null,
  lanes blob not null,
  awaits text,
  note blob,
  primary key (account_id, id)
) without rowid;

create index delivery_state on delivery (account_id, state, flow_id, id);

-- What did not go through, by why.
create index delivery_reason on delivery (account_id, reason, flow_id, id)
  where state in ('waiting', 'parked', 'skipped', 'dead');

-- Deliveries that wait for an entry of a code table, by the keyed hash of table and code.
create index delivery_awaits on delivery (account_id, awaits) where awaits is not null;

-- Deliveries that stepped aside and come back by themselves.
create index delivery_return on delivery (due_at) where state = 'parked' and due_at is not null;

-- Lanes are not here: one process works on this file, so they live in its memory, see `lanes.sql`.

create table attempt (
  account_id text not null,
  delivery_id text not null,
  number bigint not null,
  stage text not null,
  code text not null,
  started_at bigint not null,
  duration_ms bigint not null,
  primary key (account_id, delivery_id, number)
) without rowid;

-- The last run of each delivery's mapping: what it was given beside the message, and fingerprints of what it came to.
create table run (
  account_id text not null,
  delivery_id text not null,
  flow_id text not null,
  release_id text not null,
  at bigint not null,
  outcome text not null,
  broke bigint not null,
  document blob not null,
  primary key (account_id, delivery_id)
) without rowid;

create index run_broke on run (account_id, release_id, at) where broke = 1;

-- How often a row of a mapping let a message go on without its value, by minute and by hour (`width`, in milliseconds).
create table warning_count (
  account_id text not null,
  flow_id text not null,
  width bigint not null,
  at bigint not null,
  release_id text not null,
  row_id text not null,
  cause text not null,
  count bigint not null,
  primary key (account_id, flow_id, width, at, release_id, row_id, cause)
) without rowid;

create table operation (
  account_id text not null,
  delivery_id text not null,
  id text not null,
  ordinal bigint not null,
  kind text not null,
  state text not null,
  target text,
  code text,
  started_at bigint not null,
  finished_at bigint,
  identity blob,
  payload blob not null,
  primary key (account_id, delivery_id, id)
) without rowid;

create index operation_open on operation (identity, account_id)
  where identity is not null and state in ('begun', 'unknown');

-- Writes to LeadSquared that are under way: what it tells of may be one of them.
create index operation_writing on operation (account_id, started_at)
  where state in ('begun', 'unknown')
    and kind in ('create-lead', 'update-lead', 'upsert-lead', 'create-activity', 'update-activity');

-- What the newest messages can be found by: all hashes of one in `keys`. Every so many of them are filed at once.
create table search_recent (
  seq integer not null primary key,
  account_id text not null,
  message_id text not null,
  keys blob not null
);

create table search (
  bucket bigint not null,
  key blob not null,
  account_id text not null,
  message_id text not null,
  primary key (bucket, key, account_id, message_id)
) without rowid;

-- The buckets there are; `is_merged` where many have become one.
create table search_bucket (
  bucket bigint not null primary key,
  is_merged bigint not null
) without rowid;

create table duplicate (
  account_id text not null,
  control_id text not null,
  key blob not null,
  payload blob not null,
  message_id text not null,
  received_at bigint not null,
  primary key (account_id, control_id, key)
) without rowid;

-- Links outlive messages: patient identifier to prospect id, activity key to activity id.
create table link (
  account_id text not null,
  key blob not null,
  target text not null,
  parent text,
  updated_at bigint not null,
  primary key (key, account_id)
) without rowid;

create index link_parent on link (account_id, parent) where parent is not null;

-- What this host wrote last to a lead or an activity: fingerprints of its values, and the times of the events behind them.
create table record (
  account_id text not null,
  id text not null,
  document blob not null,
  updated_at bigint not null,
  primary key (id, account_id)
) without rowid;

-- Codes that a table had no entry for; what tells them apart is a keyed hash.
create table code_miss (
  account_id text not null,
  table_name text not null,
  id text not null,
  count bigint not null,
  first_at bigint not null,
  last_at bigint not null,
  code blob not null,
  primary key (account_id, table_name, id)
) without rowid;

-- Calls that were made to LeadSquared, by day of UTC (days since 1970-01-01).
create table usage (
  account_id text not null,
  day bigint not null,
  calls bigint not null,
  primary key (account_id, day)
) without rowid;

-- What came and what became of it, added up: lists and pictures never count rows. `at` is when the minute or hour began.
create table tally_minute (
  account_id text not null,
  at bigint not null,
  kind text not null,
  subject text not null,
  count bigint not null,
  primary key (account_id, at, kind, subject)
) without rowid;

create table tally_hour (
  account_id text not null,
  at bigint not null,
  kind text not null,
  subject text not null,
  count bigint not null,
  primary key (account_id, at, kind, subject)
) without rowid;

-- Which host has what only one may have, a channel's connection to the EHR mostly, and until when.
create table hold (
  account_id text not null,
  what text not null,
  owner text not null,
  held_until bigint not null,
  primary key (account_id, what)
) without rowid;

-- Existing data that is put through a flow: how far each load has come, and what is still before it, sealed.
create table load (
  account_id text not null,
  id text not null,
  flow_id text not null,
  state text not null,
  taken bigint not null,
  total bigint not null,
  created_at bigint not null,
  updated_at bigint not null,
  document blob not null,
  primary key (account_id, id)
) without rowid;

-- `patient` is a keyed hash: how many patients there are is asked before a load begins.
create table load_item (
  account_id text not null,
  load_id text not null,
  number bigint not null,
  patient blob,
  item blob not null,
  primary key (account_id, load_id, number)
);

-- Candidate releases over stored messages: how far each shadow run has come, and what it has found, sealed.
create table shadow (
  account_id text not null,
  id text not null,
  flow_id text not null,
  state text not null,
  done bigint not null,
  created_at bigint not null,
  updated_at bigint not null,
  document blob not null,
  primary key (account_id, id)
) without rowid;

-- What a large store looks like, for SQLite to plan by: rows, and rows that share the first column, the first two, and so
-- on. Without it the rows of an account are taken for ten, and an account has millions.
analyze sqlite_schema;

insert into sqlite_stat1 (tbl, idx, stat) values
  ('message', 'message_id', '10000000 10000000 1'),
  ('message', 'message_origin', '10000 2 2'),
  ('message', 'message_load', '1000000 100000 100000'),
  ('message', 'message_bare', '1000000 1000000 500000 100000 1'),
  ('delivery', 'delivery', '10000000 10000000 1'),
  ('delivery', 'delivery_state', '10000000 10000000 2000000 200000 1'),
  ('delivery', 'delivery_reason', '1000000 1000000 50000 10000 1'),
  ('delivery', 'delivery_awaits', '10000 10000 50'),
  ('delivery', 'delivery_return', '1000 10'),
  ('attempt', 'attempt', '10000000 10000000 1 1'),
  ('run', 'run', '10000000 10000000 1'),
  ('run', 'run_broke', '1000 1000 100 1'),
  ('operation', 'operation', '20000000 20000000 2 1'),
  ('operation', 'operation_open', '1000 1 1'),
  ('operation', 'operation_writing', '1000 1000 10'),
  ('search_recent', null, '1000'),
  ('search', 'search', '50000000 50000 2 2 1'),
  ('search_bucket', 'search_bucket', '1000 1'),
  ('duplicate', 'duplicate', '5000000 5000000 2 1');

analyze sqlite_schema;
