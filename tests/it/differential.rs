//! Our reading beside that of two other parsers, `hl7kit` and `hl7-2`, over every message at hand.
//!
//! Each leaf of each message is compared, undecoded and decoded. A message may differ only for a reason of [`REASONS`].
//! Round trips are checked over the same messages: what nobody touched is written back byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ligature::hl7::{Charset, Error, Message, batch, escape, warning};
use ligature_tests::{in_ci, say, workspace_root};
use serde_json::Value;

/// Why another parser reads a message differently: the parser, what is special about the message or the leaf, and why.
const REASONS: &[(&str, &str, &str)] = &[
    (
        "hl7kit",
        BLANKS,
        "it trims the end of a line; a sender's blanks are data to us",
    ),
    (
        "hl7-2",
        BLANKS,
        "it trims the end of a line; a sender's blanks are data to us",
    ),
    (
        "hl7-2",
        NULL,
        "it decodes null to nothing; to us null is a state and its text stays",
    ),
    (
        "hl7kit",
        warning::SHORT_DELIMITERS,
        "it falls back to ^~\\& where MSH-2 has fewer than four characters",
    ),
    (
        "hl7-2",
        warning::SHORT_DELIMITERS,
        "it refuses them, or puts defaults in the places that are missing",
    ),
    (
        "hl7-2",
        warning::DOUBLED_ESCAPE,
        "it refuses an escape character that stands twice in MSH-2",
    ),
    (
        "hl7kit",
        warning::LOWER_CASE_SEGMENT,
        "it refuses a header in small letters",
    ),
    (
        "hl7-2",
        warning::LOWER_CASE_SEGMENT,
        "it refuses a header in small letters",
    ),
    (
        "hl7kit",
        warning::NOT_A_SEGMENT,
        "it refuses a message with a line that is no segment",
    ),
    (
        "hl7-2",
        warning::NOT_A_SEGMENT,
        "it makes a segment of a line that is none",
    ),
    (
        "hl7-2",
        "end block",
        "it makes a segment of an end block that a file still holds",
    ),
    (
        "hl7kit",
        "nul",
        "it refuses NUL before a message, which some senders put between two",
    ),
    (
        "hl7-2",
        "nul",
        "it refuses NUL before a message, which some senders put between two",
    ),
    ("hl7kit", "truncation escape", "it keeps \\P\\ as it is"),
    ("hl7-2", "truncation escape", "it keeps \\P\\ as it is"),
    (
        "hl7-2",
        "formatting escape",
        "it turns spacing and highlighting into plain text while decoding; we keep them",
    ),
];

/// A leaf that ends its line in blanks.
const BLANKS: &str = "blanks at the end of a line";
/// A leaf that is `""`.
const NULL: &str = "null";

/// What our own reading knows of a message beyond its warnings.
fn traits(message: &Message, text: &str) -> BTreeSet<&'static str> {
    let mut traits: BTreeSet<&str> = message.warnings().iter().map(|w| w.code).collect();
    let has = |part: &str| text.contains(part);
    let is = [
        (
            "formatting escape",
            has("\\.") || has("\\H\\") || has("\\N\\"),
        ),
        ("truncation escape", has("\\P\\")),
        ("end block", has("\u{1c}")),
        ("nul", has("\0")),
    ];
    traits.extend(is.into_iter().filter(|(_, is)| *is).map(|(name, _)| name));
    traits
}

/// Segment index, field, repetition, component and subcomponent.
type Place = (usize, usize, usize, usize, usize);

/// Leaves as they stand and decoded.
type Leaves = BTreeMap<Place, (String, String)>;

/// Segment names and leaves, without MSH-1 and MSH-2, which every parser shows in a form of its own.
#[derive(PartialEq, Eq, Default)]
struct Reading {
    names: Vec<String>,
    leaves: Leaves,
}

impl Reading {
    fn add(&mut self, name: &str, at: Place, raw: &str, decoded: &str) {
        let delimiters =
            at.1 <= 2 && ["MSH", "FHS", "BHS"].contains(&name.to_ascii_uppercase().as_str());
        if !raw.is_empty() && !delimiters {
            self.leaves.insert(at, (raw.to_owned(), decoded.to_owned()));
        }
    }

