//! The interpreter of generated components, run natively on a parsed message or a change.
//!
//! For previews, and as the plain Rust function that the bench compares with; grants are not asked here, because
//! nobody's component runs.

mod convert;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use ligature_mapper as mapper;

use super::failure::Failure;
use super::host::Tables;
use super::trace::Warning;
use crate::flow::Release;
use crate::flow::change::{Change, Composed, Field, Moment};
use crate::flow::mapped::{Activity, Mapped, Write};
use crate::hl7::{Content, Message, Path};

/// What the host would answer besides the message or the change.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// For example `ADT^A04`.
    pub event: String,
    pub received_at: Timestamp,
    pub channel: String,
    pub settings: BTreeMap<String, String>,
    pub tables: Tables,
}

impl Facts {
    /// Settings of a release, and its tables.
    pub fn of(release: &Release, tables: &Tables, event: &str, received_at: Timestamp) -> Self {
        Self {
            event: event.into(),
            received_at,
            channel: String::new(),
            settings: release.settings.clone(),
            tables: tables.clone(),
        }
    }

    fn fact(&self, fact: mapper::Fact) -> Option<String> {
        match fact {
            mapper::Fact::Event => Some(self.event.clone()),
            mapper::Fact::ReceivedAt => {
                Some(self.received_at.strftime("%Y%m%d%H%M%S+0000").to_string())
            }
            mapper::Fact::Channel => Some(self.channel.clone()),
            mapper::Fact::ControlId | mapper::Fact::Number | mapper::Fact::Item => None,
        }
    }

    fn code(
        &self,
        table: &str,
        code: &str,
        column: Option<&str>,
    ) -> Result<Option<String>, mapper::Refusal> {
        let unknown = |what: &str| mapper::Refusal::Other(format!("{what} is not known"));
        let lookup = self.tables.get(table).ok_or_else(|| unknown(table))?;
        let column = match column {
            None => 0,
            Some(name) => {
                let column = lookup.table().column(name);
                column.ok_or_else(|| unknown(name))?
            }
        };
        let row = lookup.find(code).row;
        Ok(row.map(|row| row[column].clone()))
    }
}

/// Answers the interpreter's questions straight from a parsed message.
pub struct Native<'a> {
    message: &'a Message,
    facts: &'a Facts,
    paths: HashMap<String, Path>,
}

impl<'a> Native<'a> {
    /// Parses the program's paths; a component's host does that once for a release.
    ///
    /// # Errors
    ///
    /// The first path that is none; a checked document has none of those.
    pub fn new(
        program: &mapper::Program<'_>,
        message: &'a Message,
        facts: &'a Facts,
    ) -> Result<Self, crate::hl7::path::Error> {
        let known = program.paths.iter().chain(&program.hit_paths);
        let paths = known.map(|path| Ok((path.to_string(), path.parse()?)));
        Ok(Self {
            message,
            facts,
            paths: paths.collect::<Result<_, _>>()?,
        })
    }

    fn ask<T>(
        &self,
        path: &str,
        ask: impl FnOnce(&Message, &Path) -> T,
    ) -> Result<T, mapper::Refusal> {
        if let Some(path) = self.paths.get(path) {
            return Ok(ask(self.message, path));
        }
        match path.parse() {
            Ok(path) => Ok(ask(self.message, &path)),
            Err(_) => Err(mapper::Refusal::Other(format!("{path} is not a path"))),
        }
    }
}

impl mapper::Reader for Native<'_> {
    fn get_all(&self, paths: &[&str]) -> Result<Vec<mapper::Content>, mapper::Refusal> {
        let get = |path: &&str| self.ask(path, |message, path| content(message.get(path)));
        paths.iter().map(get).collect()
    }

    fn hits(&self, paths: &[&str]) -> Result<Vec<Vec<mapper::Content>>, mapper::Refusal> {
        let all = |path: &&str| {
            self.ask(path, |message, path| {
                message.get_all(path).into_iter().map(content).collect()
            })
        };
        paths.iter().map(all).collect()
    }

    fn raw(&self, path: &str) -> Result<Option<String>, mapper::Refusal> {
        self.ask(path, |message, path| message.raw(path).map(String::from))
    }

    fn count(&self, path: &str) -> Result<u32, mapper::Refusal> {
        self.ask(path, |message, path| {
            u32::try_from(message.count(path)).unwrap_or(u32::MAX)
        })
    }

    fn fact(&self, fact: mapper::Fact) -> Option<String> {
        match fact {
            mapper::Fact::ControlId => {
                let control_id = self.message.header().control_id;
                (!control_id.is_empty()).then(|| control_id.into())
            }
            other => self.facts.fact(other),
        }
    }

    fn setting(&self, name: &str) -> Result<Option<String>, mapper::Refusal> {
        Ok(self.facts.settings.get(name).cloned())
    }

    fn code(
        &self,
        table: &str,
        code: &str,
        column: Option<&str>,
    ) -> Result<Option<String>, mapper::Refusal> {
        self.facts.code(table, code, column)
    }
}

fn content(content: Content<'_>) -> mapper::Content {
    match content {
        Content::Absent => mapper::Content::Absent,
        Content::Null => mapper::Content::Null,
        Content::Text(text) => mapper::Content::Text(text.into_owned()),
    }
}

