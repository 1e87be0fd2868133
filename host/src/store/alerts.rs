//! Alerts: what went wrong, from when to when, and when somebody was told; and the settings that say whom.

use std::fmt;
use std::sync::Arc;

use super::catalog::Kept;
use super::catalog::audit::{self, Author, Record};
use super::database::{Row, Sql, Value};
use super::writer::Planned;
use super::{Error, Shared, now_ms};
use crate::flow::alert::{Alert, Kind, Settings};
use crate::vault::Place;

/// There is one document of settings.
pub(super) const ONE: &str = "alerts";

/// The alerts of one store; cloning shares them.
#[derive(Clone)]
pub struct Alerts {
    shared: Arc<Shared>,
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alerts")
    }
}

/// What happens to the mail server's password with a change of the settings.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    Stays,
    Is(String),
    Goes,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

impl Alerts {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The settings; the usual ones, at version 0, while nobody has said any.
    pub async fn settings(&self) -> Result<Kept<Settings>, Error> {
        let rows = self.shared.one(&SETTINGS, vec![ONE.into()]).await?;
        let Some(row) = rows.first() else {
            return Ok(Kept {
                document: Settings::default(),
                version: 0,
                updated_at_ms: 0,
            });
        };
        Ok(Kept {
            document: serde_json::from_str(&row.text(0)?).map_err(|_| unreadable())?,
            version: row.int(1)?,
            updated_at_ms: row.int(2)?,
        })
    }

    /// The mail server's password; none where none is kept.
    pub async fn password(&self) -> Result<Option<String>, Error> {
        let rows = self.shared.one(&SECRET, vec![ONE.into()]).await?;
        let sealed = rows.first().map(|row| row.bytes(0)).transpose()?;
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let plain = self.shared.vault.open(&place(), &sealed)?;
        Ok(Some(String::from_utf8_lossy(&plain).into_owned()))
    }

    /// Keeps other settings, if they are still at the version that was `seen`; gives the new version.
    pub async fn put_settings(
        &self,
        settings: &Settings,
        password: &Password,
        seen: i64,
        author: &Author,
    ) -> Result<i64, Error> {
        let found = self.settings().await?.version;
        if found != seen {
            return Err(Error::Conflict {
                what: "the settings of alerts".into(),
                expected: seen,
                found,
            });
        }
        let mut plan = Vec::from(planned(settings, seen, author)?);
        match password {
            Password::Stays => {}
            Password::Is(password) => {
                let sealed = self.shared.vault.seal(&place(), password.as_bytes())?;
                plan.push(Planned::one(&PUT_SECRET, vec![sealed.into(), ONE.into()]));
            }
            Password::Goes => plan.push(Planned::one(&NO_SECRET, vec![ONE.into()])),
        }
        self.shared.writer.plain(plan, false).await?;
        Ok(seen + 1)
    }

    /// Alerts that have not ended, and those whose begin or end nobody was told yet; oldest first.
    pub async fn standing(&self) -> Result<Vec<Alert>, Error> {
        let rows = self.shared.one(&STANDING, vec![1.into()]).await?;
        rows.iter().map(alert).collect()
    }

    /// The newest alerts, whether they have ended or not.
    pub async fn newest(&self, limit: usize) -> Result<Vec<Alert>, Error> {
        let rows = self
            .shared
            .one(&NEWEST, vec![(limit as i64).into()])
            .await?;
        rows.iter().map(alert).collect()
    }

    /// An alert by its id.
    pub async fn get(&self, id: &str) -> Result<Option<Alert>, Error> {
        let rows = self.shared.one(&GET, vec![id.into()]).await?;
        rows.first().map(alert).transpose()
    }

    /// Until when the same as this was to be left unsaid, by the newest that was; none where nobody said so.
    pub async fn snoozed(
        &self,
        kind: Kind,
        account: &str,
        subject: &str,
    ) -> Result<Option<i64>, Error> {
        let values = vec![kind.as_str().into(), account.into(), subject.into()];
        let rows = self.shared.one(&SNOOZED, values).await?;
        match rows.first() {
            Some(row) => Ok(row.optional(0, Row::int)?),
            None => Ok(None),
        }
    }

