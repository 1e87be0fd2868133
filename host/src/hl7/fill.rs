//! An outgoing message: the shape of a template with other values in it.
//!
//! No value of the template reaches the receiver by accident, because nothing is taken out of it: the message is built
//! anew from its delimiters, its character set and the order of its segments, and the only values copied are those at
//! places that somebody marked *fixed*. Segments in which nothing stands then are left out.
//! Start with [`fill`]; [`check_place`] and [`check_fixed`] say what may be filled and what may be fixed, and are asked
//! where a mapping and a template are saved as well.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::edit::Fill;
use super::message::Message;
use super::path::{Index, Path};
use super::stamp::time_stamp;
use super::{Segment, dictionary, escape};

/// Places whose values in the template are sent unless somebody says otherwise: who sends to whom, versions, what is to
/// be acknowledged, the character set, and the event.
const FIXED: [&str; 12] = [
    "MSH-3", "MSH-4", "MSH-5", "MSH-6", "MSH-9", "MSH-11", "MSH-12", "MSH-15", "MSH-16", "MSH-17",
    "MSH-18", "EVN-1",
];

/// Segments that tell about a person: what is fixed in them is named element by element.
const OF_A_PERSON: [&str; 9] = [
    "PID", "MRG", "NK1", "GT1", "IN1", "IN2", "IN3", "OBX", "DG1",
];

/// Fields of MSH that are not a mapping's: delimiters, time, event, control id, version and character set.
const OF_THE_HOST: [u16; 7] = [1, 2, 7, 9, 10, 12, 18];

/// The order of segments in ADT and SIU messages, for one that the template does not have (HL7 v2.5.1, 3.3 and 10.4).
const ORDER: &str = "MSH SFT UAC EVN SCH TQ1 PID PD1 ARV ROL NK1 MRG PV1 PV2 DB1 OBX AL1 IAM DG1 DRG PR1 GT1 IN1 IN2 \
     IN3 ACC UB1 UB2 PDA RGS AIS AIG AIL AIP";

/// More of a kind than any message has; keeps one place from making a message of megabytes.
const MAX_NUMBER: u16 = 255;

/// What the host itself says in every message.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// MSH-10.
    pub control_id: &'a str,
    /// MSH-7, written with its offset.
    pub time: &'a jiff::Zoned,
    /// MSH-9.1
    pub message_code: &'a str,
    /// MSH-9.2, and EVN-1 where the template has one.
    pub trigger_event: &'a str,
}

/// Why there is no message. No value stands in a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// See [`check_place`].
    #[error("{path} cannot be filled: {reason}")]
    NotAPlace {
        /// The place asked for.
        path: Path,
        /// Why, and what to write instead.
        reason: &'static str,
    },
    /// See [`check_fixed`].
    #[error("{path} cannot be fixed: {reason}")]
    NotFixable {
        /// The place marked fixed.
        path: Path,
        /// Why, and what to write instead.
        reason: &'static str,
    },
    /// One place is the other, or lies in it.
    #[error("{path} and {other} are one place, or one lies in the other: fill one of them")]
    Overlap {
        /// The wider place, or the first.
        path: Path,
        /// The narrower one.
        other: Path,
    },
    /// The value holds a delimiter, and MSH-2 of the template has no escape character.
    #[error(
        "the value at {path} needs an escape sequence: the template's MSH-2 declares no escape character"
    )]
    NeedsEscape {
        /// Where the value was to stand.
        path: Path,
    },
    /// The template's MSH-2 is short.
    #[error(
        "there is no {path} in this message: the template's MSH-2 declares no delimiter for it"
    )]
    NoDelimiter {
        /// Where the value was to stand.
        path: Path,
    },
    /// A receiver would read other letters than were written.
    #[error(
        "the value at {path} has characters that the template's character set (MSH-18) lacks: agree on UNICODE UTF-8 with the receiver, or replace them in the mapping"
    )]
    NotInCharset {
        /// Where the value was to stand.
        path: Path,
    },
}

/// The places that are fixed in a template when nobody has said anything.
pub fn default_fixed() -> Vec<Path> {
    FIXED.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Whether a mapping may fill a place.
///
/// It names one element: a field or a part of one, without conditions and without `[*]`.
///
/// # Errors
/// Why not, to be read after the path.
pub fn check_place(path: &Path) -> Result<(), &'static str> {
    match path.field() {
        None => return Err("name a field, for example PID-5"),
        Some(field) if path.segment() == "MSH" && OF_THE_HOST.contains(&field) => {
            return Err("MSH-1, 2, 7, 9, 10, 12 and 18 are set by the host and by the template");
        }
        Some(1) if path.segment() == "EVN" => return Err("it is the event, which the host sets"),
        Some(_) => {}
    }
    if matches!(path.segment(), "FHS" | "BHS" | "BTS" | "FTS" | "MSA") {
        return Err("a message has no such segment");
    }
    if path.is_conditional() {
        return Err(
            "a condition has nothing to look at in an empty message; write a repetition's number",
        );
    }
    if path.occurrence() == Index::Every || path.repetition() == Index::Every {
        return Err("[*] names several places; name one");
    }
    if numbers(path).any(|number| number > MAX_NUMBER) {
        return Err("a number in it is larger than any message has");
    }
    Ok(())
}

