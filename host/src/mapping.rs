//! The one step that is delegated: what does this message mean in the other system's fields?
//!
//! A mapping is a WebAssembly component behind the contract in `wit/`, run in a fresh instance for every message,
//! with a deadline, a memory limit, and nothing to reach but what its release grants.
//! This room is the only one that knows wasmtime; it knows no store, no MLLP and no HTTP.
//!
//! Two ways lead here. [`Runtime::load`] makes bytes ready to run and says why not where it cannot ([`gate`]).
//! [`Runtime::to_lead_squared`] maps one message and tells five kinds of end apart ([`Failure`]).
//! What an administrator clicks together is a [`document::Document`], and [`generate::component`] makes a component
//! of it.

pub mod document;
pub mod failure;
pub mod gate;
pub mod generate;
pub mod host;
pub mod manifest;
pub mod native;

mod answer;
mod artefact;
mod bindings;
mod component;
mod engine;
mod grants;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime::{Engine, Store};

use self::artefact::Artefacts;
use self::bindings::{InboundMapping, InboundMappingPre};
use self::host::{Asked, State};

pub use self::component::Component;
pub use self::failure::Failure;
pub use self::gate::Rejected;
pub use self::grants::Entity;
pub use self::host::{Input, Level, LogLine, Miss};
pub use self::manifest::Manifest;

use crate::flow::Digest;
use crate::flow::mapped::Mapped;

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
}

/// How one run went.
pub struct Run {
    pub outcome: Result<Mapped, Failure>,
    /// At most 100 lines; texts may hold patient data.
    pub log: Vec<LogLine>,
    /// Lines that were not kept.
    pub lines_cut: u64,
    /// Codes that their tables have no entry for.
    pub misses: Vec<Miss>,
    /// Of the component alone, without waiting for a worker.
    pub duration: Duration,
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
        let started = |error: wasmtime::Error| Error::Engine(error.to_string());
        let workers = config.workers.clamp(2, 1_000);
        let engine = engine::new(workers as u32, config.max_memory_bytes).map_err(started)?;
        let mut linker = Linker::new(&engine);
        InboundMapping::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
            .map_err(started)?;
        let artefacts = Artefacts::open(config.artefacts.clone(), Box::new(mac), &engine);
        Ok(Self {
            engine,
            linker,
            artefacts: artefacts.map_err(|source| Error::Artefacts {
                folder: config.artefacts.clone(),
                source,
            })?,
            workers: Arc::new(Semaphore::new(workers)),
            config: Config { workers, ..config },
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
        gate::check(bytes)?;
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
        let linked = self
            .linker
            .instantiate_pre(&compiled)
            .and_then(InboundMappingPre::new)
            .map_err(|error| gate::link_error(&error))?;
        let manifest = self.describe(&linked).map_err(Rejected::Describe)?;
        gate::check_manifest(&manifest)?;
        let at_once = self.config.workers - 1;
        Ok(Arc::new(Component::new(digest, manifest, linked, at_once)))
    }

    /// Maps one message in a fresh instance.
    ///
    /// Waits for a worker first; the deadline counts from when the component starts.
    pub async fn to_lead_squared(
        self: &Arc<Self>,
        component: &Arc<Component>,
        input: Input,
    ) -> Run {
        let (Ok(_turn), Ok(worker)) = (
            component.running.acquire().await,
            self.workers.clone().acquire_owned().await,
        ) else {
            return Run::failed(Failure::Host("the runtime is closing".into()));
        };
        let (runtime, component) = (self.clone(), component.clone());
        let run = tokio::task::spawn_blocking(move || {
            let run = runtime.run(component, input);
            drop(worker);
            run
        });
        match run.await {
            Ok(run) => run,
            Err(error) if error.is_panic() => Run::failed(Failure::Host(
                "a host call of the component panicked".into(),
            )),
            Err(_) => Run::failed(Failure::Host("the runtime is closing".into())),
        }
    }

    fn describe(&self, linked: &InboundMappingPre<State>) -> Result<Manifest, Failure> {
        let mut store = self.store(State::new(self.config.max_memory_bytes, None));
        let described = linked
            .instantiate(&mut store)
            .and_then(|instance| instance.ligature_mapping_about().call_describe(&mut store));
        match described {
            Ok(manifest) => Ok(manifest.into()),
            Err(error) => Err(Failure::of(&error, store.data(), &self.config)),
        }
    }

    /// Maps one message on this thread.
    pub fn run(&self, component: Arc<Component>, input: Input) -> Run {
        let started = Instant::now();
        let granted = component.granted(&input.release);
        let asked = Asked {
            input,
            granted: granted.clone(),
            component: component.clone(),
        };
        let mut store = self.store(State::new(self.config.max_memory_bytes, Some(asked)));
        let answer = component
            .linked
            .instantiate(&mut store)
            .and_then(|instance| {
                instance
                    .ligature_mapping_inbound()
                    .call_to_lead_squared(&mut store, Resource::new_borrow(0))
            });
        let duration = started.elapsed();
        let outcome = match answer {
            Ok(Ok(mapped)) => answer::mapped(mapped, &granted),
            Ok(Err(refusal)) => Err(Failure::Refused(answer::refusal(refusal))),
            Err(error) => Err(Failure::of(&error, store.data(), &self.config)),
        };
        let state = store.into_data();
        Run {
            outcome: outcome.map_err(|failure| failure.after(state.denied)),
            log: state.log,
            lines_cut: state.lines_cut,
            misses: state.misses,
            duration,
        }
    }

    fn store(&self, state: State) -> Store<State> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(engine::ticks(self.config.deadline));
        store.set_hostcall_fuel(engine::MAX_LIFTED_BYTES);
        store
    }
}

impl Run {
    fn failed(failure: Failure) -> Self {
        Self {
            outcome: Err(failure),
            log: Vec::new(),
            lines_cut: 0,
            misses: Vec::new(),
            duration: Duration::ZERO,
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runtime").field(&self.config).finish()
    }
}
