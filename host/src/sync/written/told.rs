//! What people wrote into one record of LeadSquared and the EHR was told: when the EHR says the same, nothing is written.
//!
//! Kept beside [`Written`], in a record of its own: messages of the two directions run side by side. Start at
//! [`Told::note`], after a message has reached the EHR.

use super::{Fingerprint, News, Written, value};
use crate::flow::change::Fields;
use crate::leadsquared::Attribute;
use crate::sync::sending::forms;

/// The kind under which it is kept, so that times of messages are never compared with it.
const KIND: &str = "told";

/// The note of an activity, as LeadSquared names it when it tells of it and when it is read.
const NOTE: (&str, &str) = ("Note", "ActivityEvent_Note");

/// What the EHR was told last, by field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told(Written);

/// What people are known to have written to a field since this host did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) is_same: bool,
    pub(super) at_ms: i64,
}

/// One record as the change that was sent has it.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub before: Option<&'a Fields>,
    pub after: &'a Fields,
    /// When LeadSquared told of it.
    pub received_at_ms: i64,
    /// When LeadSquared says that it was changed, to the second.
    pub modified_at_ms: i64,
}

impl Told {
    /// The record that it is kept in.
    pub fn record(of: &str) -> String {
        format!("told {of}")
    }

    /// Reads the kept form; what cannot be read is taken for nothing told.
    pub fn parse(bytes: &[u8]) -> Self {
        Self(Written::parse(bytes))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Notes that the EHR has been told `fields` of a record, which this host wrote last as `written` says.
    ///
    /// A change that began where the last one known ended is the newest, whatever clocks say; of any other only the time
    /// tells whether this host wrote to the field before it or after.
    pub fn note<'a>(
        &mut self,
        fields: impl Iterator<Item = &'a str>,
        sent: &Sent<'_>,
        written: &Written,
        fingerprint: &Fingerprint<'_>,
    ) {
        for field in fields {
            let Some(after) = sent.after.get(field) else {
                continue;
            };
            let after = after.as_deref().unwrap_or_default();
            let before = sent.before.and_then(|before| before.get(field)?.as_deref());
            let name = plain_name(field);
            let last = written.field(name, fingerprint);
            let since_ms = last.map_or(i64::MIN, |last| last.at_ms);
            let follows =
                |from: &str| match self.said(&Attribute::text(name, from), since_ms, fingerprint) {
                    Some(said) => said.is_same,
                    None => last.is_none_or(|last| {
                        forms(from).any(|form| {
                            last.value == value(&Attribute::text(name, form), fingerprint)
                        })
                    }),
                };
            let is_newest = follows(before.unwrap_or_default()) || follows(after);
            let at_ms = match is_newest {
                true => sent.received_at_ms.max(since_ms.saturating_add(1)),
                false => sent.modified_at_ms,
            };
            let news = News {
                kind: KIND.into(),
                at_ms,
                latest_ms: at_ms,
                seq: 0,
            };
            let attribute = Attribute::text(name, plain(after));
            self.0
                .note(&[attribute], &[], Some(&news), fingerprint, at_ms);
        }
    }

    /// Whether the EHR was told this last of its field.
    pub fn says(&self, attribute: &Attribute, fingerprint: &Fingerprint<'_>) -> bool {
        let said = self.said(attribute, i64::MIN, fingerprint);
        said.is_some_and(|said| said.is_same)
    }

    /// What was told of a field after `since_ms`, and whether it is this value.
    pub(super) fn said(
        &self,
        attribute: &Attribute,
        since_ms: i64,
        fingerprint: &Fingerprint<'_>,
    ) -> Option<Said> {
        let known = self.0.field(&attribute.name, fingerprint)?;
        let text = plain(attribute.value.as_deref().unwrap_or_default());
        let asked = value(&Attribute::text(&attribute.name, text), fingerprint);
        (known.at_ms > since_ms).then_some(Said {
            is_same: known.value == asked,
            at_ms: known.at_ms,
        })
    }
}

