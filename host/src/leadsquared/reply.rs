//! The reply table: what each known answer of LeadSquared leads to, as data that an administrator can read.
//!
//! Nothing is decided here: every row is put to the same judge as a real answer, so the table cannot say anything else
//! than what happens.

use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Effect, Error, judge};

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// The call is made again after a wait that grows.
    TriedAgain,
    /// The effect is looked up before anything is sent again.
    LookedUp,
    /// The call is made again until somebody has mended the account.
    WaitsForTheAccount,
    /// The keys are tried at the host that LeadSquared named, and the account's address follows.
    Followed,
    /// What was known of the record is forgotten, and it is searched anew.
    ResolvedAnew,
    /// The lead that holds the value is searched, and judged to be the patient's or not.
    SearchedFor,
    /// The delivery is dead until a person releases it.
    Dead,
}

impl Then {
    fn of(error: &Error) -> Self {
        match error {
            Error::LeadNotFound | Error::ActivityNotFound => Then::ResolvedAnew,
            Error::Duplicate { .. } => Then::SearchedFor,
            error if error.outcome_unknown() => Then::LookedUp,
            error if error.is_transient() => Then::TriedAgain,
            Error::Moved { .. } => Then::Followed,
            error if error.is_account_wide() => Then::WaitsForTheAccount,
            _ => Then::Dead,
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reply {
    /// The exception's type, or what came in its place.
    pub answer: &'static str,
    /// Of a call that reads.
    pub read: Then,
    /// Of a call that writes.
    pub write: Then,
    /// The code that the delivery shows after a write.
    pub code: &'static str,
    /// The sentence that it shows after a write.
    pub text: String,
}

/// An answer with an exception: its type and its message.
const EXCEPTIONS: [(&str, &str); 16] = [
    ("MXMandatoryAttributeMissingException", ""),
    ("MXMandatoryFieldMissingException", ""),
    ("MXDuplicateEntryException", ""),
    ("MXDuplicateEntityNameException", ""),
    ("MXUnknownAttributeException", ""),
    ("MXInvalidInputException", ""),
    ("MXInvalidDataTypeException", ""),
    ("MXInvalidEntityReferenceException", "Lead not found"),
    ("MXInvalidActivityException", ""),
    ("MXUnknownProspectActivityException", ""),
    ("MXInvalidAccessDetailsException", ""),
    ("MXUnAuthorizedAccessException", ""),
    ("MXUnauthorizedRequestException", ""),
    ("MXAPIRateLimitExceededException", ""),
    ("MXXSSException", ""),
    ("an exception whose name says time-out", ""),
];

/// An answer without one: its name, its status and its body.
const BARE: [(&str, u16, &str); 11] = [
    ("HTTP 400", 400, ""),
    ("HTTP 401", 401, ""),
    (
        "HTTP 401 that names another host of LeadSquared's, or a redirect there",
        401,
        r#"{"Status":"Error","ExceptionMessage":"Use api-us11.leadsquared.com"}"#,
    ),
    (
        "HTTP 403 that names the rate limit",
        403,
        r#"{"Status":"Error","ExceptionMessage":"API calls exceeded the limit of 20 in 5 second(s)"}"#,
    ),
    ("HTTP 403", 403, ""),
    ("HTTP 404, 405 or a redirect elsewhere", 404, ""),
    ("HTTP 408", 408, ""),
    ("HTTP 429", 429, ""),
    ("HTTP 500 with an HTML page", 500, "<html></html>"),
    ("HTTP 502, 503 or 504", 502, "<html></html>"),
    (
        "an exception whose name does not begin with MX",
        500,
        r#"{"Status":"Error","ExceptionType":"SqlException"}"#,
    ),
];

/// What each known answer leads to (`leadsquared.md` 2); statuses 200 and 500 mean the same where there is an exception.
pub fn replies() -> Vec<Reply> {
    let exceptions = EXCEPTIONS.iter().map(|(name, message)| {
        let sent = match name.contains(' ') {
            true => "MXTimeoutException",
            false => name,
        };
        let body = format!(
            r#"{{"Status":"Error","ExceptionType":"{sent}","ExceptionMessage":"{message}"}}"#
        );
        row(name, 500, &body)
    });
    let bare = BARE
        .iter()
        .map(|(name, status, body)| row(name, *status, body));
    let lost = Effect::Write.lost("no answer in time");
    let read = Effect::Read.lost("no answer in time");
    let silence = Reply {
        answer: "no answer, or a lost connection",
        read: Then::of(&read),
        write: Then::of(&lost),
        code: lost.code(),
        text: lost.sentence(),
    };
    exceptions
        .chain(bare)
        .chain(std::iter::once(silence))
        .collect()
}

fn row(answer: &'static str, status: u16, body: &str) -> Reply {
    let judged = |effect| {
        judge(effect, status, body.as_bytes(), &[]).expect_err("every row of the table is an error")
    };
    let write = judged(Effect::Write);
    Reply {
        answer,
        read: Then::of(&judged(Effect::Read)),
        write: Then::of(&write),
        code: write.code(),
        text: write.sentence(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_each_answer() {
        let lines: Vec<String> = replies()
            .into_iter()
            .map(|reply| format!("{}: {:?} / {:?}", reply.answer, reply.read, reply.write))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        MXMandatoryAttributeMissingException: Dead / Dead
        MXMandatoryFieldMissingException: Dead / Dead
        MXDuplicateEntryException: SearchedFor / SearchedFor
        MXDuplicateEntityNameException: Dead / Dead
        MXUnknownAttributeException: Dead / Dead
        MXInvalidInputException: Dead / Dead
        MXInvalidDataTypeException: Dead / Dead
        MXInvalidEntityReferenceException: ResolvedAnew / ResolvedAnew
        MXInvalidActivityException: Dead / Dead
        MXUnknownProspectActivityException: ResolvedAnew / ResolvedAnew
        MXInvalidAccessDetailsException: WaitsForTheAccount / WaitsForTheAccount
        MXUnAuthorizedAccessException: WaitsForTheAccount / WaitsForTheAccount
        MXUnauthorizedRequestException: WaitsForTheAccount / WaitsForTheAccount
        MXAPIRateLimitExceededException: TriedAgain / TriedAgain
        MXXSSException: Dead / Dead
        an exception whose name says time-out: TriedAgain / LookedUp
        HTTP 400: Dead / Dead
        HTTP 401: WaitsForTheAccount / WaitsForTheAccount
        HTTP 401 that names another host of LeadSquared's, or a redirect there: Followed / Followed
        HTTP 403 that names the rate limit: TriedAgain / TriedAgain
        HTTP 403: Dead / Dead
        HTTP 404, 405 or a redirect elsewhere: TriedAgain / TriedAgain
        HTTP 408: TriedAgain / LookedUp
        HTTP 429: TriedAgain / TriedAgain
        HTTP 500 with an HTML page: TriedAgain / LookedUp
        HTTP 502, 503 or 504: TriedAgain / LookedUp
        an exception whose name does not begin with MX: TriedAgain / LookedUp
        no answer, or a lost connection: TriedAgain / LookedUp
        ");
    }
}
