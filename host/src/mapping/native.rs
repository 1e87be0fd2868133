//! The interpreter of generated components, run natively on a parsed message.
//!
//! For previews, and as the plain Rust function that the bench compares with; grants are not asked here, because
//! nobody's component runs.

use ligature_mapper as mapper;

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