/// One name for a field that has two.
pub fn plain_name(field: &str) -> &str {
    match field == NOTE.0 {
        true => NOTE.1,
        false => field,
    }
}

/// One form for what LeadSquared gives back and for what this host writes.
fn plain(text: &str) -> &str {
    let is_dated = text.len() > 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    let whole = match text.rsplit_once('.') {
        Some((whole, _)) if is_dated => whole,
        _ => text,
    };
    match whole {
        "true" => "1",
        "false" => "0",
        _ if is_dated => whole.strip_suffix(" 00:00:00").unwrap_or(whole),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

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

    /// Whether the EHR's `Phone` says anything new.
    fn is_news(written: &Written, told: &Told, phone: &str, now_ms: i64) -> bool {
        let phone = [Attribute::text("Phone", phone)];
        let told = Told::parse(&told.to_bytes());
        written
            .compare(&phone, &told, None, &fingerprint, now_ms)
            .is_news
    }

    /// This host wrote 1; a person wrote 2, and the EHR was told.
    fn told_two(modified_at_ms: i64, before: &str) -> (Written, Told) {
        let mut written = Written::default();
        let phone = [Attribute::text("Phone", "1")];
        written.note(&phone, &[], None, &fingerprint, 10_000);
        let (before, after) = (fields(&[("Phone", before)]), fields(&[("Phone", "2")]));
        let sent = Sent {
            before: Some(&before),
            after: &after,
            received_at_ms: modified_at_ms + 500,
            modified_at_ms,
        };
        let mut told = Told::default();
        told.note(["Phone", "City"].into_iter(), &sent, &written, &fingerprint);
        (written, told)
    }

    #[test]
    fn what_the_ehr_was_told_is_no_news_from_it() {
        let (written, told) = told_two(20_000, "1");
        assert!(!is_news(&written, &told, "2", 30_000));
        // What stood there before is: the EHR has taken it back.
        assert!(is_news(&written, &told, "1", 30_000));
        assert!(is_news(&written, &told, "3", 30_000));
        // A day later it is written again, as everything is.
        assert!(is_news(
            &written,
            &told,
            "2",
            30_000 + super::super::FRESH_MS
        ));
    }

    #[test]
    fn what_this_host_wrote_later_counts() {
        let (mut written, told) = told_two(20_000, "1");
        written.note(
            &[Attribute::text("Phone", "4")],
            &[],
            None,
            &fingerprint,
            25_000,
        );
        assert!(!is_news(&written, &told, "4", 30_000));
        assert!(is_news(&written, &told, "2", 30_000));
        // A write of another field says nothing of this one.
        let (mut written, told) = told_two(20_000, "1");
        let city = [Attribute::text("City", "A")];
        written.note(&city, &[], None, &fingerprint, 25_000);
        assert!(!is_news(&written, &told, "2", 30_000));
    }

    /// LeadSquared's time is to the second, and clocks differ: what the change began with tells more.
    #[test]
    fn a_change_follows_what_it_began_with() {
        let (written, told) = told_two(9_000, "1");
        assert!(!is_news(&written, &told, "2", 30_000));
        // It began with something else and is older: this host wrote after it.
        let (written, told) = told_two(9_000, "0");
        assert!(is_news(&written, &told, "2", 30_000));
        assert!(!is_news(&written, &told, "1", 30_000));
    }

    #[test]
    fn values_come_back_in_another_form() {
        let check = |held: &str, written: &str, expected: bool| {
            assert_eq!(plain(held) == plain(written), expected, "{held} {written}");
        };
        check("1988-07-05 00:00:00.000", "1988-07-05", true);
        check("2026-03-09 14:30:00.000", "2026-03-09 14:30:00", true);
        check("1", "true", true);
        check("0", "true", false);
        check("St. Ives", "St. Ives", true);
        check("+1-2075550134", "+1-2075550134", true);
    }
}
