//! What this host wrote last to one record, field by field: whether an update says anything new, and whether it is late.
//!
//! Values are kept as fingerprints, never as text. Start at [`Written::compare`]; [`told`] is what people wrote there.

pub mod told;

use crate::leadsquared::Attribute;
use told::Told;

/// After this long a field is written again even if nothing seems to have changed: somebody may have changed it
/// in LeadSquared meanwhile.
const FRESH_MS: i64 = 24 * 60 * 60 * 1_000;

/// How long a value is known that another took the place of: LeadSquared may still be telling of the first.
const FORMER_MS: i64 = 5 * 60 * 1_000;

/// Former values of one field, at most.
const MOST_FORMER: usize = 8;

/// The kind of news that an answer of the EHR is.
const ANSWER: &str = "answer";

/// The first byte of the kept form.
const FORM: u8 = 2;

/// Bytes before the fields, and of each field, in the kept form.
const HEAD: usize = 1 + 8 + 1;
const ENTRY: usize = 4 + 8 + 1 + 4 + 8 + 8 + 8;

/// How a value is told from another without keeping it: keyed, by field name and value.
pub type Fingerprint<'a> = dyn Fn(&str, &str) -> u64 + Send + Sync + 'a;

/// When the event behind a message happened, by the clock of what kind of sender.
///
/// Times are compared within one message code alone: registration and scheduling are other systems with other clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// MSH-9.1, for example `ADT`.
    pub kind: String,
    pub at_ms: i64,
    /// The same, unless the sender's local time comes twice that night and it does not say which it means.
    pub latest_ms: i64,
    /// The delivery's place in the journal: senders write times to the second, and of one moment's events that which
    /// was received first is the older.
    pub seq: i64,
}

impl News {
    /// Whether `known` is of a newer event of the same kind.
    fn is_late(&self, known: &Field) -> bool {
        known.kind == hash(&self.kind)
            && (self.latest_ms < known.event_at_ms
                || (self.at_ms == known.event_at_ms && self.seq < known.seq))
    }
}

/// What was written last, by field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// The last write of any field.
    at_ms: i64,
    /// This host made the record.
    is_created: bool,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: u32,
    value: u64,
    standing: Standing,
    kind: u32,
    event_at_ms: i64,
    seq: i64,
    at_ms: i64,
}

/// What became of a value; the numbers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Last = 0,
    /// LeadSquared would not take it: another lead holds this value.
    Refused = 1,
    /// Another value was written since.
    Former = 2,
}

/// What is left of an update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    pub write: Vec<Attribute>,
    /// Fields that a newer event of the same kind has written.
    pub late: Vec<String>,
    /// Fields whose value LeadSquared refused a short while ago.
    pub refused: Vec<String>,
    /// Whether `write` says anything that was not written last.
    pub is_news: bool,
}

impl Written {
    /// Reads the kept form; what cannot be read is taken for nothing written.
    pub fn parse(bytes: &[u8]) -> Self {
        let number = |bytes: &[u8]| {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(whole)
        };
        let Some((&[FORM, ref at @ .., is_created], rest)) = bytes.split_first_chunk::<HEAD>()
        else {
            return Self::default();
        };
        let fields = rest.chunks_exact(ENTRY).map(|entry| Field {
            name: number(&entry[..4]) as u32,
            value: number(&entry[4..12]),
            standing: match entry[12] {
                0 => Standing::Last,
                1 => Standing::Refused,
                _ => Standing::Former,
            },
            kind: number(&entry[13..17]) as u32,
            event_at_ms: number(&entry[17..25]) as i64,
            seq: number(&entry[25..33]) as i64,
            at_ms: number(&entry[33..41]) as i64,
        });
        Self {
            at_ms: number(at) as i64,
            is_created: is_created != 0,
            fields: fields.collect(),
        }
    }

    /// A record that this host has just made.
    pub fn created() -> Self {
        Self {
            is_created: true,
            ..Self::default()
        }
    }