    /// Keeps an alert that begins, or what has become of one.
    pub async fn put(&self, alert: &Alert) -> Result<(), Error> {
        let plan = vec![Planned::one(&PUT_ALERT, values(alert))];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// Leaves an alert, and what is the same later, unsaid until then.
    pub async fn snooze(&self, alert: &Alert, until_ms: i64, author: &Author) -> Result<(), Error> {
        let values = vec![until_ms.into(), alert.id.as_str().into()];
        let what = format!("{} {}", alert.kind, alert.subject);
        let record = Record::of("snooze", &alert.account, "alert", &what);
        let plan = vec![Planned::one(&SNOOZE, values), audit::plain(author, &record)];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// Forgets alerts that ended before then.
    pub async fn forget(&self, before_ms: i64) -> Result<(), Error> {
        let plan = vec![Planned::one(&FORGET, vec![before_ms.into()])];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }
}

/// What keeps other settings than those at the version that was `seen`, with its record.
pub(super) fn planned(
    settings: &Settings,
    seen: i64,
    author: &Author,
) -> Result<[Planned; 2], Error> {
    let text = serde_json::to_string(settings).map_err(|_| unreadable())?;
    let values = vec![
        ONE.into(),
        text.as_str().into(),
        (seen + 1).into(),
        now_ms().into(),
    ];
    let record = Record::of("update", "", "alert-settings", ONE);
    Ok([Planned::one(&PUT, values), audit::plain(author, &record)])
}

fn unreadable() -> Error {
    Error::Database("the alerts in the store are of a newer program".into())
}

/// Part of what a blob is bound to, so these words never change.
fn place() -> Place<'static> {
    Place {
        account: "",
        id: ONE,
        column: "alert_settings.secret",
    }
}

fn values(alert: &Alert) -> Vec<Value> {
    vec![
        alert.id.as_str().into(),
        alert.kind.as_str().into(),
        alert.account.as_str().into(),
        alert.subject.as_str().into(),
        alert.text.as_str().into(),
        alert.began_at_ms.into(),
        Value::optional_int(alert.ended_at_ms),
        Value::optional_int(alert.began_told_at_ms),
        Value::optional_int(alert.ended_told_at_ms),
        Value::optional_int(alert.snoozed_until_ms),
    ]
}

fn alert(row: &Row) -> Result<Alert, Error> {
    Ok(Alert {
        id: row.string(0)?,
        kind: Kind::parse(&row.text(1)?).ok_or_else(unreadable)?,
        account: row.string(2)?,
        subject: row.string(3)?,
        text: row.string(4)?,
        began_at_ms: row.int(5)?,
        ended_at_ms: row.optional(6, Row::int)?,
        began_told_at_ms: row.optional(7, Row::int)?,
        ended_told_at_ms: row.optional(8, Row::int)?,
        snoozed_until_ms: row.optional(9, Row::int)?,
    })
}

static SETTINGS: Sql = Sql {
    text: "select document, version, updated_at from alert_settings where id = ?",
    kinds: &[],
};

static SECRET: Sql = Sql {
    text: "select secret from alert_settings where id = ? and secret is not null",
    kinds: &[],
};

static PUT: Sql = Sql {
    text: "insert {or_rollback} into alert_settings (id, document, version, updated_at) values (?, ?, ?, ?)
on conflict (id) do update set document = excluded.document, updated_at = excluded.updated_at,
  version = case when alert_settings.version = excluded.version - 1 then excluded.version end",
    kinds: &[],
};

static PUT_SECRET: Sql = Sql {
    text: "update {or_rollback} alert_settings set secret = ? where id = ?",
    kinds: &[],
};

static NO_SECRET: Sql = Sql {
    text: "update {or_rollback} alert_settings set secret = null where id = ?",
    kinds: &[],
};

static STANDING: Sql = Sql {
    text: "select id, kind, account_id, subject, detail, began_at, ended_at, began_told_at, ended_told_at, snoozed_until
from alert
where 1 = ? and (ended_at is null or (began_told_at is not null and ended_told_at is null))
order by id",
    kinds: &[],
};

static NEWEST: Sql = Sql {
    text: "select id, kind, account_id, subject, detail, began_at, ended_at, began_told_at, ended_told_at, snoozed_until
from alert
order by id desc
limit ?",
    kinds: &[],
};

static GET: Sql = Sql {
    text: "select id, kind, account_id, subject, detail, began_at, ended_at, began_told_at, ended_told_at, snoozed_until
from alert
where id = ?",
    kinds: &[],
};

static SNOOZED: Sql = Sql {
    text: "select max(snoozed_until) from alert where kind = ? and account_id = ? and subject = ?",
    kinds: &[],
};

static PUT_ALERT: Sql = Sql {
    text: "insert {or_rollback} into alert (id, kind, account_id, subject, detail, began_at, ended_at, began_told_at, ended_told_at, snoozed_until)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (id) do update set detail = excluded.detail, ended_at = excluded.ended_at,
  began_told_at = excluded.began_told_at, ended_told_at = excluded.ended_told_at",
    kinds: &[],
};

static SNOOZE: Sql = Sql {
    text: "update {or_rollback} alert set snoozed_until = ? where id = ?",
    kinds: &[],
};

static FORGET: Sql = Sql {
    text: "delete from alert where ended_at < ?",
    kinds: &[],
};
