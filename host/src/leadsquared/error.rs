//! What went wrong with a call, and what is known about its effect.
//!
//! An answer is judged here and nowhere else; [`judge`] is pure. LeadSquared's messages may quote what was sent
//! (a phone number, an email address), so of an answer only its status, the name of its exception and names that
//! we sent ourselves are kept.

use memchr::memmem;
use serde::Deserialize;

use super::lead::Attribute;

/// Why a call failed. No variant holds a value of a lead or an activity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The account's address or keys cannot be used at all; nothing was sent.
    #[error("LeadSquared account: {0}")]
    Config(String),
    /// Too many calls in the account's window; LeadSquared did nothing.
    #[error("LeadSquared refused the call because the account's rate limit is used up")]
    RateLimited {
        /// The limit that the answer named, in calls per window.
        stated: Option<u32>,
    },
    /// The calls that the account's plan leaves us for the day are used up; nothing was sent.
    #[error("the calls that the account's plan leaves for today are used up")]
    UsedUp {
        /// When the next day begins, in epoch milliseconds.
        until_ms: i64,
    },
    /// The keys are wrong, inactive, or belong to another region; LeadSquared did nothing.
    #[error("LeadSquared refused the account's keys")]
    Unauthorized,
    /// The account's API is at another host, which LeadSquared named; it did nothing.
    #[error("LeadSquared says that the account's API is at {host}")]
    Moved {
        /// A bare host name of LeadSquared's.
        host: String,
    },
    /// LeadSquared will not take what was sent, now or later; nothing was saved.
    #[error("LeadSquared rejected the call with {exception}{}", named(fields))]
    Rejected {
        /// The exception's type, or the HTTP status where there was none.
        exception: String,
        /// Fields that were sent and that the answer named.
        fields: Vec<String>,
    },
    /// Another lead holds a value that must be unique; nothing was saved.
    #[error("another lead in LeadSquared already holds this {}", field.as_deref().unwrap_or("value of a unique field"))]
    Duplicate { field: Option<String> },
    /// The lead was deleted or merged, or never was.
    #[error("the lead does not exist in LeadSquared")]
    LeadNotFound,
    /// The activity was deleted, or never was.
    #[error("the activity does not exist in LeadSquared")]
    ActivityNotFound,
    /// The call had no effect: it was never sent, or it only reads.
    #[error("LeadSquared cannot be reached: {cause}")]
    Unavailable { cause: String },
    /// A write was sent and may or may not have taken effect: look it up before trying again.
    #[error("LeadSquared's answer to a write was lost: {cause}")]
    Unknown { cause: String },
    /// Something answered that does not speak the API; the call had no effect.
    #[error("the answer is not LeadSquared's: {what}")]
    NotUnderstood { what: String },
    /// A search came back with leads that do not hold the asked value: LeadSquared ignores conditions on fields
    /// that it does not know and answers with any leads.
    #[error("LeadSquared ignored the search by {field}")]
    SearchIgnored { field: String },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    ///
    /// After [`Error::outcome_unknown`] the effect must be looked up first.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Error::RateLimited { .. }
                | Error::UsedUp { .. }
                | Error::Unavailable { .. }
                | Error::Unknown { .. }
                | Error::NotUnderstood { .. }
        )
    }

    /// Whether the call may have taken effect although it failed.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Error::Unknown { .. })
    }

    /// The codes of what [`Error::is_account_wide`] tells.
    pub const ACCOUNT_WIDE: [&'static str; 3] = [
        "leadsquared-config",
        "leadsquared-unauthorized",
        "leadsquared-moved",
    ];

    /// Whether every call of the account will fail alike until a person changes its address or keys.
    pub fn is_account_wide(&self) -> bool {
        matches!(
            self,
            Error::Config(_) | Error::Unauthorized | Error::Moved { .. }
        )
    }

    /// The short name kept with an attempt.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Config(_) => "leadsquared-config",
            Error::RateLimited { .. } => "leadsquared-rate-limited",
            Error::UsedUp { .. } => "leadsquared-quota-used-up",
            Error::Unauthorized => "leadsquared-unauthorized",
            Error::Moved { .. } => "leadsquared-moved",
            Error::Rejected { .. } => "leadsquared-rejected",
            Error::Duplicate { .. } => "leadsquared-duplicate",
            Error::LeadNotFound => "leadsquared-lead-not-found",
            Error::ActivityNotFound => "leadsquared-activity-not-found",
            Error::Unavailable { .. } => "leadsquared-unavailable",
            Error::Unknown { .. } => "leadsquared-outcome-unknown",
            Error::NotUnderstood { .. } => "leadsquared-not-understood",
            Error::SearchIgnored { .. } => "leadsquared-search-ignored",
        }
    }

    /// One or two sentences for the administrator: what happened, and what to do or what happens next.
    pub fn sentence(&self) -> String {
        let advice = match self {
            Error::Config(_) => "Correct the account's address or keys.",
            Error::RateLimited { .. } => "The call is made again when the window has passed.",
            Error::UsedUp { .. } => {
                "The call is made when the next day of UTC begins; a larger plan or a smaller reserve makes it sooner."
            }
            Error::Unauthorized => {
                "Check access key, secret key and region of the account, and that their user is active."
            }
            Error::Moved { .. } => {
                "The keys are tried there, and if they are this account's, its address is changed and the call made again."
            }
            Error::Rejected { exception, .. } if exception == "MXUnknownAttributeException" => {
                "A field that the mapping writes does not exist in the account: create it or correct the mapping."
            }
            Error::Rejected { .. } => "Correct the mapping or the message, then release it again.",
            Error::Duplicate { .. } => {
                "Merge the two leads in LeadSquared, or search by that field, then release the message again."
            }
            Error::LeadNotFound => "It was deleted or merged; it is looked up anew.",
            Error::ActivityNotFound => "It was deleted; it is looked up anew.",
            Error::Unavailable { .. } => "The call is made again.",
            Error::Unknown { .. } => "It is looked up before the call is made again.",
            Error::NotUnderstood { .. } => {
                "If this lasts, check the account's API address and any proxy in between."
            }
            Error::SearchIgnored { .. } => {
                "The field does not exist in the account or cannot be searched: correct the flow's search field."
            }
        };
        let text = self.to_string();
        let mut letters = text.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        format!(
            "{}{}. {advice}",
            first.unwrap_or_default(),
            letters.as_str()
        )
    }
}