    /// The kept form: 10 bytes and 41 a field.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.fields.len() * ENTRY);
        bytes.push(FORM);
        bytes.extend(self.at_ms.to_le_bytes());
        bytes.push(self.is_created.into());
        for field in &self.fields {
            bytes.extend(field.name.to_le_bytes());
            bytes.extend(field.value.to_le_bytes());
            bytes.push(field.standing as u8);
            bytes.extend(field.kind.to_le_bytes());
            bytes.extend(field.event_at_ms.to_le_bytes());
            bytes.extend(field.seq.to_le_bytes());
            bytes.extend(field.at_ms.to_le_bytes());
        }
        bytes
    }

    /// Compares what is to be written with what was, and with what people wrote meanwhile as far as the EHR was told.
    pub fn compare(
        &self,
        attributes: &[Attribute],
        told: &Told,
        news: Option<&News>,
        fingerprint: &Fingerprint<'_>,
        now_ms: i64,
    ) -> Comparison {
        let mut comparison = Comparison::default();
        for attribute in attributes {
            let name = &attribute.name;
            let known = self.field(name, fingerprint);
            let is_late = known
                .zip(news)
                .is_some_and(|(known, news)| news.is_late(known));
            if is_late {
                comparison.late.push(name.clone());
                continue;
            }
            let is_fresh = |at_ms: i64| now_ms.saturating_sub(at_ms) < FRESH_MS;
            let is_same = known.is_some_and(|known| {
                known.value == value(attribute, fingerprint) && is_fresh(known.at_ms)
            });
            if is_same && known.is_some_and(|known| known.standing == Standing::Refused) {
                comparison.refused.push(name.clone());
                continue;
            }
            let since_ms = known.map_or(i64::MIN, |known| known.at_ms);
            let is_held = match told.said(attribute, since_ms, fingerprint) {
                Some(said) => said.is_same && is_fresh(said.at_ms),
                None => is_same,
            };
            comparison.is_news |= !is_held;
            comparison.write.push(attribute.clone());
        }
        comparison
    }

    /// Whether this host wrote this value to its field at about this time, even if another one has followed.
    pub fn wrote(
        &self,
        attribute: &Attribute,
        at_ms: i64,
        within_ms: i64,
        fingerprint: &Fingerprint<'_>,
    ) -> bool {
        let name = name(&attribute.name, fingerprint);
        let value = value(attribute, fingerprint);
        self.fields.iter().any(|known| {
            known.name == name
                && known.value == value
                && known.standing != Standing::Refused
                && known.at_ms.abs_diff(at_ms) <= within_ms.unsigned_abs()
        })
    }

    /// Whether this was written last to its field.
    pub fn says(&self, attribute: &Attribute, fingerprint: &Fingerprint<'_>) -> bool {
        let known = self.field(&attribute.name, fingerprint);
        known.is_some_and(|known| {
            known.standing == Standing::Last && known.value == value(attribute, fingerprint)
        })
    }

    /// Whether this host has ever written the field.
    pub fn knows(&self, field: &str, fingerprint: &Fingerprint<'_>) -> bool {
        self.field(field, fingerprint).is_some()
    }

    /// When the last write took place.
    pub fn at_ms(&self) -> i64 {
        self.at_ms
    }

    /// Whether this host made the record.
    pub fn is_created(&self) -> bool {
        self.is_created
    }

    /// Whether the last write took place at about this time, or later.
    pub fn is_about(&self, at_ms: i64, within_ms: i64) -> bool {
        self.at_ms.saturating_add(within_ms) >= at_ms
    }

    /// Notes that `attributes` were written, and that LeadSquared refused `refused`.
    pub fn note(
        &mut self,
        attributes: &[Attribute],
        refused: &[Attribute],
        news: Option<&News>,
        fingerprint: &Fingerprint<'_>,
        now_ms: i64,
    ) {
        self.at_ms = now_ms;
        let is_near = |field: &Field| now_ms.saturating_sub(field.at_ms) < FORMER_MS;
        self.fields
            .retain(|field| field.standing != Standing::Former || is_near(field));
        let taken = attributes
            .iter()
            .map(|attribute| (attribute, Standing::Last));
        let refused = refused
            .iter()
            .map(|attribute| (attribute, Standing::Refused));
        for (attribute, standing) in taken.chain(refused) {
            let name = name(&attribute.name, fingerprint);
            let field = Field {
                name,
                value: value(attribute, fingerprint),
                standing,
                kind: news.map_or(0, |news| hash(&news.kind)),
                event_at_ms: news.map_or(i64::MIN, |news| news.at_ms),
                seq: news.map_or(0, |news| news.seq),
                at_ms: now_ms,
            };
            let mut known = self.fields.iter_mut();
            match known.find(|known| known.name == name && known.standing != Standing::Former) {
                Some(known) => {
                    let before = std::mem::replace(known, field);
                    if before.standing == Standing::Last
                        && before.value != known.value
                        && is_near(&before)
                    {
                        self.step_back(before);
                    }
                }
                None => self.fields.push(field),
            }
        }
    }

    /// Notes what the EHR's answer to a message of ours made this host write.
    pub fn note_answer(
        &mut self,
        attributes: &[Attribute],
        fingerprint: &Fingerprint<'_>,
        now_ms: i64,
    ) {
        let news = News {
            kind: ANSWER.into(),
            at_ms: now_ms,
            latest_ms: now_ms,
            seq: 0,
        };
        self.note(attributes, &[], Some(&news), fingerprint, now_ms);
    }

    /// When this host last wrote what the EHR said by itself.
    pub fn said_by_ehr_at_ms(&self) -> i64 {
        let answer = hash(ANSWER);
        let said = self.fields.iter().filter(|field| field.kind != answer);
        said.map(|field| field.at_ms).max().unwrap_or(i64::MIN)
    }

    /// Keeps a value that another took the place of; the oldest of many is let go.
    fn step_back(&mut self, mut field: Field) {
        field.standing = Standing::Former;
        let is_former =
            |known: &Field| known.name == field.name && known.standing == Standing::Former;
        if self.fields.iter().filter(|known| is_former(known)).count() >= MOST_FORMER
            && let Some(oldest) = self.fields.iter().position(is_former)
        {
            self.fields.remove(oldest);
        }
        self.fields.push(field);
    }

    fn field(&self, field: &str, fingerprint: &Fingerprint<'_>) -> Option<&Field> {
        let name = name(field, fingerprint);
        self.fields
            .iter()
            .find(|known| known.name == name && known.standing != Standing::Former)
    }
}

