//! Program and message to assignments, or program and change to placements.

use std::borrow::Cow;

use crate::program::{Activity, Condition, Hits, Null, OnError, Program, Row, Rule, Source, Test};
use crate::step;
use crate::value::{
    ActivityWrite, Assignment, Content, DateTime, Evaluated, LeftOut, Placement, Reason, Refusal,
    Value,
};

/// Answers paths of one message, or what an outbound program asks of a change: across the sandbox's wall in a component, straight from the parsed message natively.
pub trait Reader {
    /// The first hit of each path, in the order asked.
    ///
    /// # Errors
    ///
    /// A refusal that names a path that may not be read.
    fn get_all(&self, paths: &[&str]) -> Result<Vec<Content>, Refusal>;

    /// Every hit of each path, in the order asked.
    ///
    /// # Errors
    ///
    /// A refusal that names a path that may not be read.
    fn hits(&self, paths: &[&str]) -> Result<Vec<Vec<Content>>, Refusal>;
}

/// What the message says at all paths of a program; read it once, then [`evaluate`].
pub struct Contents {
    first: Vec<Content>,
    hits: Vec<Vec<Content>>,
}

impl Contents {
    /// Asks for all paths of `program`, in one crossing where the first hits are enough.
    ///
    /// # Errors
    ///
    /// The reader's refusal.
    pub fn read(program: &Program<'_>, reader: &impl Reader) -> Result<Self, Refusal> {
        Ok(Self {
            first: if program.paths.is_empty() {
                Vec::new()
            } else {
                reader.get_all(&program.paths)?
            },
            hits: if program.hit_paths.is_empty() {
                Vec::new()
            } else {
                reader.hits(&program.hit_paths)?
            },
        })
    }
}

/// Maps one message, whose contents at the program's paths are given.
///
/// # Errors
///
/// A refusal: a required row without a value, or a value that cannot be used in a row that says so.
pub fn evaluate<'a>(
    program: &'a Program<'a>,
    contents: &'a Contents,
) -> Result<Evaluated<'a>, Refusal> {
    let mut run = Run {
        program,
        contents,
        left_out: Vec::new(),
    };
    let lead = run.rows(&program.lead)?;
    let mut activities = Vec::with_capacity(program.activities.len());
    for activity in &program.activities {
        if run.all_hold(&activity.when) {
            activities.push(run.activity(activity)?);
        }
    }
    let mut places = Vec::with_capacity(program.places.len());
    for row in &program.places {
        if let Some(value) = run.rule(row.target, &row.rule)? {
            places.push(Placement {
                path: row.target,
                value,
                required: row.rule.required || row.rule.on_error == OnError::Refuse,
            });
        }
    }
    Ok(Evaluated {
        lead,
        activities,
        places,
        left_out: run.left_out,
    })
}

struct Run<'a> {
    program: &'a Program<'a>,
    contents: &'a Contents,
    left_out: Vec<LeftOut<'a>>,
}

/// A source value on its way: like [`Content`], but borrowing where it can.
enum Found<'a> {
    Absent,
    Null,
    Text(Cow<'a, str>),
}

