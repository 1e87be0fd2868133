//! A document to the compact program and manifest that the interpreter reads.

use std::collections::{BTreeMap, BTreeSet};

use ligature_mapper as mapper;

use super::{Activity, Condition, Document, Fact, Hits, Row, Rule, Source, Step, Subject, Test};
use crate::flow::Direction;
use crate::hl7::Path;

pub(super) fn encode(document: &Document) -> Vec<u8> {
    let mut document = document.clone();
    document.sort();
    let texts = Texts::of(&document);
    let places: BTreeSet<_> = document
        .places
        .iter()
        .map(|row| row.target.as_str())
        .collect();
    let program = mapper::Program {
        paths: Texts::in_order(&texts.paths),
        hit_paths: Texts::in_order(&texts.hit_paths),
        lead: texts.rows(&document.lead),
        activities: document
            .activities
            .iter()
            .map(|activity| texts.activity(activity))
            .collect(),
        places: texts.rows(&document.places),
    };
    let events = document.events.iter().map(ToString::to_string);
    let changes = document.changes.iter().map(ToString::to_string);
    let events: Vec<_> = events.chain(changes).collect();
    let reads = reads(&document);
    let activity_rows = document
        .activities
        .iter()
        .flat_map(|activity| &activity.fields);
    let kinds: BTreeSet<_> = document
        .activities
        .iter()
        .filter_map(|activity| activity.kind.as_deref())
        .collect();
    let manifest = mapper::Manifest {
        name: &document.name,
        version: &document.version,
        summary: &document.summary,
        events: events.iter().map(String::as_str).collect(),
        reads: reads.iter().map(String::as_str).collect(),
        lead_targets: targets(document.lead.iter()),
        activity_targets: targets(activity_rows),
        activity_kinds: kinds.into_iter().collect(),
        places: places.into_iter().collect(),
    };
    mapper::encode(&program, &manifest)
}

/// Every path that is looked at, without indices and conditions, and every field: what a grant names.
pub(super) fn reads(document: &Document) -> Vec<String> {
    let mut reads = BTreeSet::new();
    each_read(document, &mut |read| match read {
        Read::Path(path, _) => reads.extend(path.reads().iter().map(grant)),
        Read::Fact(Fact::Field { field, .. }) => {
            reads.insert(field.clone());
        }
        Read::Fact(Fact::Event | Fact::ReceivedAt) => {}
    });
    reads.into_iter().collect()
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
    let mut targets = BTreeMap::new();
    for row in rows {
        targets
            .entry(row.target.as_str())
            .or_insert(mapper::Target {
                name: &row.target,
                label: if row.label.is_empty() {
                    &row.target
                } else {
                    &row.label
                },
                required: row.rule.required,
            });
    }
    targets.into_values().collect()
}

/// What the interpreter calls it when it asks.
fn asked(fact: &Fact) -> String {
    match fact {
        Fact::Field {
            field,
            before: true,
        } => mapper::outbound::BEFORE.to_owned() + field,
        Fact::Field { field, .. } => field.clone(),
        Fact::Event => mapper::outbound::EVENT.into(),
        Fact::ReceivedAt => mapper::outbound::RECEIVED_AT.into(),
    }
}

/// The same field before the change; what is no field was never different.
fn before(fact: &Fact) -> Fact {
    match fact {
        Fact::Field { field, .. } => Fact::Field {
            field: field.clone(),
            before: true,
        },
        other => other.clone(),
    }
}

/// Path texts and their positions; each path once, in order of first use.
struct Texts {
    direction: Direction,
    paths: Positions,
    hit_paths: Positions,
}

type Positions = BTreeMap<String, u16>;

impl Texts {
    fn of(document: &Document) -> Self {
        let mut texts = Self {
            direction: document.direction,
            paths: Positions::new(),
            hit_paths: Positions::new(),
        };
        each_read(document, &mut |read| {
            let (positions, text) = match read {
                Read::Path(path, Hits::First) => (&mut texts.paths, path.to_string()),
                Read::Path(path, _) => (&mut texts.hit_paths, path.to_string()),
                Read::Fact(fact) => (&mut texts.paths, asked(fact)),
            };
            // A text of one megabyte, which is the most that is parsed, holds fewer paths than this counts.
            let next = u16::try_from(positions.len()).unwrap_or(u16::MAX);
            positions.entry(text).or_insert(next);
        });
        texts
    }

    fn in_order(positions: &Positions) -> Vec<&str> {
        let mut paths: Vec<_> = positions.iter().collect();
        paths.sort_by_key(|(_, position)| **position);
        paths.into_iter().map(|(path, _)| path.as_str()).collect()
    }

