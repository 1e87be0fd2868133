//! A document to the compact program and manifest that the interpreter reads.
//!
//! Both are made in one walk: what is asked for becomes a position in a list where it is met first.

use std::collections::{BTreeMap, BTreeSet};

use ligature_mapper::{self as mapper, At, OnError};

use super::parse::is_of;
use super::{Ask, Condition, Document, Repeat, Row, Rule, Source};
use crate::flow::Direction;
use crate::hl7::Path;

pub(super) fn encode(document: &Document) -> Vec<u8> {
    let mut document = document.clone();
    document.sort();
    let (program, read) = program(&document);
    let events = document.events.iter().map(ToString::to_string);
    let changes = document.changes.iter().map(ToString::to_string);
    let events: Vec<_> = events.chain(changes).collect();
    let activity_rows = document
        .activities
        .iter()
        .flat_map(|activity| &activity.fields);
    let kinds: BTreeSet<_> = document
        .activities
        .iter()
        .filter_map(|activity| activity.kind.as_deref())
        .collect();
    let repeated = document.repeats.iter().flat_map(|repeat| &repeat.places);
    let places: BTreeSet<_> = document
        .places
        .iter()
        .chain(repeated)
        .map(|row| &*row.target)
        .collect();
    let rows = named(&program, &document);
    let manifest = mapper::Manifest {
        name: &document.name,
        version: &document.version,
        summary: &document.summary,
        events: events.iter().map(String::as_str).collect(),
        reads: read.granted.iter().map(String::as_str).collect(),
        lead_targets: targets(document.lead.iter()),
        activity_targets: targets(activity_rows),
        activity_kinds: kinds.into_iter().collect(),
        places: places.into_iter().collect(),
        tables: read.tables.iter().map(String::as_str).collect(),
        settings: document.settings.clone(),
        rows: rows
            .iter()
            .map(|(id, label, target)| mapper::Named { id, label, target })
            .collect(),
    };
    mapper::encode(&program, &manifest)
}

/// Every path that is looked at, without indices and conditions, and every field: what a grant names.
pub(super) fn reads(document: &Document) -> Vec<String> {
    program(document).1.granted.into_iter().collect()
}

/// Every code table, sorted.
pub(super) fn tables(document: &Document) -> Vec<String> {
    program(document).1.tables.into_iter().collect()
}

/// `PID-3[.5='MR'].1` is granted as `PID-3.1`.
fn grant(path: &Path) -> String {
    let mut text = path.segment().to_owned();
    if let Some(field) = path.field() {
        text.push_str(&format!("-{field}"));
        for below in [path.component(), path.subcomponent()]
            .into_iter()
            .flatten()
        {
            text.push_str(&format!(".{below}"));
        }
    }
    text
}

/// One target for each name; several activities may write the same one.
fn targets<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<mapper::Target<'a>> {
    let mut targets: BTreeMap<&str, mapper::Target<'_>> = BTreeMap::new();
    for row in rows {
        let target = targets.entry(&row.target).or_insert(mapper::Target {
            name: &row.target,
            label: label(row),
            required: false,
        });
        target.required |= row.rule.required;
    }
    targets.into_values().collect()
}

fn label(row: &Row) -> &str {
    match row.label.is_empty() {
        true => &row.target,
        false => &row.label,
    }
}

/// Id, label and target of everything that may be warned of; ids as the program has them.
fn named(program: &mapper::Program<'_>, document: &Document) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    let mut own = |id: String, label: String| all.push((id, label, String::new()));
    if program.retired.is_some() {
        own("retired".into(), "Retired identifiers".into());
    }
    for activity in &document.activities {
        let parts = [
            ("key", activity.key.is_some()),
            ("note", activity.note.is_some()),
            ("at", activity.at.is_some()),
        ];
        for (part, _) in parts.iter().filter(|(_, is_there)| *is_there) {
            own(
                format!("{}.{part}", activity.id),
                format!("{}: {part}", activity.id),
            );
        }
        if activity.each.is_some() {
            own(activity.id.to_string(), activity.id.to_string());
        }
    }
    for repeat in &document.repeats {
        own(repeat.target.to_string(), repeat.target.to_string());
    }
    let mut rows = |inner: &[mapper::Row<'_, At>], outer: &[Row]| {
        for (inner, outer) in inner.iter().zip(outer) {
            let (label, target) = (label(outer).to_owned(), outer.target.to_string());
            all.push((inner.id.to_string(), label, target));
        }
    };
    rows(&program.lead, &document.lead);
    rows(&program.places, &document.places);
    for (inner, outer) in program.activities.iter().zip(&document.activities) {
        rows(&inner.fields, &outer.fields);
    }
    for (inner, outer) in program.repeats.iter().zip(&document.repeats) {
        rows(&inner.places, &outer.places);
    }
    all
}