/// Answers the interpreter's questions straight from a change; the event is the change's.
pub struct NativeChange<'a> {
    change: &'a Change,
    facts: &'a Facts,
}

impl<'a> NativeChange<'a> {
    /// A change in the run that `facts` tell of.
    pub fn new(change: &'a Change, facts: &'a Facts) -> Self {
        Self { change, facts }
    }

    fn get(&self, asked: &str) -> mapper::Content {
        let (field, moment) = match asked.strip_prefix(mapper::BEFORE) {
            Some(field) => (field, Moment::Before),
            None => (asked, Moment::After),
        };
        let field = Field::parse(field);
        let snapshot = field.and_then(|field| self.change.snapshot(field.entity));
        match snapshot.zip(field) {
            Some((snapshot, field)) => content(snapshot.get(field.name, moment)),
            None => mapper::Content::Absent,
        }
    }
}

impl mapper::Reader for NativeChange<'_> {
    fn get_all(&self, asked: &[&str]) -> Result<Vec<mapper::Content>, mapper::Refusal> {
        Ok(asked.iter().map(|asked| self.get(asked)).collect())
    }

    /// A field has one value.
    fn hits(&self, asked: &[&str]) -> Result<Vec<Vec<mapper::Content>>, mapper::Refusal> {
        Ok(asked.iter().map(|asked| vec![self.get(asked)]).collect())
    }

    /// A field has no other form than its text, and there is one of it.
    fn raw(&self, _: &str) -> Result<Option<String>, mapper::Refusal> {
        Ok(None)
    }

    fn count(&self, _: &str) -> Result<u32, mapper::Refusal> {
        Ok(0)
    }

    fn fact(&self, fact: mapper::Fact) -> Option<String> {
        match fact {
            mapper::Fact::Event => Some(self.change.event.to_string()),
            other => self.facts.fact(other),
        }
    }

    fn setting(&self, name: &str) -> Result<Option<String>, mapper::Refusal> {
        Ok(self.facts.settings.get(name).cloned())
    }

    fn code(
        &self,
        table: &str,
        code: &str,
        column: Option<&str>,
    ) -> Result<Option<String>, mapper::Refusal> {
        self.facts.code(table, code, column)
    }
}

/// How a native run went; the same types as of a component's.
pub struct Ran<T> {
    pub outcome: Result<T, Failure>,
    pub warnings: Vec<Warning>,
}

/// Maps one message by a document's program.
///
/// # Errors
///
/// The bytes are no program, or a path of it is none: a checked document has none of those.
pub fn map(program: &[u8], message: &Message, facts: &Facts) -> Result<Ran<Mapped>, Failure> {
    let program = decode(program)?;
    let reader = Native::new(&program, message, facts);
    let reader = reader.map_err(|error| Failure::Host(error.to_string()))?;
    ran(&program, &reader, |evaluated| match evaluated {
        mapper::Evaluated::Skip(reason) => Mapped::Skip(reason.into()),
        mapper::Evaluated::Write(written) => Mapped::Write(Write {
            lead: convert::assignments(written.lead),
            retired: written.retired.into_iter().map(Into::into).collect(),
            activities: written
                .activities
                .into_iter()
                .map(|activity| Activity {
                    key: activity.key.map(Into::into),
                    kind: activity.kind.map(Into::into),
                    note: activity.note.map(Into::into),
                    at: activity.at.map(convert::date_time),
                    fields: convert::assignments(activity.fields),
                })
                .collect(),
        }),
    })
}

/// Composes one change by a document's program.
///
/// # Errors
///
/// As [`map`].
pub fn compose(program: &[u8], change: &Change, facts: &Facts) -> Result<Ran<Composed>, Failure> {
    let program = decode(program)?;
    let reader = NativeChange::new(change, facts);
    ran(&program, &reader, |evaluated| match evaluated {
        mapper::Evaluated::Skip(reason) => Composed::Skip(reason.into()),
        mapper::Evaluated::Write(written) => Composed::Write(convert::placements(written.places)),
    })
}

fn decode(program: &[u8]) -> Result<mapper::Program<'_>, Failure> {
    let decoded = mapper::decode(program);
    decoded.map_err(|mapper::Unreadable| Failure::Host("no program inside".into()))
}

fn ran<T>(
    program: &mapper::Program<'_>,
    reader: &dyn mapper::Reader,
    written: impl FnOnce(mapper::Evaluated<'_>) -> T,
) -> Result<Ran<T>, Failure> {
    let mut warnings = Vec::new();
    let contents = mapper::Contents::read(program, reader).map_err(mapper::Stopped::from);
    let outcome = contents.and_then(|contents| {
        let evaluated = mapper::evaluate(program, &contents, reader)?;
        if let mapper::Evaluated::Write(written) = &evaluated {
            warnings = written.warnings.iter().map(convert::warning).collect();
        }
        Ok(written(evaluated))
    });
    Ok(Ran {
        outcome: outcome.map_err(|stopped| {
            let refusal = convert::refusal(stopped.refusal);
            match stopped.waits {
                true => Failure::Waits(refusal),
                false => Failure::Refused(refusal),
            }
        }),
        warnings,
    })
}
