-- Configuration: documents as text, each with the version that a writer must have seen; keys sealed.
-- All documents have the same key columns; an account's id is its own account's.

create table account (
  account_id text collate "C" not null,
  id text collate "C" not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  access_keys bytea,
  primary key (account_id, id)
);

create table channel (
  account_id text collate "C" not null,
  id text collate "C" not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  primary key (account_id, id)
);

create table flow (
  account_id text collate "C" not null,
  id text collate "C" not null,
  channel_id text collate "C" not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  primary key (account_id, id)
);

-- Every version of every flow, also of those that are gone: a flow made anew under the same id counts on.
create table flow_version (
  account_id text collate "C" not null,
  flow_id text collate "C" not null,
  version bigint not null,
  author text not null,
  created_at bigint not null,
  document text not null,
  primary key (account_id, flow_id, version)
);

create table release (
  account_id text collate "C" not null,
  id text collate "C" not null,
  flow_id text collate "C" not null,
  component_id text collate "C" not null,
  document text not null,
  author text not null default '',
  created_at bigint not null,
  primary key (account_id, id)
);

create index release_flow on release (account_id, flow_id, created_at);

create table component (
  account_id text collate "C" not null,
  id text collate "C" not null,
  origin text not null,
  document text not null,
  examination text not null,
  size bigint not null,
  limits text,
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

create table code_table (
  account_id text collate "C" not null,
  id text collate "C" not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  primary key (account_id, id)
);

-- Every version of every code table that was kept, by its digest: releases name them.
create table table_version (
  account_id text collate "C" not null,
  id text collate "C" not null,
  name text collate "C" not null,
  created_at bigint not null,
  document text not null,
  primary key (account_id, id)
);

-- Mapping documents that several flows share; `id` is the name that the flows know it by.
create table shared_mapping (
  account_id text collate "C" not null,
  id text collate "C" not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  primary key (account_id, id)
);

-- Where LeadSquared's webhooks find this host, and the secret that they carry, sealed.
create table hook (
  account_id text collate "C" not null,
  address text not null,
  webhooks bigint not null,
  updated_at bigint not null,
  secrets bytea not null,
  primary key (account_id)
);

-- What LeadSquared said of an account, by kind: lead fields, activity types, users.
create table metadata (
  account_id text collate "C" not null,
  kind text collate "C" not null,
  document text not null,
  read_at bigint not null,
  primary key (account_id, kind)
);

-- Of a token's secret only the SHA-256 is kept.
create table token (
  id text collate "C" not null,
  name text not null,
  rights text not null,
  digest bytea not null,
  created_at bigint not null,
  used_at bigint,
  revoked_at bigint,
  maker text,
  expires_at bigint,
  primary key (id)
);

-- Who changed what: never patient data. Ids are UUIDv7, so the newest is the greatest.
create table audit (
  id text collate "C" not null,
  at bigint not null,
  actor text not null,
  action text not null,
  account_id text collate "C" not null,
  kind text not null,
  document text not null,
  version bigint,
  primary key (id)
);

-- People who sign in to the console. `login` is a mail address in lower case; `password` is Argon2id with its parameters,
-- none until its owner has chosen one. `invite` is the SHA-256 of a one-time link's secret. `issuer` and `subject` are
-- who it is at an identity provider.
create table person (
  id text collate "C" not null,
  login text collate "C" not null,
  name text not null,
  role text not null,
  rights text not null,
  password text,
  invite bytea,
  invite_until bigint,
  created_at bigint not null,
  signed_in_at bigint,
  disabled_at bigint,
  issuer text collate "C",
  subject text collate "C",
  primary key (id)
);

create unique index person_login on person (login);
create unique index person_identity on person (issuer, subject);

-- Of a session's secret only the SHA-256 is kept.
create table session (
  id text collate "C" not null,
  person_id text collate "C" not null,
  digest bytea not null,
  created_at bigint not null,
  used_at bigint not null,
  primary key (id)
);

create index session_person on session (person_id);

-- Who is told of what goes wrong; one row, with the mail server's password sealed.
create table alert_settings (
  id text collate "C" not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  secret bytea,
  primary key (id)
);

-- What went wrong, from when to when, and when somebody was told; never patient data. Ids are UUIDv7.
create table alert (
  id text collate "C" not null,
  kind text not null,
  account_id text collate "C" not null,
  subject text not null,
  detail text not null,
  began_at bigint not null,
  ended_at bigint,
  began_told_at bigint,
  ended_told_at bigint,
  snoozed_until bigint,
  primary key (id)
);
