//! The checks before a component may run: what is refused, and what its author can do about it.
//!
//! Reads the file's structure only; what the code does is the sandbox's matter.

use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wasmtime::component::Component;

use super::contract::{self, PACKAGE, Unserved};
use super::engine;
use super::failure::Failure;
use super::manifest::Manifest;
use crate::flow::change::Field;
use crate::flow::{Direction, Event, WebhookEvent};
use crate::hl7::Path;
use crate::hl7::fill::check_place;

/// Largest file taken: componentize-py makes 18 MB, componentize-js 12 MB.
pub const MAX_FILE_BYTES: usize = 48 * 1024 * 1024;

/// The interfaces that components export.
const ABOUT: &str = "about";
const INBOUND: &str = "inbound";
const OUTBOUND: &str = "outbound";

/// Longest text of a manifest.
const MAX_TEXT_BYTES: usize = 4 * 1024;

/// Most entries of one list of a manifest.
const MAX_ENTRIES: usize = 1_000;

/// Why a component is not taken. The texts are for its author.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    #[error(
        "the file has {size_bytes} bytes, more than the {MAX_FILE_BYTES} that are taken; \
         build it optimized and without debug information"
    )]
    TooLarge { size_bytes: usize },
    #[error("the file is not WebAssembly: upload the .wasm file that the build wrote")]
    NotWebAssembly,
    #[error(
        "the file is a core module, not a component: run `wasm-tools component new FILE -o COMPONENT`, \
         or `ligature plugin build`"
    )]
    CoreModule,
    #[error("the file is cut off or damaged at byte {offset}: {reason}; build and upload it again")]
    Damaged { offset: usize, reason: String },
    #[error(
        "the component uses something of WebAssembly that this host does not have: {0}; \
         build it for plain WebAssembly 2.0 with no proposals switched on"
    )]
    Unsupported(String),
    #[error(
        "the component imports {import}, but a mapping can reach nothing but {PACKAGE}…; {origin}"
    )]
    ForeignImport { import: String, origin: String },
    #[error(
        "the component is built for {import}, this host serves version {} of the contract; {advice}",
        contract::served()
    )]
    Version {
        import: String,
        advice: &'static str,
    },
    #[error(
        "the component does not export {PACKAGE}{interface}: it must be built for the world \
         `inbound-mapping` or `outbound-mapping`"
    )]
    NoExport { interface: &'static str },
    #[error(
        "the component exports both `inbound` and `outbound`: build one for each world, \
         `inbound-mapping` and `outbound-mapping`"
    )]
    TwoWorlds,
    #[error(
        "the component does not fit the contract: {0}; build it against the wit/ folder of this release"
    )]
    Contract(String),
    #[error("one instance of the component needs {what}, more than the {limit} it may have")]
    Resources { what: String, limit: String },
    #[error("the component cannot describe itself: {}", .0.sentence())]
    Describe(Failure),
    #[error("the component's description of itself cannot be used: {0}")]
    Manifest(String),
}

/// Checks everything that can be seen without compiling; answers which of the two worlds the component is built for.
///
/// # Errors
///
/// The first thing that is wrong, in the order in which an author would have to mend it.
pub fn check(bytes: &[u8]) -> Result<Direction, Rejected> {
    let direction = outline(bytes)?.check()?;
    // Last, because a component with WASI imports often fails here as well, with a text that helps nobody.
    // A mapping has one thread: memory to share is for nobody.
    let mut features = WasmFeatures::default();
    features.remove(WasmFeatures::THREADS);
    match Validator::new_with_features(features).validate_all(bytes) {
        Ok(_) => Ok(direction),
        Err(error) => Err(Rejected::Unsupported(error.message().into())),
    }
}

/// Reads what a component says of itself without being run.
///
/// # Errors
///
/// When the file is no component that can be read to its end.
pub fn outline(bytes: &[u8]) -> Result<Outline, Rejected> {
    if bytes.len() > MAX_FILE_BYTES {
        let size_bytes = bytes.len();
        return Err(Rejected::TooLarge { size_bytes });
    }
    // The preamble: magic number, then version and layer (component-model Binary.md).
    match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => return Err(Rejected::CoreModule),
        [0, b'a', b's', b'm', ..] => {}
        _ => return Err(Rejected::NotWebAssembly),
    }
    Outline::read(bytes)
}

/// What a direction means, to be read after "maps".
pub fn words(direction: Direction) -> &'static str {
    match direction {
        Direction::EhrToLeadSquared => "HL7 messages to LeadSquared",
        Direction::LeadSquaredToEhr => "changes in LeadSquared to HL7 messages",
    }
}