fn program(document: &Document) -> (mapper::Program<'_>, Read) {
    let mut read = Read::default();
    let here = Here::default();
    let groups = document.groups.iter();
    let groups: Vec<_> = groups
        .map(|group| read.conditions(&group.when, &here))
        .collect();
    let endings = document.endings.iter();
    let endings: Vec<_> = endings
        .map(|ending| mapper::Ending {
            how: ending.how,
            reason: ending.reason.clone(),
            when: read.conditions(&ending.when, &here),
        })
        .collect();
    let retired = document.retired.as_ref();
    let retired = retired.map(|rule| read.rule(rule, &here));
    let lead = read.rows("", &document.lead, &here);
    let activities = document.activities.iter();
    let activities = activities
        .map(|activity| {
            let (each, inside) = match &activity.each {
                Some(each) => {
                    let (each, inside) = read.each(each);
                    (Some(each), inside)
                }
                None => (None, Here::default()),
            };
            let mut own = |rule: &Option<Rule>| Some(read.rule(rule.as_ref()?, &inside));
            let mut key = own(&activity.key);
            // Without its key an activity would be written again with every message.
            if let Some(key) = &mut key
                && key.on_error == OnError::LeaveOut
            {
                key.on_error = OnError::Refuse;
            }
            let (note, at) = (own(&activity.note), own(&activity.at));
            mapper::Activity {
                id: activity.id.clone(),
                kind: activity.kind.clone(),
                group: activity.group,
                when: read.conditions(&activity.when, &here),
                each,
                key,
                note,
                at,
                fields: read.rows(&activity.id, &activity.fields, &inside),
            }
        })
        .collect();
    let places = read.rows("", &document.places, &here);
    let repeats = document.repeats.iter().enumerate();
    let repeats = repeats
        .map(|(at, repeat)| read.repeat(at, repeat))
        .collect();
    let program = mapper::Program {
        outbound: document.direction == Direction::LeadSquaredToEhr,
        paths: read.paths.texts(),
        hit_paths: read.hit_paths.texts(),
        other_paths: read.other_paths.texts(),
        loops: read.loops.iter().map(Loop::written).collect(),
        groups,
        endings,
        retired,
        lead,
        activities,
        places,
        repeats,
    };
    (program, read)
}

/// Texts, each once, in order of first use.
#[derive(Default)]
struct Texts(Vec<String>, BTreeMap<String, u16>);

impl Texts {
    fn position(&mut self, text: String) -> u16 {
        if let Some(known) = self.1.get(&text) {
            return *known;
        }
        // A text of one megabyte, which is the most that is parsed, holds fewer paths than this counts.
        let position = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        self.0.push(text.clone());
        self.1.insert(text, position);
        position
    }

    fn texts(&self) -> Vec<mapper::Text<'static>> {
        self.0.iter().map(|text| text.clone().into()).collect()
    }
}

/// One loop of the document; every `for-each` has its own.
struct Loop {
    over: Path,
    paths: Texts,
    other_paths: Texts,
}

impl Loop {
    fn written(&self) -> mapper::Loop<'static> {
        mapper::Loop {
            over: self.over.to_string().into(),
            paths: self.paths.texts(),
            other_paths: self.other_paths.texts(),
        }
    }
}

/// The loop that a rule is in.
#[derive(Default)]
struct Here {
    /// From 1; zero outside of any.
    number: u16,
}

/// What is asked for how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    First,
    Hits,
    /// Raw text or count.
    Other,
}

/// What was met on the walk so far.
#[derive(Default)]
struct Read {
    paths: Texts,
    hit_paths: Texts,
    other_paths: Texts,
    loops: Vec<Loop>,
    granted: BTreeSet<String>,
    tables: BTreeSet<String>,
}

impl Read {
    fn at(&mut self, ask: &Ask, how: How, here: &Here) -> At {
        let text = match ask {
            Ask::Path(path) => {
                self.granted.extend(path.reads().iter().map(grant));
                path.to_string()
            }
            Ask::Field { field, before } => {
                self.granted.insert(field.clone());
                let prefix = if *before { mapper::BEFORE } else { "" };
                format!("{prefix}{field}")
            }
        };
        let number = usize::from(here.number).checked_sub(1);
        let own = number.and_then(|at| self.loops.get_mut(at));
        let own = own.filter(|own| matches!(ask, Ask::Path(path) if is_of(&own.over, path)));
        if let Some(own) = own {
            let texts = match how {
                How::First => &mut own.paths,
                How::Hits | How::Other => &mut own.other_paths,
            };
            return At {
                at: texts.position(text),
                of: here.number,
            };
        }
        let texts = match how {
            How::First => &mut self.paths,
            How::Hits => &mut self.hit_paths,
            How::Other => &mut self.other_paths,
        };
        At {
            at: texts.position(text),
            of: 0,
        }
    }

