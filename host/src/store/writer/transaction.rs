//! One transaction: everything that waited together, in a handful of round trips.
//!
//! What must be known first is asked, then all changes go out, then claims take their heads; see [`transaction`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Command, Done, NUMBERS, Numbers, Outcome, Planned, Way};
use crate::store::database::{Answers, Connection, Dialect, Part, Renderer, Row, Script, Sql};
use crate::store::failure::Failure;
use crate::store::journal::append::{self, Entry, Kept};
use crate::store::journal::claim::Progress;
use crate::store::journal::identity::{self, Verdict};
use crate::store::journal::ledger;
use crate::store::journal::settle::{self, Settle};
use crate::store::now_ms;

static TAKE_NUMBERS: Sql = Sql {
    text: "update sequence set value = ? where name = 'seq'",
    kinds: &[],
};

static NEXT_NUMBERS: Sql = Sql {
    text: "select nextval('message_seq') from generate_series(1, ?)",
    kinds: &[],
};

/// Adds what makes the numbers of a batch durable, and gives where they come back.
fn reserve(numbers: &Numbers, script: &mut Script, count: i64) -> (Part, i64) {
    match script.dialect() {
        _ if count == 0 => (Part::default(), numbers.end),
        Dialect::Postgres => (script.one(&NEXT_NUMBERS, vec![count.into()]), 0),
        Dialect::Sqlite if numbers.next + count <= numbers.end => (Part::default(), numbers.end),
        Dialect::Sqlite => {
            let end = numbers.next + count + NUMBERS;
            (script.one(&TAKE_NUMBERS, vec![(end - 1).into()]), end)
        }
    }
}

pub(super) async fn transaction(
    connection: &mut Connection,
    renderer: &Arc<Renderer>,
    numbers: &mut Numbers,
    commands: &[Command],
    way: Way,
) -> Result<Done, Failure> {
    let now = now_ms();
    let mut entries: Vec<&Entry> = Vec::new();
    let mut begins = Vec::new();
    let mut settles = Vec::new();
    let mut claims = Vec::new();
    let mut plains = Vec::new();
    for command in commands {
        match command {
            Command::Append { entries: more, .. } => entries.extend(more),
            Command::Begin { begin, .. } => begins.push(begin),
            Command::Settle { settle, .. } => settles.push(settle),
            Command::Claim { claim, .. } => claims.push(claim),
            Command::Plain { statements, .. } => plains.push(statements),
        }
    }

    // Who was here before, who holds what.
    let mut script = Script::new(renderer);
    script.plain(match renderer.dialect {
        Dialect::Sqlite => "begin immediate",
        Dialect::Postgres => "begin",
    });
    let count = entries.iter().map(|entry| entry.numbers()).sum::<i64>() + claims.len() as i64;
    let (reserved, end) = reserve(numbers, &mut script, count);
    let identities = match way {
        Way::Quick => {
            identity::claim(&mut script, &entries);
            Part::default()
        }
        Way::Careful => identity::note(&mut script, &entries),
    };
    let noted = ledger::begin(&mut script, &begins);
    let freed = settle::free(&mut script, &settles, now);
    let asks = !(identities.is_empty() && noted.is_empty() && freed.is_empty())
        || (renderer.dialect == Dialect::Postgres && !reserved.is_empty());
    let mut answers = Answers::default();
    if asks {
        answers = connection.run(script).await?;
        script = Script::new(renderer);
    }
    let repeated = match way {
        Way::Quick => Vec::new(),
        Way::Careful => identity::repeated(&mut answers, &identities, &entries)?,
    };
    let noted = answers
        .of(&noted)
        .iter()
        .map(|row| row.text(0))
        .collect::<Result<HashSet<_>, _>>()?;
    let held = settle::held(&mut answers, &freed)?;
    let sqlite = renderer.dialect == Dialect::Sqlite;
    // SQLite's block needs no answer: one process counts, and its script may not have run yet.
    let given = if sqlite {
        Vec::new()
    } else {
        answers.of(&reserved)
    };
    let mut given = given
        .iter()
        .map(|row| row.int(0))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter();
    let mut next_number = || {
        if sqlite {
            numbers.next += 1;
            numbers.next - 1
        } else {
            given.next().unwrap_or_default()
        }
    };
    let mut verdicts = HashMap::new();
    for at in repeated {
        let verdict = verdict(connection, &mut script, entries[at], &entries).await?;
        verdicts.insert(at, verdict);
    }

    // The changes, and the first step of claims.
    let queued = append::insert(&mut script, &entries, &verdicts, &mut next_number, now);
    let mut finished = Vec::new();
    for begin in &begins {
        if begin.is_noted(&noted) {
            finished.extend(begin.finished().iter().cloned());
        }
    }
    ledger::finish(&mut script, finished);
    let holding: Vec<&Settle> = settles
        .iter()
        .copied()
        .filter(|settle| held.has(settle))
        .collect();
    let (emptied, lanes_left) = settle::write(&mut script, &holding, now);
    let plain_parts: Vec<Vec<Part>> = plains
        .iter()
        .map(|statements| {
            statements
                .iter()
                .map(|planned| planned.add(&mut script))
                .collect()
        })
        .collect();
    let mut progress: Vec<Progress<'_>> = claims
        .iter()
        .map(|claim| Progress::take(claim, &mut script, next_number(), now))
        .collect();
    if claims.is_empty() {
        script.plain("commit");
    }
    let mut answers = connection.run(script).await?;
    let lanes_go_on = answers.of(&emptied).len() < lanes_left;
    let plain_rows = plain_parts
        .iter()
        .map(|parts| parts.iter().map(|part| answers.of(part)).collect());
    let mut plain_rows: Vec<Vec<Vec<Row>>> = plain_rows.collect();
    let mut heads = Vec::new();
    let mut woke = false;
    let mut took = false;
    if !claims.is_empty() {
        let claimed = claim_heads(connection, renderer, &mut progress, answers, now).await?;
        woke = progress.iter().any(Progress::woke);
        took = claimed.took;
        let mut answers = claimed.answers;
        for (progress, ledgers) in progress.into_iter().zip(claimed.ledgers) {
            heads.push(progress.finish(&mut answers, &ledgers)?);
        }
    }
    if sqlite {
        numbers.end = numbers.end.max(end);
    }

    // Committed: what each command is told.
    let mut kept = entries
        .iter()
        .enumerate()
        .map(|(at, _)| match verdicts.remove(&at) {
            Some(Verdict::Duplicate { message, sealed }) => Kept::Duplicate { message, sealed },
            _ => Kept::Stored,
        });
    let mut heads = heads.into_iter();
    let mut plain_rows = plain_rows.drain(..);
    let mut done = Done {
        outcomes: Vec::with_capacity(commands.len()),
        changed: took
            || plains.iter().any(|plan| plan.iter().any(Planned::changes))
            || !noted.is_empty()
            || !holding.is_empty(),
        wake: queued || woke || lanes_go_on,
        messages: 0,
        settled: holding.len() as u64,
    };
    for command in commands {
        done.outcomes.push(match command {
            Command::Append { entries, .. } => {
                let kept: Vec<Kept> = kept.by_ref().take(entries.len()).collect();
                let stored = kept
                    .iter()
                    .filter(|kept| matches!(kept, Kept::Stored))
                    .count();
                done.messages += stored as u64;
                Outcome::Append(kept)
            }
            Command::Begin { begin, .. } if begin.is_noted(&noted) => Outcome::Done,
            Command::Settle { settle, .. } if held.has(settle) => Outcome::Done,
            Command::Begin { .. } | Command::Settle { .. } => Outcome::LeaseLost,
            Command::Claim { .. } => Outcome::Claim(heads.next().unwrap_or_default()),
            Command::Plain { wake, .. } => {
                done.wake |= wake;
                Outcome::Plain(plain_rows.next().unwrap_or_default())
            }
        });
    }
    done.changed |= done.messages > 0;
    Ok(done)
}

