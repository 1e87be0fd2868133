//! Changes of the configuration: versions, what still uses what, all or nothing, and who did it.

use ligature::flow::shared::SharedMapping;
use ligature::flow::{Account, Channel, CodeTable, Digest, Flow, FlowId};
use ligature::store::Error;
use ligature::store::catalog::{Author, Catalog, Change, Expected};
use serde_json::json;

use super::{Bed, account as account_id, both};

both!(
    a_document_is_changed_at_the_version_that_was_seen,
    of_two_writers_at_one_version_one_is_refused,
    changes_are_made_together_or_not_at_all,
    what_is_used_is_not_deleted,
    a_flow_keeps_its_history_when_it_is_made_anew,
    tokens_are_revoked_once,
    a_shared_mapping_is_kept_and_goes_with_its_account,
);

fn account(name: &str) -> Account {
    serde_json::from_value(
        json!({ "id": super::ACCOUNT, "name": name, "api": "http://localhost:1" }),
    )
    .unwrap()
}

fn channel(id: &str) -> Channel {
    let channel = json!({ "id": id, "account": super::ACCOUNT, "name": id, "address": "0" });
    serde_json::from_value(channel).unwrap()
}

fn flow(name: &str, channel: &str) -> Flow {
    serde_json::from_value(json!({
        "id": "lead", "account": super::ACCOUNT, "name": name, "direction": "ehr-to-leadsquared", "channel": channel,
        "event": "ADT^A04", "entity": "lead", "primary_search_field": "mx_MRN",
    }))
    .unwrap()
}

fn author() -> Author {
    Author("tester".into())
}

async fn apply(catalog: &Catalog, changes: &[Change]) -> Result<Vec<i64>, Error> {
    catalog.apply(changes, &author()).await
}

async fn a_document_is_changed_at_the_version_that_was_seen(bed: Bed) {
    let catalog = bed.store.catalog();
    let put = |name: &str, expected| Change::Account(account(name), expected);
    let missing = apply(&catalog, &[put("One", Expected::Version(1))]).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    let made = apply(&catalog, &[put("One", Expected::New)]).await;
    assert_eq!(made.unwrap(), [1]);
    let again = apply(&catalog, &[put("Two", Expected::New)]).await;
    assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
    let changed = apply(&catalog, &[put("Two", Expected::Version(1))]).await;
    assert_eq!(changed.unwrap(), [2]);
    let late = apply(&catalog, &[put("Three", Expected::Version(1))]).await;
    assert!(
        matches!(
            late,
            Err(Error::Conflict {
                expected: 1,
                found: 2,
                ..
            })
        ),
        "{late:?}"
    );
    let put_over = apply(&catalog, &[put("Four", Expected::Any)]).await;
    assert_eq!(put_over.unwrap(), [3]);
    let listing = catalog.list().await.unwrap();
    assert_eq!(listing.accounts[0].document.name, "Four");
    assert_eq!(listing.accounts[0].version, 3);
    let audit = catalog.audit(None, 10).await.unwrap();
    let told: Vec<_> = audit
        .iter()
        .map(|row| (row.actor.as_str(), row.record.action.as_str(), row.version))
        .collect();
    assert_eq!(
        told,
        [
            ("tester", "put", Some(3)),
            ("tester", "update", Some(2)),
            ("tester", "create", Some(1))
        ]
    );
    let older = catalog.audit(Some(&audit[0].id), 1).await.unwrap();
    assert_eq!(older, &audit[1..2]);
    assert_eq!(catalog.last_change().await.unwrap(), audit[0].id);
}

async fn of_two_writers_at_one_version_one_is_refused(bed: Bed) {
    let catalog = bed.store.catalog();
    apply(
        &catalog,
        &[Change::Channel(Box::new(channel("ehr")), Expected::New)],
    )
    .await
    .unwrap();
    let changes: Vec<_> = (0..16)
        .map(|at| {
            let mut channel = channel("ehr");
            channel.name = format!("EHR {at}");
            [Change::Channel(Box::new(channel), Expected::Version(1))]
        })
        .collect();
    let writers = changes.iter().map(|change| apply(&catalog, change));
    let outcomes = futures_util::future::join_all(writers).await;
    let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(made, 1, "{outcomes:?}");
    for outcome in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(outcome, Error::Conflict { .. }), "{outcome}");
    }
    assert_eq!(catalog.list().await.unwrap().channels[0].version, 2);
}

async fn changes_are_made_together_or_not_at_all(bed: Bed) {
    let catalog = bed.store.catalog();
    let mut table = CodeTable::new(account_id(), "departments".into());
    let row = ("1".to_owned(), vec!["Cardiology".to_owned()]);
    table.entries.extend([row]);
    let changes = [
        Change::Account(account("One"), Expected::New),
        Change::Channel(Box::new(channel("ehr")), Expected::New),
        Change::CodeTable(table.clone(), Expected::New),
        Change::Flow(Box::new(flow("Leads", "ehr")), Expected::Version(7)),
    ];
    let refused = apply(&catalog, &changes).await;
    assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    let listing = catalog.list().await.unwrap();
    assert!(listing.accounts.is_empty() && listing.code_tables.is_empty());
    let made = apply(&catalog, &changes[..3]).await.unwrap();
    assert_eq!(made, [1, 1, 1]);
    let kept = catalog
        .code_table(&account_id(), "departments")
        .await
        .unwrap();
    assert_eq!(kept.map(|kept| kept.document), Some(table));
}

