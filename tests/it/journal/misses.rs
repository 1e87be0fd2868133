//! Codes without an entry: counted, shown, and what waits for one goes on.

use ligature::store::journal::{Missed, Settled};

use super::{Bed, account, arrival, both, ids, settlement};

both!(
    what_waits_for_a_code_goes_on_when_it_is_found,
    misses_that_nothing_waits_for_are_forgotten,
);

fn missed(code: &str) -> Missed {
    Missed {
        table: "wards".into(),
        code: code.into(),
    }
}

async fn what_waits_for_a_code_goes_on_when_it_is_found(bed: Bed) {
    for (id, patient) in [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")] {
        bed.append(arrival(id, &[patient])).await;
    }
    let codes = ["ICU", "ICU", "ER"];
    for (claimed, code) in bed.claim().await.iter().zip(codes) {
        let mut parked = settlement(Settled::Parked);
        parked.misses = vec![missed(code), missed("other")];
        parked.awaits = Some(missed(code));
        bed.journal.settle(&claimed.lease, parked).await.unwrap();
    }
    let misses = bed.journal.misses(&account(), "wards", None, 10).await;
    let mut misses = misses.unwrap();
    misses.sort_by(|a, b| a.code.cmp(&b.code));
    let shown: Vec<_> = misses
        .iter()
        .map(|miss| (miss.code.as_str(), miss.count, miss.stopped))
        .collect();
    assert_eq!(shown, [("ER", 1, 1), ("ICU", 2, 2), ("other", 3, 0)]);
    let elsewhere = bed.journal.misses(&account(), "beds", None, 10).await;
    assert!(elsewhere.unwrap().is_empty());

    let account = account();
    let found = bed.journal.found(&account, "wards", |code| code == "ICU");
    assert_eq!(found.await.unwrap(), 2);
    assert_eq!(ids(&bed.claim().await), ["1", "2"]);
    let again = bed.journal.found(&account, "wards", |code| code == "ICU");
    assert_eq!(again.await.unwrap(), 0);
    let left = bed.journal.misses(&account, "wards", None, 10).await;
    assert_eq!(left.unwrap().len(), 2);
}

async fn misses_that_nothing_waits_for_are_forgotten(bed: Bed) {
    bed.append(arrival("1", &["a"])).await;
    bed.append(arrival("2", &["b"])).await;
    let claimed = bed.claim().await;
    let mut delivered = settlement(Settled::Delivered);
    delivered.misses = vec![missed("ICU")];
    bed.journal
        .settle(&claimed[0].lease, delivered)
        .await
        .unwrap();
    let mut parked = settlement(Settled::Parked);
    parked.misses = vec![missed("ER")];
    parked.awaits = Some(missed("ER"));
    bed.journal.settle(&claimed[1].lease, parked).await.unwrap();
    bed.journal.forget_misses(0).await.unwrap();
    let misses = async || {
        let misses = bed.journal.misses(&account(), "wards", None, 10).await;
        misses
            .unwrap()
            .into_iter()
            .map(|miss| miss.code)
            .collect::<Vec<_>>()
    };
    assert_eq!(misses().await.len(), 2, "they are new");
    bed.journal.forget_misses(i64::MAX).await.unwrap();
    assert_eq!(misses().await, ["ER"]);
}
