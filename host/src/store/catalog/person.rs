//! People who sign in, and their sessions: what they may do is `access`'s business, here they are rows.

use super::Catalog;
use super::audit::{self, Author, Record};
use crate::flow::Account;
use crate::flow::account::Role;
use crate::store::Error;
use crate::store::database::{Row, Sql, Value};
use crate::store::writer::Planned;

/// A person, of whose password only the hash is known.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonRow {
    pub id: String,
    /// A mail address in lower case.
    pub login: String,
    pub name: String,
    /// In LeadSquared, such as `Administrator` or `Sales_User`.
    pub role: String,
    /// Words with blanks between them.
    pub rights: String,
    /// None until the person has chosen one.
    pub password: Option<String>,
    /// SHA-256 of the secret of a link that lets its bearer choose a password, and until when.
    pub invite: Option<(Vec<u8>, i64)>,
    pub created_at_ms: i64,
    pub signed_in_at_ms: Option<i64>,
    pub disabled_at_ms: Option<i64>,
    /// Who this is at an identity provider: its issuer, and its subject there.
    pub identity: Option<(String, String)>,
}

impl PersonRow {
    /// Whether this person can sign in and administer; [`STAYS`] says the same.
    pub fn administers(&self) -> bool {
        self.role == ADMINISTRATOR
            && self.disabled_at_ms.is_none()
            && (self.password.is_some() || self.identity.is_some())
            && self.rights.split(' ').any(|right| right == "administer")
    }
}

impl std::fmt::Debug for PersonRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersonRow")
            .field("id", &self.id)
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

/// A session, of whose secret only the digest is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub id: String,
    pub person: String,
    /// SHA-256 of the secret.
    pub digest: Vec<u8>,
    pub created_at_ms: i64,
    pub used_at_ms: i64,
}

impl Catalog {
    /// Keeps a new person.
    ///
    /// # Errors
    /// `Exists` when somebody has that login.
    pub async fn add_person(&self, person: &PersonRow, author: &Author) -> Result<(), Error> {
        if self.person_of_login(&person.login).await?.is_some() {
            return Err(Error::Exists("a person of that mail address".into()));
        }
        let added = add(person);
        self.write(added, "add", &person.login, author).await
    }

    /// Keeps the first person of all; says whether it is, for of several who try one is.
    pub async fn add_first_person(
        &self,
        person: &PersonRow,
        author: &Author,
    ) -> Result<bool, Error> {
        let record = Record::of("add", "", "person", &person.login);
        let statements = vec![
            Planned::read(&HOLD, Vec::new()),
            add(person),
            // Refuses the whole transaction where somebody else is there.
            Planned::one(
                &ALONE,
                vec![person.id.as_str().into(), person.id.as_str().into()],
            ),
            audit::plain(author, &record),
        ];
        self.decided(statements).await
    }

