//! The way of a message as a picture, step by step, and a message segment by segment with the dictionary's names.

use super::show::Time;
use crate::hl7::{Content, Delimiters, Message, Path, Repetition, dictionary};
use crate::store::journal::{DeliveryRow, DeliveryView, MessageView, OperationState, State};

/// One station of a message's way.
#[derive(Debug)]
pub(super) struct Step {
    pub title: String,
    pub detail: String,
    pub at: Option<Time>,
    /// `good`, `wait`, `bad` or `soft`: shown as colour, and said by the title.
    pub kind: &'static str,
}

fn step(title: &str, detail: impl Into<String>, at_ms: Option<i64>, kind: &'static str) -> Step {
    Step {
        title: title.into(),
        detail: detail.into(),
        at: at_ms.map(Time::of),
        kind,
    }
}

/// Received, acknowledged, and what it was found to be.
pub(super) fn of_arrival(view: &MessageView) -> Vec<Step> {
    let message = &view.message;
    let (title, detail) = match &message.origin {
        None => ("Received", "over"),
        Some(_) => ("Sent again by a person", "as if over"),
    };
    let mut steps = vec![step(
        title,
        format!("{detail} {}, {} bytes", message.channel, message.size_bytes),
        Some(message.received_at_ms),
        "good",
    )];
    let answer = view.acknowledgement.as_ref();
    if let Some(answer) = answer.filter(|_| message.origin.is_none()) {
        let code = answered(answer);
        let kind = match code.as_str() {
            "AA" | "CA" | "" => "good",
            _ => "bad",
        };
        let detail = match code.as_str() {
            "" => "with an answer of its own kind".to_owned(),
            code => format!("with {code}"),
        };
        steps.push(step("Acknowledged", detail, None, kind));
    }
    if message.deliveries.is_empty() {
        let kind = if message.route == "rejected" {
            "bad"
        } else {
            "soft"
        };
        steps.push(step(
            &capital(&message.route),
            message.detail.clone(),
            None,
            kind,
        ));
    }
    steps
}

/// MSA-1 of an answer.
fn answered(bytes: &[u8]) -> String {
    let path: Result<Path, _> = "MSA-1".parse();
    let (Ok(message), Ok(path)) = (Message::parse(bytes), path) else {
        return String::new();
    };
    message.get(&path).text_or_empty().into_owned()
}

