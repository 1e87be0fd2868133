//! What one attempt writes into the journal beside its calls: a row before each, its reply after.
//!
//! The reply of one call travels with the row of the next, and the last one with the settlement, so that a delivery
//! costs one commit a call and one at the end.

use jiff::Timestamp;
use serde::Serialize;

use super::judge::Stop;
use super::trace::Traces;
use crate::flow::AccountId;
use crate::leadsquared;
use crate::store::journal::{
    Claimed, Finished, Lease, Link, LinkKey, LinkTarget, NewOperation, OperationId, OperationKind,
    OperationRow, OperationState, Record,
};
use crate::store::{self, Store};

/// The ledger of one attempt.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    lease: Lease,
    earlier: Vec<OperationRow>,
    open: Option<(i64, OperationId)>,
    /// What this attempt has written, by position.
    done: Vec<(i64, OperationId)>,
    /// Replies that are not in the journal yet.
    pub finished: Vec<Finished>,
    pub links: Vec<Link>,
    pub forget: Vec<LinkKey>,
    /// Records as this attempt leaves them.
    pub records: Vec<Record>,
    /// Ids of what this and earlier attempts wrote.
    pub targets: Vec<String>,
    /// What mapping runs left behind.
    pub traces: Traces,
}

/// What earlier attempts of this delivery did at one position.
#[derive(Debug)]
pub enum Earlier {
    /// Nothing that had an effect.
    Nothing,
    Done {
        target: String,
        kind: OperationKind,
    },
    /// Sent, and the answer never came.
    Unknown {
        operation: OperationId,
        kind: OperationKind,
        /// What was sent.
        payload: Vec<u8>,
    },
}

impl Ledger {
    pub fn new(store: Store, claimed: &Claimed) -> Self {
        Self {
            store,
            lease: claimed.lease.clone(),
            earlier: claimed.operations.clone(),
            open: None,
            finished: Vec::new(),
            links: Vec::new(),
            forget: Vec::new(),
            records: Vec::new(),
            targets: claimed.operations.iter().filter_map(target).collect(),
            traces: Traces::default(),
            done: Vec::new(),
        }
    }

    /// What the newest earlier write at `ordinal` came to.
    ///
    /// # Errors
    /// [`Stop::LookUpLater`] while a write of unknown outcome is younger than `wait_ms`: its request may still arrive.
    pub fn earlier(&self, ordinal: i64, wait_ms: u64) -> Result<Earlier, Stop> {
        let Some(row) = self.earlier.iter().rfind(|row| row.ordinal == ordinal) else {
            return Ok(Earlier::Nothing);
        };
        match &row.state {
            OperationState::Done {
                target: Some(target),
            } => Ok(Earlier::Done {
                target: target.clone(),
                kind: row.kind,
            }),
            OperationState::Begun | OperationState::Unknown => {
                let due_at_ms = row.started_at_ms + wait_ms as i64;
                if Timestamp::now().as_millisecond() < due_at_ms {
                    return Err(Stop::LookUpLater { due_at_ms });
                }
                Ok(Earlier::Unknown {
                    operation: row.id.clone(),
                    kind: row.kind,
                    payload: row.payload.clone(),
                })
            }
            _ => Ok(Earlier::Nothing),
        }
    }

    /// What earlier attempts did last at one position, whatever came of it.
    pub fn newest(&self, ordinal: i64) -> Option<&OperationRow> {
        self.earlier.iter().rfind(|row| row.ordinal == ordinal)
    }

    /// All that earlier attempts did at one position, oldest first.
    pub fn all(&self, ordinal: i64) -> impl Iterator<Item = &OperationRow> {
        self.earlier
            .iter()
            .filter(move |row| row.ordinal == ordinal)
    }

    /// Writes the row that must stand before a call goes out; durable on return.
    pub async fn begin(
        &mut self,
        ordinal: i64,
        kind: OperationKind,
        payload: &impl Serialize,
    ) -> Result<(), Stop> {
        let payload = serde_json::to_vec(payload).expect("a planned write serializes");
        let operation = NewOperation {
            ordinal,
            kind,
            identity: None,
            payload,
        };
        let finished = std::mem::take(&mut self.finished);
        match self
            .store
            .journal()
            .begin(&self.lease, finished, operation)
            .await
        {
            Ok(id) => {
                self.open = Some((ordinal, id));
                Ok(())
            }
            Err(store::Error::LeaseLost) => Err(Stop::LeaseLost),
            Err(fault) => Err(Stop::Store(fault)),
        }
    }

