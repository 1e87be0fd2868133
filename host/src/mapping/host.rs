//! What a running component can ask: the message or the change, the flow, code tables, a line of log.
//!
//! Each call bounds its own work and none does I/O: everything is in [`State`] before the run.
//! Grants are asked here and in [`answer`](super::answer), below every version of the contract.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::Resource;

use super::bindings::{codes, flow, hl7, lead_squared, log, types};
use super::component::Component;
use super::engine::Limits;
use super::failure::Access;
use super::grants::{Checked, Granted};
use super::trace::{Cause, Level, LogLine, Miss, Warning};
use crate::flow::change::{self, Field, Moment, Snapshot};
use crate::flow::table::Lookup;
use crate::flow::{CodeTable, Entity, Release};
use crate::hl7::{self as wire, Path};

/// Bytes kept of one line of log.
const MAX_LINE_BYTES: usize = 1_024;

/// Lines of log kept of one run.
const MAX_LINES: usize = 100;

/// Code table misses kept of one run.
const MAX_MISSES: usize = 100;

/// Warnings kept of one run.
const MAX_WARNINGS: usize = 100;

/// The resource `message`; a run has one, and it is in its [`State`].
pub struct Message;

/// The resource `change`; likewise.
pub struct Change;

/// Code tables by the names that the component has for them.
pub type Tables = BTreeMap<String, Arc<Lookup>>;

/// What a run of an inbound component is about, handed in whole.
pub struct Input {
    pub message: Arc<wire::Message>,
    pub release: Arc<Release>,
    pub tables: Arc<Tables>,
    /// For example `ADT^A04`.
    pub event: String,
    pub received_at_ms: i64,
    /// IANA name.
    pub time_zone: String,
    pub default_country_code: Option<String>,
    /// The channel that the message came by.
    pub channel: String,
}

/// What a run of an outbound component is about, handed in whole; the event is the change's.
pub struct ChangeInput {
    pub change: Arc<change::Change>,
    pub release: Arc<Release>,
    pub tables: Arc<Tables>,
    pub received_at_ms: i64,
    /// IANA name.
    pub time_zone: String,
    pub default_country_code: Option<String>,
    /// The channel that the message is to go by.
    pub channel: String,
}

/// One run: what it may ask, and what it leaves behind besides its answer.
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) log: Vec<LogLine>,
    /// Lines beyond the limit.
    pub(crate) lines_cut: u64,
    pub(crate) misses: Vec<Miss>,
    pub(crate) warnings: Vec<Warning>,
    /// Warnings beyond the limit.
    pub(crate) warnings_cut: u64,
    /// The first read that was not granted.
    pub(crate) denied: Option<Access>,
    pub(crate) run: Option<Asked>,
}

/// What a mapping run can ask; a component that only describes itself has nothing.
pub(crate) struct Asked {
    pub(crate) subject: Subject,
    pub(crate) about: About,
    pub(crate) granted: Arc<Granted>,
    pub(crate) component: Arc<Component>,
}

/// What is mapped.
pub(crate) enum Subject {
    Message(Arc<wire::Message>),
    Change(Arc<change::Change>),
}

/// What is the same whichever way a component maps.
pub(crate) struct About {
    pub(crate) release: Arc<Release>,
    tables: Arc<Tables>,
    event: String,
    received_at_ms: i64,
    time_zone: String,
    default_country_code: Option<String>,
    channel: String,
}

impl From<Input> for (Subject, About) {
    fn from(input: Input) -> Self {
        let about = About {
            release: input.release,
            tables: input.tables,
            event: input.event,
            received_at_ms: input.received_at_ms,
            time_zone: input.time_zone,
            default_country_code: input.default_country_code,
            channel: input.channel,
        };
        (Subject::Message(input.message), about)
    }
}

impl From<ChangeInput> for (Subject, About) {
    fn from(input: ChangeInput) -> Self {
        let about = About {
            event: input.change.event.to_string(),
            release: input.release,
            tables: input.tables,
            received_at_ms: input.received_at_ms,
            time_zone: input.time_zone,
            default_country_code: input.default_country_code,
            channel: input.channel,
        };
        (Subject::Change(input.change), about)
    }
}

