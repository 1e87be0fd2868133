//! How a lead stood when LeadSquared told of it last, field by field: what a later look at it shows to be other; pure.
//!
//! A lead that is read has no state before the change. What was told last, and what this host wrote since, stands in for
//! it, so that one change has one effect whoever tells of it. Values are kept as fingerprints, never as text.
//! Start at [`Seen::unchanged`].

use std::collections::{BTreeMap, BTreeSet};

use super::sending::{ECHO_MS, is_written};
use super::written::{Fingerprint, Written, name};
use crate::flow::change::Fields;

/// The first byte of the kept form.
const FORM: u8 = 1;

/// Bytes before the fields, and of one field, in the kept form.
const HEAD: usize = 1 + 8 + 8 + 1;
const ENTRY: usize = 4 + 8;

/// A lead as it was told of last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When it had been changed, by LeadSquared's clock.
    pub changed_at_ms: i64,
    /// The newest change of which a reading told, and whether as that of a new lead.
    pub polled_ms: i64,
    pub polled_as_new: bool,
    fields: BTreeMap<u32, u64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            changed_at_ms: i64::MIN,
            polled_ms: i64::MIN,
            polled_as_new: false,
            fields: BTreeMap::new(),
        }
    }
}

/// A lead that was read.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    pub changed_at_ms: i64,
    /// The user whose keys this host has changed it last.
    pub is_by_us: bool,
    pub fields: &'a Fields,
}

impl Seen {
    /// Reads the kept form; what cannot be read is taken for never told of.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..HEAD).filter(|head| head[0] == FORM)?;
        let number = |at: usize| {
            let bytes = head.get(at..at + 8)?;
            Some(i64::from_le_bytes(bytes.try_into().ok()?))
        };
        let fields = bytes[HEAD..].chunks_exact(ENTRY).filter_map(|entry| {
            let (name, value) = entry.split_first_chunk::<4>()?;
            let value: [u8; 8] = value.try_into().ok()?;
            Some((u32::from_le_bytes(*name), u64::from_le_bytes(value)))
        });
        Some(Self {
            changed_at_ms: number(1)?,
            polled_ms: number(9)?,
            polled_as_new: head[17] != 0,
            fields: fields.collect(),
        })
    }

    /// The kept form: 18 bytes and 12 a field.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.fields.len() * ENTRY);
        bytes.push(FORM);
        bytes.extend(self.changed_at_ms.to_le_bytes());
        bytes.extend(self.polled_ms.to_le_bytes());
        bytes.push(self.polled_as_new.into());
        for (name, value) in &self.fields {
            bytes.extend(name.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }

    /// Whether how a lead stands was told already.
    ///
    /// Times count to the second: of two changes within one, the fields tell.
    pub fn knows(
        &self,
        changed_at_ms: i64,
        fields: &Fields,
        asked: &BTreeSet<String>,
        fingerprint: &Fingerprint<'_>,
    ) -> bool {
        let is_same = |field: &String| {
            let told = self.fields.get(&name(field, fingerprint));
            let value = fields.get(field).and_then(Option::as_deref);
            let value = plain(value.unwrap_or_default());
            told.is_none_or(|told| *told == fingerprint(field, value))
        };
        self.changed_at_ms > changed_at_ms
            || self.changed_at_ms == changed_at_ms && asked.iter().all(is_same)
    }

    /// Whether a reading told of a change of this time, or of a newer one, before its webhook came.
    pub fn was_polled(&self, changed_at_ms: i64, is_new: bool) -> bool {
        self.polled_ms >= changed_at_ms && (!is_new || self.polled_as_new)
    }

    /// Notes how the lead stood at a time, as far as `asked` goes; an older state changes nothing.
    pub fn note(
        &mut self,
        changed_at_ms: i64,
        fields: &Fields,
        asked: &BTreeSet<String>,
        fingerprint: &Fingerprint<'_>,
    ) {
        if self.changed_at_ms > changed_at_ms {
            return;
        }
        self.changed_at_ms = changed_at_ms;
        for field in asked {
            if let Some(value) = fields.get(field) {
                let value = plain(value.as_deref().unwrap_or_default());
                self.fields
                    .insert(name(field, fingerprint), fingerprint(field, value));
            }
        }
    }

    /// The fields of `asked` that a lead shows to be as they were when it was told of last, or as this host wrote them.
    pub fn unchanged<'a>(
        seen: Option<&Self>,
        written: &Written,
        sighting: Sighting<'_>,
        asked: &'a BTreeSet<String>,
        fingerprint: &Fingerprint<'_>,
    ) -> BTreeSet<&'a str> {
        let is_own = sighting.is_by_us && written.is_about(sighting.changed_at_ms, ECHO_MS);
        let told_at_ms = seen.map_or(i64::MIN, |seen| seen.changed_at_ms);
        let is_unchanged = |field: &&String| {
            let value = sighting.fields.get(*field).and_then(Option::as_deref);
            let value = value.unwrap_or_default();
            let told = seen.and_then(|seen| seen.fields.get(&name(field, fingerprint)));
            let is_written = is_written(written, field, value, fingerprint);
            match (told, written.knows(field, fingerprint)) {
                // Whichever came last.
                (Some(_), true) if written.at_ms() > told_at_ms => is_written,
                (Some(told), _) => *told == fingerprint(field, plain(value)),
                (None, true) => is_written,
                // LeadSquared fills fields of its own when we write.
                (None, false) => value.is_empty() || is_own,
            }
        };
        asked
            .iter()
            .filter(is_unchanged)
            .map(String::as_str)
            .collect()
    }
}

