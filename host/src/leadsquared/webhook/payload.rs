//! What a webhook delivers: bytes to entries, one for each lead or activity that changed.
//!
//! Pure, and tolerant of everything seen (`leadsquared.md` 8.4): one object or an array, two snapshots or one, fields in
//! `Data`, JSON inside a form or a text. What cannot be told (whose change it is) is refused; no error text holds a value.
//! Start at [`parse`].

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::WebhookEvent;

/// Longest id that is taken; LeadSquared's are GUIDs of 36 characters.
const MOST_ID: usize = 64;

/// The fields of one snapshot: text, or none for null. What is nested is JSON text.
pub type Fields = BTreeMap<String, Option<String>>;

/// Why a payload, or one entry of it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the body of {size_bytes} bytes is neither JSON nor a form with JSON in it")]
    NotJson { size_bytes: usize },
    #[error("entry {entry} is not an object")]
    NotAnObject { entry: usize },
    /// From 1 upwards.
    #[error(
        "entry {entry} does not name its lead: neither ProspectID nor RelatedProspectId holds an id"
    )]
    NoLead { entry: usize },
    #[error("entry {entry} is an activity without a number in ActivityEvent")]
    NoActivityCode { entry: usize },
}

/// What came in one delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// In the order they came. None where LeadSquared only tries whether somebody answers.
    pub entries: Vec<Entry>,
    /// Entries that cannot be used, each as it came; the others can all the same.
    pub unreadable: Vec<(Unreadable, Vec<u8>)>,
}

/// The activity that an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRef {
    pub id: String,
    /// Its type, such as 205.
    pub code: u32,
}

/// One change of one lead or activity.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// In lower case.
    pub lead_id: String,
    pub activity: Option<ActivityRef>,
    /// None where the payload tells of the new state alone.
    pub before: Option<Fields>,
    pub after: Fields,
    /// The entry as it came.
    pub raw: Vec<u8>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("lead_id", &self.lead_id)
            .field("activity", &self.activity)
            .field("has_before", &self.before.is_some())
            .field("fields", &self.after.len())
            .field("size_bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// What happened: what the address said if that can be, else what the shape says.
    ///
    /// An address may be wrong, because a person typed it in; a lead is no activity whatever it says. Without a word, an
    /// update is known by its two snapshots, or by a time of change behind that of creation.
    pub fn event(&self, said: Option<WebhookEvent>) -> WebhookEvent {
        let is_activity = self.activity.is_some();
        if let Some(event) = said.filter(|event| event.is_of_activities() == is_activity) {
            return event;
        }
        let time = |name: &str| self.after.get(name).cloned().flatten();
        let is_changed = match (time("CreatedOn"), time("ModifiedOn")) {
            (Some(created), Some(modified)) => instant(&modified) > instant(&created),
            _ => false,
        };
        match (is_activity, self.before.is_some() || is_changed) {
            (false, false) => WebhookEvent::LeadCreate,
            (false, true) => WebhookEvent::LeadUpdate,
            (true, false) => WebhookEvent::LeadActivityCreate,
            (true, true) => WebhookEvent::LeadActivityUpdate,
        }
    }

    /// The id of what changed: the activity's, or the lead's.
    pub fn entity_id(&self) -> &str {
        self.activity
            .as_ref()
            .map_or(&self.lead_id, |activity| &activity.id)
    }
}

/// `2026-10-07 14:03:21.000` without its parts of a second: one of the two times may lack them.
fn instant(text: &str) -> &str {
    text.split_once('.').map_or(text, |(whole, _)| whole).trim()
}

/// Reads what was delivered. The content type is not asked: what is sent under one is not always that.
///
/// # Errors
/// `NotJson` when nothing in it can be read. An empty body, `{}` and `[]` are trials and give no entries.
pub fn parse(body: &[u8]) -> Result<Payload, Unreadable> {
    let unreadable = || Unreadable::NotJson {
        size_bytes: body.len(),
    };
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(Payload::default());
    }
    let mut payload = read(text).or_else(|| form(text)).ok_or_else(unreadable)?;
    if payload.unreadable.len() > MOST_UNREADABLE {
        payload.unreadable.truncate(1);
        for (_, raw) in &mut payload.unreadable {
            *raw = body.to_vec();
        }
    }
    Ok(payload)
}

/// Whether a body is a trial: LeadSquared sends one to see whether somebody answers.
pub fn is_trial(body: &[u8]) -> bool {
    parse(body).is_ok_and(|payload| payload == Payload::default())
}

/// JSON, or a text with JSON in it.
fn read(text: &str) -> Option<Payload> {
    match text.as_bytes().first()? {
        b'[' => {
            let entries: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let mut payload = Payload::default();
            for (entry, number) in entries.into_iter().zip(1..) {
                payload.add(entry.get(), number);
            }
            Some(payload)
        }
        b'{' => {
            let members: Map<String, Value> = serde_json::from_str(text).ok()?;
            let mut payload = Payload::default();
            if !members.is_empty() {
                payload.add(text, 1);
            }
            Some(payload)
        }
        b'"' => {
            let inner: String = serde_json::from_str(text).ok()?;
            let inner = inner.trim();
            match inner.as_bytes().first() {
                Some(b'[' | b'{') => read(inner),
                Some(_) => None,
                None => Some(Payload::default()),
            }
        }
        _ => None,
    }
}