/// Whether a place of a template may be fixed: sent as it stands in the template.
///
/// Without an index the first segment of its name is meant, as everywhere; `NK1[*]-3` is every one.
///
/// # Errors
/// Why not, to be read after the path.
pub fn check_fixed(path: &Path) -> Result<(), &'static str> {
    if path.is_conditional() {
        return Err("name the repetition by its number instead of a condition");
    }
    match path.field() {
        None if OF_A_PERSON.contains(&path.segment()) => {
            Err("the segment tells about a person: name one element at a time, for example PID-3.4")
        }
        Some(1 | 2) if path.segment() == "MSH" => {
            Err("the delimiters are the template's in any case")
        }
        Some(7 | 10) if path.segment() == "MSH" => Err("the host sets it for every message"),
        _ => Ok(()),
    }
}

/// One element of a message by its numbers: places sort in message order, and whether two overlap can be told.
///
/// `PID-3` is the field with all its repetitions; `PID-3.1` is the first component of its first repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    name: [u8; 3],
    occurrence: u16,
    field: u16,
    below: [Option<u16>; 3],
}

impl Position {
    /// The element at `path`; none where [`check_place`] refuses.
    pub fn of(path: &Path) -> Option<Self> {
        check_place(path).ok()?;
        let repetition = match path.repetition() {
            Index::Nth(number) => Some(number),
            _ => path.component().map(|_| 1),
        };
        Some(Self {
            name: path.name(),
            occurrence: path.occurrence().position() as u16 + 1,
            field: path.field()?,
            below: [repetition, path.component(), path.subcomponent()],
        })
    }

    /// Whether one of the two is the other, or lies in it.
    pub fn overlaps(&self, other: &Self) -> bool {
        (self.name, self.occurrence, self.field) == (other.name, other.occurrence, other.field)
            && self
                .below
                .iter()
                .zip(other.below)
                .all(|(one, other)| one.is_none() || other.is_none() || *one == other)
    }

    fn leaf(&self) -> Leaf {
        let [repetition, component, subcomponent] = self.below.map(|number| number.unwrap_or(1));
        [self.field, repetition, component, subcomponent]
    }

    fn holds(&self, leaf: &Leaf) -> bool {
        self.field == leaf[0]
            && self
                .below
                .iter()
                .zip(&leaf[1..])
                .all(|(number, of_leaf)| number.is_none_or(|number| number == *of_leaf))
    }
}

/// Fills the shape of `template`: the values at `fixed` places are its own, those at `placements` are given, and there is
/// nothing else but MSH-7, MSH-9 and MSH-10, which `facts` give.
///
/// Segments, repetitions and components grow as they are needed; a segment that the template does not have is put where
/// messages of its kind have it. Segments in which nothing stands are left out, but for MSH and EVN. What is empty at
/// the end of a field or a segment is not written. Values are escaped with the template's delimiters and written in
/// its character set, UTF-8 where MSH-18 is empty.
///
/// # Errors
/// [`Fault`]; all but [`Fault::NotInCharset`] are faults of the mapping or the template, whatever the values are.
pub fn fill(
    template: &Message,
    fixed: &[Path],
    placements: &[(&Path, Fill<'_>)],
    facts: &Facts<'_>,
) -> Result<Vec<u8>, Fault> {
    let mut outgoing = Outgoing::of(template);
    for path in fixed {
        if let Err(reason) = check_fixed(path) {
            let path = path.clone();
            return Err(Fault::NotFixable { path, reason });
        }
        outgoing.keep(path);
    }
    for (position, path, value) in in_order(placements)? {
        outgoing.put(&position, path, value)?;
    }
    outgoing.stamp(facts)?;
    Ok(outgoing.to_bytes())
}

/// The placements in message order, so that a wider place stands right before what lies in it.
fn in_order<'a>(
    placements: &[(&'a Path, Fill<'a>)],
) -> Result<Vec<(Position, &'a Path, Fill<'a>)>, Fault> {
    let mut ordered = Vec::with_capacity(placements.len());
    for &(path, value) in placements {
        let position = Position::of(path).ok_or_else(|| Fault::NotAPlace {
            path: path.clone(),
            reason: check_place(path).err().unwrap_or_default(),
        })?;
        ordered.push((position, path, value));
    }
    ordered.sort_by_key(|(position, ..)| *position);
    for pair in ordered.windows(2) {
        if pair[0].0.overlaps(&pair[1].0) {
            let (path, other) = (pair[0].1.clone(), pair[1].1.clone());
            return Err(Fault::Overlap { path, other });
        }
    }
    Ok(ordered)
}

/// Field, repetition, component, subcomponent, each from 1.
type Leaf = [u16; 4];

struct Line {
    name: [u8; 3],
    /// Undecoded, never empty.
    leaves: BTreeMap<Leaf, String>,
}

struct Outgoing<'a> {
    template: &'a Message,
    /// Whether MSH-18 says ASCII; other sets are the template's to write.
    is_ascii: bool,
    lines: Vec<Line>,
}