pub(super) fn name(field: &str, fingerprint: &Fingerprint<'_>) -> u32 {
    fingerprint("", field) as u32
}

fn value(attribute: &Attribute, fingerprint: &Fingerprint<'_>) -> u64 {
    fingerprint(
        &attribute.name,
        attribute.value.as_deref().unwrap_or_default(),
    )
}

/// Message codes are few and no secret.
fn hash(kind: &str) -> u32 {
    kind.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use proptest::prelude::*;

    use super::*;

    fn fingerprint(field: &str, value: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (field, value).hash(&mut hasher);
        hasher.finish()
    }

    fn news(kind: &str, at_ms: i64) -> Option<News> {
        Some(News {
            kind: kind.into(),
            at_ms,
            latest_ms: at_ms,
            seq: 7,
        })
    }

    fn fields(pairs: &[(&str, &str)]) -> Vec<Attribute> {
        pairs
            .iter()
            .map(|(name, value)| Attribute::text(*name, *value))
            .collect()
    }

    /// Compares after `Phone=1 City=A` of ADT time 100 was written at 1,000; `Mobile=9` was refused.
    fn check(pairs: &[(&str, &str)], news: Option<News>, now_ms: i64) -> String {
        let mut written = Written::default();
        written.note(
            &fields(&[("Phone", "1"), ("City", "A")]),
            &fields(&[("Mobile", "9")]),
            self::news("ADT", 100).as_ref(),
            &fingerprint,
            1_000,
        );
        let written = Written::parse(&written.to_bytes());
        let found = written.compare(
            &fields(pairs),
            &Told::default(),
            news.as_ref(),
            &fingerprint,
            now_ms,
        );
        let names: Vec<&str> = found
            .write
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        format!(
            "write {} late {} refused {} news {}",
            names.join(","),
            found.late.join(","),
            found.refused.join(","),
            found.is_news
        )
    }

    #[test]
    fn an_update_is_news_late_or_neither() {
        let same = [("Phone", "1"), ("City", "A")];
        let other = [("Phone", "1"), ("City", "B")];
        let later = || news("ADT", 200);
        assert_eq!(
            check(&same, later(), 2_000),
            "write Phone,City late  refused  news false"
        );
        assert_eq!(
            check(&same[..1], later(), 2_000),
            "write Phone late  refused  news false"
        );
        assert_eq!(
            check(&other, later(), 2_000),
            "write Phone,City late  refused  news true"
        );
        // A day later somebody may have changed it in LeadSquared.
        assert_eq!(
            check(&same, later(), 1_000 + FRESH_MS),
            "write Phone,City late  refused  news true"
        );
        // Senders write times to the second: of the same moment is late what was received earlier.
        let at_once = |seq| {
            Some(News {
                seq,
                ..news("ADT", 100).unwrap()
            })
        };
        for seq in [7, 8] {
            assert_eq!(
                check(&other, at_once(seq), 2_000),
                "write Phone,City late  refused  news true"
            );
        }
        assert_eq!(
            check(&other, at_once(6), 2_000),
            "write  late Phone,City refused  news false"
        );
        assert_eq!(
            check(&other, news("ADT", 99), 2_000),
            "write  late Phone,City refused  news false"
        );
        // What the newer event did not write is written.
        assert_eq!(
            check(&[("City", "B"), ("Zip", "1")], news("ADT", 99), 2_000),
            "write Zip late City refused  news true"
        );
        // Another system's clock says nothing.
        assert_eq!(
            check(&other, news("SIU", 99), 2_000),
            "write Phone,City late  refused  news true"
        );
        assert_eq!(
            check(&other, None, 2_000),
            "write Phone,City late  refused  news true"
        );
        // A refused value is not sent again the same day; another one is.
        assert_eq!(
            check(&[("Mobile", "9")], later(), 2_000),
            "write  late  refused Mobile news false"
        );
        assert_eq!(
            check(&[("Mobile", "8")], later(), 2_000),
            "write Mobile late  refused  news true"
        );
        assert_eq!(
            check(&[("Mobile", "9")], later(), 1_000 + FRESH_MS),
            "write Mobile late  refused  news true"
        );
    }

    /// Clocks went back: 01:50 was written, read as the first of two, and 01:10 of the second hour comes.
    #[test]
    fn a_time_that_comes_twice_is_late_only_if_both_are() {
        let other = [("Phone", "1"), ("City", "B")];
        let twice = |at_ms, latest_ms| {
            Some(News {
                kind: "ADT".into(),
                at_ms,
                latest_ms,
                seq: 7,
            })
        };
        assert_eq!(
            check(&other, twice(60, 120), 2_000),
            "write Phone,City late  refused  news true"
        );
        assert_eq!(
            check(&other, twice(30, 90), 2_000),
            "write  late Phone,City refused  news false"
        );
    }

    #[test]
    fn what_was_written_is_known_after_more_was_written() {
        let mut written = Written::default();
        for (value, at_ms) in [("1", 1_000), ("2", 2_000), ("2", 3_000), ("3", 4_000)] {
            written.note(&fields(&[("Phone", value)]), &[], None, &fingerprint, at_ms);
        }
        let check = |value: &str, at_ms: i64, expected: bool| {
            let written = Written::parse(&written.to_bytes());
            let phone = Attribute::text("Phone", value);
            let found = written.wrote(&phone, at_ms, 500, &fingerprint);
            assert_eq!(found, expected, "{value} at {at_ms}");
        };
        check("1", 1_100, true);
        check("2", 2_600, true);
        check("3", 4_400, true);
        // At another time somebody else wrote it.
        check("1", 3_000, false);
        check("3", 2_000, false);
        check("4", 4_000, false);
        for more in 0..40 {
            let value = more.to_string();
            written.note(
                &fields(&[("Phone", &value)]),
                &[],
                None,
                &fingerprint,
                5_000 + more,
            );
        }
        assert_eq!(written.to_bytes().len(), HEAD + (1 + MOST_FORMER) * ENTRY);
        written.note(
            &fields(&[("City", "A")]),
            &[],
            None,
            &fingerprint,
            10_000_000,
        );
        assert_eq!(written.to_bytes().len(), HEAD + 2 * ENTRY);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            let _ = Written::parse(&bytes);
        }

        #[test]
        fn what_was_written_is_no_news(pairs in prop::collection::btree_map("[a-z]{1,6}", ".{0,8}", 0..9), at: i64) {
            let attributes: Vec<Attribute> = pairs
                .iter()
                .map(|(name, value)| Attribute::text(name.as_str(), value.as_str()))
                .collect();
            let mut written = Written::default();
            written.note(&attributes, &[], news("ADT", at).as_ref(), &fingerprint, 5);
            let written = Written::parse(&written.to_bytes());
            let found = written.compare(&attributes, &Told::default(), news("ADT", at).as_ref(), &fingerprint, 6);
            prop_assert!(!found.is_news && found.late.is_empty());
            prop_assert_eq!(found.write, attributes);
        }
    }
}
