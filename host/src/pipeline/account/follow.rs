//! Follows an account to another host: where LeadSquared refuses its keys or names another region, it is asked who the keys
//! belong to, and the address in the catalog follows what it says.
//!
//! Whoever answers at the old host may be wrong, so nothing is changed before the new one has served the account, and an
//! account is looked for once a minute at most: two hosts that name each other lead nowhere. Start at [`Pipeline::follow`].

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Error, client};
use crate::flow::AccountId;
use crate::leadsquared;
use crate::pipeline::Pipeline;
use crate::pipeline::judge::{Done, Stop};
use crate::store::catalog::audit::Record;
use crate::store::catalog::{Author, Change, Expected};

/// How often one account is looked for at most.
const ASKED_EVERY: Duration = Duration::from_secs(60);

/// How long a new address may take to be in force.
const IN_FORCE: Duration = Duration::from_secs(10);

/// The accounts that LeadSquared would not serve, until somebody has looked for them.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Doubts {
    accounts: Mutex<BTreeSet<AccountId>>,
    told: Notify,
}

impl Doubts {
    /// Notes the account of a delivery that stopped because LeadSquared would not serve it.
    pub(in crate::pipeline) fn note(&self, account: &AccountId, result: &Result<Done, Stop>) {
        if let Err(Stop::LeadSquared(fault)) = result {
            self.note_fault(account, fault);
        }
    }

    pub(super) fn note_fault(&self, account: &AccountId, fault: &leadsquared::Error) {
        // A faulty address is not LeadSquared's word.
        let is_refusal = matches!(
            fault,
            leadsquared::Error::Unauthorized | leadsquared::Error::Moved { .. }
        );
        if is_refusal {
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            accounts.insert(account.clone());
            self.told.notify_one();
        }
    }

    fn take(&self) -> BTreeSet<AccountId> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *accounts)
    }
}

/// Looks for accounts that LeadSquared would not serve until `shutdown`.
pub async fn keep(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let mut asked: BTreeMap<AccountId, Instant> = BTreeMap::new();
    loop {
        tokio::select! {
            () = pipeline.doubts.told.notified() => {}
            () = shutdown.cancelled() => return,
        }
        for account in pipeline.doubts.take() {
            // Its next delivery that is refused asks again.
            if asked
                .get(&account)
                .is_some_and(|at| at.elapsed() < ASKED_EVERY)
            {
                continue;
            }
            asked.insert(account.clone(), Instant::now());
            if let Err(fault) = Box::pin(pipeline.follow(&account)).await {
                warn!(%account, %fault, "LeadSquared does not serve the account: its messages wait");
            }
        }
    }
}

impl Pipeline {
    /// Asks LeadSquared where the account's API is, and takes the account there; gives the new address, if it moved.
    ///
    /// # Errors
    /// What LeadSquared says of the keys, here or there; or that what it names cannot be believed.
    pub async fn follow(&self, account: &AccountId) -> Result<Option<String>, Error> {
        let entry = self.entry(account)?;
        let here = &entry.account.api;
        let (host, organisation) = match entry.client.who_am_i().await {
            Ok(caller) => (caller.api_host, Some(caller.organisation)),
            Err(leadsquared::Error::Moved { host }) => (Some(host), None),
            Err(fault) => return Err(fault.into()),
        };
        let Some(there) = host.and_then(|host| leadsquared::elsewhere(here, &host)) else {
            return Ok(None);
        };
        let client = client(&there, entry.keys())?;
        let caller = client.who_am_i().await?;
        let further = caller.api_host;
        if let Some(further) = further.and_then(|host| leadsquared::elsewhere(&there, &host)) {
            return Err(Error::Refused(format!(
                "LeadSquared sends the account from {here} to {there}, and from there to {further}: not followed"
            )));
        }
        if organisation.is_some_and(|known| known != caller.organisation) {
            return Err(Error::Refused(format!(
                "at {there} the keys lead to another account of LeadSquared's: not followed"
            )));
        }
        // Any region tells who the keys belong to; only the right one serves the account.
        client.lead_fields().await?;

        let catalog = self.store.catalog();
        let accounts = catalog.list().await?.accounts.into_iter();
        let mut kept = accounts.filter(|kept| kept.document.id == *account);
        let Some(kept) = kept.next().filter(|kept| kept.document.api == *here) else {
            // Somebody was quicker.
            return Ok(None);
        };
        let (mut moved, version) = (kept.document, kept.version);
        moved.api.clone_from(&there);
        let id = account.as_str();
        let changes = [
            Change::Note(Record::of("follow", id, "account", id)),
            Change::Account(moved, Expected::Version(version)),
        ];
        let mut configurations = self.configurations();
        catalog.apply(&changes, &Author::host()).await?;
        info!(%account, from = here, to = there, "LeadSquared serves the account at another host: its address is changed");
        self.changed();
        let in_force = configurations.wait_for(|configuration| {
            let entry = configuration.account(account);
            entry.is_some_and(|entry| entry.account.api == there)
        });
        // A configuration that cannot run is told of where it is read.
        let _ = timeout(IN_FORCE, in_force).await;
        Ok(Some(there))
    }
}