impl<'a> Outgoing<'a> {
    fn of(template: &'a Message) -> Self {
        let charset = template.header().charset;
        Self {
            template,
            is_ascii: matches!(
                &*charset.to_ascii_uppercase(),
                "ASCII" | "US-ASCII" | "ISO IR6" | "ISO IR 6" | "ISO-IR-6"
            ),
            lines: template
                .segments
                .iter()
                .map(|span| Line {
                    name: span.name,
                    leaves: BTreeMap::new(),
                })
                .collect(),
        }
    }

    /// Copies what stands at a fixed place, as it is written there.
    fn keep(&mut self, path: &Path) {
        let (skip, take) = path.occurrence().range();
        let template = self.template;
        let named = template
            .segments()
            .enumerate()
            .filter(|(_, segment)| segment.name() == path.segment());
        for (index, segment) in named.skip(skip).take(take) {
            let fields = match path.field() {
                Some(field) => field..=field,
                None => 1..=u16::try_from(segment.field_count()).unwrap_or(u16::MAX),
            };
            for field in fields {
                self.keep_field(index, segment, field, path);
            }
        }
    }

    fn keep_field(&mut self, index: usize, segment: Segment<'_>, field: u16, path: &Path) {
        if segment.name() == "MSH" && field <= 2 {
            return;
        }
        let delimiters = self.template.delimiters;
        let whole = path.component().is_none() && path.repetition() == Index::Unset;
        let (skip, take) = match whole {
            true => Index::Every.range(),
            false => path.repetition().range(),
        };
        let repetitions = segment.repetitions(usize::from(field)).enumerate();
        for (number, repetition) in repetitions.skip(skip).take(take) {
            let Some(raw) = repetition.element(path.component(), path.subcomponent()) else {
                continue;
            };
            // What was taken out of a component begins at that component, and the same one below.
            let components = match path.component() {
                None => parts(raw, delimiters.component.into()),
                Some(_) => vec![raw],
            };
            for (at, component) in components.into_iter().enumerate() {
                let subcomponents = match path.subcomponent() {
                    None => parts(component, delimiters.subcomponent),
                    Some(_) => vec![component],
                };
                for (below, leaf) in subcomponents.into_iter().enumerate() {
                    let place = [
                        field,
                        from_zero(number),
                        path.component().unwrap_or(from_zero(at)),
                        path.subcomponent().unwrap_or(from_zero(below)),
                    ];
                    if !leaf.is_empty() {
                        self.lines[index].leaves.insert(place, leaf.into());
                    }
                }
            }
        }
    }

    fn put(&mut self, position: &Position, path: &Path, value: Fill<'_>) -> Result<(), Fault> {
        let delimiters = self.template.delimiters;
        let raw = match value {
            Fill::Empty => "".into(),
            Fill::Null => "\"\"".into(),
            Fill::Text(text) => {
                if (self.is_ascii && !text.is_ascii())
                    || self.template.charset.encode(text, &mut Vec::new())
                {
                    let path = path.clone();
                    return Err(Fault::NotInCharset { path });
                }
                escape::encode(text, &delimiters)
                    .ok_or_else(|| Fault::NeedsEscape { path: path.clone() })?
            }
        };
        let leaf = position.leaf();
        if (leaf[1] > 1 && delimiters.repetition.is_none())
            || (leaf[3] > 1 && delimiters.subcomponent.is_none())
        {
            let path = path.clone();
            return Err(Fault::NoDelimiter { path });
        }
        let line = self.line(position.name, position.occurrence);
        line.leaves.retain(|leaf, _| !position.holds(leaf));
        if !raw.is_empty() {
            line.leaves.insert(leaf, raw.into_owned());
        }
        Ok(())
    }