impl Asked {
    /// The linker gives every component both resources, but a handle of one only to the world that has it.
    fn message(&self) -> wasmtime::Result<&wire::Message> {
        match &self.subject {
            Subject::Message(message) => Ok(message),
            Subject::Change(_) => Err(wasmtime::Error::msg("there is no message in this run")),
        }
    }

    fn change(&self) -> wasmtime::Result<&change::Change> {
        match &self.subject {
            Subject::Change(change) => Ok(change),
            Subject::Message(_) => Err(wasmtime::Error::msg("there is no change in this run")),
        }
    }
}

impl State {
    pub(crate) fn new(max_memory_bytes: usize, run: Option<Asked>) -> Self {
        Self {
            limits: Limits {
                max_memory_bytes,
                peak_memory_bytes: 0,
            },
            log: Vec::new(),
            lines_cut: 0,
            misses: Vec::new(),
            warnings: Vec::new(),
            warnings_cut: 0,
            denied: None,
            run,
        }
    }

    fn asked(&self) -> wasmtime::Result<&Asked> {
        self.run.as_ref().ok_or_else(|| {
            wasmtime::Error::msg("`describe` has no message, no flow and no tables to ask")
        })
    }

    /// Runs `read` with each path, unless one may not be read.
    fn read<T>(
        &mut self,
        paths: &[String],
        read: impl Fn(&wire::Message, &Path) -> T,
    ) -> wasmtime::Result<Result<Vec<T>, types::AccessError>> {
        let asked = self.asked()?;
        let message = asked.message()?;
        let mut values = Vec::with_capacity(paths.len());
        for text in paths {
            match &*asked.granted.check(text) {
                Checked::Path(path) => values.push(read(message, path)),
                Checked::NotGranted(path) => {
                    let access = Access::Read(shown(path));
                    self.denied.get_or_insert(access);
                    return Ok(Err(types::AccessError::NotGranted(text.clone())));
                }
                Checked::NotAPath => return Ok(Err(types::AccessError::BadPath(text.clone()))),
            }
        }
        Ok(Ok(values))
    }

    fn read_one<T>(
        &mut self,
        path: String,
        read: impl Fn(&wire::Message, &Path) -> T,
    ) -> wasmtime::Result<Result<T, types::AccessError>> {
        Ok(self
            .read(&[path], read)?
            .map(|mut values| values.swap_remove(0)))
    }

    /// The values of a code's columns that `which` names, by what the table's own columns are.
    fn look_up(
        &mut self,
        table: String,
        code: &str,
        which: impl FnOnce(&CodeTable) -> Result<Vec<usize>, String>,
    ) -> wasmtime::Result<Result<Option<Vec<String>>, types::AccessError>> {
        let Some(lookup) = self.asked()?.about.tables.get(&table).cloned() else {
            return Ok(Err(types::AccessError::UnknownName(table)));
        };
        let columns = match which(lookup.table()) {
            Ok(columns) => columns,
            Err(unknown) => return Ok(Err(types::AccessError::UnknownName(unknown))),
        };
        let found = lookup.find(code);
        if found.is_miss {
            self.miss(lookup.table().name.clone(), code.to_owned());
        }
        let values = found.row.map(|row| {
            let values = columns.iter().map(|at| row[*at].clone());
            values.collect()
        });
        Ok(Ok(values))
    }

    fn miss(&mut self, table: String, code: String) {
        if self.misses.len() < MAX_MISSES {
            let miss = Miss { table, code };
            if !self.misses.contains(&miss) {
                self.misses.push(miss);
            }
        }
    }
}

/// Segment and field of a path: what an administrator grants, without a predicate's value, which the guest makes.
pub(crate) fn shown(path: &Path) -> String {
    match path.field() {
        Some(field) => format!("{}-{field}", path.segment()),
        None => path.segment().into(),
    }
}

fn content(content: wire::Content<'_>) -> types::Content {
    match content {
        wire::Content::Absent => types::Content::Absent,
        wire::Content::Null => types::Content::Null,
        wire::Content::Text(text) => types::Content::Text(text.into_owned()),
    }
}

impl types::Host for State {}

impl hl7::Host for State {}

impl hl7::HostMessage for State {
    fn get(
        &mut self,
        _: Resource<Message>,
        path: String,
    ) -> wasmtime::Result<Result<types::Content, types::AccessError>> {
        self.read_one(path, |message, path| content(message.get(path)))
    }