    /// The call took effect on `target`.
    pub fn done(&mut self, target: &str) {
        self.done.extend(self.open.clone());
        self.targets.push(target.into());
        self.finish(OperationState::Done {
            target: Some(target.into()),
        });
    }

    /// The call certainly had no effect.
    pub fn failed(&mut self, code: &'static str) {
        self.finish(OperationState::Failed { code: code.into() });
    }

    /// Nobody knows whether the call had an effect.
    pub fn unknown(&mut self) {
        self.finish(OperationState::Unknown);
    }

    /// Notes how a call failed and says how the attempt ends.
    pub fn stop(&mut self, fault: leadsquared::Error) -> Stop {
        if fault.outcome_unknown() {
            self.finish(OperationState::Unknown);
        } else {
            self.failed(fault.code());
        }
        Stop::LeadSquared(fault)
    }

    /// A write of unknown outcome was found to have taken place.
    pub fn adopt(&mut self, operation: OperationId, target: &str) {
        let state = OperationState::Done {
            target: Some(target.into()),
        };
        self.targets.push(target.into());
        self.finished.push(Finished { operation, state });
    }

    /// What was written at `ordinal` is gone from LeadSquared: the next attempt is not to rest on it.
    pub fn undo(&mut self, ordinal: i64) {
        let earlier = self.earlier.iter().filter(|row| row.ordinal == ordinal);
        let of_earlier = earlier.map(|row| row.id.clone());
        let here = self.done.iter().filter(|(at, _)| *at == ordinal);
        let gone: Vec<OperationId> = of_earlier.chain(here.map(|(_, id)| id.clone())).collect();
        for operation in gone {
            self.finished.retain(|known| known.operation != operation);
            let state = OperationState::Failed {
                code: "gone".into(),
            };
            self.finished.push(Finished { operation, state });
        }
    }

    pub fn link(&mut self, key: LinkKey, target: &str, parent: Option<&str>) {
        self.links.push(Link {
            key,
            to: LinkTarget {
                target: target.into(),
                parent: parent.map(str::to_owned),
            },
        });
    }

    pub fn forget(&mut self, key: LinkKey) {
        self.forget.push(key);
    }

    /// What the account's links know; links of this attempt are not in the journal before it is settled.
    pub async fn links(
        &self,
        account: &AccountId,
        keys: &[LinkKey],
    ) -> Result<Vec<Option<LinkTarget>>, Stop> {
        self.store
            .journal()
            .links(account, keys)
            .await
            .map_err(Stop::Store)
    }

    /// What this host wrote last to the record of this id.
    pub async fn record(&self, account: &AccountId, id: &str) -> Result<Option<Vec<u8>>, Stop> {
        Ok(self.records(account, &[id]).await?.pop().flatten())
    }

    /// The same of several, in the order asked.
    pub async fn records(
        &self,
        account: &AccountId,
        ids: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, Stop> {
        let kept = self.store.journal().records(account, ids).await;
        let mut kept = kept.map_err(Stop::Store)?;
        for (id, kept) in ids.iter().zip(&mut kept) {
            // An earlier write of this attempt is not in the journal yet.
            if let Some(record) = self.records.iter().rfind(|record| record.id == **id) {
                *kept = Some(record.document.clone());
            }
        }
        Ok(kept)
    }

    /// How values of the account's records are told apart.
    pub fn fingerprint(
        &self,
        account: &AccountId,
    ) -> impl Fn(&str, &str) -> u64 + Send + Sync + use<> {
        let (journal, account) = (self.store.journal(), account.clone());
        move |field, value| journal.fingerprint(&account, field, value)
    }

    fn finish(&mut self, state: OperationState) {
        if let Some((_, operation)) = self.open.take() {
            self.finished.push(Finished { operation, state });
        }
    }
}

/// The record that an earlier write went to.
fn target(row: &OperationRow) -> Option<String> {
    match &row.state {
        OperationState::Done { target } => target.clone(),
        _ => None,
    }
}
