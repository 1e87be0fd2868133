//! Rows for a flow's template: which field of the account takes which place of the message, with how much confidence.
//!
//! Pure. Names are compared, those of the account with those that people use for a concept and with the names of the HL7
//! dictionary; then whether the field's type can take the value, and whether the template has one. Nothing is written
//! without a person: a proposal is shown with its confidence and its reason.

use std::collections::BTreeSet;

use super::document::{Document, Row};
use crate::hl7::{Content, Message, Path, dictionary};

/// A field of the account, as far as proposals look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// For example `mx_Date_of_Birth`.
    pub name: String,
    pub label: String,
    /// LeadSquared's name of it: `Text`, `Date`, `Phone`, …
    pub data_type: String,
    /// The choices of a select field.
    pub options: Vec<String>,
}

/// A row that would fill a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub row: Row,
    /// In percent.
    pub confidence: u8,
    /// Why, without a value of the message.
    pub why: String,
}

/// Below this nothing is proposed: half of the words differ.
const LEAST: u8 = 45;

/// What a concept's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Date,
    DateTime,
    Phone,
    Email,
    /// HL7 table 0001.
    Sex,
    Flag,
}

/// Something that both sides know, under many names.
struct Concept {
    /// What fields of accounts are called, in lower case.
    names: &'static [&'static str],
    kind: Kind,
    /// The place that tells whether the template has it.
    place: &'static str,
    /// The row's keys.
    row: &'static str,
}

const fn concept(
    names: &'static [&'static str],
    kind: Kind,
    place: &'static str,
    row: &'static str,
) -> Concept {
    Concept {
        names,
        kind,
        place,
        row,
    }
}

