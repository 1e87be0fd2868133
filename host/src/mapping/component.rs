//! A loaded component: compiled, linked once, ready for a fresh instance per message.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

use super::bindings::inbound::MapsToLeadSquaredPre;
use super::bindings::outbound::MapsToHl7Pre;
use super::grants::Granted;
use super::host::State;
use super::manifest::Manifest;
use super::usage::Usage;
use crate::flow::limits::Limits;
use crate::flow::{Digest, Direction, Release};

/// A component that can be run; [`Runtime::load`](super::Runtime::load) makes it.
pub struct Component {
    pub digest: Digest,
    pub manifest: Manifest,
    pub(crate) linked: Linked,
    /// Fewer than there are workers, so that one slow component leaves some for the others.
    pub(crate) running: Semaphore,
    /// What the component uses on this host.
    pub(crate) usage: Arc<Usage>,
    limits: Mutex<Limits>,
    /// Grants made ready, by release; a component has one active release or two, so a list is enough.
    granted: Mutex<Vec<(Weak<Release>, Arc<Granted>)>>,
}

/// The exports of one of the two worlds.
pub(crate) enum Linked {
    Inbound(MapsToLeadSquaredPre<State>),
    Outbound(MapsToHl7Pre<State>),
}

impl Component {
    /// Which way it maps.
    pub fn direction(&self) -> Direction {
        match self.linked {
            Linked::Inbound(_) => Direction::EhrToLeadSquared,
            Linked::Outbound(_) => Direction::LeadSquaredToEhr,
        }
    }

    /// Gives it other limits, for runs from now on.
    pub fn limit(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn new(
        (digest, usage): (Digest, Arc<Usage>),
        manifest: Manifest,
        linked: Linked,
        at_once: usize,
    ) -> Self {
        Self {
            usage,
            limits: Mutex::default(),
            digest,
            manifest,
            linked,
            running: Semaphore::new(at_once),
            granted: Mutex::default(),
        }
    }

    /// The grants of a release, made ready when the release is seen first.
    pub(crate) fn granted(&self, release: &Arc<Release>) -> Arc<Granted> {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        // A weak reference keeps its address from being used again, so equal addresses are the same release.
        let known = granted
            .iter()
            .find(|(known, _)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(release)));
        if let Some((_, ready)) = known {
            return ready.clone();
        }
        granted.retain(|(known, _)| known.strong_count() > 0);
        let ready = Arc::new(Granted::of(release));
        granted.push((Arc::downgrade(release), ready.clone()));
        ready
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Component").field(&self.digest).finish()
    }
}