fn named(fields: &[String]) -> String {
    if fields.is_empty() {
        String::new()
    } else {
        format!(" naming {}", fields.join(", "))
    }
}

/// Whether a call changes anything; decides what a lost answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    Write,
}

impl Effect {
    /// The error for a call that was sent and whose effect, if it has one, is not known.
    pub(super) fn lost(self, cause: impl Into<String>) -> Error {
        let cause = cause.into();
        match self {
            Effect::Read => Error::Unavailable { cause },
            Effect::Write => Error::Unknown { cause },
        }
    }
}

/// The members of an error body (`leadsquared.md` 2.1); success bodies have the first alone.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    #[serde(default)]
    status: Option<serde_json::Value>,
    #[serde(default)]
    exception_type: Option<String>,
    #[serde(default)]
    exception_message: Option<String>,
}

/// Judges an answer by status and body; `sent` are the attributes of a write.
///
/// Some accounts answer errors with 200, and logical errors come as 500, so both are always read.
pub(super) fn judge(
    effect: Effect,
    status: u16,
    body: &[u8],
    sent: &[Attribute],
) -> Result<(), Error> {
    let fault = fault(body);
    match (status, fault) {
        (200, None) => Ok(()),
        (_, Some(fault)) => Err(fault.judge(effect, status, sent)),
        (429, None) => Err(Error::RateLimited { stated: None }),
        (401, None) => Err(Error::Unauthorized),
        // Another path, verb or host than the API's: nothing behind it can have been changed.
        (300..=399 | 404 | 405, None) => Err(Error::NotUnderstood {
            what: format!("it is HTTP {status}"),
        }),
        (400..=499, None) if status != 408 => Err(Error::Rejected {
            exception: format!("HTTP {status}"),
            fields: Vec::new(),
        }),
        (_, None) => Err(effect.lost(format!("HTTP {status} without a reason"))),
    }
}

/// The error body, where there is one.
fn fault(body: &[u8]) -> Option<Envelope> {
    let start = body.iter().find(|byte| !byte.is_ascii_whitespace())?;
    // A cheap look first: a success body is not parsed twice.
    if *start != b'{'
        || (memmem::find(body, b"\"ExceptionType\"").is_none()
            && memmem::find(body, b"\"Error\"").is_none())
    {
        return None;
    }
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let failed = envelope.status.as_ref().and_then(|status| status.as_str()) == Some("Error");
    (failed || envelope.exception_type.is_some()).then_some(envelope)
}