#[rustfmt::skip]
const CONCEPTS: &[Concept] = &[
    concept(&["mrn", "medical record number", "patient id", "patient number", "uhid", "hospital number", "patient identifier"], Kind::Text, "PID-3",
        "first = [\"PID-3[.5='MR'].1\", \"PID-3[.5='PI'].1\", \"PID-3.1\", \"PID-2.1\"]\nrequired = true"),
    concept(&["first name", "given name", "forename"], Kind::Text, "PID-5.2", "path = \"PID-5.2\"\nsteps = [\"trim\", \"name\"]"),
    concept(&["last name", "family name", "surname"], Kind::Text, "PID-5.1", "path = \"PID-5.1\"\nsteps = [\"trim\", \"name\"]"),
    concept(&["middle name", "second name"], Kind::Text, "PID-5.3", "path = \"PID-5.3\"\nsteps = [\"trim\", \"name\"]"),
    concept(&["full name", "patient name"], Kind::Text, "PID-5", "concat = [\"PID-5.2\", \"PID-5.3\", \"PID-5.1\"]\nseparator = \" \"\nsteps = [\"name\"]"),
    concept(&["date of birth", "birth date", "dob", "birthday"], Kind::Date, "PID-7", "path = \"PID-7\"\nsteps = [\"date\"]\nnull = \"clear\""),
    concept(&["gender", "sex"], Kind::Sex, "PID-8", "path = \"PID-8\""),
    concept(&["email", "email address", "e mail"], Kind::Email, "PID-13", "first = [\"PID-13[.2='NET'].4\", \"PID-13[.3='Internet'].4\", \"PID-13[.2='NET'].1\"]\nsteps = [\"trim\", \"lower\"]"),
    concept(&["phone", "phone number", "home phone", "telephone"], Kind::Phone, "PID-13", "first = [\"PID-13[.2='PRN'].12\", \"PID-13[.2='PRN'].1\", { concat = [\"PID-13[.2='PRN'].6\", \"PID-13[.2='PRN'].7\"] }, \"PID-13.1\"]\nsteps = [\"trim\"]"),
    concept(&["mobile", "mobile number", "mobile phone", "cell", "cell phone"], Kind::Phone, "PID-13", "first = [\"PID-13[.3='CP'].12\", \"PID-13[.3='CP'].1\", { concat = [\"PID-13[.3='CP'].6\", \"PID-13[.3='CP'].7\"] }]\nsteps = [\"trim\"]"),
    concept(&["work phone", "business phone", "office phone"], Kind::Phone, "PID-14", "first = [\"PID-14.12\", \"PID-14.1\"]\nsteps = [\"trim\"]"),
    concept(&["street", "street 1", "address", "address 1", "address line 1"], Kind::Text, "PID-11.1", "path = \"PID-11.1\"\nsteps = [\"trim\"]\nnull = \"clear\""),
    concept(&["street 2", "address 2", "address line 2"], Kind::Text, "PID-11.2", "path = \"PID-11.2\"\nsteps = [\"trim\"]\nnull = \"clear\""),
    concept(&["city", "town"], Kind::Text, "PID-11.3", "path = \"PID-11.3\"\nsteps = [\"trim\", \"name\"]\nnull = \"clear\""),
    concept(&["state", "province", "region"], Kind::Text, "PID-11.4", "path = \"PID-11.4\"\nnull = \"clear\""),
    concept(&["zip", "zip code", "postal code", "postcode", "pin code"], Kind::Text, "PID-11.5", "path = \"PID-11.5\"\nnull = \"clear\""),
    concept(&["country"], Kind::Text, "PID-11.6", "path = \"PID-11.6\"\nnull = \"clear\""),
    concept(&["language", "preferred language", "primary language"], Kind::Text, "PID-15", "first = [\"PID-15.2\", \"PID-15.1\"]"),
    concept(&["marital status"], Kind::Text, "PID-16", "first = [\"PID-16.2\", { path = \"PID-16.1\", steps = [{ map = { D = \"Divorced\", M = \"Married\", S = \"Single\", W = \"Widowed\" }, pass = true }] }]"),
    concept(&["religion"], Kind::Text, "PID-17", "first = [\"PID-17.2\", \"PID-17.1\"]"),
    concept(&["account number", "patient account number"], Kind::Text, "PID-18.1", "path = \"PID-18.1\""),
    concept(&["deceased", "is deceased", "death indicator"], Kind::Flag, "PID-30", "path = \"PID-30\"\nsteps = [\"boolean\"]"),
    concept(&["date of death", "deceased on", "death date"], Kind::DateTime, "PID-29", "path = \"PID-29\"\nsteps = [\"date-time\"]"),
    concept(&["next of kin", "emergency contact", "contact person"], Kind::Text, "NK1-2", "concat = [\"NK1-2.2\", \"NK1-2.1\"]\nseparator = \" \"\nsteps = [\"name\"]"),
    concept(&["next of kin phone", "emergency contact phone", "emergency phone"], Kind::Phone, "NK1-5", "first = [\"NK1-5.12\", \"NK1-5.1\"]\nsteps = [\"trim\"]"),
    concept(&["patient class", "visit type", "encounter type"], Kind::Text, "PV1-2", "path = \"PV1-2\"\nsteps = [{ map = { E = \"Emergency\", I = \"Inpatient\", O = \"Outpatient\", P = \"Pre-admission\" }, pass = true }]"),
    concept(&["ward", "location", "department", "unit", "point of care"], Kind::Text, "PV1-3", "concat = [\"PV1-3.1\", \"PV1-3.2\", \"PV1-3.3\"]\nseparator = \" \""),
    concept(&["attending doctor", "doctor", "physician", "consultant", "provider"], Kind::Text, "PV1-7", "concat = [\"PV1-7.3\", \"PV1-7.2\"]\nseparator = \" \"\nsteps = [\"name\"]"),
    concept(&["referring doctor", "referred by"], Kind::Text, "PV1-8", "concat = [\"PV1-8.3\", \"PV1-8.2\"]\nseparator = \" \"\nsteps = [\"name\"]"),
    concept(&["visit number", "encounter number", "visit id", "encounter id"], Kind::Text, "PV1-19.1", "path = \"PV1-19.1\""),
    concept(&["admitted on", "admission date", "admit date", "admitted at"], Kind::DateTime, "PV1-44", "path = \"PV1-44\"\nsteps = [\"date-time\"]"),
    concept(&["discharged on", "discharge date", "discharged at"], Kind::DateTime, "PV1-45", "path = \"PV1-45\"\nsteps = [\"date-time\"]"),
    concept(&["insurance plan", "insurance", "plan"], Kind::Text, "IN1-2", "first = [\"IN1-2.2\", \"IN1-2.1\"]"),
    concept(&["insurance company", "insurer", "payer"], Kind::Text, "IN1-4", "path = \"IN1-4.1\""),
    concept(&["policy number", "insurance number"], Kind::Text, "IN1-36", "path = \"IN1-36\""),
    concept(&["appointment id", "booking id", "booking number"], Kind::Text, "SCH-1.1", "first = [\"SCH-1.1\", \"SCH-2.1\"]"),
    concept(&["appointment date", "appointment time", "starts at"], Kind::DateTime, "SCH-11.4", "first = [\"SCH-11.4\", \"TQ1-7\", \"AIS-4\"]\nsteps = [\"date-time\"]"),
    concept(&["appointment reason", "reason"], Kind::Text, "SCH-7", "first = [\"SCH-7.2\", \"SCH-7.1\"]"),
    concept(&["appointment status"], Kind::Text, "SCH-25", "first = [\"SCH-25.2\", \"SCH-25.1\"]"),
];

