//! The same thing at the same time: rights, links and passwords give way once.

use anyhow::ensure;
use futures_util::future::join_all;
use ligature::access::door::{Door, Opens};
use ligature::access::people::{self, Refused, Said};
use ligature::access::{self, Caller, Rights, Who};
use ligature::store::catalog::person::{ADMINISTRATOR, PersonRow};
use ligature::store::catalog::{Author, Catalog};
use ligature_tests::postgres;
use ligature_tests::visitor::Visitor;

use super::office;

/// A store of its own, in both databases.
fn storages() -> anyhow::Result<[Option<String>; 2]> {
    Ok([None, Some(postgres()?)])
}

fn said(rights: &str) -> anyhow::Result<Said> {
    Ok(Said {
        name: "Somebody".into(),
        role: ADMINISTRATOR.into(),
        rights: rights.parse()?,
        is_shut_out: false,
    })
}

/// Somebody who has signed in.
fn caller(person: &PersonRow) -> Caller {
    Caller {
        name: person.name.clone(),
        rights: Rights::known(&person.rights),
        who: Who::Person {
            id: person.id.clone(),
            login: person.login.clone(),
            session: String::new(),
            form_token: String::new(),
        },
    }
}

/// A person with a password that nobody knows.
async fn person(catalog: &Catalog, name: &str, rights: &str) -> anyhow::Result<PersonRow> {
    let person = PersonRow {
        id: format!("id-{name}"),
        login: format!("{name}@example.org"),
        name: name.into(),
        role: ADMINISTRATOR.into(),
        rights: rights.into(),
        password: Some("$argon2id$".into()),
        invite: None,
        created_at_ms: 0,
        signed_in_at_ms: None,
        disabled_at_ms: None,
        identity: None,
    };
    catalog.add_person(&person, &Author("test".into())).await?;
    Ok(person)
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_cannot_all_be_taken_their_rights_at_once() -> anyhow::Result<()> {
    for storage in storages()? {
        let (office, _) = office(storage.as_deref()).await?;
        let catalog = office.host.pipeline.store.catalog();
        let mut all = Vec::new();
        for name in ["ben", "cem", "dea", "eva"] {
            all.push(person(&catalog, name, "view administer").await?);
        }
        all.extend(
            catalog
                .people()
                .await?
                .into_iter()
                .filter(|person| person.name == "Ana Ortiz"),
        );
        let less = said("view")?;
        let taking = all
            .iter()
            .zip(all.iter().cycle().skip(1))
            .map(|(taker, of)| {
                let (catalog, less) = (&catalog, &less);
                async move {
                    people::change(catalog, &caller(taker), &of.id, less)
                        .await
                        .is_ok()
                }
            });
        let taken = join_all(taking).await;
        let people = catalog.people().await?;
        let left = people.iter().filter(|person| person.administers()).count();
        ensure!(left == 1, "{left} are left: {taken:?}");
        office.host.stop().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_for_one_of_those_who_use_it_at_once() -> anyhow::Result<()> {
    for storage in storages()? {
        let office = Box::pin(super::empty(storage.as_deref())).await?;
        let catalog = office.host.pipeline.store.catalog();
        let door = Door::default();
        let secret = door.make_link(Opens::FirstAdministrator)?;
        let making = (0..5).map(|at| {
            let (catalog, door, secret) = (&catalog, &door, secret.as_str());
            let login = format!("{at}@example.org");
            async move {
                let password = "three blue herons";
                people::first(catalog, door, secret, &login, "Ana", password, true).await
            }
        });
        let made = join_all(making).await;
        let made = made.iter().filter(|made| made.is_ok()).count();
        let people = catalog.people().await?;
        ensure!(made == 1 && people.len() == 1, "{made}: {people:?}");

        let ana = caller(&people[0]);
        let (ben, secret) = people::add(&catalog, &ana, "ben@example.org", &said("view")?).await?;
        let passwords = ["one blue heron!", "two blue herons", "three blue herons"];
        let choosing = passwords
            .iter()
            .cycle()
            .take(6)
            .map(|password| people::accept(&catalog, &door, &ben.id, &secret, password));
        let chosen = join_all(choosing).await;
        let chosen = chosen.iter().filter(|chosen| chosen.is_ok()).count();
        ensure!(chosen == 1, "{chosen} passwords were taken");
        office.host.stop().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_count_before_they_are_compared() -> anyhow::Result<()> {
    let (office, _) = office(None).await?;
    let catalog = office.host.pipeline.store.catalog();
    let people = catalog.people().await?;
    let (door, ana) = (Door::default(), caller(&people[0]));
    let guessing = (0..20).map(|at| {
        let (catalog, door, ana) = (&catalog, &door, &ana);
        async move {
            let guess = format!("guess {at}");
            people::change_password(catalog, door, ana, &guess, "four blue herons", "::1").await
        }
    });
    let guessed = join_all(guessing).await;
    let compared = guessed
        .iter()
        .filter(|guessed| matches!(guessed, Err(Refused::Member("old_password", _))));
    let compared = compared.count();
    ensure!(compared == 5, "{compared} guesses were compared");
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_what_its_maker_may_do() -> anyhow::Result<()> {
    for storage in storages()? {
        let (office, mut ana) = office(storage.as_deref()).await?;
        let catalog = office.host.pipeline.store.catalog();
        let people = catalog.people().await?;
        let administrator = caller(&people[0]);
        let ben = person(&catalog, "ben", "view map administer").await?;
        let (http, rights) = (office.host.http, "view,map".parse()?);
        let (own, _) = access::issue_for(&catalog, &caller(&ben), "own", &rights, None).await?;
        // One that is made with it is its maker's, too.
        let by_own = access::check(&catalog, Some(own.reveal())).await?;
        let mut own = Visitor::with_token(http, own.reveal());
        let (child, _) = access::issue_for(&catalog, &by_own, "child", &rights, None).await?;
        let mut child = Visitor::with_token(http, child.reveal());
        let nobodys = office.token("view").await?;
        let mut nobodys = Visitor::with_token(http, &nobodys);
        let (old, _) = access::issue_for(&catalog, &caller(&ben), "old", &rights, Some(1)).await?;
        let mut old = Visitor::with_token(http, old.reveal());

        let path = "/api/v1/flows";
        ensure!(own.get(path).await?.status == 200 && child.get(path).await?.status == 200);
        ensure!(old.get(path).await?.status == 401, "it has expired");
        let tokens = ana.get("/api/v1/tokens").await?.text;
        ensure!(
            tokens.contains("\"maker\":\"ben@example.org\"")
                && tokens.contains("\"expires_at\":\"1970-01-01T00:00:00.001Z\""),
            "{tokens}"
        );
        people::change(&catalog, &administrator, &ben.id, &said("map")?).await?;
        ensure!(own.get(path).await?.status == 403 && child.get(path).await?.status == 403);
        let shut_out = Said {
            is_shut_out: true,
            ..said("view")?
        };
        people::change(&catalog, &administrator, &ben.id, &shut_out).await?;
        ensure!(own.get(path).await?.status == 401 && child.get(path).await?.status == 401);
        ensure!(nobodys.get(path).await?.status == 200, "it is nobody's");
        office.host.stop().await;
    }
    Ok(())
}
