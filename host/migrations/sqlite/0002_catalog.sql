-- Configuration: documents as text, keys sealed.

create table account (
  account_id text not null,
  document text not null,
  updated_at bigint not null,
  access_keys blob,
  primary key (account_id)
) without rowid;

create table channel (
  account_id text not null,
  id text not null,
  document text not null,
  updated_at bigint not null,
  primary key (account_id, id)
) without rowid;

create table flow (
  account_id text not null,
  id text not null,
  document text not null,
  updated_at bigint not null,
  primary key (account_id, id)
) without rowid;

create table release (
  account_id text not null,
  id text not null,
  flow_id text not null,
  document text not null,
  created_at bigint not null,
  primary key (account_id, id)
) without rowid;

create table component (
  account_id text not null,
  id text not null,
  origin text not null,
  document text not null,
  size bigint not null,
  created_at bigint not null,
  bytes blob not null,
  primary key (account_id, id)
);

-- The sample message that a flow is built on, sealed; `kept` is `deidentified` or `original`.
create table template (
  account_id text not null,
  flow_id text not null,
  event text not null,
  kept text not null,
  updated_at bigint not null,
  message blob not null,
  primary key (account_id, flow_id)
);