    fn rows<'a>(&self, rows: &'a [Row]) -> Vec<mapper::Row<'a>> {
        rows.iter()
            .map(|row| mapper::Row {
                target: &row.target,
                rule: self.rule(&row.rule),
            })
            .collect()
    }

    fn activity<'a>(&self, activity: &'a Activity) -> mapper::Activity<'a> {
        mapper::Activity {
            when: self.conditions(&activity.when),
            kind: activity.kind.as_deref(),
            key: activity.key.as_ref().map(|rule| self.rule(rule)),
            note: activity.note.as_ref().map(|rule| self.rule(rule)),
            at: activity.at.as_ref().map(|rule| self.rule(rule)),
            fields: self.rows(&activity.fields),
        }
    }

    fn rule<'a>(&self, rule: &'a Rule) -> mapper::Rule<'a> {
        mapper::Rule {
            source: self.source(&rule.source),
            steps: rule.steps.iter().map(|one| self.step(one)).collect(),
            when: self.conditions(&rule.when),
            null: rule.null,
            on_error: rule.on_error,
            required: rule.required,
        }
    }

    fn source<'a>(&self, source: &'a Source) -> mapper::Source<'a> {
        let parts = |parts: &'a [Source]| parts.iter().map(|part| self.source(part)).collect();
        match source {
            Source::Path { path, hits } => {
                let text = path.to_string();
                let hit = || self.hit_paths[&text];
                match hits {
                    Hits::First => mapper::Source::Path(self.paths[&text]),
                    Hits::Last => mapper::Source::Hits(hit(), mapper::Hits::Last),
                    Hits::Refuse => mapper::Source::Hits(hit(), mapper::Hits::Refuse),
                    Hits::All { separator } => {
                        mapper::Source::Hits(hit(), mapper::Hits::All(separator))
                    }
                }
            }
            Source::Fact(fact) => mapper::Source::Path(self.paths[&asked(fact)]),
            Source::Constant(text) => mapper::Source::Constant(text),
            Source::First(list) => mapper::Source::First(parts(list)),
            Source::Concat {
                separator,
                parts: list,
            } => mapper::Source::Concat {
                separator,
                parts: parts(list),
            },
        }
    }

    fn conditions<'a>(&self, conditions: &'a [Condition]) -> Vec<mapper::Condition<'a>> {
        conditions
            .iter()
            .map(|condition| mapper::Condition {
                path: match &condition.subject {
                    Subject::Path(path) => self.paths[&path.to_string()],
                    Subject::Fact(fact) => self.paths[&asked(fact)],
                },
                test: match &condition.test {
                    Test::Changed => mapper::Test::Changed(match &condition.subject {
                        Subject::Path(path) => self.paths[&path.to_string()],
                        Subject::Fact(fact) => self.paths[&asked(&before(fact))],
                    }),
                    Test::Present => mapper::Test::Present,
                    Test::Absent => mapper::Test::Absent,
                    Test::Equals(text) => mapper::Test::Equals(text),
                    Test::In(texts) => mapper::Test::In(texts.iter().map(String::as_str).collect()),
                },
            })
            .collect()
    }

    fn step<'a>(&self, step: &'a Step) -> mapper::Step<'a> {
        let outbound = self.direction == Direction::LeadSquaredToEhr;
        match step {
            Step::Trim => mapper::Step::Trim,
            Step::Upper => mapper::Step::Upper,
            Step::Lower => mapper::Step::Lower,
            Step::Title => mapper::Step::Title,
            Step::Substring { start, length } => mapper::Step::Substring {
                start: *start,
                length: *length,
            },
            Step::Replace { from, to } => mapper::Step::Replace { from, to },
            Step::Map { entries, default } => {
                let mut entries: Vec<_> = entries
                    .iter()
                    .map(|(code, text)| (code.as_str(), text.as_str()))
                    .collect();
                // The interpreter searches by halves.
                entries.sort_unstable();
                mapper::Step::Map {
                    entries,
                    default: default.as_deref(),
                }
            }
            Step::Date { .. } if outbound => mapper::Step::FieldDate,
            Step::DateTime if outbound => mapper::Step::FieldDateTime,
            Step::Date { first_day } => mapper::Step::Date {
                first_day: *first_day,
            },
            Step::DateTime => mapper::Step::DateTime,
            Step::Phone(form) => mapper::Step::Phone(*form),
        }
    }
}

/// One thing that a document reads.
enum Read<'a> {
    Path(&'a Path, &'a Hits),
    Fact(&'a Fact),
}

/// Calls `see` with everything that a document reads.
fn each_read(document: &Document, see: &mut impl FnMut(Read<'_>)) {
    fn in_source(source: &Source, see: &mut impl FnMut(Read<'_>)) {
        match source {
            Source::Path { path, hits } => see(Read::Path(path, hits)),
            Source::Fact(fact) => see(Read::Fact(fact)),
            Source::Constant(_) => {}
            Source::First(parts) | Source::Concat { parts, .. } => {
                parts.iter().for_each(|part| in_source(part, see));
            }
        }
    }
    fn in_conditions(conditions: &[Condition], see: &mut impl FnMut(Read<'_>)) {
        for condition in conditions {
            match &condition.subject {
                Subject::Path(path) => see(Read::Path(path, &Hits::First)),
                Subject::Fact(fact) => {
                    see(Read::Fact(fact));
                    if condition.test == Test::Changed {
                        see(Read::Fact(&before(fact)));
                    }
                }
            }
        }
    }
    let mut in_rule = |rule: &Rule| {
        in_source(&rule.source, see);
        in_conditions(&rule.when, see);
    };
    document.lead.iter().for_each(|row| in_rule(&row.rule));
    document.places.iter().for_each(|row| in_rule(&row.rule));
    for activity in &document.activities {
        for rule in [&activity.key, &activity.note, &activity.at]
            .into_iter()
            .flatten()
        {
            in_rule(rule);
        }
        activity.fields.iter().for_each(|row| in_rule(&row.rule));
    }
    for activity in &document.activities {
        in_conditions(&activity.when, see);
    }
}
