//! Program and message to assignments, or program and change to placements.

mod condition;
mod contents;
mod source;

use std::borrow::Cow;

pub use condition::is_comparable;
pub use contents::{Contents, Reader};

use crate::program::{
    Activity, At, Each, End, OnError, Program, Repeat, Row, Rule, Silent, Source,
};
use crate::step::{self, Step, Tools, Trouble};
use crate::value::{
    ActivityWrite, Assignment, DateTime, Evaluated, Placement, Reason, Refusal, Stopped, Value,
    Warning, Written,
};

/// Maps one message, whose contents at the program's paths are given.
///
/// # Errors
///
/// A required row without a value, a value that cannot be used in a row that says so, or the document's own refusal.
pub fn evaluate<'a>(
    program: &'a Program<'a>,
    contents: &'a Contents,
    reader: &'a dyn Reader,
) -> Result<Evaluated<'a>, Stopped> {
    let mut run = Run {
        program,
        contents,
        tools: Tools::new(reader, program.outbound),
        groups: Vec::new(),
        warnings: Vec::new(),
    };
    for ending in &program.endings {
        if run.all_hold(&ending.when, &Here::NOWHERE) {
            return match ending.how {
                End::Skip => Ok(Evaluated::Skip(&ending.reason)),
                End::Refuse | End::Wait => Err(Stopped {
                    refusal: Refusal::Other(ending.reason.to_string()),
                    waits: ending.how == End::Wait,
                }),
            };
        }
    }
    run.groups = program
        .groups
        .iter()
        .map(|group| run.all_hold(group, &Here::NOWHERE))
        .collect();
    let lead = run.rows(None, &program.lead, &Here::NOWHERE)?;
    let retired = run.retired(program.retired.as_ref())?;
    let mut activities = Vec::with_capacity(program.activities.len());
    for activity in &program.activities {
        run.activities(activity, &mut activities)?;
    }
    let mut places = Vec::with_capacity(program.places.len());
    run.places(&program.places, None, &Here::NOWHERE, &mut places)?;
    for repeat in &program.repeats {
        run.repeat(repeat, &mut places)?;
    }
    Ok(Evaluated::Write(Written {
        lead,
        retired,
        activities,
        places,
        warnings: run.warnings,
    }))
}

struct Run<'a> {
    program: &'a Program<'a>,
    contents: &'a Contents,
    tools: Tools<'a>,
    /// Which groups' conditions hold.
    groups: Vec<bool>,
    warnings: Vec<Warning<'a>>,
}

/// Where in a loop or a repeat the run stands.
#[derive(Default)]
struct Here<'a> {
    /// Position of the loop, and of the element in it.
    element: Option<(usize, usize)>,
    item: Option<Cow<'a, str>>,
    /// From 1.
    number: usize,
}

impl Here<'_> {
    const NOWHERE: Here<'static> = Here {
        element: None,
        item: None,
        number: 0,
    };
}

/// A source value on its way.
enum Found<'a> {
    Absent,
    Null,
    /// Perhaps an empty text.
    Value(Value<'a>),
}

/// Whose rule is carried out: a row, or a value of an activity's own.
#[derive(Clone, Copy)]
struct Who<'a> {
    id: &'a str,
    part: Option<&'static str>,
}

impl<'a> Who<'a> {
    fn named(self) -> Cow<'a, str> {
        match self.part {
            None => Cow::Borrowed(self.id),
            Some(part) if self.id.is_empty() => Cow::Borrowed(part),
            Some(part) => Cow::Owned([self.id, ".", part].concat()),
        }
    }
}

impl<'a> Run<'a> {
    fn speaks(&self, group: u16) -> bool {
        let position = usize::from(group).checked_sub(1);
        position.is_none_or(|at| self.groups.get(at).copied().unwrap_or_default())
    }

