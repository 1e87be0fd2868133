-- Configuration: documents as text, each with the version that a writer must have seen; keys sealed.
-- All documents have the same key columns; an account's id is its own account's.

create table account (
  account_id text not null,
  id text not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  access_keys blob,
  primary key (account_id, id)
) without rowid;

create table channel (
  account_id text not null,
  id text not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  primary key (account_id, id)
) without rowid;

create table flow (
  account_id text not null,
  id text not null,
  channel_id text not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  primary key (account_id, id)
) without rowid;

-- Every version of every flow, also of those that are gone: a flow made anew under the same id counts on.
create table flow_version (
  account_id text not null,
  flow_id text not null,
  version bigint not null,
  author text not null,
  created_at bigint not null,
  document text not null,
  primary key (account_id, flow_id, version)
) without rowid;

create table release (
  account_id text not null,
  id text not null,
  flow_id text not null,
  component_id text not null,
  document text not null,
  author text not null default '',
  created_at bigint not null,
  primary key (account_id, id)
) without rowid;

create index release_flow on release (account_id, flow_id, created_at);

create table component (
  account_id text not null,
  id text not null,
  origin text not null,
  document text not null,
  examination text not null,
  size bigint not null,
  limits text,
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

create table code_table (
  account_id text not null,
  id text not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  primary key (account_id, id)
) without rowid;

-- Every version of every code table that was kept, by its digest: releases name them.
create table table_version (
  account_id text not null,
  id text not null,
  name text not null,
  created_at bigint not null,
  document text not null,
  primary key (account_id, id)
) without rowid;

-- Mapping documents that several flows share; `id` is the name that the flows know it by.
create table shared_mapping (
  account_id text not null,
  id text not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  primary key (account_id, id)
) without rowid;

-- Where LeadSquared's webhooks find this host, and the secret that they carry, sealed.
create table hook (
  account_id text not null,
  address text not null,
  webhooks bigint not null,
  updated_at bigint not null,
  secrets blob not null,
  primary key (account_id)
) without rowid;

-- What LeadSquared said of an account, by kind: lead fields, activity types, users.
create table metadata (
  account_id text not null,
  kind text not null,
  document text not null,
  read_at bigint not null,
  primary key (account_id, kind)
) without rowid;

-- Of a token's secret only the SHA-256 is kept.
create table token (
  id text not null,
  name text not null,
  rights text not null,
  digest blob not null,
  created_at bigint not null,
  used_at bigint,
  revoked_at bigint,
  maker text,
  expires_at bigint,
  primary key (id)
) without rowid;

-- Who changed what: never patient data. Ids are UUIDv7, so the newest is the greatest.
create table audit (
  id text not null,
  at bigint not null,
  actor text not null,
  action text not null,
  account_id text not null,
  kind text not null,
  document text not null,
  version bigint,
  primary key (id)
) without rowid;

-- People who sign in to the console. `login` is a mail address in lower case; `password` is Argon2id with its parameters,
-- none until its owner has chosen one. `invite` is the SHA-256 of a one-time link's secret. `issuer` and `subject` are
-- who it is at an identity provider.
create table person (
  id text not null,
  login text not null,
  name text not null,
  role text not null,
  rights text not null,
  password text,
  invite blob,
  invite_until bigint,
  created_at bigint not null,
  signed_in_at bigint,
  disabled_at bigint,
  issuer text,
  subject text,
  primary key (id)
) without rowid;

create unique index person_login on person (login);
create unique index person_identity on person (issuer, subject);

-- Of a session's secret only the SHA-256 is kept.
create table session (
  id text not null,
  person_id text not null,
  digest blob not null,
  created_at bigint not null,
  used_at bigint not null,
  primary key (id)
) without rowid;

create index session_person on session (person_id);

-- Who is told of what goes wrong; one row, with the mail server's password sealed.
create table alert_settings (
  id text not null,
  document text not null,
  version bigint not null,
  updated_at bigint not null,
  secret blob,
  primary key (id)
) without rowid;

-- What went wrong, from when to when, and when somebody was told; never patient data. Ids are UUIDv7.
create table alert (
  id text not null,
  kind text not null,
  account_id text not null,
  subject text not null,
  detail text not null,
  began_at bigint not null,
  ended_at bigint,
  began_told_at bigint,
  ended_told_at bigint,
  snoozed_until bigint,
  primary key (id)
) without rowid;
