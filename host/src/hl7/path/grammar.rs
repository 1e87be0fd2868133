//! Reads the text of a [`Path`], by hand, so that an error can point at the character.

use super::super::parse;
use super::{Condition, Index, Path};

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path \"{path}\", character {at}: expected {expected}")]
pub struct Error {
    /// The text that is no path, as it was given.
    pub path: String,
    /// The character at fault, counted from 1; one past the last if the text ends too early.
    pub at: usize,
    /// What should stand there, to be read after "expected".
    pub expected: &'static str,
}

/// No standard segment comes near; keeps an edit from growing a message without end.
const MAX_INDEX: u16 = 9_999;

pub(super) fn parse(text: &str) -> Result<Path, Error> {
    let mut reader = Reader { text, at: 0 };
    let mut path = reader.segment()?;
    if reader.takes("[") {
        path.occurrence = reader.index("a segment's number from 1, or *")?;
        reader.require("]", "]")?;
    }
    if reader.is_done() {
        return Ok(path);
    }
    if !reader.takes("-") && !reader.takes(".") {
        return Err(reader.expected("- and a field number, for example PID-5"));
    }
    path.field = Some(reader.number("a field number from 1")?);
    if reader.takes("[") {
        reader.skip_blanks();
        if reader.rest().starts_with('.') {
            path.conditions = reader.conditions()?;
            if reader.takes("[") {
                path.repetition = reader.index("a number from 1, or *")?;
                reader.require("]", "]")?;
            }
        } else {
            path.repetition =
                reader.index("a repetition's number from 1, *, or a condition such as .5='MR'")?;
            reader.require("]", "]")?;
        }
    }
    if reader.takes(".") {
        path.component = Some(reader.number("a component number from 1")?);
        if reader.takes(".") {
            path.subcomponent = Some(reader.number("a subcomponent number from 1")?);
        }
    }
    if reader.is_done() {
        Ok(path)
    } else {
        Err(reader.expected(match (path.component, path.subcomponent) {
            (_, Some(_)) => "the end of the path",
            (Some(_), None) => ". and a subcomponent number, or the end of the path",
            (None, None) => "[, . and a component number, or the end of the path",
        }))
    }
}

struct Reader<'a> {
    text: &'a str,
    /// In bytes, always between characters.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn is_done(&self) -> bool {
        self.rest().is_empty()
    }

    fn expected(&self, expected: &'static str) -> Error {
        self.expected_at(self.at, expected)
    }

    fn expected_at(&self, at: usize, expected: &'static str) -> Error {
        Error {
            path: self.text.into(),
            at: self.text[..at].chars().count() + 1,
            expected,
        }
    }

    fn takes(&mut self, token: &str) -> bool {
        let taken = self.rest().starts_with(token);
        if taken {
            self.at += token.len();
        }
        taken
    }

    fn require(&mut self, token: &str, expected: &'static str) -> Result<(), Error> {
        if self.takes(token) {
            Ok(())
        } else {
            Err(self.expected(expected))
        }
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn segment(&mut self) -> Result<Path, Error> {
        let letters = self
            .rest()
            .bytes()
            .take_while(u8::is_ascii_alphanumeric)
            .count();
        let name = &self.rest()[..letters];
        if !parse::is_name(name.as_bytes()) {
            let at = if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                letters.min(3)
            } else {
                0
            };
            return Err(self.expected_at(
                at,
                "a segment id of three letters or digits, for example PID",
            ));
        }
        self.at = letters;
        Path::new(name, None).ok_or_else(|| self.expected_at(0, "a segment id"))
    }

    fn number(&mut self, expected: &'static str) -> Result<u16, Error> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        match self.rest()[..digits].parse() {
            Ok(0) => Err(self.expected(expected)),
            Ok(number) if number <= MAX_INDEX => {
                self.at += digits;
                Ok(number)
            }
            _ if digits > 0 => Err(self.expected("a number up to 9999")),
            _ => Err(self.expected(expected)),
        }
    }

    fn index(&mut self, expected: &'static str) -> Result<Index, Error> {
        if self.takes("*") {
            return Ok(Index::Every);
        }
        self.number(expected).map(Index::Nth)
    }

    /// After the opening bracket, up to and with the closing one.
    fn conditions(&mut self) -> Result<Vec<Condition>, Error> {
        let mut conditions = Vec::new();
        loop {
            conditions.push(self.condition()?);
            self.skip_blanks();
            if self.takes("]") {
                return Ok(conditions);
            }
            self.require("and", "and, or ]")?;
            self.skip_blanks();
        }
    }

    fn condition(&mut self) -> Result<Condition, Error> {
        self.require(".", ". and a component number")?;
        let component = self.number("a component number from 1")?;
        let subcomponent = match self.takes(".") {
            true => Some(self.number("a subcomponent number from 1")?),
            false => None,
        };
        self.skip_blanks();
        self.require("=", "= and a text in single quotes")?;
        self.skip_blanks();
        let opening = self.at;
        self.require("'", "a text in single quotes")?;
        let mut value = String::new();
        loop {
            let Some(end) = self.rest().find('\'') else {
                return Err(
                    self.expected_at(opening, "a text in single quotes; this one does not end")
                );
            };
            value.push_str(&self.rest()[..end]);
            self.at += end + 1;
            if !self.takes("'") {
                return Ok(Condition {
                    component,
                    subcomponent,
                    value,
                });
            }
            value.push('\'');
        }
    }
}