/// Decides about an entry whose identity is known; rare, so one by one.
async fn verdict(
    connection: &mut Connection,
    script: &mut Script,
    entry: &Entry,
    entries: &[&Entry],
) -> Result<Verdict, Failure> {
    for second in [false, true] {
        let part = identity::look_up(script, entry, second);
        let renderer = script.renderer().clone();
        let ask = std::mem::replace(script, Script::new(&renderer));
        let rows = connection.run(ask).await?.of(&part);
        if let Some(verdict) = identity::judge(script, &rows, entry, second, entries)? {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Reused)
}

struct ClaimedHeads {
    answers: Answers,
    ledgers: Vec<Part>,
    took: bool,
}

/// The further steps of claims, up to the commit.
async fn claim_heads(
    connection: &mut Connection,
    renderer: &Arc<Renderer>,
    progress: &mut [Progress<'_>],
    mut answers: Answers,
    now: i64,
) -> Result<ClaimedHeads, Failure> {
    let mut script = Script::new(renderer);
    let mut took = false;
    for claim in progress.iter_mut() {
        took |= claim.look(&mut answers, &mut script)?;
    }
    if took {
        answers = connection.run(script).await?;
        script = Script::new(renderer);
        for claim in progress.iter_mut() {
            claim.sort(&mut answers, &mut script, now)?;
        }
    }
    let mut others = None;
    if progress.iter().any(Progress::has_merges) {
        for claim in progress.iter_mut() {
            claim.take_others(&mut script);
        }
        others = Some(connection.run(script).await?);
        script = Script::new(renderer);
    }
    let mut ledgers = Vec::with_capacity(progress.len());
    for claim in progress.iter_mut() {
        ledgers.push(claim.mark(others.as_mut(), &mut script, now)?);
    }
    script.plain("commit");
    Ok(ClaimedHeads {
        answers: connection.run(script).await?,
        ledgers,
        took,
    })
}