/// A form: JSON in a name or a value, or the fields themselves.
fn form(text: &str) -> Option<Payload> {
    let pairs: Vec<(String, String)> = text
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect::<Option<_>>()?;
    for (name, value) in &pairs {
        for part in [value, name] {
            let part = part.trim();
            if part.starts_with(['[', '{'])
                && let Some(payload) = read(part)
            {
                return Some(payload);
            }
        }
    }
    // JSON with a `=` or `&` in it that nobody encoded.
    let whole = decode(text)?;
    let whole = whole.trim().trim_end_matches('=');
    if whole.starts_with(['[', '{'])
        && let Some(payload) = read(whole)
    {
        return Some(payload);
    }
    let names_lead = |name: &str| LEAD_IDS.iter().any(|id| id.eq_ignore_ascii_case(name));
    if !pairs.iter().any(|(name, _)| names_lead(name)) {
        return None;
    }
    let members = pairs.into_iter();
    let members: Map<String, Value> = members.map(|(name, value)| (name, value.into())).collect();
    read(&Value::Object(members).to_string())
}

/// Percent-decodes a part of a form; none where that gives no text.
fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// Entries of one body that are kept each by itself though nothing can be told of them; of more, the body is, once.
const MOST_UNREADABLE: usize = 100;

const LEAD_IDS: [&str; 4] = ["RelatedProspectId", "ProspectID", "LeadId", "ProspectId"];
const ACTIVITY_IDS: [&str; 2] = ["ProspectActivityId", "ActivityId"];

impl Payload {
    fn add(&mut self, raw: &str, number: usize) {
        match entry(raw, number) {
            Ok(entry) => self.entries.push(entry),
            // Each is kept as a message of its own; a body of nothing else must not become millions.
            Err(error) if self.unreadable.len() <= MOST_UNREADABLE => {
                self.unreadable.push((error, raw.as_bytes().to_vec()));
            }
            // `parse` keeps the body then.
            Err(_) => {}
        }
    }
}

fn entry(raw: &str, number: usize) -> Result<Entry, Unreadable> {
    let Ok(Value::Object(outer)) = serde_json::from_str(raw) else {
        return Err(Unreadable::NotAnObject { entry: number });
    };
    let snapshot = |name: &str| match member(&outer, name) {
        Some(Value::Object(members)) => Some(members),
        _ => None,
    };
    let before = snapshot("Before").map(fields);
    let after = match snapshot("After").or_else(|| snapshot("Current")) {
        Some(after) => fields(after),
        None => {
            let mut own = outer.clone();
            own.retain(|name, _| !name.eq_ignore_ascii_case("Before"));
            fields(&own)
        }
    };
    // Beside two snapshots ids may stand in either, or outside.
    let around = fields(&outer);
    let places = [Some(&after), Some(&around), before.as_ref()];
    let id = |names: &[&str]| {
        let held = |name: &str| {
            let mut places = places.iter().flatten();
            places.find_map(|fields| as_id(text(fields, name)?))
        };
        names.iter().find_map(|name| held(name))
    };
    let activity = match id(&ACTIVITY_IDS) {
        None => None,
        Some(id) => {
            let mut codes = places.iter().flatten();
            let code = codes.find_map(|fields| text(fields, "ActivityEvent")?.trim().parse().ok());
            let code = code.ok_or(Unreadable::NoActivityCode { entry: number })?;
            Some(ActivityRef { id, code })
        }
    };
    Ok(Entry {
        lead_id: id(&LEAD_IDS).ok_or(Unreadable::NoLead { entry: number })?,
        activity,
        before,
        after,
        raw: raw.as_bytes().to_vec(),
    })
}

fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut found = members.iter();
    let (_, value) = found.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(value)
}

fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let mut found = fields.iter();
    let (_, value) = found.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    value.as_deref()
}

/// An id as it may stand in a log or an address; anything else could be somebody's data.
fn as_id(text: &str) -> Option<String> {
    let text = text.trim();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let fits = !text.is_empty() && text.len() <= MOST_ID && text.bytes().all(is_plain);
    fits.then(|| text.to_ascii_lowercase())
}

/// Flattens one snapshot: fields of an activity stand in `Data`, as an object or as pairs.
fn fields(members: &Map<String, Value>) -> Fields {
    let mut fields = Fields::new();
    let mut inner = Vec::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("Data" | "ActivityFields", Value::Object(members)) => {
                inner.extend(
                    members
                        .iter()
                        .map(|(name, value)| (name.clone(), plain(value))),
                );
            }
            ("Data" | "ActivityFields", Value::Array(pairs)) if !pairs.is_empty() => {
                inner.extend(pairs.iter().filter_map(pair));
            }
            _ => drop(fields.insert(name.clone(), plain(value))),
        }
    }
    for (name, value) in inner {
        fields.entry(name).or_insert(value);
    }
    fields
}

fn pair(pair: &Value) -> Option<(String, Option<String>)> {
    let name = pair.get("Key").or_else(|| pair.get("SchemaName"))?;
    Some((name.as_str()?.to_owned(), plain(pair.get("Value")?)))
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
