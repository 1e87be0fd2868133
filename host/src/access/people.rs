//! People: how they come to an account of their own, sign in, and are given rights by others.
//!
//! Nobody gives rights that they lack, nobody shuts themselves out, and one administrator always stays. Start at
//! [`sign_in`] and [`add`].

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::door::{Door, Opens};
use super::password::{self, Weak};
use super::session::{author, begin, may_enter};
use super::{Caller, Right, Rights, Who, hex, is_same};
use crate::openid::Identity;
use crate::store;
use crate::store::catalog::person::{ADMINISTRATOR, PersonRow, ROLES};
use crate::store::catalog::{Author, Catalog};

/// How long a link to choose a password is good for, in milliseconds.
const INVITED_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// Why something of a person was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Deliberately one sentence for every cause: a stranger learns nothing.
    #[error("mail address and password do not belong together, or this person may not sign in")]
    NotIn,
    #[error("too many attempts: try again in {seconds} s")]
    Wait { seconds: u64 },
    #[error("{name:?} may not sign in here: an administrator of this console can say why")]
    ShutOut { name: String },
    #[error(
        "nobody has added {mail} to this console yet: an administrator adds people on the page Access"
    )]
    Stranger { mail: String },
    #[error(
        "the identity provider tells no mail address that it has verified, so it is not known who you are here: ask whoever runs the provider"
    )]
    NoMail,
    #[error(
        "{mail} is somebody else at the identity provider than who signed in here before: an administrator can untie the old one, on the page Access"
    )]
    Tied { mail: String },
    #[error("passwords are switched off here: sign in with {name}")]
    NoPasswords { name: String },
    #[error("this link was used already or is too old: ask an administrator for another")]
    Link,
    /// The named member is at fault.
    #[error("{0}: {1}")]
    Member(&'static str, String),
    #[error("there is no such person")]
    Nobody,
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the host could not do it: {0:#}")]
    Host(anyhow::Error),
}

impl From<Weak> for Refused {
    fn from(weak: Weak) -> Self {
        Refused::Member("password", weak.to_string())
    }
}

/// What is said of a person who is added or changed.
#[derive(Debug, Clone)]
pub struct Said {
    pub name: String,
    /// In LeadSquared.
    pub role: String,
    pub rights: Rights,
    /// May not sign in.
    pub is_shut_out: bool,
}

/// Lets a person in; gives the session's cookie.
///
/// # Errors
/// `NotIn` and `Wait`.
pub async fn sign_in(
    catalog: &Catalog,
    door: &Door,
    login: &str,
    password: &str,
    address: &str,
) -> Result<String, Refused> {
    let login = login.trim().to_lowercase();
    attempt(door, &login, address)?;
    let person = catalog.person_of_login(&login).await?;
    let kept = person.as_ref().and_then(|person| person.password.clone());
    let same = door.is_that(password, kept).await.map_err(Refused::Host)?;
    let Some(person) = person.filter(|_| same) else {
        return Err(Refused::NotIn);
    };
    if !may_enter(catalog, &person).await? {
        return Err(Refused::NotIn);
    }
    door.succeeded(&login, address);
    begin(catalog, &person).await.map_err(Refused::Host)
}

/// Lets somebody in whom an identity provider has signed in; gives the session's cookie.
///
/// The first time the mail address says who it is, from then on the provider's own name for that person does, which
/// nobody else is ever given.
///
/// # Errors
/// `Stranger`, `NoMail`, `Tied` and `ShutOut`.
pub async fn sign_in_as(catalog: &Catalog, identity: &Identity) -> Result<String, Refused> {
    let (issuer, subject) = (&identity.issuer, &identity.subject);
    let person = match catalog.person_of_identity(issuer, subject).await? {
        Some(known) => known,
        None => tied(catalog, identity).await?,
    };
    if !may_enter(catalog, &person).await? {
        return Err(Refused::ShutOut { name: person.name });
    }
    begin(catalog, &person).await.map_err(Refused::Host)
}

/// Finds whom an administrator has added with the mail address of `identity`, and keeps who it is at the provider.
async fn tied(catalog: &Catalog, identity: &Identity) -> Result<PersonRow, Refused> {
    let mail = identity.mail.clone().ok_or(Refused::NoMail)?;
    let person = catalog.person_of_login(&mail).await?;
    let Some(person) = person else {
        return Err(Refused::Stranger { mail });
    };
    if !may_enter(catalog, &person).await? {
        return Err(Refused::ShutOut { name: person.name });
    }
    let (issuer, subject) = (&identity.issuer, &identity.subject);
    let author = author(&person);
    let tying = catalog.tie_person(&person, issuer, subject, &author);
    if tying.await? {
        return Ok(person);
    }
    // Another window of the same person may have been quicker.
    let known = catalog.person_of_identity(issuer, subject).await?;
    known.ok_or(Refused::Tied { mail })
}

/// Lets go of who a person is at an identity provider: whoever signs in there next with the same mail address is it.
///
/// # Errors
/// `Nobody`; the last administrator who can sign in.
pub async fn untie(catalog: &Catalog, caller: &Caller, id: &str) -> Result<PersonRow, Refused> {
    let person = catalog.person(id).await?.ok_or(Refused::Nobody)?;
    // Whoever comes next by that address becomes that person.
    may_give(caller, &Rights::default(), &Rights::known(&person.rights))?;
    match catalog.untie_person(&person, &caller.author()).await? {
        true => Ok(PersonRow {
            identity: None,
            ..person
        }),
        false => {
            let text =
                "is how the last administrator signs in: make another one first, who has signed in";
            Err(Refused::Member("openid", text.into()))
        }
    }
}

/// Counts a try before it is known how it ends: many at once are many, too.
fn attempt(door: &Door, login: &str, address: &str) -> Result<(), Refused> {
    door.attempt(login, address).map_err(|wait| Refused::Wait {
        seconds: wait.as_secs() + 1,
    })
}

/// Makes the first administrator with the secret of the host's link, and signs in.
///
/// # Errors
/// The link is used up, or a member is not good.
pub async fn first(
    catalog: &Catalog,
    door: &Door,
    secret: &str,
    login: &str,
    name: &str,
    password: &str,
    sees_patients: bool,
) -> Result<String, Refused> {
    let is_first = catalog.people().await?.is_empty();
    if door.opens(secret) != Some(Opens::FirstAdministrator) || !is_first {
        return Err(Refused::Link);
    }
    let mut rights = String::from("all");
    if sees_patients {
        rights.push_str(",see-patient-data");
    }
    let rights = rights.parse().unwrap_or_default();
    let said = Said {
        name: name.to_owned(),
        role: ADMINISTRATOR.into(),
        rights,
        is_shut_out: false,
    };
    let mut person = new(login, &said)?;
    password::check(password, &person.login, &person.name)?;
    person.password = Some(door.hash(password).await.map_err(Refused::Host)?);
    let author = Author("first start".into());
    if !catalog.add_first_person(&person, &author).await? {
        return Err(Refused::Link);
    }
    door.close_link();
    begin(catalog, &person).await.map_err(Refused::Host)
}

/// Makes somebody whom the host's own link signs in: the demo's administrator.
///
/// # Errors
/// When the store does not answer.
pub async fn guest(catalog: &Catalog, login: &str, name: &str) -> Result<String, Refused> {
    if let Some(known) = catalog.person_of_login(login).await? {
        return Ok(known.id);
    }
    let said = Said {
        name: name.to_owned(),
        role: ADMINISTRATOR.into(),
        rights: "all,see-patient-data".parse().unwrap_or_default(),
        is_shut_out: false,
    };
    let person = new(login, &said)?;
    catalog
        .add_person(&person, &Author("first start".into()))
        .await?;
    Ok(person.id)
}

/// Signs in whoever has the secret of a link that is made for a person.
///
/// # Errors
/// `Link` for any other secret.
pub async fn enter(catalog: &Catalog, door: &Door, secret: &str) -> Result<String, Refused> {
    let Some(Opens::SignsIn { person }) = door.opens(secret) else {
        return Err(Refused::Link);
    };
    let person = catalog.person(&person).await?.ok_or(Refused::Link)?;
    begin(catalog, &person).await.map_err(Refused::Host)
}

/// Adds a person; gives the secret of a link with which they choose their password.
///
/// # Errors
/// A member that is not good, or rights that the caller lacks.
pub async fn add(
    catalog: &Catalog,
    caller: &Caller,
    login: &str,
    said: &Said,
) -> Result<(PersonRow, String), Refused> {
    may_give(caller, &Rights::default(), &said.rights)?;
    let mut person = new(login, said)?;
    let (secret, invite) = invitation()?;
    person.invite = Some(invite);
    catalog.add_person(&person, &caller.author()).await?;
    Ok((person, secret))
}

/// Changes name, role, rights, or whether a person may sign in.
///
/// # Errors
/// Rights that the caller lacks; the last administrator; oneself shut out.
pub async fn change(
    catalog: &Catalog,
    caller: &Caller,
    id: &str,
    said: &Said,
) -> Result<PersonRow, Refused> {
    let before = catalog.person(id).await?.ok_or(Refused::Nobody)?;
    let held = Rights::known(&before.rights);
    may_give(caller, &held, &said.rights)?;
    checked(said)?;
    let is_self = matches!(&caller.who, Who::Person { id: own, .. } if own == id);
    if is_self && said.is_shut_out {
        return Err(Refused::Member(
            "shut_out",
            "nobody shuts themselves out".into(),
        ));
    }
    let changed = PersonRow {
        name: said.name.trim().to_owned(),
        role: said.role.clone(),
        rights: said.rights.to_string(),
        disabled_at_ms: said
            .is_shut_out
            .then(|| before.disabled_at_ms.unwrap_or_else(now_ms)),
        ..before.clone()
    };
    let author = caller.author();
    if !catalog.save_person(&before, &changed, &author).await? {
        let now = catalog.person(id).await?.ok_or(Refused::Nobody)?;
        let text = match (now.rights == before.rights, now.role == before.role) {
            (true, true) => "is the last administrator who can sign in: make another one first",
            _ => "were changed by somebody else at the same time: look again",
        };
        return Err(Refused::Member("rights", text.into()));
    }
    if said.is_shut_out {
        catalog.end_sessions(&changed, &caller.author()).await?;
    }
    Ok(changed)
}

/// Makes a new link to choose a password, for somebody who has forgotten theirs.
///
/// # Errors
/// `Nobody`.
pub async fn invite(
    catalog: &Catalog,
    caller: &Caller,
    id: &str,
) -> Result<(PersonRow, String), Refused> {
    let person = catalog.person(id).await?.ok_or(Refused::Nobody)?;
    // Whoever has the link becomes that person.
    may_give(caller, &Rights::default(), &Rights::known(&person.rights))?;
    let (secret, invite) = invitation()?;
    catalog
        .invite_person(&person, invite, &caller.author())
        .await?;
    Ok((person, secret))
}

/// Whose link it is.
///
/// # Errors
/// `Link` where it was used or is too old.
pub async fn invited(catalog: &Catalog, id: &str, secret: &str) -> Result<PersonRow, Refused> {
    let person = catalog.person(id).await?.ok_or(Refused::Link)?;
    let good = person.invite.as_ref().is_some_and(|(digest, until)| {
        *until > now_ms() && is_same(digest, &Sha256::digest(secret))
    });
    if !good || !may_enter(catalog, &person).await? {
        return Err(Refused::Link);
    }
    Ok(person)
}

/// Keeps the password that an invited person has chosen, and signs them in.
///
/// # Errors
/// `Link`, or what is wrong with the password.
pub async fn accept(
    catalog: &Catalog,
    door: &Door,
    id: &str,
    secret: &str,
    password: &str,
) -> Result<String, Refused> {
    let person = invited(catalog, id, secret).await?;
    if !keep_password(catalog, door, &person, password).await? {
        return Err(Refused::Link);
    }
    begin(catalog, &person).await.map_err(Refused::Host)
}

/// Changes one's own password, which ends every session; gives the cookie of a new one.
///
/// # Errors
/// The old one is not right, or what is wrong with the new one.
pub async fn change_password(
    catalog: &Catalog,
    door: &Door,
    caller: &Caller,
    old: &str,
    new: &str,
    address: &str,
) -> Result<String, Refused> {
    let Who::Person { id, login, .. } = &caller.who else {
        return Err(Refused::Nobody);
    };
    attempt(door, login, address)?;
    let person = catalog.person(id).await?.ok_or(Refused::Nobody)?;
    let same = door.is_that(old, person.password.clone()).await;
    if !same.map_err(Refused::Host)? {
        return Err(other_password());
    }
    door.succeeded(login, address);
    if !keep_password(catalog, door, &person, new).await? {
        return Err(other_password());
    }
    begin(catalog, &person).await.map_err(Refused::Host)
}

fn other_password() -> Refused {
    Refused::Member("old_password", "is not the one you have".into())
}

/// Says whether it was kept: not where the person has another password by now, or the invitation was used.
async fn keep_password(
    catalog: &Catalog,
    door: &Door,
    person: &PersonRow,
    password: &str,
) -> Result<bool, Refused> {
    password::check(password, &person.login, &person.name)?;
    let hash = door.hash(password).await.map_err(Refused::Host)?;
    Ok(catalog.put_password(person, &hash, &author(person)).await?)
}

/// What was held before may stay; what comes anew must be the caller's own.
fn may_give(caller: &Caller, held: &Rights, given: &Rights) -> Result<(), Refused> {
    let lacking = Right::ALL
        .into_iter()
        .find(|right| given.holds(*right) && !held.holds(*right) && !caller.rights.holds(*right));
    match lacking {
        None => Ok(()),
        Some(right) => {
            let text = format!(
                "you cannot give {:?}, which you do not have",
                right.as_str()
            );
            Err(Refused::Member("rights", text))
        }
    }
}

fn checked(said: &Said) -> Result<(), Refused> {
    let name = said.name.trim();
    if name.is_empty() || name.chars().any(char::is_control) || name.chars().count() > 200 {
        return Err(Refused::Member(
            "name",
            "say what colleagues call this person".into(),
        ));
    }
    if !ROLES.contains(&said.role.as_str()) {
        let text = format!("is one of {}", ROLES.join(", "));
        return Err(Refused::Member("role", text));
    }
    Ok(())
}

fn new(login: &str, said: &Said) -> Result<PersonRow, Refused> {
    let login = login.trim().to_lowercase();
    let is_address = login.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && host.contains('.')
            && !login.chars().any(|c| c.is_whitespace() || c.is_control())
    });
    if !is_address || login.len() > 254 {
        return Err(Refused::Member(
            "login",
            "must be a mail address, such as ana@example.org".into(),
        ));
    }
    checked(said)?;
    Ok(PersonRow {
        id: Uuid::now_v7().to_string(),
        login,
        name: said.name.trim().to_owned(),
        role: said.role.clone(),
        rights: said.rights.to_string(),
        password: None,
        invite: None,
        created_at_ms: now_ms(),
        signed_in_at_ms: None,
        disabled_at_ms: said.is_shut_out.then(now_ms),
        identity: None,
    })
}

fn invitation() -> Result<(String, (Vec<u8>, i64)), Refused> {
    let mut secret = [0; 24];
    getrandom::fill(&mut secret).map_err(|fault| Refused::Host(fault.into()))?;
    let secret = hex(&secret);
    let digest = Sha256::digest(&secret).to_vec();
    Ok((secret, (digest, now_ms() + INVITED_MS)))
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