async fn what_is_used_is_not_deleted(bed: Bed) {
    let catalog = bed.store.catalog();
    let flow = flow("Leads", "ehr");
    let changes = [
        Change::Account(account("One"), Expected::New),
        Change::Channel(Box::new(channel("ehr")), Expected::New),
        Change::Flow(Box::new(flow.clone()), Expected::New),
    ];
    apply(&catalog, &changes).await.unwrap();
    let account = Change::DeleteAccount(account_id(), Expected::Version(1));
    let channel = Change::DeleteChannel(account_id(), "ehr".into(), Expected::Version(1));
    let flow = Change::DeleteFlow(account_id(), flow.id, Expected::Version(1));
    for (change, user) in [
        (&channel, "flow lead"),
        (&account, "channel ehr, flow lead"),
    ] {
        let refused = apply(&catalog, std::slice::from_ref(change)).await;
        let Err(Error::StillUsed { by, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(by, user);
    }
    let late = Change::DeleteFlow(account_id(), "lead".into(), Expected::Version(2));
    let late = apply(&catalog, &[late]).await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    for change in [flow, channel, account] {
        apply(&catalog, std::slice::from_ref(&change))
            .await
            .unwrap();
        let again = apply(&catalog, &[change]).await;
        assert!(matches!(again, Err(Error::NotFound(_))), "{again:?}");
    }
    let listing = catalog.list().await.unwrap();
    assert!(listing.accounts.is_empty() && listing.channels.is_empty() && listing.flows.is_empty());
}

async fn a_flow_keeps_its_history_when_it_is_made_anew(bed: Bed) {
    let catalog = bed.store.catalog();
    let put = |name: &str, expected| Change::Flow(Box::new(flow(name, "ehr")), expected);
    for (name, expected, version) in [
        ("One", Expected::New, 1),
        ("Two", Expected::Version(1), 2),
        ("Three", Expected::Any, 3),
    ] {
        let made = apply(&catalog, &[put(name, expected)]).await.unwrap();
        assert_eq!(made, [version]);
    }
    let id = FlowId::from("lead");
    let delete = Change::DeleteFlow(account_id(), id.clone(), Expected::Any);
    apply(&catalog, &[delete]).await.unwrap();
    let made = apply(&catalog, &[put("Four", Expected::New)])
        .await
        .unwrap();
    assert_eq!(made, [4]);
    let versions = catalog.flow_versions(&account_id(), &id).await.unwrap();
    let told: Vec<_> = versions
        .iter()
        .map(|kept| (kept.version, kept.author.as_str(), kept.flow.name.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (4, "tester", "Four"),
            (3, "tester", "Three"),
            (2, "tester", "Two"),
            (1, "tester", "One")
        ]
    );
}

async fn tokens_are_revoked_once(bed: Bed) {
    use ligature::access::{self, Right};
    let catalog = bed.store.catalog();
    let rights = "view,map".parse().unwrap();
    let token = access::issue(&catalog, "console", &rights, &author())
        .await
        .unwrap();
    let caller = access::check(&catalog, Some(token.reveal())).await.unwrap();
    assert_eq!(caller.author(), Author("token console".into()));
    assert!(caller.may(Right::Map).is_ok() && caller.may(Right::Administer).is_err());
    let kept = catalog.tokens().await.unwrap();
    assert!(kept[0].used_at_ms.is_some());
    let secret = token.reveal().rsplit('_').next().unwrap();
    assert!(!String::from_utf8_lossy(&kept[0].digest).contains(secret));
    let forged = format!("{}g", &token.reveal()[..token.reveal().len() - 1]);
    for (bearer, expected) in [
        (None, "NoToken"),
        (Some("lig_1_2"), "Unknown"),
        (Some("nothing"), "Unknown"),
        (Some(forged.as_str()), "Unknown"),
    ] {
        let refused = access::check(&catalog, bearer).await.unwrap_err();
        assert_eq!(format!("{refused:?}"), expected);
    }
    assert_eq!(catalog.revoke_token("console", &author()).await.unwrap(), 1);
    let again = catalog.revoke_token("console", &author()).await;
    assert!(matches!(again, Err(Error::NotFound(_))), "{again:?}");
    let refused = access::check(&catalog, Some(token.reveal())).await;
    assert!(
        matches!(refused, Err(access::Error::Unknown)),
        "{refused:?}"
    );
}

async fn a_shared_mapping_is_kept_and_goes_with_its_account(bed: Bed) {
    let catalog = bed.store.catalog();
    let shared = |text: &str| SharedMapping {
        account: account_id(),
        name: "patients".into(),
        mapping: text.into(),
        component: Digest::of(text.as_bytes()),
    };
    let put = |text: &str, expected| Change::SharedMapping(shared(text), expected);
    let account_of = Change::Account(account("One"), Expected::New);
    apply(&catalog, &[account_of]).await.unwrap();
    let kept = async || {
        let kept = catalog.shared_mapping(&account_id(), "patients").await;
        kept.unwrap()
    };
    assert!(kept().await.is_none());
    let made = apply(&catalog, &[put("one", Expected::Any)]).await;
    assert_eq!(made.unwrap(), [1]);
    let changed = apply(&catalog, &[put("two", Expected::Any)]).await;
    assert_eq!(changed.unwrap(), [2]);
    let found = kept().await.unwrap();
    assert_eq!((found.document, found.version), (shared("two"), 2));
    let gone = Change::DeleteAccount(account_id(), Expected::Any);
    apply(&catalog, &[gone]).await.unwrap();
    assert!(kept().await.is_none());
}