/// Checks what one instance will take from the pool.
pub(crate) fn check_resources(
    component: &Component,
    max_memory_bytes: usize,
) -> Result<(), Rejected> {
    let over = |what: String, limit: String| Err(Rejected::Resources { what, limit });
    // None: it instantiates a module that it imports, which the gate does not let through.
    let Some(needs) = component.resources_required() else {
        return Ok(());
    };
    let bytes = needs.max_initial_memory_size.unwrap_or(0);
    if bytes > max_memory_bytes as u64 {
        let mib = |bytes: u64| format!("{} MiB of memory", bytes / (1024 * 1024));
        return over(mib(bytes), mib(max_memory_bytes as u64));
    }
    if needs.num_memories > engine::MAX_MEMORIES {
        let memories = |count: u32| format!("{count} memories");
        return over(memories(needs.num_memories), memories(engine::MAX_MEMORIES));
    }
    if needs.num_tables > engine::MAX_TABLES {
        let tables = |count: u32| format!("{count} tables");
        return over(tables(needs.num_tables), tables(engine::MAX_TABLES));
    }
    Ok(())
}

/// Checks what the types of a manifest cannot say.
pub(crate) fn check_manifest(manifest: &Manifest, direction: Direction) -> Result<(), Rejected> {
    let bad = |text: String| Err(Rejected::Manifest(text));
    if manifest.name.is_empty() {
        return bad("it has no name".into());
    }
    let targets = [
        ("lead target", &manifest.lead_targets),
        ("activity target", &manifest.activity_targets),
        ("activity kind", &manifest.activity_kinds),
        ("table", &manifest.tables),
    ];
    for (what, targets) in targets {
        if targets.len() > MAX_ENTRIES {
            return bad(format!("it lists more than {MAX_ENTRIES} of {what}"));
        }
        let mut names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        if names.first().is_some_and(|name| name.is_empty()) {
            return bad(format!("a {what} has no name"));
        }
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return bad(format!("{what} {:?} is listed twice", twice[0]));
        }
    }
    let too_many = |count: usize| count > MAX_ENTRIES;
    if too_many(manifest.rows.len()) || too_many(manifest.settings.len()) {
        return bad(format!("it lists more than {MAX_ENTRIES} rows or settings"));
    }
    let lists = [&manifest.reads, &manifest.events, &manifest.places];
    if lists.iter().any(|list| list.len() > MAX_ENTRIES) {
        return bad(format!(
            "it lists more than {MAX_ENTRIES} paths, events or places"
        ));
    }
    match direction {
        Direction::EhrToLeadSquared => check_inbound(manifest)?,
        Direction::LeadSquaredToEhr => check_outbound(manifest)?,
    }
    let texts = [
        &manifest.name,
        &manifest.version,
        &manifest.vendor,
        &manifest.summary,
    ];
    if texts.iter().any(|text| text.len() > MAX_TEXT_BYTES) {
        return bad(format!(
            "a text of it is longer than {MAX_TEXT_BYTES} bytes"
        ));
    }
    Ok(())
}

fn check_inbound(manifest: &Manifest) -> Result<(), Rejected> {
    for path in &manifest.reads {
        if let Err(error) = path.parse::<Path>() {
            let text = format!("it asks to read {path:?}, which is no path: {error}");
            return Err(Rejected::Manifest(text));
        }
    }
    for event in &manifest.events {
        if let Err(error) = event.parse::<Event>() {
            return Err(Rejected::Manifest(error.to_string()));
        }
    }
    Ok(())
}

/// The events of LeadSquared, for sentences.
pub(super) fn webhook_events() -> String {
    WebhookEvent::ALL.map(WebhookEvent::as_str).join(", ")
}