/// Tries and writes in the order of time, then where it stands.
pub(super) fn of_delivery(row: &DeliveryRow, view: &DeliveryView) -> Vec<Step> {
    let mut steps = Vec::new();
    for operation in &view.operations {
        let (kind, detail) = match &operation.state {
            OperationState::Done { target } => ("good", target.clone().unwrap_or_default()),
            OperationState::Failed { code } => ("bad", code.clone()),
            OperationState::Begun => ("wait", "no answer yet".to_owned()),
            OperationState::Unknown => (
                "wait",
                "the answer never came; it is looked up first".to_owned(),
            ),
        };
        let title = operation.kind.as_str().replace('-', " ");
        let detail = detail.chars().take(36).collect::<String>();
        steps.push((
            operation.started_at_ms,
            1,
            step(
                &capital(&title),
                detail,
                Some(operation.started_at_ms),
                kind,
            ),
        ));
    }
    for attempt in &view.attempts {
        let is_good = ["delivered", "skipped", "ok", ""].contains(&attempt.code.as_str());
        let title = match attempt.number {
            0 | 1 => "Mapped and planned".to_owned(),
            number => format!("Try {number}"),
        };
        let detail = match is_good {
            true => format!("in {} ms", attempt.duration_ms),
            false => format!("as far as {}: {}", attempt.stage, attempt.code),
        };
        let kind = if is_good { "good" } else { "wait" };
        steps.push((
            attempt.started_at_ms,
            0,
            step(&title, detail, Some(attempt.started_at_ms), kind),
        ));
    }
    steps.sort_by_key(|(at, order, _)| (*at, *order));
    let mut steps: Vec<Step> = steps.into_iter().map(|(_, _, step)| step).collect();
    let kind = match row.state {
        State::Delivered => "good",
        State::Dead => "bad",
        State::Skipped | State::Parked => "soft",
        State::Queued | State::Running | State::Waiting => "wait",
    };
    let why = super::messages::why(row);
    steps.push(step(
        &capital(row.state.as_str()),
        why,
        Some(row.updated_at_ms),
        kind,
    ));
    steps
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// One segment with every value in it.
#[derive(Debug)]
pub(super) struct Segment {
    pub name: String,
    pub label: &'static str,
    pub places: Vec<Place>,
}

/// One value and where it is.
#[derive(Debug)]
pub(super) struct Place {
    /// Such as `PID-5.1`, with the segment's and the repetition's number where there are several.
    pub path: String,
    pub label: String,
    pub value: String,
}

/// Values shown of one message at most: a report can have thousands.
const MOST: usize = 2_000;

/// Every value that a message has, with the dictionary's name of its place.
pub(super) fn segments(message: &Message) -> Vec<Segment> {
    let mut left = MOST;
    let names: Vec<String> = message.segment_names().map(str::to_owned).collect();
    let mut segments = Vec::new();
    for (at, segment) in message.segments().enumerate() {
        let name = segment.name().to_owned();
        let before = names[..at].iter().filter(|other| **other == name).count();
        let several = names.iter().filter(|other| **other == name).count() > 1;
        let place = match several {
            true => format!("{name}[{}]", before + 1),
            false => name.clone(),
        };
        let mut places = Vec::new();
        for number in 1..=segment.field_count() {
            let repetitions: Vec<_> = segment.repetitions(number).collect();
            let many = repetitions.len() > 1;
            for (turn, repetition) in repetitions.iter().enumerate() {
                let field = match many {
                    true => format!("{place}-{number}[{}]", turn + 1),
                    false => format!("{place}-{number}"),
                };
                if name == "MSH" && number <= 2 {
                    places.push(named(field, repetition.raw().to_owned()));
                    continue;
                }
                for (path, value) in leaves(repetition, &field, message) {
                    places.push(named(path, value));
                }
            }
        }
        places.truncate(left);
        left -= places.len();
        let label = dictionary::segment(&name).unwrap_or_default();
        segments.push(Segment {
            name,
            label,
            places,
        });
    }
    segments
}

/// The components of one repetition that have text.
fn leaves(repetition: &Repetition<'_>, field: &str, message: &Message) -> Vec<(String, String)> {
    let separator = message.delimiters().component;
    let count = repetition
        .raw()
        .bytes()
        .filter(|byte| *byte == separator)
        .count()
        + 1;
    let mut found = Vec::new();
    for number in 1..=u16::try_from(count).unwrap_or(u16::MAX) {
        let Some(raw) = repetition
            .element(Some(number), None)
            .filter(|raw| !raw.is_empty())
        else {
            continue;
        };
        let value = match repetition.leaf(number, 1) {
            Content::Text(text) if !raw.contains('&') => text.into_owned(),
            _ => raw.to_owned(),
        };
        let path = match count {
            1 => field.to_owned(),
            _ => format!("{field}.{number}"),
        };
        found.push((path, value));
    }
    found
}

fn named(path: String, value: String) -> Place {
    let parsed: Option<Path> = path.parse().ok();
    Place {
        label: parsed
            .as_ref()
            .and_then(dictionary::label)
            .unwrap_or_default(),
        value,
        path,
    }
}

/// A stretch of a raw message.
#[derive(Debug)]
pub(super) struct Piece {
    pub text: String,
    /// Its place with the dictionary's name; empty for what stands between values.
    pub title: String,
}

/// The raw segments cut at their delimiters, each value with the name of its place.
pub(super) fn raw(message: &Message) -> Vec<Vec<Piece>> {
    let marks = message.delimiters();
    let mut left = MOST;
    let mut lines = Vec::new();
    for segment in message.segments() {
        let name = segment.name();
        let mut pieces = Vec::new();
        for (at, field) in segment.raw().split(char::from(marks.field)).enumerate() {
            if at > 0 {
                pieces.push(between(marks.field));
            }
            // MSH-1 is the delimiter itself.
            let number = at + usize::from(name == "MSH");
            let place = format!("{name}-{number}");
            match (at, name, number) {
                (0, ..) => pieces.push(Piece {
                    text: field.to_owned(),
                    title: dictionary::segment(name).unwrap_or_default().to_owned(),
                }),
                (_, "MSH", 2) => pieces.push(value(place, field)),
                _ => values(&place, field, marks, &mut pieces),
            }
        }
        pieces.truncate(left);
        left -= pieces.len();
        lines.push(pieces);
    }
    lines
}

fn between(mark: u8) -> Piece {
    Piece {
        text: char::from(mark).to_string(),
        title: String::new(),
    }
}

fn value(path: String, text: &str) -> Piece {
    let Place { path, label, value } = named(path, text.to_owned());
    Piece {
        title: format!("{path} {label}"),
        text: value,
    }
}

/// The components of every repetition of a field.
fn values(place: &str, field: &str, marks: &Delimiters, pieces: &mut Vec<Piece>) {
    let repetition = marks.repetition.map(char::from);
    for (turn, text) in field.split(|letter| Some(letter) == repetition).enumerate() {
        if turn > 0 {
            pieces.extend(marks.repetition.map(between));
        }
        let component = char::from(marks.component);
        let is_one = !text.contains(component);
        for (at, text) in text.split(component).enumerate() {
            if at > 0 {
                pieces.push(between(marks.component));
            }
            let path = match is_one {
                true => place.to_owned(),
                false => format!("{place}.{}", at + 1),
            };
            if !text.is_empty() {
                pieces.push(value(path, text));
            }
        }
    }
}
