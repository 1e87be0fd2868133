//! Changes of the catalog: several documents at once or nothing, each against the version that its author saw.
//!
//! A version that is not the one expected makes the database refuse the statement (the new version would be null), and
//! with it the whole transaction; [`Catalog::apply`] says afterwards which one it was. Start there.

mod sql;

use super::audit::{self, Author, Record};
use super::{Catalog, Kept, Listing, NewComponent, TableHead, document, keys_place};
use crate::flow::account::Keys;
use crate::flow::alert::Settings;
use crate::flow::limits::Limits;
use crate::flow::shared::SharedMapping;
use crate::flow::template::Template;
use crate::flow::{
    Account, AccountId, Channel, ChannelId, CodeTable, Digest, Flow, FlowId, Release,
};
use crate::store::database::{Sql, Value};
use crate::store::writer::Planned;
use crate::store::{Error, alerts, now_ms, templates};
use sql::{
    ACCOUNT, CHANNEL, CODE_TABLE, DELETE_ACCOUNT, DELETE_CHANNEL, DELETE_CODE_TABLE,
    DELETE_COMPONENT, DELETE_FLOW, DELETE_RELEASE, FLOW_AUDIT, HOLD_ACCOUNT, HOLD_CHANNEL,
    HOLD_CODE_TABLE, HOLD_FLOW, KEEP_VERSION, PUT_COMPONENT, PUT_KEYS, PUT_LIMITS, PUT_RELEASE,
    PUT_TABLE_VERSION, SHARED_MAPPING, hold, put_flow,
};

/// What a document must be like before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is, or not there.
    Any,
    /// Not there.
    New,
    /// At this version.
    Version(i64),
}

/// One change of the catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The account's keys stay as they are.
    Account(Account, Expected),
    /// Of an account that is there, or comes with the same changes.
    Keys(AccountId, Keys),
    Channel(Box<Channel>, Expected),
    Flow(Box<Flow>, Expected),
    /// It becomes active when its flow names it.
    Release(AccountId, Release),
    /// Kept under the digest of its bytes; one that is there keeps its bytes, and its examination unless there is a new one.
    Component(AccountId, NewComponent),
    /// Of a component that is there.
    Limits(AccountId, Digest, Limits),
    CodeTable(CodeTable, Expected),
    /// The flows that share it have releases of their own.
    SharedMapping(SharedMapping, Expected),
    /// Who is told of what goes wrong; the version that was seen. The mail server's password stays.
    Alerts(Box<Settings>, i64),
    /// With its keys, components, releases, code tables and metadata; refused while it has channels or flows.
    DeleteAccount(AccountId, Expected),
    /// Refused while a flow names it.
    DeleteChannel(AccountId, ChannelId, Expected),
    /// The sample message of a flow that is there, or comes with the same changes.
    Template(Box<Template>),
    DeleteTemplate(AccountId, FlowId),
    /// With its template; its deliveries and versions stay.
    DeleteFlow(AccountId, FlowId, Expected),
    /// Refused while a release names it.
    DeleteComponent(AccountId, Digest),
    /// Refused while its flow names it.
    DeleteRelease(AccountId, FlowId, Digest),
    /// Nothing but a record.
    Note(Record),
    DeleteCodeTable(AccountId, String, Expected),
}

/// The document that a change is about: account, kind, id.
struct About {
    account: String,
    kind: &'static str,
    id: String,
    expected: Expected,
    deletes: bool,
}

impl About {
    fn note(account: &str, id: &str) -> Self {
        Self {
            account: account.to_owned(),
            kind: "note",
            id: id.to_owned(),
            expected: Expected::Any,
            deletes: false,
        }
    }
}