fn check_outbound(manifest: &Manifest) -> Result<(), Rejected> {
    let bad = |text: String| Err(Rejected::Manifest(text));
    let of_the_other_world = [
        &manifest.lead_targets,
        &manifest.activity_targets,
        &manifest.activity_kinds,
    ];
    if !of_the_other_world.iter().all(|list| list.is_empty()) {
        return bad("it lists targets in LeadSquared, but fills HL7 messages: list places".into());
    }
    if manifest.places.is_empty() {
        return bad("it lists no place that it fills".into());
    }
    if let Some(read) = manifest
        .reads
        .iter()
        .find(|read| Field::parse(read).is_none())
    {
        return bad(format!(
            "it asks to read {read:?}, which is no field: write lead.<Schema> or activity.<Schema>"
        ));
    }
    for place in &manifest.places {
        let checked = match place.parse::<Path>() {
            Ok(path) => check_place(&path).map_err(String::from),
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = checked {
            return bad(format!(
                "it asks to fill {place:?}, which cannot be: {reason}"
            ));
        }
    }
    for event in &manifest.events {
        if WebhookEvent::parse(event).is_none() {
            return bad(format!("event {event:?} is none of {}", webhook_events()));
        }
    }
    Ok(())
}

pub(crate) fn compile_error(error: &wasmtime::Error) -> Rejected {
    Rejected::Unsupported(format!("{error:#}"))
}

pub(crate) fn link_error(error: &wasmtime::Error) -> Rejected {
    Rejected::Contract(format!("{error:#}"))
}

/// What can be seen of a component from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// Languages and tools that the file names as its makers.
    pub producers: Vec<String>,
}

impl Outline {
    fn read(bytes: &[u8]) -> Result<Self, Rejected> {
        let mut outline = Self::default();
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| damaged(&error))?;
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        let import = import.map_err(|error| damaged(&error))?;
                        outline.imports.push(import.name.name.into());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        let export = export.map_err(|error| damaged(&error))?;
                        outline.exports.push(export.name.name.into());
                    }
                }
                Payload::CustomSection(section) => outline.read_producers(&section),
                _ => {}
            }
        }
        Ok(outline)
    }

    /// Best effort: a producers section that cannot be read only costs a hint.
    fn read_producers(&mut self, section: &wasmparser::CustomSectionReader<'_>) {
        let wasmparser::KnownCustom::Producers(producers) = section.as_known() else {
            return;
        };
        for field in producers.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let name = value.name.to_owned();
                if !self.producers.contains(&name) {
                    self.producers.push(name);
                }
            }
        }
    }

    fn check(&self) -> Result<Direction, Rejected> {
        for import in &self.imports {
            let Some((_, version)) = contract::parts(import) else {
                return Err(Rejected::ForeignImport {
                    import: import.clone(),
                    origin: self.origin(import),
                });
            };
            check_version(import, version)?;
        }
        let mut exported = Vec::new();
        for export in &self.exports {
            if let Some((interface, version)) = contract::parts(export) {
                check_version(export, version)?;
                exported.push(interface);
            }
        }
        let exports = |interface: &str| exported.contains(&interface);
        match (exports(ABOUT), exports(INBOUND), exports(OUTBOUND)) {
            (false, ..) => Err(Rejected::NoExport { interface: ABOUT }),
            (true, true, false) => Ok(Direction::EhrToLeadSquared),
            (true, false, true) => Ok(Direction::LeadSquaredToEhr),
            (true, true, true) => Err(Rejected::TwoWorlds),
            (true, false, false) => Err(Rejected::NoExport { interface: INBOUND }),
        }
    }

    /// Where an import that nobody asked for came from, and how to build without it.
    fn origin(&self, import: &str) -> String {
        let made_by = |name: &str| {
            self.producers
                .iter()
                .any(|producer| producer.eq_ignore_ascii_case(name))
        };
        if !import.starts_with("wasi:") {
            return "take the import out of the component's world".into();
        }
        let advice = if made_by("componentize-py") || made_by("Python") {
            "it comes from Python's standard library: build with `componentize-py … --stub-wasi`"
        } else if made_by("componentize-js") || made_by("ComponentizeJS") || made_by("JavaScript") {
            "it comes from the JavaScript engine: build with `componentize-js` and \
             `--disable all` (stdio, random, clocks, http, fetch-event)"
        } else if made_by("TinyGo") || made_by("Go") {
            "it comes from Go's runtime, which needs WASI: use a language that can do without"
        } else if made_by("Rust") || made_by("wit-bindgen-rust") {
            "it comes from Rust's standard library for WASI: build for `wasm32-unknown-unknown` \
             instead of `wasm32-wasip1` or `wasm32-wasip2`"
        } else {
            "it comes from the language's standard library: build for a target without WASI, \
             or stub WASI out (`wasi-virt`)"
        };
        advice.into()
    }
}

fn check_version(name: &str, version: &str) -> Result<(), Rejected> {
    let rejected = |unserved: Unserved| Rejected::Version {
        import: name.into(),
        advice: unserved.advice(),
    };
    contract::check(version).map(drop).map_err(rejected)
}

fn damaged(error: &wasmparser::Error) -> Rejected {
    Rejected::Damaged {
        offset: error.offset(),
        reason: error.message().into(),
    }
}
