//! What each kind of source says.

use std::borrow::Cow;

use super::{Found, Here, Run, contents, is_empty, text_at};
use crate::program::{At, Fact, Hits, Source};
use crate::step::Trouble;
use crate::value::{Content, Reason, Value};

impl<'a> Run<'a> {
    pub(super) fn find(
        &self,
        source: &'a Source<'a, At>,
        here: &Here<'a>,
    ) -> Result<Found<'a>, Trouble<'a>> {
        Ok(match source {
            Source::Ask(at) => self.first(*at, here),
            Source::Hits(at, rule) if at.of > 0 => {
                let path = self.other(*at, here);
                let hits = self.tools.reader.hits(&[&path]);
                let hits = hits.map_err(Trouble::Refused)?.pop().unwrap_or_default();
                let texts = hits
                    .iter()
                    .filter_map(text)
                    .map(|text| Cow::Owned(text.into()));
                made_one(texts, rule, hits.contains(&Content::Null))?
            }
            Source::Hits(at, rule) => {
                let hits = self.contents.hits.get(usize::from(at.at));
                let hits = hits.map_or(&[][..], Vec::as_slice);
                let texts = hits.iter().filter_map(text).map(Cow::Borrowed);
                made_one(texts, rule, hits.contains(&Content::Null))?
            }
            Source::Raw(at) => {
                let raw = self.tools.reader.raw(&self.other(*at, here));
                match raw.map_err(Trouble::Refused)? {
                    Some(text) => Found::text(text),
                    None => Found::Absent,
                }
            }
            Source::Count(at) => {
                let count = self.tools.reader.count(&self.other(*at, here));
                Found::text(count.map_err(Trouble::Refused)?.to_string())
            }
            Source::Fact(fact) => self.fact(*fact, here),
            Source::Setting(name) => {
                let setting = self.tools.reader.setting(name);
                match setting.map_err(Trouble::Refused)? {
                    Some(text) => Found::text(text),
                    None => Found::Absent,
                }
            }
            Source::Constant(text) => Found::text(text.borrowed()),
            Source::First(parts) => {
                let mut null = false;
                for part in parts {
                    match self.find(part, here)? {
                        Found::Value(Value::Text(text)) if text.trim().is_empty() => {}
                        Found::Value(value) => return Ok(Found::Value(value)),
                        Found::Null => null = true,
                        Found::Absent => {}
                    }
                }
                if null { Found::Null } else { Found::Absent }
            }
            Source::Concat { separator, parts } => self.concat(separator, parts, here)?,
            Source::Template(parts) => self.concat("", parts, here)?,
            Source::Part(part) => {
                if !self.all_hold(&part.when, here) {
                    return Ok(Found::Absent);
                }
                let value = match self.find(&part.source, here)? {
                    Found::Null => return Ok(Found::Null),
                    Found::Absent => Value::Text("".into()),
                    Found::Value(value) => value,
                };
                let value = self.stepped(&part.steps, value)?;
                match is_empty(&value) {
                    true => Found::Absent,
                    false => Found::Value(value),
                }
            }
            // A loop is the source of a whole row; the document check lets it be nowhere else.
            Source::Each(_) => Found::Absent,
        })
    }

    /// What a source says for each element; elements that say nothing are passed over.
    pub(super) fn list(
        &self,
        source: &'a Source<'a, At>,
        elements: Vec<Here<'a>>,
    ) -> Result<Found<'a>, Trouble<'a>> {
        let mut items = Vec::with_capacity(elements.len());
        for here in &elements {
            match self.find(source, here)? {
                Found::Value(Value::Text(text)) if !text.is_empty() => items.push(text),
                Found::Value(Value::List(texts)) => items.extend(texts),
                _ => {}
            }
        }
        Ok(match items.is_empty() {
            true => Found::Absent,
            false => Found::Value(Value::List(items)),
        })
    }

    fn concat(
        &self,
        separator: &str,
        parts: &'a [Source<'a, At>],
        here: &Here<'a>,
    ) -> Result<Found<'a>, Trouble<'a>> {
        let mut joined = String::new();
        let (mut null, mut asked, mut answered) = (false, false, false);
        for part in parts {
            let from_message = !matches!(part, Source::Constant(_));
            asked |= from_message;
            match self.find(part, here)? {
                Found::Value(Value::Text(text)) if !text.is_empty() => {
                    answered |= from_message;
                    if !joined.is_empty() {
                        joined.push_str(separator);
                    }
                    joined.push_str(&text);
                }
                Found::Null => null = true,
                Found::Value(_) | Found::Absent => {}
            }
        }
        // Constants alone are not an answer of the message.
        Ok(if answered || !asked {
            Found::text(joined)
        } else if null {
            Found::Null
        } else {
            Found::Absent
        })
    }

    fn first(&self, at: At, here: &Here<'a>) -> Found<'a> {
        let content = match (at.of, here.element) {
            (0, _) => self.contents.first.get(usize::from(at.at)),
            (_, Some(element)) => self.contents.of_element(element, at.at),
            (_, None) => None,
        };
        match content {
            Some(Content::Text(text)) => Found::text(text.as_str()),
            Some(Content::Null) => Found::Null,
            Some(Content::Absent) | None => Found::Absent,
        }
    }

    /// The path of what is asked one by one.
    fn other(&self, at: At, here: &Here<'a>) -> Cow<'a, str> {
        match (at.of, here.element) {
            (0, _) => Cow::Borrowed(text_at(&self.program.other_paths, at.at)),
            (_, Some((number, position))) => match self.program.loops.get(number) {
                Some(one) => {
                    let path = text_at(&one.other_paths, at.at);
                    contents::numbered(&one.over, path, position + 1).into()
                }
                None => Cow::Borrowed(""),
            },
            (_, None) => Cow::Borrowed(""),
        }
    }

    fn fact(&self, fact: Fact, here: &Here<'a>) -> Found<'a> {
        match fact {
            Fact::Number if here.number > 0 => Found::text(here.number.to_string()),
            Fact::Item => match &here.item {
                Some(item) => Found::text(item.clone()),
                None => Found::Absent,
            },
            Fact::Number => Found::Absent,
            Fact::Event | Fact::ReceivedAt | Fact::ControlId | Fact::Channel => {
                match self.tools.reader.fact(fact) {
                    Some(text) => Found::text(text),
                    None => Found::Absent,
                }
            }
        }
    }
}

impl<'a> Found<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Found::Value(Value::Text(text.into()))
    }
}

fn text(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) => Some(text),
        Content::Null | Content::Absent => None,
    }
}

fn made_one<'a>(
    mut texts: impl DoubleEndedIterator<Item = Cow<'a, str>>,
    rule: &Hits<'_>,
    null: bool,
) -> Result<Found<'a>, Trouble<'a>> {
    let found = match rule {
        Hits::Last => texts.next_back().map(Value::Text),
        Hits::All(separator) => {
            let mut joined = String::new();
            for text in texts {
                if !joined.is_empty() {
                    joined.push_str(separator);
                }
                joined.push_str(&text);
            }
            (!joined.is_empty()).then_some(Value::Text(joined.into()))
        }
        Hits::Refuse => {
            let one = texts.next();
            if texts.any(|other| Some(other) != one) {
                return Err(Reason::HitsDiffer.into());
            }
            one.map(Value::Text)
        }
        Hits::List => {
            let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
            (!texts.is_empty()).then_some(Value::List(texts))
        }
    };
    Ok(match found {
        Some(value) => Found::Value(value),
        None if null => Found::Null,
        None => Found::Absent,
    })
}