impl Envelope {
    fn judge(self, effect: Effect, status: u16, sent: &[Attribute]) -> Error {
        let exception = self.exception_type.unwrap_or_default();
        let message = self.exception_message.unwrap_or_default();
        match exception.as_str() {
            "MXAPIRateLimitExceededException" => Error::RateLimited {
                stated: stated_limit(&message),
            },
            _ if status == 429 || message.starts_with("API calls exceeded the limit") => {
                Error::RateLimited {
                    stated: stated_limit(&message),
                }
            }
            "MXInvalidAccessDetailsException" => refused(&message),
            _ if status == 401 => refused(&message),
            // The user behind the keys lost a right: mended in the account, not in the message.
            "MXUnAuthorizedAccessException" | "MXUnauthorizedRequestException" => {
                Error::Unauthorized
            }
            "MXDuplicateEntryException" => Error::Duplicate {
                field: duplicate_field(&message, sent),
            },
            "MXInvalidEntityReferenceException" => Error::LeadNotFound,
            "MXUnknownProspectActivityException" => Error::ActivityNotFound,
            _ if message.eq_ignore_ascii_case("lead not found") => Error::LeadNotFound,
            // A server-side time-out says nothing about the effect, whatever its name begins with.
            name if name.to_ascii_lowercase().contains("timeout") => {
                effect.lost("a time-out inside LeadSquared")
            }
            name if name.starts_with("MX") => Error::Rejected {
                exception: plain_name(name),
                fields: sent_names(&message, sent),
            },
            _ if (400..=499).contains(&status) => Error::Rejected {
                exception: format!("HTTP {status}"),
                fields: sent_names(&message, sent),
            },
            _ => effect.lost(format!("HTTP {status} with a fault of its own")),
        }
    }
}

/// What a refusal of keys means: those of another region are told of the right host (`leadsquared.md` 1.1).
fn refused(message: &str) -> Error {
    let words = message.split(|c: char| !(c.is_ascii_alphanumeric() || "-.:".contains(c)));
    let mut hosts = words
        .map(|word| word.trim_matches(['.', ':']))
        .filter(|word| is_own_host(word) || is_loopback(word));
    match hosts.next() {
        Some(host) => Error::Moved {
            host: host.to_owned(),
        },
        None => Error::Unauthorized,
    }
}

/// Whether a bare host name is one of LeadSquared's.
pub(super) fn is_own_host(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    name.strip_suffix(".leadsquared.com").is_some_and(|region| {
        !region.is_empty()
            && region
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
    })
}

/// Whether a bare host name, with its port if there is one, is this machine's.
pub(super) fn is_loopback(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "0"));
    let on_this_machine = name == "localhost"
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback());
    on_this_machine && port.parse::<u16>().is_ok()
}

/// An exception's type as far as it is an identifier; anything else could be somebody's data.
fn plain_name(name: &str) -> String {
    name.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .take(80)
        .collect()
}

/// The number in `API calls exceeded the limit of 20 in 5 second(s)`.
fn stated_limit(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once("limit of ")?;
    rest.split_once(' ')?.0.parse().ok()
}

fn duplicate_field(message: &str, sent: &[Attribute]) -> Option<String> {
    let known = [
        ("Phone Number", "Phone"),
        ("Mobile Number", "Mobile"),
        ("Email", "EmailAddress"),
    ];
    sent_names(message, sent).into_iter().next().or_else(|| {
        known
            .iter()
            .find(|(words, _)| message.contains(words))
            .map(|(_, field)| (*field).to_owned())
    })
}