    /// Runs statements that the database refuses where things are not as they must be; says whether it took them.
    async fn decided(&self, statements: Vec<Planned>) -> Result<bool, Error> {
        match self.shared.writer.plain(statements, false).await {
            Ok(_) => Ok(true),
            Err(Error::Database(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Changes what administrators say of a person: name, role, rights, whether they may sign in; says whether it did.
    ///
    /// It does not where the person is not as in `before` any more, or where no administrator would be left who can
    /// sign in.
    pub async fn save_person(
        &self,
        before: &PersonRow,
        person: &PersonRow,
        author: &Author,
    ) -> Result<bool, Error> {
        let values = vec![
            before.rights.as_str().into(),
            before.role.as_str().into(),
            person.name.as_str().into(),
            person.role.as_str().into(),
            person.rights.as_str().into(),
            Value::optional_int(person.disabled_at_ms),
            person.id.as_str().into(),
        ];
        let record = Record::of("update", "", "person", &person.login);
        let mut statements = vec![
            Planned::read(&HOLD, Vec::new()),
            Planned::one(&SAVE, values),
            audit::plain(author, &record),
        ];
        if before.administers() && !person.administers() {
            statements.push(Planned::one(&STAYS, vec![person.id.as_str().into()]));
        }
        self.decided(statements).await
    }

    /// Lets whoever has the secret of `invite` choose a password for this person.
    pub async fn invite_person(
        &self,
        person: &PersonRow,
        invite: (Vec<u8>, i64),
        author: &Author,
    ) -> Result<(), Error> {
        let values = vec![invite.0.into(), invite.1.into(), person.id.as_str().into()];
        self.write(
            Planned::one(&INVITE, values),
            "invite",
            &person.login,
            author,
        )
        .await
    }

    /// Keeps a new password in the place of the one that `person` has and ends all sessions and invitations; says
    /// whether it did, which it does not where password or invitation are others by now.
    pub async fn put_password(
        &self,
        person: &PersonRow,
        password: &str,
        author: &Author,
    ) -> Result<bool, Error> {
        let record = Record::of("password", "", "person", &person.login);
        let invite = person
            .invite
            .as_ref()
            .map(|(digest, _)| digest.clone().into());
        let values = vec![
            Value::optional_text(person.password.as_deref()),
            Value::optional_bytes(invite.as_ref()),
            password.into(),
            person.id.as_str().into(),
        ];
        let statements = vec![
            Planned::one(&PASSWORD, values),
            Planned::one(&END_ALL, vec![person.id.as_str().into()]),
            audit::plain(author, &record),
        ];
        self.decided(statements).await
    }

    /// All people, by login.
    pub async fn people(&self) -> Result<Vec<PersonRow>, Error> {
        let rows = self.shared.one(&ALL, vec![1.into()]).await?;
        rows.iter().map(person).collect()
    }

    pub async fn person(&self, id: &str) -> Result<Option<PersonRow>, Error> {
        let rows = self.shared.one(&BY_ID, vec![id.into()]).await?;
        rows.first().map(person).transpose()
    }

    pub async fn person_of_login(&self, login: &str) -> Result<Option<PersonRow>, Error> {
        let rows = self.shared.one(&BY_LOGIN, vec![login.into()]).await?;
        rows.first().map(person).transpose()
    }

    /// Who somebody at an identity provider is here.
    pub async fn person_of_identity(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<PersonRow>, Error> {
        let values = vec![issuer.into(), subject.into()];
        let rows = self.shared.one(&BY_IDENTITY, values).await?;
        rows.first().map(person).transpose()
    }

    /// From now on this person is that one at an identity provider; says whether it was done, which it is not where
    /// the person is another there already, or that one another person here.
    pub async fn tie_person(
        &self,
        person: &PersonRow,
        issuer: &str,
        subject: &str,
        author: &Author,
    ) -> Result<bool, Error> {
        let record = Record::of("tie", "", "person", &person.login);
        let values = vec![issuer.into(), subject.into(), person.id.as_str().into()];
        let statements = vec![Planned::one(&TIE, values), audit::plain(author, &record)];
        self.decided(statements).await
    }

    /// Lets go of who this person is at an identity provider, and ends all sessions; says whether it was done, which it
    /// is not where no administrator would be left who can sign in.
    pub async fn untie_person(&self, person: &PersonRow, author: &Author) -> Result<bool, Error> {
        let record = Record::of("untie", "", "person", &person.login);
        let id = || vec![person.id.as_str().into()];
        let mut statements = vec![
            Planned::read(&HOLD, Vec::new()),
            Planned::one(&UNTIE, id()),
            Planned::one(&END_ALL, id()),
            audit::plain(author, &record),
        ];
        if person.administers() {
            statements.push(Planned::one(&STAYS, id()));
        }
        self.decided(statements).await
    }

    /// Begins a session.
    pub async fn begin_session(
        &self,
        session: &SessionRow,
        person: &PersonRow,
        author: &Author,
    ) -> Result<(), Error> {
        let begun = vec![
            session.id.as_str().into(),
            session.person.as_str().into(),
            session.digest.clone().into(),
            session.created_at_ms.into(),
            session.used_at_ms.into(),
        ];
        let seen = vec![session.created_at_ms.into(), session.person.as_str().into()];
        let record = Record::of("sign-in", "", "person", &person.login);
        let statements = vec![
            Planned::one(&BEGIN, begun),
            Planned::one(&SIGNED_IN, seen),
            audit::plain(author, &record),
        ];
        self.shared.writer.plain(statements, false).await?;
        Ok(())
    }

    pub async fn session(&self, id: &str) -> Result<Option<SessionRow>, Error> {
        let rows = self.shared.one(&SESSION, vec![id.into()]).await?;
        let row = rows.first().map(|row| {
            Ok(SessionRow {
                id: row.string(0)?,
                person: row.string(1)?,
                digest: row.bytes(2)?.to_vec(),
                created_at_ms: row.int(3)?,
                used_at_ms: row.int(4)?,
            })
        });
        row.transpose()
    }

    /// Notes that a session was used at `now_ms`.
    pub async fn session_used(&self, id: &str, now_ms: i64) -> Result<(), Error> {
        let used = Planned::one(&USED, vec![now_ms.into(), id.into()]);
        self.shared.writer.plain(vec![used], false).await?;
        Ok(())
    }

    /// Ends one session.
    pub async fn end_session(&self, id: &str) -> Result<(), Error> {
        let ended = Planned::one(&END, vec![id.into()]);
        self.shared.writer.plain(vec![ended], false).await?;
        Ok(())
    }

    /// Ends every session of a person.
    pub async fn end_sessions(&self, person: &PersonRow, author: &Author) -> Result<(), Error> {
        let ended = Planned::one(&END_ALL, vec![person.id.as_str().into()]);
        self.write(ended, "sign-out", &person.login, author).await
    }

    /// Lets go of sessions that began before `began_ms` or were not used since `used_ms`.
    pub async fn forget_sessions(&self, began_ms: i64, used_ms: i64) -> Result<(), Error> {
        let forgotten = Planned::one(&FORGET, vec![began_ms.into(), used_ms.into()]);
        self.shared.writer.plain(vec![forgotten], false).await?;
        Ok(())
    }

    /// Whether people of a LeadSquared role may use the connector: administrators, and the roles that an account names.
    pub async fn role_may_use(&self, role: &str) -> Result<bool, Error> {
        if role == ADMINISTRATOR {
            return Ok(true);
        }
        let accounts = self.documents::<Account>(&super::ACCOUNTS).await?;
        let mut named = accounts.iter().flat_map(|kept| &kept.document.roles);
        Ok(named.any(|named| named.as_str() == role))
    }

    /// A change of a person with its record.
    async fn write(
        &self,
        change: Planned,
        action: &str,
        login: &str,
        author: &Author,
    ) -> Result<(), Error> {
        let record = Record::of(action, "", "person", login);
        let statements = vec![change, audit::plain(author, &record)];
        self.shared.writer.plain(statements, false).await?;
        Ok(())
    }
}

/// The role that may always use the connector.
pub const ADMINISTRATOR: &str = "Administrator";

/// Every role that LeadSquared has.
pub const ROLES: [&str; 4] = [
    ADMINISTRATOR,
    Role::MarketingUser.as_str(),
    Role::SalesManager.as_str(),
    Role::SalesUser.as_str(),
];

fn add(person: &PersonRow) -> Planned {
    let (invite, until) = person.invite.clone().unzip();
    let values = vec![
        person.id.as_str().into(),
        person.login.as_str().into(),
        person.name.as_str().into(),
        person.role.as_str().into(),
        person.rights.as_str().into(),
        Value::optional_text(person.password.as_deref()),
        Value::optional_bytes(invite.map(Into::into).as_ref()),
        Value::optional_int(until),
        person.created_at_ms.into(),
    ];
    Planned::one(&ADD, values)
}

fn person(row: &Row) -> Result<PersonRow, Error> {
    let invite = row.optional(6, |row, at| Ok(row.bytes(at)?.to_vec()))?;
    Ok(PersonRow {
        id: row.string(0)?,
        login: row.string(1)?,
        name: row.string(2)?,
        role: row.string(3)?,
        rights: row.string(4)?,
        password: row.optional(5, Row::string)?,
        invite: invite.zip(row.optional(7, Row::int)?),
        created_at_ms: row.int(8)?,
        signed_in_at_ms: row.optional(9, Row::int)?,
        disabled_at_ms: row.optional(10, Row::int)?,
        identity: row
            .optional(11, Row::string)?
            .zip(row.optional(12, Row::string)?),
    })
}

static ADD: Sql = Sql {
    text: "insert into person (id, login, name, role, rights, password, invite, invite_until, created_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    kinds: &[],
};

/// Nobody else changes people before the end of the transaction.
static HOLD: Sql = Sql {
    text: "{hold_people}",
    kinds: &[],
};

/// An id cannot be null: so the database refuses a change that comes too late, and all that goes with it.
static ALONE: Sql = Sql {
    text: "update person set id = case when not exists (select 1 from person other where other.id <> ?) then id end where id = ?",
    kinds: &[],
};

static SAVE: Sql = Sql {
    text: "update person set id = case when rights = ? and role = ? then id end, name = ?, role = ?, rights = ?, disabled_at = ?
where id = ?",
    kinds: &[],
};

static STAYS: Sql = Sql {
    text: "update person set id = case when exists (select 1 from person other where other.role = 'Administrator'
and other.disabled_at is null and (other.password is not null or other.subject is not null) and ' ' || other.rights || ' ' like '% administer %') then id end
where id = ?",
    kinds: &[],
};

static INVITE: Sql = Sql {
    text: "update person set invite = ?, invite_until = ? where id = ?",
    kinds: &[],
};

static PASSWORD: Sql = Sql {
    text: "update person set id = case when password is not distinct from ? and invite is not distinct from ? then id end,
password = ?, invite = null, invite_until = null
where id = ?",
    kinds: &[],
};

static SIGNED_IN: Sql = Sql {
    text: "update person set signed_in_at = ? where id = ?",
    kinds: &[],
};

static ALL: Sql = Sql {
    text: "select id, login, name, role, rights, password, invite, invite_until, created_at, signed_in_at, disabled_at, issuer, subject from person where 1 = ? order by login",
    kinds: &[],
};

static BY_ID: Sql = Sql {
    text: "select id, login, name, role, rights, password, invite, invite_until, created_at, signed_in_at, disabled_at, issuer, subject from person where id = ?",
    kinds: &[],
};

static BY_LOGIN: Sql = Sql {
    text: "select id, login, name, role, rights, password, invite, invite_until, created_at, signed_in_at, disabled_at, issuer, subject from person where login = ?",
    kinds: &[],
};

static BY_IDENTITY: Sql = Sql {
    text: "select id, login, name, role, rights, password, invite, invite_until, created_at, signed_in_at, disabled_at, issuer, subject from person where issuer = ? and subject = ?",
    kinds: &[],
};

static TIE: Sql = Sql {
    text: "update person set id = case when subject is null then id end, issuer = ?, subject = ? where id = ?",
    kinds: &[],
};

static UNTIE: Sql = Sql {
    text: "update person set issuer = null, subject = null where id = ?",
    kinds: &[],
};

static BEGIN: Sql = Sql {
    text: "insert into session (id, person_id, digest, created_at, used_at) values (?, ?, ?, ?, ?)",
    kinds: &[],
};

static SESSION: Sql = Sql {
    text: "select id, person_id, digest, created_at, used_at from session where id = ?",
    kinds: &[],
};

static USED: Sql = Sql {
    text: "update session set used_at = ? where id = ?",
    kinds: &[],
};

static END: Sql = Sql {
    text: "delete from session where id = ?",
    kinds: &[],
};

static END_ALL: Sql = Sql {
    text: "delete from session where person_id = ?",
    kinds: &[],
};

static FORGET: Sql = Sql {
    text: "delete from session where created_at < ? or used_at < ?",
    kinds: &[],
};
