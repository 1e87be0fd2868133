//! Every wasmtime setting, with its reason beside it.
//!
//! Knows nothing of HL7 or flows. [`new`] makes the engine and, where the clock ends a run, starts the thread that
//! advances its epoch; the thread ends with the engine.

use std::time::Duration;

use wasmtime::{
    Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, ResourceLimiter,
};

/// How often the epoch advances: a deadline is met within this.
const TICK: Duration = Duration::from_millis(10);

/// Entries of one table; the generated code of large guests (Python) has some 10,000 functions.
const MAX_TABLE_ELEMENTS: usize = 40_000;

/// What one instance of a component may consist of; shims and adapters of `wit-component` count too, and componentize-py
/// 0.25 links 38 of them, one for each library of Python.
pub(crate) const MAX_CORE_INSTANCES: u32 = 64;
pub(crate) const MAX_MEMORIES: u32 = 4;
pub(crate) const MAX_TABLES: u32 = 8;

/// Bytes a guest may hand to the host in one call or one answer, in the measure of `Store::set_hostcall_fuel`:
/// bytes of texts and of lists, counted by wasmtime for each call anew before anything is copied.
pub(crate) const MAX_LIFTED_BYTES: usize = 16 * 1024 * 1024;

/// Fuel of one run where it is counted: a second or two of a guest that does not return.
pub(crate) const MAX_FUEL: u64 = 2_000_000_000;

/// What ends a guest that does not return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meter {
    /// The clock: cheap, and different on each machine. For messages on their way.
    Deadline,
    /// Instructions, counted: the same on any machine however busy. For shadow runs and replays.
    Fuel,
}

/// Makes the engine for `workers` instances at once.
///
/// # Errors
///
/// wasmtime's own, when the machine cannot give the address space.
pub(crate) fn new(workers: u32, max_memory_bytes: usize, meter: Meter) -> wasmtime::Result<Engine> {
    let mut config = wasmtime::Config::new();
    config.wasm_component_model(true);
    // Nothing here is asynchronous: a run has a thread of the blocking pool to itself.
    config.concurrency_support(false);

    // Same input, same output, on any machine.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);

    // A guest that does not return is stopped; checking an epoch costs far less than counting fuel.
    config.epoch_interruption(meter == Meter::Deadline);
    config.consume_fuel(meter == Meter::Fuel);

    // Components are compiled at upload, so the best code is worth its time.
    config.cranelift_opt_level(OptLevel::Speed);
    config.parallel_compilation(true);
    // Nobody reads a guest's back trace here, and the tables are a third of an artefact.
    config.generate_address_map(false);
    config.wasm_backtrace_max_frames(None);

    // Instances come from a pool: a fresh one is a few mapped pages, not an allocation.
    config.memory_init_cow(true);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(workers);
    pool.total_core_instances(workers * MAX_CORE_INSTANCES);
    pool.total_memories(workers * MAX_MEMORIES);
    pool.total_tables(workers * MAX_TABLES);
    pool.max_core_instances_per_component(MAX_CORE_INSTANCES);
    pool.max_memories_per_component(MAX_MEMORIES);
    pool.max_tables_per_component(MAX_TABLES);
    pool.max_memory_size(max_memory_bytes);
    pool.table_elements(MAX_TABLE_ELEMENTS);
    // What a small guest touches is reset by copying, which saves it the page faults of the next run; a large one is
    // given back to the system.
    pool.linear_memory_keep_resident(256 * 1024);
    // Linux 6.7 and later can tell which pages those are.
    pool.pagemap_scan(Enabled::Auto);
    pool.table_keep_resident(64 * 1024);
    pool.max_unused_warm_slots(workers);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));

    let engine = Engine::new(&config)?;
    if meter == Meter::Fuel {
        return Ok(engine);
    }
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("epoch".into())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })?;
    Ok(engine)
}

/// The deadline in epochs; one more, because the current one has begun already.
pub(crate) fn ticks(deadline: Duration) -> u64 {
    deadline.as_millis().div_ceil(TICK.as_millis()) as u64 + 1
}

/// Stops a guest that asks for more memory than it may have, and remembers that it did.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) max_memory_bytes: usize,
    /// The largest memory that it has had.
    pub(crate) peak_memory_bytes: usize,
}

/// The guest asked for more than it may have.
#[derive(Debug, thiserror::Error)]
#[error("the component asked for more than its limit")]
pub(crate) struct Exceeded;

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // An error ends the run at once. A mere "no" would let the guest abort in its own way, which reads as a trap.
        if desired > self.max_memory_bytes {
            return Err(Exceeded.into());
        }
        self.peak_memory_bytes = self.peak_memory_bytes.max(desired);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            return Err(Exceeded.into());
        }
        Ok(true)
    }
}
