//! What a running component can ask: the message, the flow, code tables, a line of log.
//!
//! Each call bounds its own work and none does I/O: everything is in [`State`] before the run.
//! Grants are asked here and in [`answer`](super::answer), below every version of the contract.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::bindings::ligature::mapping::{codes, flow, hl7, log, types};
use super::component::Component;
use super::engine::Limits;
use super::failure::Access;
use super::grants::{Checked, Granted};
use crate::flow::Release;
use crate::hl7::{self as wire, Path};

/// Bytes kept of one line of log.
const MAX_LINE_BYTES: usize = 1_024;

/// Lines of log kept of one run.
const MAX_LINES: usize = 100;

/// Code table misses kept of one run.
const MAX_MISSES: usize = 100;

/// The resource `message`; a run has one, and it is in its [`State`].
pub struct Message;

/// What a run is about, handed in whole.
pub struct Input {
    pub message: Arc<wire::Message>,
    pub release: Arc<Release>,
    /// For example `ADT^A04`.
    pub event: String,
    pub received_at_ms: i64,
    /// IANA name.
    pub time_zone: String,
    pub default_country_code: Option<String>,
}

/// A line that the component wrote; may hold patient data, so it is sealed with the delivery.
#[derive(Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub text: String,
}

/// How a component rates its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
}

/// A code that its table has no entry for; the code may be patient data.
#[derive(Clone, PartialEq, Eq)]
pub struct Miss {
    pub table: String,
    pub code: String,
}

/// One run: what it may ask, and what it leaves behind besides its answer.
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) log: Vec<LogLine>,
    /// Lines beyond the limit.
    pub(crate) lines_cut: u64,
    pub(crate) misses: Vec<Miss>,
    /// The first read that was not granted.
    pub(crate) denied: Option<Access>,
    pub(crate) run: Option<Asked>,
}

/// What a mapping run can ask; a component that only describes itself has nothing.
pub(crate) struct Asked {
    pub(crate) input: Input,
    pub(crate) granted: Arc<Granted>,
    pub(crate) component: Arc<Component>,
}

impl State {
    pub(crate) fn new(max_memory_bytes: usize, run: Option<Asked>) -> Self {
        Self {
            limits: Limits { max_memory_bytes },
            log: Vec::new(),
            lines_cut: 0,
            misses: Vec::new(),
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
        let mut values = Vec::with_capacity(paths.len());
        for text in paths {
            match &*asked.granted.check(text) {
                Checked::Path(path) => values.push(read(&asked.input.message, path)),
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

    fn entry(
        &self,
        table: &str,
        code: &str,
    ) -> wasmtime::Result<Result<Option<String>, types::AccessError>> {
        let Some(entries) = self.asked()?.input.release.tables.get(table) else {
            return Ok(Err(types::AccessError::UnknownName(table.into())));
        };
        Ok(Ok(entries.get(code).cloned()))
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
fn shown(path: &Path) -> String {
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
            .input
            .message
            .segment_names()
            .filter(|name| asked.granted.segment(name))
            .map(String::from)
            .collect())
    }

    fn drop(&mut self, _: Resource<Message>) -> wasmtime::Result<()> {
        Ok(())
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
        let value = asked.input.release.settings.get(&name);
        Ok(Ok(value.or(setting.default.as_ref()).cloned()))
    }

    fn event(&mut self) -> wasmtime::Result<String> {
        Ok(self.asked()?.input.event.clone())
    }

    fn received_at(&mut self) -> wasmtime::Result<types::DateTime> {
        let received_at = jiff::Timestamp::from_millisecond(self.asked()?.input.received_at_ms)?;
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
        Ok(self.asked()?.input.time_zone.clone())
    }

    fn default_country_code(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.asked()?.input.default_country_code.clone())
    }
}

impl codes::Host for State {
    fn translate(
        &mut self,
        table: String,
        code: String,
    ) -> wasmtime::Result<Result<Option<String>, types::AccessError>> {
        let entry = self.entry(&table, &code)?;
        if let Ok(None) = entry {
            self.miss(table, code);
        }
        Ok(entry)
    }

    /// A table has one column so far, `value`.
    fn look_up(
        &mut self,
        table: String,
        code: String,
        columns: Vec<String>,
    ) -> wasmtime::Result<Result<Option<Vec<String>>, types::AccessError>> {
        if let Some(unknown) = columns.iter().find(|column| *column != "value") {
            return Ok(Err(types::AccessError::UnknownName(unknown.clone())));
        }
        let value = self.translate(table, code)?;
        Ok(value.map(|value| value.map(|value| vec![value; columns.len().min(1)])))
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
}
