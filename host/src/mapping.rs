//! The one step that is delegated: what does this message mean in the other system's fields?
//!
//! A mapping is a WebAssembly component behind the contract in `wit/`, run in a fresh instance for every message,
//! with a deadline, a memory limit, and nothing to reach but what its release grants.
//! This room is the only one that knows wasmtime; it knows no store, no MLLP and no HTTP.
//!
//! Two ways lead here. [`Runtime::load`] makes bytes ready to run and says why not where it cannot ([`gate`]).
//! [`Runtime::to_lead_squared`] maps one message and [`Runtime::to_ehr`] one change; both tell the same kinds of end
//! apart ([`Failure`]).
//! What an administrator clicks together is a [`document::Document`], and [`generate::component`] makes a component
//! of it.

pub mod compare;
pub mod contract;
pub mod document;
pub mod eject;
pub mod failure;
pub mod gate;
pub mod generate;
pub mod host;
pub mod lineage;
pub mod manifest;
pub mod native;
pub mod pack;
pub mod propose;
pub mod robust;
pub mod shown;
pub mod signature;
pub mod starter;

mod answer;
mod apart;
mod artefact;
mod bindings;
mod component;
mod engine;
mod grants;
mod trace;
mod usage;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime::{Engine, Store};

use self::apart::Apart;
use self::artefact::{Artefacts, Mac};
use self::bindings::about::DescribesItselfPre;
use self::bindings::inbound::{MapsToLeadSquared, MapsToLeadSquaredPre};
use self::bindings::outbound::{MapsToHl7, MapsToHl7Pre};
use self::bindings::types;
use self::component::Linked;
use self::engine::{MAX_FUEL, Meter};
use self::grants::Granted;
use self::host::{About, Asked, State, Subject};
use self::usage::Usages;

pub use self::component::Component;
pub use self::failure::Failure;
pub use self::gate::Rejected;
pub use self::host::{ChangeInput, Input, Tables};
pub use self::manifest::Manifest;
pub use self::trace::{Cause, Level, LogLine, Miss, Warning};
pub use self::usage::Used;

use crate::flow::change::Composed;
use crate::flow::limits::Limits;
use crate::flow::mapped::Mapped;
use crate::flow::{Digest, Direction};

/// Limits of every run, and where compiled components are kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long one run may take.
    pub deadline: Duration,
    /// Memory of one instance, at most 4 GiB.
    pub max_memory_bytes: usize,
    /// Folder of the compiled components.
    pub artefacts: PathBuf,
    /// Components run at once.
    pub workers: usize,
}

impl Config {
    /// 100 ms, 64 MiB, and one worker more than the machine has cores.
    pub fn new(artefacts: PathBuf) -> Self {
        Self {
            deadline: Duration::from_millis(100),
            max_memory_bytes: 64 * 1024 * 1024,
            artefacts,
            workers: std::thread::available_parallelism().map_or(2, |cores| cores.get()) + 1,
        }
    }
}

/// The runtime could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("folder {} for compiled components: {source}", folder.display())]
    Artefacts {
        folder: PathBuf,
        source: std::io::Error,
    },
    #[error("wasmtime cannot start on this machine: {0}")]
    Engine(String),
}

/// Loads components and runs them.
pub struct Runtime {
    config: Config,
    engine: Engine,
    linker: Linker<State>,
    artefacts: Artefacts,
    workers: Arc<Semaphore>,
    apart: Apart,
    meter: Meter,
    usages: Usages,
    mac: Mac,
    /// The one that counts fuel, once somebody has asked for it.
    metered: Mutex<Option<Arc<Runtime>>>,
}

/// Instances at once where fuel is counted.
const METERED_WORKERS: usize = 6;

/// How one run went.
pub struct Run<T = Mapped> {
    pub outcome: Result<T, Failure>,
    /// At most 100 lines; texts may hold patient data.
    pub log: Vec<LogLine>,
    /// Lines that were not kept.
    pub lines_cut: u64,
    /// Codes that their tables have no entry for.
    pub misses: Vec<Miss>,
    /// Rows that let the message go on without their value, at most 100.
    pub warnings: Vec<Warning>,
    /// Warnings that were not kept.
    pub warnings_cut: u64,
    /// Of the component alone, without waiting for a worker.
    pub duration: Duration,
    /// Instructions, where they are counted.
    pub fuel: Option<u64>,
}

