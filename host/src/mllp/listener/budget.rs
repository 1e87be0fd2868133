//! How much memory the frames of one listener may take together.
//!
//! A frame up to [`SMALL_BYTES`] always passes: that is nearly every message. A larger one needs a share, first one of
//! [`MEDIUM_BYTES`], then one for a frame of any size; until there is one its connection is not read from, and TCP
//! holds the sender back. Both kinds have a pool of their own and are asked for in this order, and who holds a share
//! has the frame's clock running against it: so a share always comes free again, whatever peers do.
//! Start at [`Share::grow`].

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Passes without a share. Ten thousand connections that all stop half-way in such a frame hold 320 MB.
pub(super) const SMALL_BYTES: usize = 32 * 1024;
/// The smaller of the two shares.
pub(super) const MEDIUM_BYTES: usize = 1024 * 1024;

/// The pools of one listener.
#[derive(Debug)]
pub(super) struct Budget {
    medium: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Budget {
    /// Half of `budget_bytes` for medium frames, half for frames up to `max_payload_bytes`; at least one of each.
    pub(super) fn new(budget_bytes: usize, max_payload_bytes: usize) -> Self {
        let pool = |share_bytes: usize| {
            let shares = budget_bytes / 2 / share_bytes.max(1);
            Arc::new(Semaphore::new(shares.clamp(1, Semaphore::MAX_PERMITS)))
        };
        Self {
            medium: pool(MEDIUM_BYTES),
            large: pool(max_payload_bytes),
        }
    }
}

/// What one frame may take; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Share {
    held: Held,
}

#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Medium(#[expect(dead_code, reason = "held until dropped")] OwnedSemaphorePermit),
    Large(#[expect(dead_code, reason = "held until dropped")] OwnedSemaphorePermit),
}

impl Share {
    /// How large the frame may grow.
    pub(super) fn allowed_bytes(&self) -> usize {
        match self.held {
            Held::Nothing => SMALL_BYTES,
            Held::Medium(_) => MEDIUM_BYTES,
            Held::Large(_) => usize::MAX,
        }
    }

    /// Waits for the next larger share; what was held until then is held meanwhile.
    pub(super) async fn grow(self, budget: Arc<Budget>) -> Self {
        let pool = match self.held {
            Held::Nothing => budget.medium.clone(),
            Held::Medium(_) | Held::Large(_) => budget.large.clone(),
        };
        // The pools are never closed.
        let Ok(permit) = pool.acquire_owned().await else {
            return self;
        };
        Self {
            held: match self.held {
                Held::Nothing => Held::Medium(permit),
                Held::Medium(_) | Held::Large(_) => Held::Large(permit),
            },
        }
    }
}
