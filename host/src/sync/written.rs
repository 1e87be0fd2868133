//! What this host wrote last to one record, field by field: whether an update says anything new, and whether it is late.
//!
//! Values are kept as fingerprints, never as text. Start at [`Written::compare`].

use crate::leadsquared::Attribute;

/// After this long a record is written again even if nothing seems to have changed: somebody may have changed it
/// in LeadSquared meanwhile.
const FRESH_MS: i64 = 24 * 60 * 60 * 1_000;

/// The first byte of the kept form.
const FORM: u8 = 1;

/// Bytes of one field in the kept form.
const ENTRY: usize = 4 + 8 + 1 + 4 + 8;

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
}

/// What was written last, by field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    at_ms: i64,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: u32,
    value: u64,
    /// LeadSquared would not take it: another lead holds this value.
    is_refused: bool,
    kind: u32,
    event_at_ms: i64,
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
        let Some((&[FORM, ref at @ ..], rest)) = bytes.split_first_chunk::<9>() else {
            return Self::default();
        };
        let fields = rest.chunks_exact(ENTRY).map(|entry| Field {
            name: number(&entry[..4]) as u32,
            value: number(&entry[4..12]),
            is_refused: entry[12] != 0,
            kind: number(&entry[13..17]) as u32,
            event_at_ms: number(&entry[17..25]) as i64,
        });
        Self {
            at_ms: number(at) as i64,
            fields: fields.collect(),
        }
    }

    /// The kept form: 9 bytes and 25 a field.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + self.fields.len() * ENTRY);
        bytes.push(FORM);
        bytes.extend(self.at_ms.to_le_bytes());
        for field in &self.fields {
            bytes.extend(field.name.to_le_bytes());
            bytes.extend(field.value.to_le_bytes());
            bytes.push(field.is_refused.into());
            bytes.extend(field.kind.to_le_bytes());
            bytes.extend(field.event_at_ms.to_le_bytes());
        }
        bytes
    }

    /// Compares what is to be written with what was.
    pub fn compare(
        &self,
        attributes: &[Attribute],
        news: Option<&News>,
        fingerprint: &Fingerprint<'_>,
        now_ms: i64,
    ) -> Comparison {
        let is_fresh = now_ms.saturating_sub(self.at_ms) < FRESH_MS;
        let mut comparison = Comparison::default();
        for attribute in attributes {
            let name = &attribute.name;
            let known = self.field(name, fingerprint);
            let is_late = known.zip(news).is_some_and(|(known, news)| {
                known.kind == hash(&news.kind) && news.at_ms < known.event_at_ms
            });
            if is_late {
                comparison.late.push(name.clone());
                continue;
            }
            let is_same = known.is_some_and(|known| known.value == value(attribute, fingerprint));
            match known {
                Some(known) if is_same && is_fresh && known.is_refused => {
                    comparison.refused.push(name.clone());
                }
                _ => {
                    comparison.is_news |= !(is_same && is_fresh);
                    comparison.write.push(attribute.clone());
                }
            }
        }
        comparison
    }

    /// Whether this was written last to its field.
    pub fn says(&self, attribute: &Attribute, fingerprint: &Fingerprint<'_>) -> bool {
        let known = self.field(&attribute.name, fingerprint);
        known.is_some_and(|known| !known.is_refused && known.value == value(attribute, fingerprint))
    }

    /// Whether this host has ever written the field.
    pub fn knows(&self, field: &str, fingerprint: &Fingerprint<'_>) -> bool {
        self.field(field, fingerprint).is_some()
    }

    /// When the last write took place.
    pub fn at_ms(&self) -> i64 {
        self.at_ms
    }

    /// Whether the last write took place at about this time.
    pub fn is_about(&self, at_ms: i64, within_ms: i64) -> bool {
        self.at_ms.abs_diff(at_ms) <= within_ms.unsigned_abs()
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
        let taken = attributes.iter().map(|attribute| (attribute, false));
        let refused = refused.iter().map(|attribute| (attribute, true));
        for (attribute, is_refused) in taken.chain(refused) {
            let name = name(&attribute.name, fingerprint);
            let field = Field {
                name,
                value: value(attribute, fingerprint),
                is_refused,
                kind: news.map_or(0, |news| hash(&news.kind)),
                event_at_ms: news.map_or(i64::MIN, |news| news.at_ms),
            };
            match self.fields.iter_mut().find(|known| known.name == name) {
                Some(known) => *known = field,
                None => self.fields.push(field),
            }
        }
    }

    fn field(&self, field: &str, fingerprint: &Fingerprint<'_>) -> Option<&Field> {
        let name = name(field, fingerprint);
        self.fields.iter().find(|known| known.name == name)
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
        let found = written.compare(&fields(pairs), news.as_ref(), &fingerprint, now_ms);
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
        // The same moment is not late: senders repeat times to the second.
        assert_eq!(
            check(&other, news("ADT", 100), 2_000),
            "write Phone,City late  refused  news true"
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
            let found = written.compare(&attributes, news("ADT", at).as_ref(), &fingerprint, 6);
            prop_assert!(!found.is_news && found.late.is_empty());
            prop_assert_eq!(found.write, attributes);
        }
    }
}