impl Change {
    fn about(&self) -> About {
        let (account, kind, id, expected, deletes) = match self {
            Change::Account(account, expected) => (
                &account.id,
                "account",
                account.id.as_str(),
                *expected,
                false,
            ),
            Change::Keys(account, _) => (account, "keys", account.as_str(), Expected::Any, false),
            Change::Channel(channel, expected) => (
                &channel.account,
                "channel",
                channel.id.as_str(),
                *expected,
                false,
            ),
            Change::Flow(flow, expected) => {
                (&flow.account, "flow", flow.id.as_str(), *expected, false)
            }
            Change::Release(account, release) => {
                let flow = release.flow.as_str();
                (account, "release", flow, Expected::Any, false)
            }
            Change::Component(account, component) => {
                let origin = component.origin.as_str();
                (account, "component", origin, Expected::Any, false)
            }
            Change::Limits(account, digest, _) => {
                let digest = digest.as_str();
                (account, "component", digest, Expected::Any, false)
            }
            Change::CodeTable(table, expected) => (
                &table.account,
                "code-table",
                table.name.as_str(),
                *expected,
                false,
            ),
            Change::Template(template) => {
                let flow = template.flow.as_str();
                (&template.account, "template", flow, Expected::Any, false)
            }
            Change::SharedMapping(mapping, expected) => {
                let name = mapping.name.as_str();
                (&mapping.account, "shared-mapping", name, *expected, false)
            }
            Change::Alerts(..) => return About::note("", alerts::ONE),
            Change::DeleteTemplate(account, flow) => {
                (account, "template", flow.as_str(), Expected::Any, true)
            }
            Change::DeleteAccount(account, expected) => {
                (account, "account", account.as_str(), *expected, true)
            }
            Change::DeleteChannel(account, channel, expected) => {
                (account, "channel", channel.as_str(), *expected, true)
            }
            Change::DeleteFlow(account, flow, expected) => {
                (account, "flow", flow.as_str(), *expected, true)
            }
            Change::DeleteComponent(account, digest) => {
                (account, "component", digest.as_str(), Expected::Any, true)
            }
            Change::DeleteRelease(account, _, digest) => {
                (account, "release", digest.as_str(), Expected::Any, true)
            }
            Change::Note(record) => {
                let id = record.document.as_str();
                return About::note(&record.account, id);
            }
            Change::DeleteCodeTable(account, name, expected) => {
                (account, "code-table", name.as_str(), *expected, true)
            }
        };
        About {
            account: account.to_string(),
            kind,
            id: id.to_owned(),
            expected,
            deletes,
        }
    }
}

impl Catalog {
    /// Makes all changes in one transaction, or none; gives the new version of each (0 where there is none).
    ///
    /// # Errors
    /// `Conflict`, `Exists`, `NotFound` and `StillUsed` name the first document that is in the way.
    pub async fn apply(&self, changes: &[Change], author: &Author) -> Result<Vec<i64>, Error> {
        Box::pin(self.look(changes)).await?;
        let mut statements = Vec::new();
        let mut answers = Vec::new();
        for change in changes {
            answers.push(self.plan(change, author, &mut statements)?);
        }
        let rows = match self.shared.writer.plain(statements, false).await {
            Ok(rows) => rows,
            // Somebody was quicker: looking again tells at what.
            Err(Error::Database(text)) => {
                Box::pin(self.look(changes)).await?;
                return Err(Error::Database(text));
            }
            Err(fault) => return Err(fault),
        };
        answers
            .into_iter()
            .map(|at| match at.and_then(|at: usize| rows[at].first()) {
                Some(row) => Ok(row.int(0)?),
                None => Ok(0),
            })
            .collect()
    }

    /// Keeps an account, whatever it was; its keys stay as they are.
    pub async fn put_account(&self, account: &Account) -> Result<(), Error> {
        self.put(Change::Account(account.clone(), Expected::Any))
            .await
    }

    /// Seals and keeps the keys of an account that is there.
    pub async fn put_keys(&self, account: &AccountId, keys: &Keys) -> Result<(), Error> {
        self.put(Change::Keys(account.clone(), keys.clone())).await
    }