    fn get_all(
        &mut self,
        _: Resource<Message>,
        paths: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<types::Content>, types::AccessError>> {
        self.read(&paths, |message, path| content(message.get(path)))
    }

    fn hits(
        &mut self,
        _: Resource<Message>,
        paths: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Vec<types::Content>>, types::AccessError>> {
        self.read(&paths, |message, path| {
            message.get_all(path).into_iter().map(content).collect()
        })
    }

    fn raw(
        &mut self,
        _: Resource<Message>,
        path: String,
    ) -> wasmtime::Result<Result<Option<String>, types::AccessError>> {
        self.read_one(path, |message, path| message.raw(path).map(String::from))
    }

    fn count(
        &mut self,
        _: Resource<Message>,
        path: String,
    ) -> wasmtime::Result<Result<u32, types::AccessError>> {
        self.read_one(path, |message, path| {
            u32::try_from(message.count(path)).unwrap_or(u32::MAX)
        })
    }

    fn segments(&mut self, _: Resource<Message>) -> wasmtime::Result<Vec<String>> {
        let asked = self.asked()?;
        Ok(asked
            .message()?
            .segment_names()
            .filter(|name| asked.granted.segment(name))
            .map(String::from)
            .collect())
    }

    fn drop(&mut self, _: Resource<Message>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl lead_squared::Host for State {}

impl lead_squared::HostChange for State {
    fn get(
        &mut self,
        change: Resource<Change>,
        entity: lead_squared::Entity,
        field: String,
        moment: lead_squared::Moment,
    ) -> wasmtime::Result<Result<types::Content, types::AccessError>> {
        let contents = self.get_all(change, entity, vec![field], moment)?;
        Ok(contents.map(|mut contents| contents.swap_remove(0)))
    }

    fn get_all(
        &mut self,
        _: Resource<Change>,
        entity: lead_squared::Entity,
        fields: Vec<String>,
        moment: lead_squared::Moment,
    ) -> wasmtime::Result<Result<Vec<types::Content>, types::AccessError>> {
        let asked = self.asked()?;
        let entity = entity_of(entity);
        let moment = match moment {
            lead_squared::Moment::Before => Moment::Before,
            lead_squared::Moment::After => Moment::After,
        };
        let snapshot = asked.change()?.snapshot(entity);
        let mut contents = Vec::with_capacity(fields.len());
        for name in fields {
            let field = Field {
                entity,
                name: &name,
            };
            if !asked.granted.field(field) {
                let access = Access::Read(named(field, &asked.component));
                self.denied.get_or_insert(access);
                return Ok(Err(types::AccessError::NotGranted(name)));
            }
            let get = |snapshot: &Snapshot| content(snapshot.get(&name, moment));
            contents.push(snapshot.map_or(types::Content::Absent, get));
        }
        Ok(Ok(contents))
    }

    fn changed(
        &mut self,
        _: Resource<Change>,
        entity: lead_squared::Entity,
    ) -> wasmtime::Result<Vec<String>> {
        let asked = self.asked()?;
        let entity = entity_of(entity);
        let snapshot = asked.change()?.snapshot(entity);
        Ok(snapshot
            .into_iter()
            .flat_map(Snapshot::changed)
            .filter(|name| asked.granted.field(Field { entity, name }))
            .map(String::from)
            .collect())
    }

    fn drop(&mut self, _: Resource<Change>) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn entity_of(entity: lead_squared::Entity) -> Entity {
    match entity {
        lead_squared::Entity::Lead => Entity::Lead,
        lead_squared::Entity::Activity => Entity::Activity,
    }
}

/// A field as an administrator may see it: a name that the guest makes up as it runs may be patient data.
fn named(field: Field<'_>, component: &Component) -> String {
    let text = field.to_string();
    match (component.manifest.reads.contains(&text), field.entity) {
        (true, _) => text,
        (false, Entity::Lead) => "a lead field that it does not ask for".into(),
        (false, Entity::Activity) => "an activity field that it does not ask for".into(),
    }
}

impl flow::Host for State {
    fn setting(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Option<String>, types::AccessError>> {
        let asked = self.asked()?;
        let settings = &asked.component.manifest.settings;
        let Some(setting) = settings.iter().find(|setting| setting.name == name) else {
            return Ok(Err(types::AccessError::UnknownName(name)));
        };
        let value = asked.about.release.settings.get(&name);
        Ok(Ok(value.or(setting.default.as_ref()).cloned()))
    }

    fn event(&mut self) -> wasmtime::Result<String> {
        Ok(self.asked()?.about.event.clone())
    }

    fn received_at(&mut self) -> wasmtime::Result<types::DateTime> {
        let received_at = jiff::Timestamp::from_millisecond(self.asked()?.about.received_at_ms)?;
        let at = received_at.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        Ok(types::DateTime {
            date: types::Date {
                year: at.year().unsigned_abs(),
                month: at.month().unsigned_abs(),
                day: at.day().unsigned_abs(),
            },
            time: types::Time {
                hour: at.hour().unsigned_abs(),
                minute: at.minute().unsigned_abs(),
                second: at.second().unsigned_abs(),
                nanosecond: at.subsec_nanosecond().unsigned_abs(),
            },
            offset_minutes: Some(0),
        })
    }

    fn time_zone(&mut self) -> wasmtime::Result<String> {
        Ok(self.asked()?.about.time_zone.clone())
    }

    fn default_country_code(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.asked()?.about.default_country_code.clone())
    }

    fn channel(&mut self) -> wasmtime::Result<String> {
        Ok(self.asked()?.about.channel.clone())
    }

    fn control_id(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(match &self.asked()?.subject {
            Subject::Message(message) => {
                let control_id = message.header().control_id;
                (!control_id.is_empty()).then(|| control_id.into())
            }
            Subject::Change(_) => None,
        })
    }
}

impl codes::Host for State {
    fn translate(
        &mut self,
        table: String,
        code: String,
    ) -> wasmtime::Result<Result<Option<String>, types::AccessError>> {
        let values = self.look_up(table, &code, |_| Ok(vec![0]))?;
        Ok(values.map(|values| values.map(|mut values| values.swap_remove(0))))
    }

    fn look_up(
        &mut self,
        table: String,
        code: String,
        columns: Vec<String>,
    ) -> wasmtime::Result<Result<Option<Vec<String>>, types::AccessError>> {
        self.look_up(table, &code, |table| {
            let column = |name: String| table.column(&name).ok_or(name);
            columns.into_iter().map(column).collect()
        })
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, mut text: String) -> wasmtime::Result<()> {
        if self.log.len() == MAX_LINES {
            self.lines_cut += 1;
            return Ok(());
        }
        text.truncate(text.floor_char_boundary(MAX_LINE_BYTES));
        text.shrink_to_fit();
        self.log.push(LogLine {
            level: match level {
                log::Level::Debug => Level::Debug,
                log::Level::Info => Level::Info,
                log::Level::Warn => Level::Warn,
            },
            text,
        });
        Ok(())
    }

    fn warn(&mut self, warning: log::Warning) -> wasmtime::Result<()> {
        if self.warnings.len() == MAX_WARNINGS {
            self.warnings_cut += 1;
            return Ok(());
        }
        // `describe` has nothing to warn of; what it says goes nowhere.
        let Some(asked) = &self.run else {
            return Ok(());
        };
        let rows = &asked.component.manifest.rows;
        let is_row = rows.iter().any(|row| row.id == warning.row);
        let path = match warning.path.parse::<Path>() {
            Ok(path) => shown(&path),
            // The name of a field that the manifest lists says nothing of the patient either.
            Err(_) => {
                let field = warning.path.trim_start_matches("before ");
                let reads = &asked.component.manifest.reads;
                let known = reads.iter().find(|read| *read == field);
                known.cloned().unwrap_or_default()
            }
        };
        self.warnings.push(Warning {
            row: is_row.then_some(warning.row),
            path,
            cause: match warning.cause {
                log::Cause::Malformed => Cause::Malformed,
                log::Cause::UnmappedCode => Cause::UnmappedCode,
                log::Cause::SeveralValues => Cause::SeveralValues,
                log::Cause::TooMany => Cause::TooMany,
            },
            defaulted: warning.defaulted,
        });
        Ok(())
    }
}
