-- Configuration: documents as text, keys sealed.

create table account (
  account_id text collate "C" not null,
  document text not null,
  updated_at bigint not null,
  access_keys bytea,
  primary key (account_id)
);

create table channel (
  account_id text collate "C" not null,
  id text collate "C" not null,
  document text not null,
  updated_at bigint not null,
  primary key (account_id, id)
);

create table flow (
  account_id text collate "C" not null,
  id text collate "C" not null,
  document text not null,
  updated_at bigint not null,
  primary key (account_id, id)
);

create table release (
  account_id text collate "C" not null,
  id text collate "C" not null,
  flow_id text collate "C" not null,
  document text not null,
  created_at bigint not null,
  primary key (account_id, id)
);

create table component (
  account_id text collate "C" not null,
  id text collate "C" not null,
  origin text not null,
  document text not null,
  size bigint not null,
  created_at bigint not null,
  bytes bytea not null,
  primary key (account_id, id)
);

-- The sample message that a flow is built on, sealed; `kept` is `deidentified` or `original`.
create table template (
  account_id text collate "C" not null,
  flow_id text collate "C" not null,
  event text not null,
  kept text not null,
  updated_at bigint not null,
  message bytea not null,
  primary key (account_id, flow_id)
);