    /// MSH-7, MSH-9, MSH-10, and the event of an EVN that has one.
    fn stamp(&mut self, facts: &Facts<'_>) -> Result<(), Fault> {
        let header = self.template.header();
        let same_event = header.message_code == facts.message_code
            && header.trigger_event == facts.trigger_event;
        let structure = match same_event {
            true => header.structure.clone().into_owned(),
            false if header.structure.is_empty() => String::new(),
            false => dictionary::event(facts.message_code, facts.trigger_event)
                .map_or_else(String::new, |event| event.structure.into()),
        };
        let time = time_stamp(facts.time);
        let mut values = vec![
            ("MSH-7", &*time),
            ("MSH-9.1", facts.message_code),
            ("MSH-9.2", facts.trigger_event),
            ("MSH-9.3", &*structure),
            ("MSH-10", facts.control_id),
        ];
        let event =
            |line: &Line| &line.name == b"EVN" && line.leaves.keys().any(|leaf| leaf[0] == 1);
        if self.lines.iter().any(event) {
            values.push(("EVN-1", facts.trigger_event));
        }
        self.lines[0].leaves.retain(|leaf, _| leaf[0] != 9);
        for (text, value) in values {
            let Ok(path) = text.parse::<Path>() else {
                continue;
            };
            let position = Position {
                name: path.name(),
                occurrence: 1,
                field: path.field().unwrap_or(1),
                below: [path.component().map(|_| 1), path.component(), None],
            };
            self.put(&position, &path, Fill::Text(value))?;
        }
        Ok(())
    }

    /// The segment of this name and number; it is made if there are fewer.
    fn line(&mut self, name: [u8; 3], occurrence: u16) -> &mut Line {
        let mut missing = usize::from(occurrence);
        let mut found = None;
        for (index, line) in self.lines.iter().enumerate() {
            if line.name == name {
                missing -= 1;
                found = Some(index);
                if missing == 0 {
                    return &mut self.lines[index];
                }
            }
        }
        let mut at = found.map_or_else(|| self.place_of(&name), |last| last + 1);
        for _ in 0..missing {
            let leaves = BTreeMap::new();
            self.lines.insert(at, Line { name, leaves });
            at += 1;
        }
        &mut self.lines[at - 1]
    }

    /// Where a segment of a name that is not there belongs: before the first that comes later in messages, at the end if
    /// none does or nobody knows.
    fn place_of(&self, name: &[u8; 3]) -> usize {
        let end = self.lines.len();
        let Some(own) = rank(name) else { return end };
        let later = |line: &Line| rank(&line.name).is_some_and(|rank| rank > own);
        self.lines.iter().position(later).unwrap_or(end)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::with_capacity(1_024);
        for line in &self.lines {
            if !line.leaves.is_empty() || &line.name == b"EVN" {
                self.write(line, &mut text);
                text.push('\r');
            }
        }
        let mut bytes = Vec::with_capacity(text.len());
        self.template.charset.encode(&text, &mut bytes);
        bytes
    }

    fn write(&self, line: &Line, out: &mut String) {
        let delimiters = &self.template.delimiters;
        let separators = [
            Some(delimiters.field),
            delimiters.repetition,
            Some(delimiters.component),
            delimiters.subcomponent,
        ];
        let mut at: Leaf = [0, 1, 1, 1];
        out.extend(line.name.map(char::from));
        if &line.name == b"MSH" {
            out.push(char::from(delimiters.field));
            let header = self.template.segments().next();
            out.push_str(
                header
                    .and_then(|header| header.field(2))
                    .unwrap_or_default(),
            );
            at[0] = 2;
        }
        for (leaf, raw) in &line.leaves {
            for level in 0..4 {
                let steps = leaf[level] - at[level];
                if steps > 0 {
                    let separator = char::from(separators[level].unwrap_or_default());
                    out.extend(std::iter::repeat_n(separator, usize::from(steps)));
                    at[level] = leaf[level];
                    at[level + 1..].fill(1);
                }
            }
            out.push_str(raw);
        }
    }
}

fn parts(raw: &str, separator: Option<u8>) -> Vec<&str> {
    match separator {
        Some(separator) => raw.split(char::from(separator)).collect(),
        None => vec![raw],
    }
}

fn from_zero(index: usize) -> u16 {
    u16::try_from(index + 1).unwrap_or(u16::MAX)
}

fn rank(name: &[u8; 3]) -> Option<usize> {
    let mut order = ORDER.split_ascii_whitespace();
    order.position(|known| known.as_bytes() == name)
}

fn numbers(path: &Path) -> impl Iterator<Item = u16> {
    let indices = [path.occurrence(), path.repetition()].map(|index| match index {
        Index::Nth(number) => Some(number),
        Index::Unset | Index::Every => None,
    });
    indices
        .into_iter()
        .chain([path.field(), path.component(), path.subcomponent()])
        .flatten()
}