/// The names among `sent` that stand in `message` as whole words, or as the end of `UQ_Prospect_Base_Phone`.
fn sent_names(message: &str, sent: &[Attribute]) -> Vec<String> {
    let words: Vec<&str> = message
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .map(|word| word.strip_prefix("UQ_Prospect_Base_").unwrap_or(word))
        .collect();
    sent.iter()
        .filter(|attribute| words.contains(&attribute.name.as_str()))
        .map(|attribute| attribute.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MX: &str =
        r#"{"Status":"Error","ExceptionType":"$","ExceptionMessage":"mx_Pet 5551234567 is wrong"}"#;

    fn check(effect: Effect, status: u16, body: &str, expected: &str) {
        let sent = [Attribute::text("mx_Pet", "5551234567")];
        let outcome = match judge(effect, status, body.as_bytes(), &sent) {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                let text = format!("{error} {error:?} {}", error.sentence());
                assert!(!text.contains("5551234567"), "{text}");
                format!(
                    "{} transient={} unknown={}",
                    error.code().trim_start_matches("leadsquared-"),
                    error.is_transient(),
                    error.outcome_unknown()
                )
            }
        };
        assert_eq!(outcome, expected, "{effect:?} {status} {body}");
    }

    #[test]
    fn answers_are_judged_by_status_and_body() {
        use Effect::{Read, Write};
        let mx = |name: &str| MX.replace('$', name);
        let rejected = "rejected transient=false unknown=false";
        let limited = "rate-limited transient=true unknown=false";
        let unknown = "outcome-unknown transient=true unknown=true";
        let away = "unavailable transient=true unknown=false";

        check(Write, 200, r#"{"Status":"Success","Message":{}}"#, "ok");
        check(Read, 200, r#"[{"Notes":"\"Error\""}]"#, "ok");
        check(Read, 200, r#"{"RecordCount":0}"#, "ok");
        for status in [200, 500] {
            check(Write, status, &mx("MXUnknownAttributeException"), rejected);
            check(Read, status, &mx("MXInvalidInputException"), rejected);
            check(
                Write,
                status,
                &mx("MXAPIRateLimitExceededException"),
                limited,
            );
            check(
                Write,
                status,
                &mx("MXDuplicateEntryException"),
                "duplicate transient=false unknown=false",
            );
            check(
                Write,
                status,
                &mx("MXInvalidEntityReferenceException"),
                "lead-not-found transient=false unknown=false",
            );
            check(Write, status, &mx("MXTimeoutException"), unknown);
            check(Write, status, &mx("SqlException"), unknown);
            check(Read, status, &mx("SqlException"), away);
        }
        check(
            Write,
            403,
            r#"{"Status":"Error","ExceptionMessage":"API calls exceeded the limit of 20 in 5 second(s)"}"#,
            limited,
        );
        check(Write, 429, "", limited);
        check(Write, 429, &mx("MXSomethingException"), limited);
        check(Write, 401, "", "unauthorized transient=false unknown=false");
        check(
            Write,
            401,
            &mx("MXInvalidAccessDetailsException"),
            "unauthorized transient=false unknown=false",
        );
        let elsewhere = |host: &str| {
            format!(
                r#"{{"Status":"Error","ExceptionType":"MXInvalidAccessDetailsException","ExceptionMessage":"Invalid Access Details provided. Use {host}."}}"#
            )
        };
        let moved = "moved transient=false unknown=false";
        for status in [200, 401] {
            check(
                Write,
                status,
                &elsewhere("https://api-us11.leadsquared.com/v2"),
                moved,
            );
            check(Read, status, &elsewhere("api-in21.leadsquared.com"), moved);
            let refused = "unauthorized transient=false unknown=false";
            check(
                Read,
                status,
                &elsewhere("api.leadsquared.com.example.com"),
                refused,
            );
            check(Read, status, &elsewhere("evil-leadsquared.com"), refused);
        }
        for status in [500, 502, 503, 504, 408] {
            check(Write, status, "<html>no</html>", unknown);
            check(Read, status, "<html>no</html>", away);
        }
        check(
            Write,
            500,
            r#"{"Message":"An error has occurred."}"#,
            unknown,
        );
        check(Write, 400, "bad", rejected);
        check(
            Write,
            404,
            "<html>",
            "not-understood transient=true unknown=false",
        );
        check(
            Write,
            302,
            "",
            "not-understood transient=true unknown=false",
        );
    }

    #[test]
    fn of_an_error_body_only_names_are_kept() {
        let sent = [
            Attribute::text("Phone", "+1-5551234567"),
            Attribute::text("mx_Petz", "Rex"),
        ];
        let text = |exception: &str, message: &str| {
            let body = format!(
                r#"{{"Status":"Error","ExceptionType":"{exception}","ExceptionMessage":"{message}"}}"#
            );
            judge(Effect::Write, 500, body.as_bytes(), &sent)
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(text("MXDuplicateEntryException", "A Lead with same Email already exists."),
            @"another lead in LeadSquared already holds this EmailAddress");
        insta::assert_snapshot!(text("MXDuplicateEntryException", "Duplicate entry '+1-5551234567' for key 'UQ_Prospect_Base_Phone'"),
            @"another lead in LeadSquared already holds this Phone");
        insta::assert_snapshot!(text("MXUnknownAttributeException", "Attribute mx_Petz with Rex does not exist"),
            @"LeadSquared rejected the call with MXUnknownAttributeException naming mx_Petz");
        insta::assert_snapshot!(text("MXOdd 5551234567", "Rex"), @"LeadSquared rejected the call with MXOdd");
        assert_eq!(
            judge(
                Effect::Read,
                429,
                br#"{"Status":"Error","ExceptionType":"X","ExceptionMessage":"API calls exceeded the limit of 20 in 5 second(s)"}"#,
                &[]
            ),
            Err(Error::RateLimited { stated: Some(20) })
        );
    }
}