    /// Where the two part ways, never what stands there, and the reason that the leaf itself gives.
    fn differences(&self, other: &Reading) -> Vec<(String, Option<&'static str>)> {
        if self.names != other.names {
            let at = self
                .names
                .iter()
                .zip(&other.names)
                .take_while(|(a, b)| a == b)
                .count();
            return vec![(format!("segments from number {} on", at + 1), None)];
        }
        let places: BTreeSet<_> = self.leaves.keys().chain(other.leaves.keys()).collect();
        let differ = places
            .into_iter()
            .filter(|at| self.leaves.get(at) != other.leaves.get(at));
        differ.map(|place| self.difference(other, *place)).collect()
    }

    fn difference(&self, other: &Reading, place: Place) -> (String, Option<&'static str>) {
        let (segment, field, repetition, component, subcomponent) = place;
        let (ours, theirs) = (self.leaves.get(&place), other.leaves.get(&place));
        let reason = match (ours, theirs) {
            (Some((ours, _)), None) if ours.trim().is_empty() => Some(BLANKS),
            (Some((ours, _)), Some((theirs, _))) if ours != theirs && ours.trim_end() == theirs => {
                Some(BLANKS)
            }
            (Some((ours, _)), Some((theirs, _))) if ours == theirs && ours == "\"\"" => Some(NULL),
            _ => None,
        };
        let what = match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours.0 == theirs.0 => "decodes otherwise",
            (Some(_), Some(_)) => "is cut otherwise",
            (None, _) => "is theirs only",
            (_, None) => "is ours only",
        };
        let name = &self.names[segment];
        let place = format!(
            "{name} (segment {})-{field}[{repetition}].{component}.{subcomponent}",
            segment + 1
        );
        (format!("{place} {what}"), reason)
    }
}

fn ours(message: &Message) -> Reading {
    let mut reading = Reading::default();
    for (index, segment) in message.segments().enumerate() {
        reading.names.push(segment.name().to_owned());
        for field in 1..=segment.field_count() {
            for (repetition, of_field) in segment.repetitions(field).enumerate() {
                for component in 1.. {
                    if of_field.element(Some(component), None).is_none() {
                        break;
                    }
                    for subcomponent in 1.. {
                        let Some(raw) = of_field.element(Some(component), Some(subcomponent))
                        else {
                            break;
                        };
                        let decoded = escape::decode(raw, message.delimiters(), message.charset());
                        let at = (
                            index,
                            field,
                            repetition + 1,
                            usize::from(component),
                            usize::from(subcomponent),
                        );
                        reading.add(segment.name(), at, raw, &decoded);
                    }
                }
            }
        }
    }
    reading
}

fn hl7kit(text: &str) -> Result<Reading, String> {
    let message = hl7kit::Message::parse(text).map_err(|error| error.to_string())?;
    let mut reading = Reading::default();
    for (index, segment) in message.segments().enumerate() {
        reading.names.push(segment.name().to_ascii_uppercase());
        for field in segment.fields() {
            for (repetition, of_field) in field.repetitions().enumerate() {
                for (component, of_repetition) in of_field.components().enumerate() {
                    for (subcomponent, leaf) in of_repetition.subcomponents().enumerate() {
                        let at = (
                            index,
                            field.number(),
                            repetition + 1,
                            component + 1,
                            subcomponent + 1,
                        );
                        reading.add(segment.name(), at, leaf.value(), &leaf.decoded());
                    }
                }
            }
        }
    }
    Ok(reading)
}

fn hl7_2(text: &str) -> Result<Reading, String> {
    let message = hl7_2::parse(text).map_err(|error| error.to_string())?;
    let mut reading = Reading::default();
    for (index, segment) in message.segments().enumerate() {
        reading.names.push(segment.name.to_ascii_uppercase());
        for number in 1..=segment.fields.len() + 1 {
            let Some(field) = segment.field(number) else {
                continue;
            };
            for (repetition, of_field) in field.repetitions.iter().enumerate() {
                for (component, of_repetition) in of_field.components.iter().enumerate() {
                    for (subcomponent, leaf) in of_repetition.subcomponents.iter().enumerate() {
                        let at = (
                            index,
                            number,
                            repetition + 1,
                            component + 1,
                            subcomponent + 1,
                        );
                        let decoded = leaf.value(message.separators());
                        reading.add(&segment.name, at, &leaf.raw, &decoded);
                    }
                }
            }
        }
    }
    Ok(reading)
}