    fn rows(
        &mut self,
        part: Option<&'static str>,
        rows: &'a [Row<'a, At>],
        here: &Here<'a>,
    ) -> Result<Vec<Assignment<'a>>, Stopped> {
        let mut assignments = Vec::with_capacity(rows.len());
        for row in rows {
            let who = Who { id: &row.id, part };
            if self.speaks(row.group)
                && let Some(value) = self.rule(who, &row.rule, here)?
            {
                assignments.push(Assignment {
                    target: &row.target,
                    value,
                    on_error: on_error(&row.rule),
                });
            }
        }
        Ok(assignments)
    }

    fn retired(&mut self, rule: Option<&'a Rule<'a, At>>) -> Result<Vec<Cow<'a, str>>, Stopped> {
        let Some(rule) = rule else {
            return Ok(Vec::new());
        };
        let who = Who {
            id: "",
            part: Some("retired"),
        };
        Ok(match self.rule(who, rule, &Here::NOWHERE)? {
            Some(Value::Text(text)) => vec![text],
            Some(Value::List(texts)) => texts,
            _ => Vec::new(),
        })
    }

    fn activities(
        &mut self,
        activity: &'a Activity<'a, At>,
        out: &mut Vec<ActivityWrite<'a>>,
    ) -> Result<(), Stopped> {
        if !self.speaks(activity.group) || !self.all_hold(&activity.when, &Here::NOWHERE) {
            return Ok(());
        }
        let Some(each) = &activity.each else {
            out.push(self.activity(activity, &Here::NOWHERE)?);
            return Ok(());
        };
        for here in self.elements(&activity.id, each) {
            out.push(self.activity(activity, &here)?);
        }
        Ok(())
    }

    fn activity(
        &mut self,
        activity: &'a Activity<'a, At>,
        here: &Here<'a>,
    ) -> Result<ActivityWrite<'a>, Stopped> {
        let mut own = |part, rule: &'a Option<Rule<'a, At>>| match rule {
            Some(rule) => {
                let who = Who {
                    id: &activity.id,
                    part: Some(part),
                };
                self.rule(who, rule, here)
            }
            None => Ok(None),
        };
        let text = |value| match value {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        let (key, note) = (
            text(own("key", &activity.key)?),
            text(own("note", &activity.note)?),
        );
        let at = match own("at", &activity.at)? {
            Some(Value::DateTime(at)) => Some(at),
            Some(Value::Date(date)) => Some(DateTime {
                date,
                time: crate::Time::default(),
                offset_minutes: None,
            }),
            _ => None,
        };
        Ok(ActivityWrite {
            key,
            kind: activity.kind.as_deref(),
            note,
            at,
            fields: self.rows(None, &activity.fields, here)?,
        })
    }

    fn places(
        &mut self,
        rows: &'a [Row<'a, At>],
        repeated: Option<&'a Repeat<'a, At>>,
        here: &Here<'a>,
        out: &mut Vec<Placement<'a>>,
    ) -> Result<(), Stopped> {
        for row in rows {
            let who = Who {
                id: &row.id,
                part: None,
            };
            if self.speaks(row.group)
                && let Some(value) = self.rule(who, &row.rule, here)?
            {
                out.push(Placement {
                    path: match repeated {
                        None => row.target.borrowed(),
                        Some(repeat) => {
                            let number = usize::from(repeat.first) + here.number - 1;
                            contents::numbered(&repeat.target, &row.target, number).into()
                        }
                    },
                    value,
                    on_error: on_error(&row.rule),
                });
            }
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        repeat: &'a Repeat<'a, At>,
        out: &mut Vec<Placement<'a>>,
    ) -> Result<(), Stopped> {
        if !self.speaks(repeat.group) {
            return Ok(());
        }
        let who = Who {
            id: &repeat.target,
            part: None,
        };
        let items = match self.rule(who, &repeat.items, &Here::NOWHERE)? {
            Some(Value::Text(text)) => vec![text],
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        };
        let limit = usize::from(repeat.limit);
        if items.len() > limit {
            self.warn(who, "", Reason::TooMany, false);
        }
        for (at, item) in items.into_iter().take(limit).enumerate() {
            let here = Here {
                element: None,
                item: Some(item),
                number: at + 1,
            };
            self.places(&repeat.places, Some(repeat), &here, out)?;
        }
        Ok(())
    }

    /// The elements of a loop that pass the filter, as many as are taken.
    fn elements(&mut self, id: &'a str, each: &'a Each<'a, At>) -> Vec<Here<'a>> {
        let mut taken = Vec::new();
        let at = usize::from(each.over.at);
        for position in 0..self.contents.elements(at) {
            let here = Here {
                element: Some((at, position)),
                item: None,
                number: position + 1,
            };
            if !self.all_hold(&each.filter, &here) {
                continue;
            }
            if taken.len() == usize::from(each.limit) {
                let path = self.program.loops.get(at).map_or("", |one| &*one.over);
                self.warn(Who { id, part: None }, path, Reason::TooMany, false);
                break;
            }
            taken.push(here);
        }
        taken
    }

    /// The value of one rule; none when the row says nothing to its target.
    fn rule(
        &mut self,
        who: Who<'a>,
        rule: &'a Rule<'a, At>,
        here: &Here<'a>,
    ) -> Result<Option<Value<'a>>, Stopped> {
        if !self.all_hold(&rule.when, here) {
            return Ok(None);
        }
        let found = match &rule.source {
            Source::Each(each) => {
                let elements = self.elements(who.id, &each.each);
                self.list(&each.source, elements)
            }
            source => self.find(source, here),
        };
        let value = found.and_then(|found| match found {
            Found::Null => Ok(Err(&rule.null)),
            Found::Absent => self.stepped(&rule.steps, Value::Text("".into())).map(Ok),
            Found::Value(value) => self.stepped(&rule.steps, value).map(Ok),
        });
        let value = match value {
            Ok(Ok(value)) if is_empty(&value) => said(&rule.empty),
            Ok(Ok(value)) => Some(value),
            Ok(Err(null)) => said(null),
            Err(trouble) => return self.unusable(who, rule, trouble),
        };
        if rule.required && matches!(value, None | Some(Value::Clear)) {
            return Err(Stopped {
                refusal: Refusal::Missing(self.path_of(&rule.source).into()),
                waits: rule.on_error == OnError::Wait,
            });
        }
        Ok(value)
    }

    /// Goes through the steps; once there is no text, only a default brings the value back.
    fn stepped(
        &self,
        steps: &'a [Step<'a>],
        mut value: Value<'a>,
    ) -> Result<Value<'a>, Trouble<'a>> {
        for one in steps {
            value = match (one, is_empty(&value)) {
                (Step::Default(text), true) => Value::Text(text.borrowed()),
                (_, true) | (Step::Default(_), false) => value,
                (one, false) => step::apply(one, value, &self.tools)?,
            };
        }
        Ok(value)
    }

    fn unusable(
        &mut self,
        who: Who<'a>,
        rule: &'a Rule<'a, At>,
        trouble: Trouble<'a>,
    ) -> Result<Option<Value<'a>>, Stopped> {
        let path = self.path_of(&rule.source);
        let (reason, refusal) = match trouble {
            Trouble::Refused(refusal) => return Err(refusal.into()),
            Trouble::Value(reason) => (
                reason,
                Refusal::Malformed {
                    path: path.into(),
                    expected: reason.expected().into(),
                },
            ),
            Trouble::Code { table, code } => (
                Reason::NoSuchCode,
                Refusal::UnmappedCode {
                    table: table.map_or_else(|| who.named().into(), Into::into),
                    code: code.into(),
                },
            ),
        };
        match on_error(rule) {
            OnError::LeaveOut => {
                self.warn(who, path, reason, false);
                Ok(None)
            }
            OnError::Default(text) => {
                self.warn(who, path, reason, true);
                Ok(Some(Value::Text(text.borrowed())))
            }
            how @ (OnError::Wait | OnError::Refuse) => Err(Stopped {
                refusal,
                waits: *how == OnError::Wait,
            }),
        }
    }

    fn warn(&mut self, who: Who<'a>, path: &'a str, reason: Reason, defaulted: bool) {
        self.warnings.push(Warning {
            row: who.named(),
            path,
            reason,
            defaulted,
        });
    }

    /// The path that stands for a source in a text: its first.
    fn path_of(&self, source: &Source<'a, At>) -> &'a str {
        let first = |parts: &[Source<'a, At>]| {
            let mut paths = parts.iter().map(|part| self.path_of(part));
            paths.find(|path| !path.is_empty()).unwrap_or("")
        };
        let of_loop = |at: &At| {
            let number = usize::from(at.of).checked_sub(1)?;
            self.program.loops.get(number)
        };
        match source {
            Source::Ask(at) => {
                let paths = of_loop(at).map_or(&self.program.paths, |one| &one.paths);
                text_at(paths, at.at)
            }
            Source::Hits(at, _) => {
                let paths = of_loop(at).map_or(&self.program.hit_paths, |one| &one.other_paths);
                text_at(paths, at.at)
            }
            Source::Raw(at) | Source::Count(at) => {
                let paths = of_loop(at).map_or(&self.program.other_paths, |one| &one.other_paths);
                text_at(paths, at.at)
            }
            Source::First(parts) | Source::Template(parts) => first(parts),
            Source::Concat { parts, .. } => first(parts),
            Source::Part(part) => self.path_of(&part.source),
            Source::Each(each) => {
                let over = self.program.loops.get(usize::from(each.each.over.at));
                over.map_or("", |one| &one.over)
            }
            Source::Fact(_) | Source::Setting(_) | Source::Constant(_) => "",
        }
    }
}

fn text_at<'a>(texts: &'a [crate::Text<'a>], at: u16) -> &'a str {
    texts.get(usize::from(at)).map_or("", |text| text)
}

/// What a value that cannot be used does: a required one is never left out.
fn on_error<'a>(rule: &'a Rule<'a, At>) -> &'a OnError<'a> {
    match &rule.on_error {
        OnError::LeaveOut if rule.required => &OnError::Refuse,
        other => other,
    }
}

fn said<'a>(silent: &'a Silent<'a>) -> Option<Value<'a>> {
    match silent {
        Silent::Keep => None,
        Silent::Clear => Some(Value::Clear),
        Silent::Default(text) => Some(Value::Text(text.borrowed())),
    }
}

fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        _ => false,
    }
}
