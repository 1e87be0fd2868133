//! The interpreter of generated components, run natively on a parsed message or a change.
//!
//! For previews, and as the plain Rust function that the bench compares with; grants are not asked here, because
//! nobody's component runs.

use jiff::Timestamp;
use ligature_mapper as mapper;

use crate::flow::change::{Change, Field, Moment};
use crate::hl7::{Content, Message, Path};

/// Answers the interpreter's questions straight from a parsed message.
pub struct Native<'a> {
    message: &'a Message,
    paths: Vec<Path>,
    hit_paths: Vec<Path>,
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
    ) -> Result<Self, crate::hl7::path::Error> {
        let parse = |paths: &[&str]| -> Result<Vec<Path>, _> {
            paths.iter().map(|path| path.parse()).collect()
        };
        Ok(Self {
            message,
            paths: parse(&program.paths)?,
            hit_paths: parse(&program.hit_paths)?,
        })
    }
}

impl mapper::Reader for Native<'_> {
    fn get_all(&self, _: &[&str]) -> Result<Vec<mapper::Content>, mapper::Refusal> {
        let contents = self.paths.iter().map(|path| self.message.get(path));
        Ok(contents.map(content).collect())
    }

    fn hits(&self, _: &[&str]) -> Result<Vec<Vec<mapper::Content>>, mapper::Refusal> {
        let hits = self.hit_paths.iter().map(|path| self.message.get_all(path));
        Ok(hits
            .map(|hits| hits.into_iter().map(content).collect())
            .collect())
    }
}

fn content(content: Content<'_>) -> mapper::Content {
    match content {
        Content::Absent => mapper::Content::Absent,
        Content::Null => mapper::Content::Null,
        Content::Text(text) => mapper::Content::Text(text.into_owned()),
    }
}

/// Answers the interpreter's questions straight from a change.
pub struct NativeChange<'a> {
    change: &'a Change,
    /// As `YYYYMMDDHHMMSS+0000`.
    received_at: String,
}

impl<'a> NativeChange<'a> {
    /// A change that came in at `received_at`.
    pub fn new(change: &'a Change, received_at: Timestamp) -> Self {
        let received_at = received_at.strftime("%Y%m%d%H%M%S+0000").to_string();
        Self {
            change,
            received_at,
        }
    }

    fn get(&self, asked: &str) -> mapper::Content {
        let (field, moment) = match asked.strip_prefix(mapper::outbound::BEFORE) {
            Some(field) => (field, Moment::Before),
            None => (asked, Moment::After),
        };
        match (asked, Field::parse(field)) {
            (mapper::outbound::EVENT, _) => {
                mapper::Content::Text(self.change.event.as_str().into())
            }
            (mapper::outbound::RECEIVED_AT, _) => mapper::Content::Text(self.received_at.clone()),
            (_, Some(field)) => match self.change.snapshot(field.entity) {
                Some(snapshot) => content(snapshot.get(field.name, moment)),
                None => mapper::Content::Absent,
            },
            (_, None) => mapper::Content::Absent,
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
}