    fn each(&mut self, each: &mapper::Each<'static, Ask>) -> (mapper::Each<'static, At>, Here) {
        let Ask::Path(over) = &each.over else {
            unreachable!("a loop goes over segments or repetitions");
        };
        // Counting a field, or a segment, is reading it.
        self.granted.insert(grant(over));
        let at = u16::try_from(self.loops.len()).unwrap_or(u16::MAX);
        self.loops.push(Loop {
            over: over.clone(),
            paths: Texts::default(),
            other_paths: Texts::default(),
        });
        let here = Here {
            number: at.saturating_add(1),
        };
        let each = mapper::Each {
            over: At { at, of: 0 },
            filter: self.conditions(&each.filter, &here),
            limit: each.limit,
        };
        (each, here)
    }

    fn rows(&mut self, scope: &str, rows: &[Row], here: &Here) -> Vec<mapper::Row<'static, At>> {
        rows.iter()
            .map(|row| mapper::Row {
                id: match scope {
                    "" => row.id.clone(),
                    scope => format!("{scope}.{}", row.id).into(),
                },
                target: row.target.clone(),
                label: String::new().into(),
                group: row.group,
                rule: self.rule(&row.rule, here),
            })
            .collect()
    }

    fn repeat(&mut self, at: usize, repeat: &Repeat) -> mapper::Repeat<'static, At> {
        let here = Here::default();
        mapper::Repeat {
            target: repeat.target.clone(),
            first: repeat.first,
            limit: repeat.limit,
            group: repeat.group,
            items: self.rule(&repeat.items, &here),
            places: self.rows(&format!("repeat-{}", at + 1), &repeat.places, &here),
        }
    }

    fn rule(&mut self, rule: &Rule, here: &Here) -> mapper::Rule<'static, At> {
        self.steps(&rule.steps);
        mapper::Rule {
            source: self.source(&rule.source, here),
            steps: rule.steps.clone(),
            when: self.conditions(&rule.when, here),
            null: rule.null.clone(),
            empty: rule.empty.clone(),
            on_error: rule.on_error.clone(),
            required: rule.required,
        }
    }

    fn steps(&mut self, steps: &[super::Step]) {
        for step in steps {
            if let super::Step::Table { table, .. } = step {
                self.tables.insert(table.to_string());
            }
        }
    }

    fn source(&mut self, source: &Source, here: &Here) -> mapper::Source<'static, At> {
        use mapper::Source as S;
        match source {
            S::Ask(ask) => S::Ask(self.at(ask, How::First, here)),
            S::Hits(ask, hits) => S::Hits(self.at(ask, How::Hits, here), hits.clone()),
            S::Raw(ask) => S::Raw(self.at(ask, How::Other, here)),
            S::Count(ask) => S::Count(self.at(ask, How::Other, here)),
            S::Fact(fact) => S::Fact(*fact),
            S::Setting(name) => S::Setting(name.clone()),
            S::Constant(text) => S::Constant(text.clone()),
            S::First(parts) => S::First(self.sources(parts, here)),
            S::Template(parts) => S::Template(self.sources(parts, here)),
            S::Concat { separator, parts } => S::Concat {
                separator: separator.clone(),
                parts: self.sources(parts, here),
            },
            S::Part(part) => {
                self.steps(&part.steps);
                S::Part(Box::new(mapper::Part {
                    source: self.source(&part.source, here),
                    steps: part.steps.clone(),
                    when: self.conditions(&part.when, here),
                }))
            }
            S::Each(one) => {
                let (each, here) = self.each(&one.each);
                S::Each(Box::new(mapper::EachSource {
                    each,
                    source: self.source(&one.source, &here),
                }))
            }
        }
    }

    fn sources(&mut self, sources: &[Source], here: &Here) -> Vec<mapper::Source<'static, At>> {
        let sources = sources.iter();
        sources.map(|source| self.source(source, here)).collect()
    }

    fn conditions(
        &mut self,
        conditions: &[Condition],
        here: &Here,
    ) -> Vec<mapper::Condition<'static, At>> {
        let conditions = conditions.iter();
        conditions
            .map(|condition| self.condition(condition, here))
            .collect()
    }

    fn condition(&mut self, condition: &Condition, here: &Here) -> mapper::Condition<'static, At> {
        use mapper::Condition as C;
        match condition {
            C::Is { subject, test } => C::Is {
                subject: self.source(subject, here),
                test: test.clone(),
            },
            C::Changed(after, before) => C::Changed(
                self.at(after, How::First, here),
                self.at(before, How::First, here),
            ),
            C::All(inner) => C::All(self.conditions(inner, here)),
            C::Any(inner) => C::Any(self.conditions(inner, here)),
            C::Not(inner) => C::Not(Box::new(self.condition(inner, here))),
        }
    }
}

impl Ask {
    /// As texts have it where no more than a name fits.
    pub(super) fn name(&self) -> String {
        match self {
            Ask::Path(path) => path.to_string(),
            Ask::Field { field, .. } => field.clone(),
        }
    }
}