impl Runtime {
    /// Makes the engine; `mac` authenticates kept artefacts under a key of this host.
    ///
    /// # Errors
    ///
    /// The folder cannot be made, or the machine cannot give the address space.
    pub fn new(
        config: Config,
        mac: impl Fn(&[u8]) -> [u8; 32] + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        Self::with_meter(config, Meter::Deadline, Arc::new(mac))
    }

    /// The same runs with their fuel counted and without a deadline, on an engine of its own that is made at first use.
    ///
    /// Components are loaded into it anew: compiled code is of one engine.
    ///
    /// # Errors
    ///
    /// As [`Runtime::new`].
    pub fn metered(&self) -> Result<Arc<Self>, Error> {
        let mut metered = self.metered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metered) = metered.as_ref() {
            return Ok(metered.clone());
        }
        let config = Config {
            workers: METERED_WORKERS,
            ..self.config.clone()
        };
        let made = Arc::new(Self::with_meter(config, Meter::Fuel, self.mac.clone())?);
        *metered = Some(made.clone());
        Ok(made)
    }

    /// What a component uses on this host; none for one that was not loaded since the start.
    pub fn used(&self, component: &Digest) -> Option<Used> {
        self.usages.seen(component)
    }

    /// What a component gets that has no limits of its own.
    pub fn defaults(&self) -> Limits {
        let mib = self.config.max_memory_bytes / (1024 * 1024);
        Limits {
            deadline_ms: Some(self.config.deadline.as_millis() as u64),
            max_memory_mib: Some(mib as u64),
        }
    }

    /// Whether a component is running.
    pub fn is_busy(&self) -> bool {
        self.workers.available_permits() < self.config.workers
    }

    fn with_meter(config: Config, meter: Meter, mac: Mac) -> Result<Self, Error> {
        let started = |error: wasmtime::Error| Error::Engine(error.to_string());
        let workers = config.workers.clamp(2, 1_000);
        // A component may be given more than the usual, up to the ceiling.
        let most = Limits::CEILING.max_memory_bytes().unwrap_or(0);
        let most = most.max(config.max_memory_bytes);
        let engine = engine::new(workers as u32, most, meter).map_err(started)?;
        let mut linker = Linker::new(&engine);
        MapsToLeadSquared::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
            .and_then(|()| MapsToHl7::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state))
            .map_err(started)?;
        let artefacts = Artefacts::open(config.artefacts.clone(), mac.clone(), &engine);
        Ok(Self {
            engine,
            linker,
            artefacts: artefacts.map_err(|source| Error::Artefacts {
                folder: config.artefacts.clone(),
                source,
            })?,
            workers: Arc::new(Semaphore::new(workers)),
            apart: Apart::default(),
            config: Config { workers, ..config },
            meter,
            usages: Usages::default(),
            mac,
            metered: Mutex::default(),
        })
    }

    /// Makes a component ready: checks it, compiles it or takes the kept artefact, and asks it to describe itself.
    ///
    /// Blocks, up to minutes for a large component that was never compiled here: call it on a blocking thread, when
    /// a component is uploaded and when the host starts, never while a message waits.
    ///
    /// # Errors
    ///
    /// Each says what is wrong with the component and what its author can do.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Component>, Rejected> {
        let direction = gate::check(bytes)?;
        let digest = Digest::of(bytes);
        let compiled = match self.artefacts.get(&self.engine, &digest) {
            Some(compiled) => compiled,
            None => {
                let compiled = wasmtime::component::Component::from_binary(&self.engine, bytes)
                    .map_err(|error| gate::compile_error(&error))?;
                if let Err(error) = self.artefacts.put(&digest, &compiled) {
                    // The component runs without it; only the next start takes longer.
                    tracing::warn!(component = %digest, %error, "compiled component could not be kept");
                }
                compiled
            }
        };
        gate::check_resources(&compiled, self.config.max_memory_bytes)?;
        let (linked, manifest) = self.link(&compiled, direction)?;
        gate::check_manifest(&manifest, direction)?;
        let at_once = self.config.workers - 1;
        let usage = self.usages.of(&digest);
        let component = Component::new((digest, usage), manifest, linked, at_once);
        Ok(Arc::new(component))
    }

    /// Maps one message in a fresh instance.
    ///
    /// Waits for a worker first; the deadline counts from when the component starts.
    pub async fn to_lead_squared(
        self: &Arc<Self>,
        component: &Arc<Component>,
        input: Input,
    ) -> Run {
        self.on_a_worker(component, |runtime, component| {
            runtime.run(component, input)
        })
        .await
    }

    /// Maps one change in a fresh instance; waits as [`Runtime::to_lead_squared`] does.
    pub async fn to_ehr(
        self: &Arc<Self>,
        component: &Arc<Component>,
        input: ChangeInput,
    ) -> Run<Composed> {
        self.on_a_worker(component, |runtime, component| {
            runtime.compose(component, input)
        })
        .await
    }

    async fn on_a_worker<T: Send + 'static>(
        self: &Arc<Self>,
        component: &Arc<Component>,
        run: impl FnOnce(&Self, Arc<Component>) -> Run<T> + Send + 'static,
    ) -> Run<T> {
        let (Ok(_turn), Ok(worker)) = (
            component.running.acquire().await,
            self.workers.clone().acquire_owned().await,
        ) else {
            return Run::failed(Failure::Host("the runtime is closing".into()));
        };
        let is_trusted = component.usage.is_trusted();
        let (runtime, component) = (self.clone(), component.clone());
        let run = move || {
            let run = run(&runtime, component);
            drop(worker);
            run
        };
        let run = match is_trusted {
            true => tokio::task::spawn_blocking(run).await.ok(),
            false => self.apart.run(run).await,
        };
        run.unwrap_or_else(|| {
            let text = "a host call of the component panicked, or the runtime is closing";
            Run::failed(Failure::Host(text.into()))
        })
    }

    /// Links a component of a known world, and asks it to describe itself.
    fn link(
        &self,
        compiled: &wasmtime::component::Component,
        direction: Direction,
    ) -> Result<(Linked, Manifest), Rejected> {
        let refused = |error: wasmtime::Error| gate::link_error(&error);
        let instance = self.linker.instantiate_pre(compiled).map_err(refused)?;
        let describes = DescribesItselfPre::new(instance.clone()).map_err(refused)?;
        let linked = match direction {
            Direction::EhrToLeadSquared => MapsToLeadSquaredPre::new(instance).map(Linked::Inbound),
            Direction::LeadSquaredToEhr => MapsToHl7Pre::new(instance).map(Linked::Outbound),
        };
        let linked = linked.map_err(refused)?;
        let manifest = self.describe(&describes).map_err(Rejected::Describe)?;
        Ok((linked, manifest))
    }

    fn describe(&self, linked: &DescribesItselfPre<State>) -> Result<Manifest, Failure> {
        let state = State::new(self.config.max_memory_bytes, None);
        let mut store = self.store(state, self.config.deadline);
        let described = linked
            .instantiate(&mut store)
            .and_then(|instance| instance.ligature_mapping_about().call_describe(&mut store));
        match described {
            Ok(manifest) => Ok(manifest.into()),
            Err(error) => Err(Failure::of(&error, store.data(), self.config.deadline)),
        }
    }

    /// Maps one message on this thread.
    pub fn run(&self, component: Arc<Component>, input: Input) -> Run {
        self.run_within(1, component, input)
    }

    /// The same within `patience` times the usual deadline.
    fn run_within(&self, patience: u32, component: Arc<Component>, input: Input) -> Run {
        let Linked::Inbound(linked) = &component.linked else {
            return Run::failed(wrong_way(&component));
        };
        let call = |store: &mut Store<State>| {
            let instance = linked.instantiate(&mut *store)?;
            let inbound = instance.ligature_mapping_inbound();
            inbound.call_to_lead_squared(store, Resource::new_borrow(0))
        };
        self.once(patience, &component, input.into(), call, answer::mapped)
    }

    /// Maps one change on this thread.
    pub fn compose(&self, component: Arc<Component>, input: ChangeInput) -> Run<Composed> {
        self.compose_within(1, component, input)
    }

    /// The same within `patience` times the usual deadline.
    fn compose_within(
        &self,
        patience: u32,
        component: Arc<Component>,
        input: ChangeInput,
    ) -> Run<Composed> {
        let Linked::Outbound(linked) = &component.linked else {
            return Run::failed(wrong_way(&component));
        };
        let call = |store: &mut Store<State>| {
            let instance = linked.instantiate(&mut *store)?;
            let outbound = instance.ligature_mapping_outbound();
            outbound.call_to_hl7(store, Resource::new_borrow(0))
        };
        self.once(patience, &component, input.into(), call, answer::composed)
    }

    /// One call of one export: a fresh store, the clock, the answer checked, what the run leaves behind.
    fn once<A, T>(
        &self,
        patience: u32,
        component: &Arc<Component>,
        (subject, about): (Subject, About),
        call: impl FnOnce(&mut Store<State>) -> wasmtime::Result<Result<A, types::Refusal>>,
        check: impl FnOnce(A, &Granted, &Manifest) -> Result<T, Failure>,
    ) -> Run<T> {
        let started = Instant::now();
        let granted = component.granted(&about.release);
        let asked = Asked {
            subject,
            about,
            granted: granted.clone(),
            component: component.clone(),
        };
        let limits = component.limits();
        let max_memory_bytes = limits.max_memory_bytes();
        let max_memory_bytes = max_memory_bytes.unwrap_or(self.config.max_memory_bytes);
        let deadline = limits.deadline().unwrap_or(self.config.deadline) * patience;
        // A robustness run is no use of it.
        let underway = (patience == 1).then(|| component.usage.begin());
        let mut store = self.store(State::new(max_memory_bytes, Some(asked)), deadline);
        let answer = call(&mut store);
        let duration = started.elapsed();
        let left = store.get_fuel().ok();
        let outcome = match answer {
            Ok(Ok(answer)) => check(answer, &granted, &component.manifest),
            Ok(Err(refusal)) => Err(Failure::Refused(answer::refusal(refusal))),
            Err(error) => Err(Failure::of(&error, store.data(), deadline)),
        };
        let state = store.into_data();
        let broke = outcome.as_ref().is_err_and(Failure::is_breakage);
        if let Some(underway) = underway {
            underway.took(duration, state.limits.peak_memory_bytes, broke);
        }
        Run {
            outcome: outcome.map_err(|failure| failure.after(state.denied)),
            log: state.log,
            lines_cut: state.lines_cut,
            misses: state.misses,
            warnings: state.warnings,
            warnings_cut: state.warnings_cut,
            duration,
            fuel: left.map(|left| MAX_FUEL.saturating_sub(left)),
        }
    }

    fn store(&self, state: State, deadline: Duration) -> Store<State> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        match self.meter {
            Meter::Deadline => store.set_epoch_deadline(engine::ticks(deadline)),
            // Refused only by an engine that does not count.
            Meter::Fuel => drop(store.set_fuel(MAX_FUEL)),
        }
        store.set_hostcall_fuel(engine::MAX_LIFTED_BYTES);
        store
    }
}

/// Activation refuses such a release, so this is the host's own fault.
fn wrong_way(component: &Component) -> Failure {
    let way = gate::words(component.direction());
    Failure::Host(format!("the component maps {way}"))
}

impl<T> Run<T> {
    /// What the rows that were warned of are called, and why; nothing of the message.
    pub fn warned(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let row = |warning: &'_ Warning| warning.row.is_some();
        let named = self.warnings.iter().filter(move |warning| row(warning));
        named.map(|warning| {
            let row = warning.row.as_deref().unwrap_or_default();
            (row, warning.cause.words())
        })
    }

    fn failed(failure: Failure) -> Self {
        Self {
            outcome: Err(failure),
            log: Vec::new(),
            lines_cut: 0,
            misses: Vec::new(),
            warnings: Vec::new(),
            warnings_cut: 0,
            duration: Duration::ZERO,
            fuel: None,
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runtime").field(&self.config).finish()
    }
}
