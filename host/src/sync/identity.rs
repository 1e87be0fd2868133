//! Whether a lead that was found is the patient, or somebody who shares a phone or an email with them.
//!
//! A value that only looks like one, `none@example.org`, is told apart here as well. Start at [`Identity::judge`].

use crate::flow::exclusion::fits;
use crate::leadsquared::Lead;

use super::SearchBy;

/// What the message says about who the patient is, by lead field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Patient identifiers; the account says which fields hold them.
    pub identifiers: Vec<SearchBy>,
    /// All of the account's identifier fields, for those that the message has no value for.
    pub identifier_fields: Vec<String>,
    /// The birth date, or the last name where no birth date is mapped.
    pub person: Option<SearchBy>,
}

/// Who a found lead is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Patient,
    /// It must not be written.
    SomebodyElse,
}

impl Identity {
    /// Whether a lead found by `field` is known to be the patient by that alone.
    pub fn is_identifier(&self, field: &str) -> bool {
        self.identifier_fields.iter().any(|known| known == field)
    }

    /// The lead fields that [`Identity::judge`] looks at.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let person = self.person.as_ref().map(|by| by.field.as_str());
        self.identifier_fields
            .iter()
            .map(String::as_str)
            .chain(person)
    }

    /// Judges a lead that was found by `field`.
    ///
    /// A lead with a different identifier is another person. One without any is the patient if its birth date (or,
    /// where that is not mapped, its last name) agrees or is empty on either side.
    pub fn judge(&self, field: &str, lead: &Lead) -> Verdict {
        if self.is_identifier(field) {
            return Verdict::Patient;
        }
        let held = |field: &str| {
            lead.get(field)
                .map(str::trim)
                .filter(|text| !text.is_empty())
        };
        let mut is_identified = false;
        for by in &self.identifiers {
            match held(&by.field) {
                Some(held) if held != by.value.trim() => return Verdict::SomebodyElse,
                Some(_) => is_identified = true,
                None => {}
            }
        }
        let agrees = self.person.as_ref().is_none_or(|by| {
            let asked = by.value.trim();
            held(&by.field).is_none_or(|held| asked.is_empty() || agree(held, asked))
        });
        match is_identified || agrees {
            true => Verdict::Patient,
            false => Verdict::SomebodyElse,
        }
    }
}

/// Dates come back with a time of day, and names in the case that somebody typed.
fn agree(held: &str, asked: &str) -> bool {
    let day = |text: &str| match text.split_once([' ', 'T']) {
        Some((day, _)) if day.starts_with(|c: char| c.is_ascii_digit()) => day.to_owned(),
        _ => text.to_lowercase(),
    };
    day(held) == day(asked)
}

/// Whether `value` stands for "none" by one of `patterns`.
///
/// A pattern of digits fits a value with the same digits, however it is punctuated and with whatever country code; in
/// any other, `*` is any text and case does not count.
pub fn is_placeholder(patterns: &[String], value: &str) -> bool {
    let value = value.trim().to_lowercase();
    let digits = digits(&value);
    let is_number = |text: &str| {
        text.contains(|c: char| c.is_ascii_digit()) && !text.contains(char::is_alphabetic)
    };
    patterns.iter().any(|pattern| {
        let pattern = pattern.trim().to_lowercase();
        if is_number(&pattern) && !pattern.contains('*') {
            let wanted = self::digits(&pattern);
            return is_number(&value)
                && digits.len() <= wanted.len() + 3
                && digits.ends_with(&wanted);
        }
        fits(&pattern, &value)
    })
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Account;

    fn by(field: &str, value: &str) -> SearchBy {
        SearchBy {
            field: field.into(),
            value: value.into(),
        }
    }

    /// Who the lead is that was found by `field`, for the patient with MRN 7.
    fn check(field: &str, person: Option<SearchBy>, lead: &str, expected: Verdict) {
        let identity = Identity {
            identifiers: vec![by("mx_MRN", "7")],
            identifier_fields: vec!["mx_MRN".into(), "mx_Chart".into()],
            person,
        };
        let found: Lead = serde_json::from_str(lead).unwrap();
        assert_eq!(identity.judge(field, &found), expected, "{field} {lead}");
    }

    #[test]
    fn another_identifier_is_another_person() {
        use Verdict::{Patient, SomebodyElse};
        let born = || Some(by("mx_Birth", "1984-02-19"));
        check(
            "mx_MRN",
            born(),
            r#"{"mx_MRN":"7","mx_Birth":"1999-01-01 00:00:00"}"#,
            Patient,
        );
        check(
            "Phone",
            born(),
            r#"{"mx_MRN":"8","mx_Birth":"1984-02-19 00:00:00"}"#,
            SomebodyElse,
        );
        check(
            "Phone",
            born(),
            r#"{"mx_MRN":"7","mx_Birth":"1999-01-01 00:00:00"}"#,
            Patient,
        );
        check(
            "Phone",
            born(),
            r#"{"mx_MRN":"","mx_Birth":"1984-02-19 00:00:00.000"}"#,
            Patient,
        );
        check(
            "Phone",
            born(),
            r#"{"mx_MRN":null,"mx_Birth":"1999-01-01"}"#,
            SomebodyElse,
        );
        check(
            "Phone",
            born(),
            r#"{"mx_MRN":null,"mx_Birth":null}"#,
            Patient,
        );
        check("Phone", None, r#"{"mx_MRN":null}"#, Patient);
        let named = || Some(by("LastName", "Ortiz"));
        check("EmailAddress", named(), r#"{"LastName":"ORTIZ"}"#, Patient);
        check(
            "EmailAddress",
            named(),
            r#"{"LastName":"Fenwick"}"#,
            SomebodyElse,
        );
        check("EmailAddress", named(), r#"{"LastName":" "}"#, Patient);
        check(
            "EmailAddress",
            Some(by("LastName", "")),
            r#"{"LastName":"Fenwick"}"#,
            Patient,
        );
    }

    #[test]
    fn placeholders_of_a_new_account() {
        let account: Account = toml::from_str("id = \"a\"\nname = \"A\"\napi = \"x\"").unwrap();
        let check = |value: &str, expected: bool| {
            assert_eq!(
                is_placeholder(&account.placeholders, value),
                expected,
                "{value}"
            );
        };
        for value in [
            "0000000000",
            "+1-0000000000",
            "(555) 555-5555",
            "+1-5555555555",
            "999-99-9999",
            "NONE",
            " none@example.org",
            "noemail@clinic.example",
            "Unknown",
            "unknown@example.org",
            "N/A",
            "test@test.example",
        ] {
            check(value, true);
        }
        for value in [
            "+1-6175550142",
            "ana@example.com",
            "nonesuch@example.com",
            "5550142",
            "",
            "unknown soldier",
            "x0000000000",
            "20000000000000",
        ] {
            check(value, false);
        }
    }

    #[test]
    fn globs() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        };
        check("a*c", "abc", true);
        check("a*c", "ac", true);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "acb", false);
        check("*", "", true);
        check("abc", "abcd", false);
        check("*@*", "a@b", true);
        check("ab*b", "ab", false);
    }
}