impl<'a> Run<'a> {
    fn rows(&mut self, rows: &'a [Row<'a>]) -> Result<Vec<Assignment<'a>>, Refusal> {
        let mut assignments = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(value) = self.rule(row.target, &row.rule)? {
                assignments.push(Assignment {
                    target: row.target,
                    value,
                });
            }
        }
        Ok(assignments)
    }

    fn activity(&mut self, activity: &'a Activity<'a>) -> Result<ActivityWrite<'a>, Refusal> {
        Ok(ActivityWrite {
            key: self.text("key", activity.key.as_ref())?,
            kind: activity.kind,
            note: self.text("note", activity.note.as_ref())?,
            at: self.at(activity.at.as_ref())?,
            fields: self.rows(&activity.fields)?,
        })
    }

    fn text(
        &mut self,
        name: &'a str,
        rule: Option<&'a Rule<'a>>,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(rule) = rule else { return Ok(None) };
        match self.rule(name, rule)? {
            Some(Value::Text(text)) => Ok(Some(text)),
            _ => Ok(None),
        }
    }

    fn at(&mut self, rule: Option<&'a Rule<'a>>) -> Result<Option<DateTime>, Refusal> {
        let Some(rule) = rule else { return Ok(None) };
        match self.rule("at", rule)? {
            Some(Value::DateTime(at)) => Ok(Some(at)),
            _ => Ok(None),
        }
    }

    /// The value of one rule; none when the row says nothing to its target.
    fn rule(&mut self, target: &'a str, rule: &'a Rule<'a>) -> Result<Option<Value<'a>>, Refusal> {
        if !self.all_hold(&rule.when) {
            return Ok(None);
        }
        let found = match self.find(&rule.source) {
            Ok(found) => found,
            Err(reason) => return self.unusable(target, rule, reason, ""),
        };
        let value = match found {
            Found::Text(text) => {
                let mut value = Value::Text(text);
                for step in &rule.steps {
                    value = match step::apply(step, value) {
                        Ok(value) => value,
                        Err((reason, text)) => return self.unusable(target, rule, reason, &text),
                    };
                }
                match value {
                    Value::Text(text) if text.is_empty() => None,
                    value => Some(value),
                }
            }
            Found::Null if rule.null == Null::Clear => Some(Value::Clear),
            Found::Null | Found::Absent => None,
        };
        if rule.required && matches!(value, None | Some(Value::Clear)) {
            return Err(Refusal::Missing(self.path_of(&rule.source).into()));
        }
        Ok(value)
    }

    fn find(&self, source: &'a Source<'a>) -> Result<Found<'a>, Reason> {
        Ok(match source {
            Source::Path(at) => self.first(*at),
            Source::Hits(at, rule) => self.hits(*at, rule)?,
            Source::Constant(text) => Found::Text(Cow::Borrowed(text)),
            Source::First(parts) => {
                let mut null = false;
                for part in parts {
                    match self.find(part)? {
                        Found::Text(text) if !text.trim().is_empty() => {
                            return Ok(Found::Text(text));
                        }
                        Found::Null => null = true,
                        Found::Text(_) | Found::Absent => {}
                    }
                }
                if null { Found::Null } else { Found::Absent }
            }
            Source::Concat { separator, parts } => self.concat(separator, parts)?,
        })
    }

    fn concat(&self, separator: &str, parts: &'a [Source<'a>]) -> Result<Found<'a>, Reason> {
        let mut joined = String::new();
        let (mut null, mut asked, mut answered) = (false, false, false);
        for part in parts {
            let from_message = !matches!(part, Source::Constant(_));
            asked |= from_message;
            match self.find(part)? {
                Found::Text(text) if !text.is_empty() => {
                    answered |= from_message;
                    if !joined.is_empty() {
                        joined.push_str(separator);
                    }
                    joined.push_str(&text);
                }
                Found::Null => null = true,
                Found::Text(_) | Found::Absent => {}
            }
        }
        // Constants alone are not an answer of the message.
        Ok(if answered || !asked {
            Found::Text(Cow::Owned(joined))
        } else if null {
            Found::Null
        } else {
            Found::Absent
        })
    }

    fn first(&self, at: u16) -> Found<'a> {
        match self.contents.first.get(usize::from(at)) {
            Some(Content::Text(text)) => Found::Text(Cow::Borrowed(text)),
            Some(Content::Null) => Found::Null,
            Some(Content::Absent) | None => Found::Absent,
        }
    }

    fn hits(&self, at: u16, rule: &Hits<'a>) -> Result<Found<'a>, Reason> {
        let hits = self
            .contents
            .hits
            .get(usize::from(at))
            .map_or(&[][..], Vec::as_slice);
        let mut texts = hits.iter().filter_map(|hit| match hit {
            Content::Text(text) => Some(text.as_str()),
            Content::Null | Content::Absent => None,
        });
        let found = match rule {
            Hits::Last => texts.next_back().map(Cow::Borrowed),
            Hits::All(separator) => {
                let mut joined = String::new();
                for text in texts {
                    if !joined.is_empty() {
                        joined.push_str(separator);
                    }
                    joined.push_str(text);
                }
                (!joined.is_empty()).then_some(Cow::Owned(joined))
            }
            Hits::Refuse => {
                let one = texts.next();
                if texts.any(|other| Some(other) != one) {
                    return Err(Reason::HitsDiffer);
                }
                one.map(Cow::Borrowed)
            }
        };
        Ok(match found {
            Some(text) => Found::Text(text),
            None if hits.contains(&Content::Null) => Found::Null,
            None => Found::Absent,
        })
    }

    fn all_hold(&self, conditions: &[Condition<'_>]) -> bool {
        conditions.iter().all(|condition| {
            let text = self.first_text(condition.path);
            match &condition.test {
                Test::Present => text.is_some(),
                Test::Absent => text.is_none(),
                Test::Equals(wanted) => text == Some(wanted),
                Test::In(wanted) => text.is_some_and(|text| wanted.contains(&text)),
                Test::Changed(before) => text != self.first_text(*before),
            }
        })
    }

    fn first_text(&self, at: u16) -> Option<&'a str> {
        match self.contents.first.get(usize::from(at)) {
            Some(Content::Text(text)) => Some(text),
            Some(Content::Null | Content::Absent) | None => None,
        }
    }

    fn unusable(
        &mut self,
        target: &'a str,
        rule: &Rule<'a>,
        reason: Reason,
        code: &str,
    ) -> Result<Option<Value<'a>>, Refusal> {
        let path = self.path_of(&rule.source);
        if rule.on_error == OnError::LeaveOut && !rule.required {
            self.left_out.push(LeftOut {
                target,
                path,
                reason,
            });
            return Ok(None);
        }
        Err(match reason {
            Reason::NoSuchCode => Refusal::UnmappedCode {
                table: target.into(),
                code: code.into(),
            },
            Reason::NotADate
            | Reason::NotADateTime
            | Reason::NotAFieldDate
            | Reason::NotAFieldDateTime
            | Reason::HitsDiffer => Refusal::Malformed {
                path: path.into(),
                expected: reason.expected().into(),
            },
        })
    }

    /// The path that stands for a source in a text: its first.
    fn path_of(&self, source: &Source<'a>) -> &'a str {
        match source {
            Source::Path(at) => self.program.paths.get(usize::from(*at)),
            Source::Hits(at, _) => self.program.hit_paths.get(usize::from(*at)),
            Source::Constant(_) => None,
            Source::First(parts) | Source::Concat { parts, .. } => {
                return parts
                    .iter()
                    .map(|part| self.path_of(part))
                    .find(|path| !path.is_empty())
                    .unwrap_or("");
            }
        }
        .copied()
        .unwrap_or("")
    }
}