/// Rows for the account's fields, the surest first; at most one for each field.
pub fn rows(template: &Message, fields: &[Field]) -> Vec<Proposal> {
    let places = places(template);
    let mut proposals: Vec<_> = fields
        .iter()
        .filter_map(|field| {
            let known = known(template, field);
            let named = named(&places, field);
            match (known, named) {
                (Some(known), Some(named)) if named.confidence > known.confidence => Some(named),
                (Some(known), _) => Some(known),
                (None, named) => named,
            }
        })
        .collect();
    proposals.sort_by(|a, b| {
        let surest = b.confidence.cmp(&a.confidence);
        surest.then_with(|| a.row.target.cmp(&b.row.target))
    });
    proposals
}

/// The concept whose name comes nearest to the field's.
fn known(template: &Message, field: &Field) -> Option<Proposal> {
    let names = [words(&field.name), words(&field.label)];
    let scored = CONCEPTS.iter().filter_map(|concept| {
        let near = concept.names.iter();
        let near = near.flat_map(|name| names.iter().map(|own| nearness(own, &words(name))));
        let name = near.max().unwrap_or(0);
        let takes = takes(field, concept.kind)?;
        let path: Path = concept.place.parse().ok()?;
        let has = has(template, &path);
        let confidence =
            u32::from(name) * u32::from(takes) / 100 * if has { 100 } else { 70 } / 100;
        Some((u8::try_from(confidence).unwrap_or(100), has, concept))
    });
    let (confidence, has, concept) = scored.max_by_key(|(confidence, ..)| *confidence)?;
    if confidence < LEAST {
        return None;
    }
    let keys = match concept.kind {
        Kind::Sex => format!("{}\nsteps = {}", concept.row, sexes(&field.options)),
        _ => concept.row.to_owned(),
    };
    let label = concept
        .place
        .parse()
        .ok()
        .as_ref()
        .and_then(dictionary::label);
    let label = label.unwrap_or_default();
    Some(Proposal {
        row: row(field, &keys)?,
        confidence,
        why: match has {
            true => format!("{} is {label} of {}", field.label, concept.place),
            false => format!(
                "{} is {label} of {}, of which the template has none",
                field.label, concept.place
            ),
        },
    })
}

/// The place of the template whose name in the dictionary comes nearest to the field's.
fn named(places: &[(Path, BTreeSet<String>)], field: &Field) -> Option<Proposal> {
    let names = [words(&field.name), words(&field.label)];
    let scored = places.iter().map(|(path, label)| {
        let near = names.iter().map(|own| nearness(own, label)).max();
        // A name alone is less than a concept.
        (u32::from(near.unwrap_or(0)) * 80 / 100, path)
    });
    let (name, path) = scored.max_by_key(|(name, _)| *name)?;
    let kind = kind_of(path);
    let confidence = name * u32::from(takes(field, kind)?) / 100;
    let confidence = u8::try_from(confidence).unwrap_or(100);
    if confidence < LEAST {
        return None;
    }
    let steps = match kind {
        Kind::Date => "\nsteps = [\"date\"]",
        Kind::DateTime => "\nsteps = [\"date-time\"]",
        _ => "",
    };
    let path_text = path.to_string().replace('"', "\\\"");
    let keys = format!("path = \"{path_text}\"{steps}");
    let label = dictionary::label(path).unwrap_or_default();
    Some(Proposal {
        row: row(field, &keys)?,
        confidence,
        why: format!("{} is called like {label} of {path}", field.label),
    })
}

/// A row from its keys.
fn row(field: &Field, keys: &str) -> Option<Row> {
    let target = toml::Value::String(field.name.clone());
    let label = match field.label.is_empty() || field.label == field.name {
        true => String::new(),
        false => format!("label = {}\n", toml::Value::String(field.label.clone())),
    };
    let text = format!("format = 1\nname = \"row\"\n[[lead]]\ntarget = {target}\n{label}{keys}\n");
    Document::parse(&text).ok()?.lead.pop()
}

