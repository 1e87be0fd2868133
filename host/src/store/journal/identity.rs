//! Knows a repeated message: the same identity and payload within seven days.
//!
//! Most batches hold nothing that came before, so the quick way claims all identities and fails as a whole when one is
//! taken; only then does the careful way ask which, and decide about each.
//! Rows stand in the order of control ids, which most senders count up: new ones lie side by side.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::append::Entry;
use crate::store::database::{Answers, Kind, Part, Row, Script, Sql, Value};
use crate::store::failure::Failure;
use Kind::{Bytes, Int, Text};

/// How long a repeated message is known, in milliseconds: 7 days.
pub const DUPLICATE_WINDOW_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// Characters of a control id that order the rows; the key tells them apart.
const CONTROL_ID_CHARS: usize = 40;

/// How a repeated message is known.
pub struct DuplicateKey {
    /// Channel, MSH-3, MSH-4, MSH-10 and MSH-7 in one text; kept as hash.
    pub identity: String,
    /// SHA-256 of the payload: the same identity with another payload is another message.
    pub payload: [u8; 32],
}

impl fmt::Debug for DuplicateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DuplicateKey(redacted)")
    }
}

/// An identity as it is kept.
pub(super) struct Identity {
    control_id: Value,
    key: Arc<[u8]>,
    payload: Arc<[u8]>,
}

impl Identity {
    pub(super) fn new(control_id: &str, key: Arc<[u8]>, payload: &[u8; 32]) -> Self {
        let start: String = control_id.chars().take(CONTROL_ID_CHARS).collect();
        Self {
            control_id: start.as_str().into(),
            key,
            payload: payload.as_slice().into(),
        }
    }

    /// Another payload under a used identity is known by both together: the keyed hash, changed by the payload's.
    fn key(&self, second: bool) -> Arc<[u8]> {
        if !second {
            return self.key.clone();
        }
        self.key
            .iter()
            .zip(self.payload.iter())
            .map(|(key, payload)| key ^ payload)
            .collect()
    }

    fn row(&self, entry: &Entry, second: bool) -> [Value; 6] {
        [
            (&entry.account).into(),
            self.control_id.clone(),
            (&self.key(second)).into(),
            (&self.payload).into(),
            (&entry.id).into(),
            entry.received_at.into(),
        ]
    }
}

macro_rules! insertion {
    ($rest:literal) => {
        Sql {
            text: concat!(
                "with v(account_id, control_id, key, payload, message_id, received_at) as (values {rows})
insert {or_rollback} into duplicate (account_id, control_id, key, payload, message_id, received_at)
select account_id, control_id, key, payload, message_id, received_at from v
where account_id is not null",
                $rest
            ),
            kinds: &[Text, Text, Bytes, Bytes, Text, Int],
        }
    };
}

static CLAIM: Sql = insertion!("");

/// Repeated messages are known by the rows that do not come back.
static NOTE: Sql = insertion!(
    "
on conflict (account_id, control_id, key) do nothing
returning message_id"
);

static KNOWN: Sql = Sql {
    text: "select d.payload, d.message_id, d.received_at, m.acknowledgement
from duplicate d
left join message m on m.account_id = d.account_id and m.id = d.message_id
where d.account_id = ? and d.control_id = ? and d.key = ?",
    kinds: &[],
};

static RENEW: Sql = Sql {
    text: "update {or_rollback} duplicate set payload = ?, message_id = ?, received_at = ?
where account_id = ? and control_id = ? and key = ?",
    kinds: &[],
};

fn rows(entries: &[&Entry]) -> Vec<Value> {
    entries
        .iter()
        .filter_map(|entry| Some(entry.identity.as_ref()?.row(entry, false)))
        .flatten()
        .collect()
}

/// The quick way: the statement fails, and the transaction with it, when one of the identities is known.
pub(in crate::store) fn claim(script: &mut Script, entries: &[&Entry]) {
    script.rows(&CLAIM, rows(entries));
}

/// The careful way's first step: notes the identities that are new.
pub(in crate::store) fn note(script: &mut Script, entries: &[&Entry]) -> Part {
    script.rows(&NOTE, rows(entries))
}

/// How an entry goes on once identities are known.
pub(in crate::store) enum Verdict {
    New,
    /// Its control id was used for another message before.
    Reused,
    Duplicate {
        message: Arc<str>,
        /// None once it is no longer kept.
        sealed: Option<Arc<[u8]>>,
    },
}

/// The entries whose identities were known before.
pub(in crate::store) fn repeated(
    answers: &mut Answers,
    part: &Part,
    entries: &[&Entry],
) -> Result<Vec<usize>, Failure> {
    let new = answers
        .of(part)
        .iter()
        .map(|row| row.text(0))
        .collect::<Result<HashSet<_>, _>>()?;
    Ok((0..entries.len())
        .filter(|at| entries[*at].identity.is_some() && !new.contains(&entries[*at].id))
        .collect())
}

/// Looks for what is known under the first or second key of an entry.
pub(in crate::store) fn look_up(script: &mut Script, entry: &Entry, second: bool) -> Part {
    let Some(identity) = &entry.identity else {
        return Part::default();
    };
    let values = vec![
        (&entry.account).into(),
        identity.control_id.clone(),
        (&identity.key(second)).into(),
    ];
    script.one(&KNOWN, values)
}

/// What to do after [`look_up`]: a verdict, or statements that note the entry under one of its keys.
pub(in crate::store) fn judge(
    script: &mut Script,
    rows: &[Row],
    entry: &Entry,
    second: bool,
    entries: &[&Entry],
) -> Result<Option<Verdict>, Failure> {
    let Some(identity) = &entry.identity else {
        return Ok(Some(Verdict::New));
    };
    let Some(row) = rows.first() else {
        // Only the second key can be new here; the first was refused as known.
        script.rows(&NOTE, identity.row(entry, second).into());
        return Ok(Some(Verdict::Reused));
    };
    let message = row.text(1)?;
    // The first one may be in this very batch, not inserted yet. Else it is gone: identities outlive messages.
    let sealed = match row.optional(3, Row::bytes)? {
        Some(sealed) => Some(sealed),
        None => entries
            .iter()
            .find(|other| other.id == message && other.account == entry.account)
            .map(|other| other.acknowledgement.clone()),
    };
    let fresh = row.int(2)? > entry.received_at - DUPLICATE_WINDOW_MS;
    match fresh {
        true if row.bytes(0)? == identity.payload => {
            Ok(Some(Verdict::Duplicate { message, sealed }))
        }
        true if !second => Ok(None),
        _ => {
            // Too old: the key is ours now.
            script.one(
                &RENEW,
                vec![
                    (&identity.payload).into(),
                    (&entry.id).into(),
                    entry.received_at.into(),
                    (&entry.account).into(),
                    identity.control_id.clone(),
                    (&identity.key(second)).into(),
                ],
            );
            Ok(Some(if second {
                Verdict::Reused
            } else {
                Verdict::New
            }))
        }
    }
}