    /// Keeps a channel, whatever it was.
    pub async fn put_channel(&self, channel: &Channel) -> Result<(), Error> {
        self.put(Change::Channel(Box::new(channel.clone()), Expected::Any))
            .await
    }

    /// Keeps a flow, whatever it was.
    pub async fn put_flow(&self, flow: &Flow) -> Result<(), Error> {
        self.put(Change::Flow(Box::new(flow.clone()), Expected::Any))
            .await
    }

    /// Keeps a release; it becomes active when its flow names it.
    pub async fn put_release(
        &self,
        account: &AccountId,
        release: &Release,
    ) -> Result<Digest, Error> {
        self.put(Change::Release(account.clone(), release.clone()))
            .await?;
        Ok(release.digest())
    }

    /// Keeps a component under the digest of its bytes; one that is there stays as it is.
    pub async fn put_component(
        &self,
        account: &AccountId,
        component: NewComponent,
    ) -> Result<Digest, Error> {
        let digest = Digest::of(&component.bytes);
        self.put(Change::Component(account.clone(), component))
            .await?;
        Ok(digest)
    }

    async fn put(&self, change: Change) -> Result<(), Error> {
        self.apply(&[change], &Author::host()).await?;
        Ok(())
    }

    /// Says which change cannot be made as things stand.
    async fn look(&self, changes: &[Change]) -> Result<(), Error> {
        let listing = self.list().await?;
        for change in changes {
            let about = change.about();
            let found = listing.version(&about);
            let what = format!("{} {}", about.kind, about.id);
            match (about.expected, found) {
                (Expected::Version(expected), Some(found)) if expected != found => {
                    return Err(Error::Conflict {
                        what,
                        expected,
                        found,
                    });
                }
                (Expected::Version(_), None) => return Err(Error::NotFound(what)),
                (Expected::New, Some(_)) => return Err(Error::Exists(what)),
                (_, None)
                    if about.deletes
                        && !["component", "release", "template"].contains(&about.kind) =>
                {
                    return Err(Error::NotFound(what));
                }
                _ => {}
            }
            if let Change::Keys(account, _) = change
                && !listing
                    .accounts
                    .iter()
                    .any(|kept| kept.document.id == *account)
                && !changes
                    .iter()
                    .any(|other| matches!(other, Change::Account(new, _) if new.id == *account))
            {
                return Err(Error::NotFound(format!("account {account}")));
            }
            if let Change::Template(template) = change {
                let is_of =
                    |flow: &Flow| flow.account == template.account && flow.id == template.flow;
                let comes = |other: &Change| matches!(other, Change::Flow(flow, _) if is_of(flow));
                if !listing.flows.iter().any(|kept| is_of(&kept.document))
                    && !changes.iter().any(comes)
                {
                    return Err(Error::NotFound(format!("flow {}", template.flow)));
                }
            }
            let users = match change {
                Change::DeleteComponent(account, digest) => {
                    self.releases_of(account, digest).await?
                }
                _ => listing.users(change),
            };
            if !users.is_empty() {
                return Err(Error::StillUsed {
                    what,
                    by: users.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Adds the statements of a change with its record; gives the one whose row is the new version.
    fn plan(
        &self,
        change: &Change,
        author: &Author,
        statements: &mut Vec<Planned>,
    ) -> Result<Option<usize>, Error> {
        let about = change.about();
        let account = about.account.as_str();
        let id = about.id.as_str();
        let key = || vec![Value::from(account), Value::from(id)];
        let record = |action: &str| Record::of(action, account, about.kind, id);
        let action = match (about.deletes, about.expected) {
            (true, _) => "delete",
            (false, Expected::New) => "create",
            (false, Expected::Version(_)) => "update",
            (false, Expected::Any) => "put",
        };
        // A record that names the document's version; before a deletion, its last.
        let versioned = |sql: &'static Sql| {
            let mut values = audit::values(author, &record(action));
            values.extend(key());
            Planned::one(sql, values)
        };
        let at = statements.len();
        match change {
            Change::Account(new, expected) => {
                let (sql, values) = ACCOUNT.put(*expected, key(), document(new)?);
                statements.push(Planned::one(sql, values));
                statements.push(versioned(&ACCOUNT.audit));
            }
            Change::Keys(_, keys) => {
                let plain = serde_json::to_vec(keys).map_err(|_| super::bad_document())?;
                let place = about.account.as_str().into();
                let sealed = self.shared.vault.seal(&keys_place(&place), &plain)?;
                let values = vec![sealed.into(), now_ms().into(), account.into()];
                statements.push(Planned::one(&PUT_KEYS, values));
                statements.push(audit::plain(author, &record("put")));
                return Ok(None);
            }
            Change::Channel(new, expected) => {
                let (sql, values) = CHANNEL.put(*expected, key(), document(new)?);
                statements.push(Planned::one(sql, values));
                statements.push(versioned(&CHANNEL.audit));
            }
            Change::CodeTable(new, expected) => {
                let (sql, values) = CODE_TABLE.put(*expected, key(), document(new)?);
                statements.push(Planned::one(sql, values));
                let version = vec![
                    account.into(),
                    new.digest().as_str().into(),
                    id.into(),
                    now_ms().into(),
                    document(new)?,
                ];
                statements.push(Planned::one(&PUT_TABLE_VERSION, version));
                statements.push(versioned(&CODE_TABLE.audit));
            }
            Change::SharedMapping(new, expected) => {
                let (sql, values) = SHARED_MAPPING.put(*expected, key(), document(new)?);
                statements.push(Planned::one(sql, values));
                statements.push(versioned(&SHARED_MAPPING.audit));
            }
            Change::Flow(new, expected) => {
                let (sql, values) = put_flow(new, *expected, key())?;
                statements.push(Planned::one(sql, values));
                let mut values = vec![Value::from(author.0.as_str()), now_ms().into()];
                values.extend(key());
                statements.push(Planned::one(&KEEP_VERSION, values));
                statements.push(versioned(&FLOW_AUDIT));
            }
            Change::Release(_, release) => {
                let values = vec![
                    account.into(),
                    release.digest().as_str().into(),
                    release.flow.as_str().into(),
                    release.component.as_str().into(),
                    document(release)?,
                    now_ms().into(),
                    author.0.as_str().into(),
                ];
                statements.push(Planned::one(&PUT_RELEASE, values));
                return Ok(None);
            }
            Change::Component(_, component) => {
                let digest = Digest::of(&component.bytes);
                let values = vec![
                    account.into(),
                    digest.as_str().into(),
                    component.origin.as_str().into(),
                    component.document.as_str().into(),
                    component.examination.as_str().into(),
                    (component.bytes.len() as i64).into(),
                    now_ms().into(),
                    component.bytes.clone().into(),
                ];
                statements.push(Planned::one(&PUT_COMPONENT, values));
                let record = Record::of("put", account, "component", digest.as_str());
                statements.push(audit::plain(author, &record));
                return Ok(None);
            }
            Change::Limits(_, _, limits) => {
                let mut values = vec![document(limits)?];
                values.extend(key());
                statements.push(Planned::one(&PUT_LIMITS, values));
                statements.push(audit::plain(author, &record("limit")));
                return Ok(None);
            }
            Change::Template(template) => {
                statements.push(templates::put(&self.shared, template)?);
                statements.push(audit::plain(author, &record("put")));
                return Ok(None);
            }
            Change::Alerts(settings, seen) => {
                statements.extend(alerts::planned(settings, *seen, author)?);
                return Ok(None);
            }
            Change::DeleteTemplate(..) => {
                statements.push(templates::remove(account, id));
                statements.push(audit::plain(author, &record("delete")));
                return Ok(None);
            }
            Change::DeleteAccount(_, expected) => {
                statements.push(versioned(&ACCOUNT.audit));
                statements.push(Planned::one(
                    &HOLD_ACCOUNT,
                    hold(*expected, &[account.into()]),
                ));
                for sql in DELETE_ACCOUNT {
                    statements.push(Planned::one(sql, vec![account.into()]));
                }
                return Ok(None);
            }
            Change::DeleteChannel(_, _, expected) => {
                statements.push(versioned(&CHANNEL.audit));
                statements.push(Planned::one(&HOLD_CHANNEL, hold(*expected, &key())));
                statements.push(Planned::one(&DELETE_CHANNEL, key()));
                return Ok(None);
            }
            Change::DeleteFlow(_, _, expected) => {
                statements.push(versioned(&FLOW_AUDIT));
                statements.push(Planned::one(&HOLD_FLOW, hold(*expected, &key())));
                statements.push(Planned::one(&DELETE_FLOW, key()));
                statements.push(templates::remove(account, id));
                return Ok(None);
            }
            Change::Note(record) => {
                statements.push(audit::plain(author, record));
                return Ok(None);
            }
            Change::DeleteComponent(..) => {
                statements.push(audit::plain(author, &record("delete")));
                statements.push(Planned::one(&DELETE_COMPONENT, key()));
                return Ok(None);
            }
            Change::DeleteRelease(..) => {
                statements.push(audit::plain(author, &record("delete")));
                statements.push(Planned::one(&DELETE_RELEASE, key()));
                return Ok(None);
            }
            Change::DeleteCodeTable(_, _, expected) => {
                statements.push(versioned(&CODE_TABLE.audit));
                statements.push(Planned::one(&HOLD_CODE_TABLE, hold(*expected, &key())));
                statements.push(Planned::one(&DELETE_CODE_TABLE, key()));
                return Ok(None);
            }
        }
        Ok(Some(at))
    }
}

impl Listing {
    fn version(&self, about: &About) -> Option<i64> {
        fn of<T>(kept: &[Kept<T>], is: impl Fn(&T) -> bool) -> Option<i64> {
            let found = kept.iter().find(|kept| is(&kept.document))?;
            Some(found.version)
        }
        let (account, id) = (&about.account, &about.id);
        match about.kind {
            "account" => of(&self.accounts, |kept| kept.id.as_str() == id),
            "channel" => of(&self.channels, |kept| {
                kept.account.as_str() == account && kept.id.as_str() == id
            }),
            "flow" => of(&self.flows, |kept| {
                kept.account.as_str() == account && kept.id.as_str() == id
            }),
            "code-table" => {
                let mut tables = self.code_tables.iter();
                let is = |head: &&TableHead| head.account.as_str() == account && head.name == *id;
                tables.find(is).map(|head| head.version)
            }
            _ => None,
        }
    }

    /// What keeps a document from being deleted.
    fn users(&self, change: &Change) -> Vec<String> {
        let flows = |account: &AccountId, of: Option<&ChannelId>| {
            let flows = self.flows.iter().map(|kept| &kept.document);
            let of_account = flows.filter(|flow| flow.account == *account);
            let using = of_account.filter(|flow| of.is_none_or(|channel| flow.channel == *channel));
            using
                .map(|flow| format!("flow {}", flow.id))
                .collect::<Vec<_>>()
        };
        match change {
            Change::DeleteChannel(account, channel, _) => flows(account, Some(channel)),
            Change::DeleteAccount(account, _) => {
                let channels = self.channels.iter().map(|kept| &kept.document);
                let channels = channels.filter(|channel| channel.account == *account);
                let channels = channels.map(|channel| format!("channel {}", channel.id));
                channels.chain(flows(account, None)).collect()
            }
            Change::DeleteRelease(account, flow, digest) => {
                let flows = self.flows.iter().map(|kept| &kept.document);
                let names = |known: &&Flow| {
                    known.account == *account
                        && known.id == *flow
                        && (known.release.as_ref() == Some(digest)
                            || known.candidate() == Some(digest))
                };
                let flows = flows.filter(names);
                flows.map(|flow| format!("flow {}", flow.id)).collect()
            }
            _ => Vec::new(),
        }
    }
}