/// A value in one form: webhooks and lists may write times and flags differently (`leadsquared.md` 1.3).
fn plain(value: &str) -> &str {
    let value = value.trim();
    let value = value.strip_suffix(".000").unwrap_or(value);
    match value.strip_suffix(" 00:00:00").unwrap_or(value) {
        "true" | "True" => "1",
        "false" | "False" => "0",
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use proptest::prelude::*;

    use super::*;
    use crate::leadsquared::Attribute;

    fn fingerprint(field: &str, value: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (field, value).hash(&mut hasher);
        hasher.finish()
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect()
    }

    fn asked() -> BTreeSet<String> {
        ["City", "Phone"].map(str::to_owned).into()
    }

    /// A lead that was told of at 1,000,000 with City=A, and of which this host wrote Phone=1 at `written_at_ms`.
    fn check(written_at_ms: i64, is_by_us: bool, now: &[(&str, &str)], expected: &[&str]) {
        let mut seen = Seen::default();
        seen.note(1_000_000, &fields(&[("City", "A")]), &asked(), &fingerprint);
        let mut written = Written::default();
        let phone = [Attribute::text("Phone", "1")];
        written.note(&phone, &[], None, &fingerprint, written_at_ms);
        let now = fields(now);
        let sighting = Sighting {
            changed_at_ms: 2_000_000,
            is_by_us,
            fields: &now,
        };
        let asked = asked();
        let found = Seen::unchanged(Some(&seen), &written, sighting, &asked, &fingerprint);
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        assert_eq!(found, expected, "{now:?}");
    }

    #[test]
    fn a_field_is_compared_with_what_was_known_of_it_last() {
        check(
            500_000,
            false,
            &[("City", "A"), ("Phone", "1")],
            &["City", "Phone"],
        );
        check(
            1_500_000,
            false,
            &[("City", "A"), ("Phone", "1")],
            &["City", "Phone"],
        );
        check(
            1_500_000,
            false,
            &[("City", "B"), ("Phone", "1")],
            &["Phone"],
        );
        check(
            1_500_000,
            false,
            &[("City", "A"), ("Phone", "2")],
            &["City"],
        );
        // A person had it emptied: known as other, though nobody can tell what it was.
        check(
            1_500_000,
            false,
            &[("City", ""), ("Phone", "1")],
            &["Phone"],
        );
    }

    #[test]
    fn a_lead_that_nobody_told_of_has_changed_as_far_as_we_did_not_write_it() {
        let mut written = Written::default();
        let phone = [Attribute::text("Phone", "1")];
        written.note(&phone, &[], None, &fingerprint, 2_000_000);
        let asked = asked();
        let now = fields(&[("City", "A"), ("Phone", "1")]);
        let unchanged = |is_by_us, changed_at_ms| {
            let sighting = Sighting {
                changed_at_ms,
                is_by_us,
                fields: &now,
            };
            let found = Seen::unchanged(None, &written, sighting, &asked, &fingerprint);
            found.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(unchanged(true, 2_000_000), "City Phone");
        assert_eq!(unchanged(false, 2_000_000), "Phone");
        assert_eq!(
            unchanged(true, 9_000_000),
            "Phone",
            "somebody else's program"
        );
    }

    #[test]
    fn a_value_is_the_same_in_every_form() {
        let check = |told: &str, listed: &str| assert_eq!(plain(told), plain(listed));
        check("2026-10-07 14:03:21", "2026-10-07 14:03:21.000");
        check("1980-01-01", "1980-01-01 00:00:00.000");
        check("True", "1");
        check("false", "0");
        check(" Rye", "Rye");
        assert_ne!(plain("10"), plain("1"));
    }

    #[test]
    fn an_older_state_changes_nothing() {
        let mut seen = Seen::default();
        seen.note(2_000, &fields(&[("City", "B")]), &asked(), &fingerprint);
        let before = seen.clone();
        seen.note(1_000, &fields(&[("City", "A")]), &asked(), &fingerprint);
        assert_eq!(seen, before);
        let knows = |at_ms, city| {
            let fields = fields(&[("City", city), ("Phone", "1")]);
            seen.knows(at_ms, &fields, &asked(), &fingerprint)
        };
        assert!(knows(1_000, "A") && knows(2_000, "B"));
        assert!(!knows(2_000, "C") && !knows(2_001, "B"));
        assert!(!seen.was_polled(1_000, false));
        seen.polled_ms = 2_000;
        assert!(seen.was_polled(2_000, false) && !seen.was_polled(2_000, true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            let _ = Seen::parse(&bytes);
        }

        #[test]
        fn what_is_kept_is_read_again(values in prop::collection::btree_map("[a-z]{1,6}", ".{0,8}", 0..9), at: i64, new: bool) {
            let asked: BTreeSet<String> = values.keys().cloned().collect();
            let fields: Fields = values.into_iter().map(|(name, value)| (name, Some(value))).collect();
            let mut seen = Seen { polled_ms: at, polled_as_new: new, ..Seen::default() };
            seen.note(at, &fields, &asked, &fingerprint);
            prop_assert_eq!(Seen::parse(&seen.to_bytes()), Some(seen.clone()));
            let sighting = Sighting { changed_at_ms: at, is_by_us: false, fields: &fields };
            let unchanged = Seen::unchanged(Some(&seen), &Written::default(), sighting, &asked, &fingerprint);
            prop_assert_eq!(unchanged.len(), asked.len());
        }
    }
}