/// Every leaf of the template that has text and a name, each once.
fn places(template: &Message) -> Vec<(Path, BTreeSet<String>)> {
    let mut places = Vec::new();
    let mut seen = BTreeSet::new();
    for segment in template.segments() {
        let name = segment.name();
        if name == "MSH" || !seen.insert(name.to_owned()) {
            continue;
        }
        for field in dictionary::fields(name) {
            let components = dictionary::components(field.data_type).map(|part| part.number);
            let components: Vec<_> = components.collect();
            let texts = match components.is_empty() {
                true => vec![format!("{name}-{}", field.number)],
                false => components
                    .iter()
                    .map(|part| format!("{name}-{}.{part}", field.number))
                    .collect(),
            };
            for text in texts {
                let path = text.parse::<Path>().ok();
                let path = path.filter(|path| matches!(template.get(path), Content::Text(_)));
                if let Some((path, label)) = path.and_then(|path| {
                    let label = dictionary::label(&path)?;
                    Some((path, label))
                }) {
                    places.push((path, words(&label)));
                }
            }
        }
    }
    places
}

fn has(template: &Message, path: &Path) -> bool {
    template.raw(path).is_some_and(|text| !text.is_empty())
}

/// What the dictionary says of a place's type.
fn kind_of(path: &Path) -> Kind {
    let field = path
        .field()
        .and_then(|number| dictionary::field(path.segment(), number));
    let data_type = field.map_or("", |field| field.data_type);
    let part = path
        .component()
        .and_then(|part| dictionary::component(data_type, part));
    match part.map_or(data_type, |part| part.data_type) {
        "DT" => Kind::Date,
        "TS" | "DTM" => Kind::DateTime,
        _ => Kind::Text,
    }
}

/// How well a field's type takes such a value, in percent; none if it does not.
fn takes(field: &Field, kind: Kind) -> Option<u8> {
    let data_type = field.data_type.to_ascii_lowercase();
    let is_date = data_type.starts_with("date");
    Some(match (kind, data_type.as_str()) {
        (Kind::Date | Kind::DateTime, _) if is_date => 100,
        (_, _) if is_date => return None,
        (Kind::Phone, "phone") | (Kind::Email, "email") | (Kind::Flag, "boolean") => 100,
        (_, "phone" | "email" | "boolean" | "number" | "time") => return None,
        (Kind::Flag, _) => 60,
        (Kind::Date | Kind::DateTime | Kind::Phone | Kind::Email, _) => 75,
        (Kind::Sex | Kind::Text, _) => 100,
    })
}

/// The map of HL7's codes to the words that the field has.
fn sexes(options: &[String]) -> String {
    let usual = [
        ("F", "Female"),
        ("M", "Male"),
        ("O", "Other"),
        ("U", "Unknown"),
    ];
    let entries = usual.iter().filter_map(|(code, word)| {
        let mut known = options.iter();
        let known = known
            .find(|option| option.eq_ignore_ascii_case(word) || option.eq_ignore_ascii_case(code));
        let word = match options.is_empty() {
            true => (*word).to_owned(),
            false => known?.clone(),
        };
        Some(format!("{code} = {}", toml::Value::String(word)))
    });
    let entries: Vec<_> = entries.collect();
    format!(
        "[\"trim\", \"upper\", {{ map = {{ {} }} }}]",
        entries.join(", ")
    )
}

/// `mx_Date_of_Birth` and `DateOfBirth` are date, of, birth.
fn words(name: &str) -> BTreeSet<String> {
    let name = name.strip_prefix("mx_").unwrap_or(name);
    let mut words = BTreeSet::new();
    let (mut word, mut last) = (String::new(), ' ');
    for letter in name.chars().chain([' ']) {
        let starts = letter.is_uppercase() && last.is_lowercase()
            || letter.is_ascii_digit() != last.is_ascii_digit() && last.is_alphanumeric();
        if !letter.is_alphanumeric() || starts {
            words.insert(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
        last = letter;
    }
    for filler in ["", "of", "the", "patient", "s"] {
        // A name that is nothing but filler keeps it.
        if words.len() > 1 {
            words.remove(filler);
        }
    }
    words
}

/// How near two names are, in percent: words that both have, of all words.
fn nearness(a: &BTreeSet<String>, b: &BTreeSet<String>) -> u8 {
    let both = a.intersection(b).count();
    let all = a.union(b).count().max(1);
    u8::try_from(both * 100 / all).unwrap_or(100)
}

#[cfg(test)]
mod tests;