/// Every message at hand: where it is from, and its bytes.
fn messages() -> Vec<(String, Vec<u8>)> {
    let mut inputs = Vec::new();
    let corpus = workspace_root().join("../shared/corpus");
    match corpus.is_dir() {
        true => inputs.extend(
            files(&corpus)
                .into_iter()
                .map(|file| (shown(&file), std::fs::read(&file).unwrap())),
        ),
        false => {
            assert!(!in_ci(), "{} is missing", corpus.display());
            say(&format!(
                "only the project's own messages: none at {}",
                corpus.display()
            ));
        }
    }
    for file in files(&workspace_root().join("examples")) {
        if file.extension().is_some_and(|extension| extension == "hl7") {
            inputs.push((shown(&file), std::fs::read(&file).unwrap()));
        }
    }
    for folder in ["tests/vectors", "../shared/vectors"] {
        let folder = workspace_root().join(folder);
        for file in if folder.is_dir() {
            files(&folder)
        } else {
            Vec::new()
        } {
            if file
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let cases: Vec<Value> =
                    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
                let texts: BTreeSet<_> = cases
                    .iter()
                    .filter_map(|case| case["input"].as_str())
                    .collect();
                let name = shown(&file);
                inputs.extend(
                    texts
                        .into_iter()
                        .enumerate()
                        .map(|(index, text)| (format!("{name}#{index}"), text.as_bytes().to_vec())),
                );
            }
        }
    }
    let mut messages = Vec::new();
    for (name, bytes) in inputs {
        for (index, entry) in batch::split(&bytes).into_iter().enumerate() {
            messages.push((format!("{name}, message {}", index + 1), entry.to_vec()));
        }
    }
    messages
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

fn shown(file: &Path) -> String {
    let parts: Vec<_> = file.iter().rev().take(2).collect();
    parts
        .into_iter()
        .rev()
        .collect::<PathBuf>()
        .display()
        .to_string()
}

#[test]
fn other_parsers_agree_or_the_reason_is_known() {
    let mut compared = 0;
    let mut agreed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let mut used = BTreeSet::new();
    for (name, bytes) in messages() {
        // Both take text only, so the comparison is about text in UTF-8.
        let (Ok(message), Ok(text)) = (Message::parse(&bytes), std::str::from_utf8(&bytes)) else {
            continue;
        };
        if message.charset() != Charset::UTF_8 {
            continue;
        }
        compared += 1;
        let (ours, traits) = (ours(&message), traits(&message, text));
        for (peer, theirs) in [("hl7kit", hl7kit(text)), ("hl7-2", hl7_2(text))] {
            let differences = match theirs {
                Ok(theirs) => ours.differences(&theirs),
                Err(_) => vec![("is refused".to_owned(), None)],
            };
            if differences.is_empty() {
                *agreed.entry(peer).or_default() += 1;
            }
            for (difference, of_leaf) in differences {
                let known: Vec<_> = (REASONS.iter())
                    .filter(|(of, reason, _)| {
                        *of == peer && (of_leaf == Some(*reason) || traits.contains(reason))
                    })
                    .map(|(of, reason, _)| (*of, *reason))
                    .collect();
                if known.is_empty() {
                    unexplained.push(format!("{peer}: {name}: {difference}; {traits:?}"));
                }
                used.extend(known);
            }
        }
    }
    assert!(compared > 100, "only {compared} messages were found");
    say(&format!(
        "{compared} messages compared, {agreed:?} read alike"
    ));
    assert!(
        unexplained.is_empty(),
        "{} of {compared} differ without a reason:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    for (peer, of_trait, _) in REASONS {
        assert!(
            used.contains(&(*peer, *of_trait)),
            "{peer} no longer differs for {of_trait}: take the reason out"
        );
    }
}

#[test]
fn every_message_is_written_back_byte_for_byte() {
    let mut written = 0;
    for (name, bytes) in messages() {
        let Ok(message) = Message::parse(&bytes) else {
            continue;
        };
        assert!(message.to_bytes() == bytes, "{name}");
        let normal = message.normalize();
        let again = Message::parse(&normal).unwrap();
        assert!(
            again.normalize() == normal,
            "{name}: normalize is no fixed point"
        );
        assert!(
            !again.warnings().iter().any(|w| w.code == warning::LINE_END),
            "{name}"
        );
        written += 1;
    }
    assert!(written > 100, "only {written} messages were found");
}

#[test]
fn what_begins_with_a_header_is_refused_for_its_delimiters_only() {
    for (name, bytes) in messages() {
        let start = bytes.trim_ascii_start().get(..3).unwrap_or_default();
        if start.eq_ignore_ascii_case(b"MSH")
            && let Err(error) = Message::parse(&bytes)
        {
            assert!(
                matches!(error, Error::BadDelimiters { .. }),
                "{name}: {error}"
            );
        }
    }
}
