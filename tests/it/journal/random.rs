//! The law of lanes under chance: workers come and go, leases run out, deliveries wait and die.
//!
//! Checked: no delivery runs twice at once under valid leases, none is lost, and in each lane deliveries that
//! stay at its head take effect in the order in which they were received.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ligature::store::Error;
use ligature::store::journal::{
    Claimed, Filter, Journal, LEASE, NewOperation, OperationKind, Route, Settled, State,
};

use super::{Bed, RUN_OUT, account, arrival, both, queued, settlement};

both!(effects_keep_their_order_whatever_workers_do);

const MESSAGES: usize = 240;
const PATIENTS: usize = 12;
const WORKERS: usize = 5;

/// A small generator, so that a failing seed can be run again.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }
}

#[derive(Default)]
struct Seen {
    /// Deliveries under a lease that has not run out.
    running: HashSet<String>,
    /// Lanes of those.
    busy: HashMap<String, String>,
    /// Delivered, in order: sequence number and lanes.
    effects: Vec<(i64, Vec<String>)>,
    dead: BTreeSet<String>,
}

async fn effects_keep_their_order_whatever_workers_do(bed: Bed) {
    for seed in [1, 0xfeed, u64::from(std::process::id())] {
        run(&bed, seed).await;
    }
}

async fn run(bed: &Bed, seed: u64) {
    let mut dice = Dice(seed | 1);
    let mut lanes_of = HashMap::new();
    for n in 0..MESSAGES {
        let mut lanes = vec![format!("{seed} p{}", dice.roll(PATIENTS))];
        if dice.roll(8) == 0 {
            lanes.push(format!("{seed} p{}", dice.roll(PATIENTS)));
        }
        lanes.sort();
        lanes.dedup();
        let id = format!("{seed}/{n}");
        let mut arrival = arrival(&id, &lanes.iter().map(String::as_str).collect::<Vec<_>>());
        if dice.roll(3) == 0 {
            arrival.route = Route::Flows(vec![queued("lead"), queued("activity")]);
        }
        lanes_of.insert(id, lanes);
        bed.append(arrival).await;
    }
    let lanes_of = Arc::new(lanes_of);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let workers = (0..WORKERS).map(|worker| {
        let journal = bed.journal.clone();
        let seen = seen.clone();
        let lanes_of = lanes_of.clone();
        let dice = Dice(seed.wrapping_mul(worker as u64 + 3) | 1);
        async move { work(&journal, &format!("w{worker}"), dice, &seen, &lanes_of).await }
    });
    futures_util::future::join_all(workers).await;

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(seen.running.is_empty() && seen.busy.is_empty());
    let mut last: HashMap<&str, i64> = HashMap::new();
    for (seq, lanes) in &seen.effects {
        for lane in lanes {
            let before = last.insert(lane, *seq);
            assert!(
                before.is_none_or(|before| before < *seq),
                "seed {seed}: lane {lane}: {before:?} before {seq}"
            );
        }
    }
    for state in [State::Queued, State::Running, State::Waiting] {
        let filter = Filter {
            state: Some(state),
            ..Filter::default()
        };
        let page = bed.journal.list(&filter, None, 10).await.unwrap();
        assert!(
            page.rows.is_empty(),
            "seed {seed}: {state}: {:?}",
            page.rows
        );
    }
    let count = |state| {
        let journal = bed.journal.clone();
        async move {
            let counts = journal.counts(&account()).await.unwrap();
            let of_state = counts.iter().filter(|count| count.state == state);
            of_state.map(|count| count.count as usize).sum::<usize>()
        }
    };
    assert!(count(State::Delivered).await >= seen.effects.len());
    assert!(count(State::Dead).await >= seen.dead.len());
}

async fn work(
    journal: &Journal,
    owner: &str,
    mut dice: Dice,
    seen: &Mutex<Seen>,
    lanes_of: &HashMap<String, Vec<String>>,
) {
    let mut idle = 0;
    // A lane that was put to sleep for another may need a few looks before it is found free.
    while idle < 8 {
        let expires = dice.roll(4) == 0;
        let lease = if expires { RUN_OUT } else { LEASE };
        let max = 1 + dice.roll(5);
        let claimed = journal.claim(owner, max, lease).await.unwrap();
        if claimed.is_empty() {
            let due = journal.next_due_at().await.unwrap();
            if due.is_none() {
                idle += 1;
            }
            tokio::task::yield_now().await;
            continue;
        }
        idle = 0;
        for one in claimed {
            let lanes = &lanes_of[&one.control_id];
            if !expires {
                start(seen, &one, lanes);
            }
            for _ in 0..dice.roll(4) {
                tokio::task::yield_now().await;
            }
            finish(journal, &mut dice, seen, one, lanes, expires).await;
        }
    }
}

fn start(seen: &Mutex<Seen>, one: &Claimed, lanes: &[String]) {
    let mut seen = seen.lock().unwrap();
    let delivery = one.delivery.to_string();
    assert!(
        seen.running.insert(delivery.clone()),
        "{delivery} runs twice"
    );
    for lane in lanes.iter().collect::<BTreeSet<_>>() {
        let other = seen.busy.insert(lane.clone(), delivery.clone());
        assert!(other.is_none(), "{lane} is busy with {other:?}");
    }
}

/// Must be called before the settlement can be seen by others.
fn stop(seen: &Mutex<Seen>, one: &Claimed, lanes: &[String]) {
    let mut seen = seen.lock().unwrap();
    seen.running.remove(one.delivery.as_str());
    for lane in lanes {
        seen.busy.remove(lane);
    }
}

async fn finish(
    journal: &Journal,
    dice: &mut Dice,
    seen: &Mutex<Seen>,
    one: Claimed,
    lanes: &[String],
    expires: bool,
) {
    let operation = NewOperation {
        ordinal: 0,
        kind: OperationKind::UpsertLead,
        identity: None,
        payload: Vec::new(),
    };
    let begun = journal.begin(&one.lease, Vec::new(), operation).await;
    if expires {
        // Another worker may have the lane by now; a row that was noted says that nobody had when it was.
        if !matches!(begun, Ok(_) | Err(Error::LeaseLost)) {
            panic!("{begun:?}");
        }
        if dice.roll(2) == 0 {
            return;
        }
    } else {
        begun.unwrap();
    }
    let state = match dice.roll(10) {
        0 => Settled::Dead { hold: false },
        1 | 2 => Settled::Waiting { due_at_ms: 1 },
        _ => Settled::Delivered,
    };
    if !expires {
        stop(seen, &one, lanes);
    }
    match state {
        // The effect is noted before the lane is free, as a write in the other system is.
        Settled::Delivered if !expires => {
            seen.lock().unwrap().effects.push((one.seq, lanes.to_vec()));
        }
        Settled::Dead { .. } if !expires => {
            seen.lock().unwrap().dead.insert(one.delivery.to_string());
        }
        _ => {}
    }
    match journal.settle(&one.lease, settlement(state)).await {
        Ok(()) => {}
        Err(Error::LeaseLost) if expires => {}
        Err(error) => panic!("{} under a valid lease: {error}", one.delivery),
    }
    tokio::time::sleep(Duration::ZERO).await;
}
