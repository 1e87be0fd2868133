//! The acknowledgement table, and how an answer comes to its row.

use std::sync::Arc;

use super::*;

const SENT: &str = "MSH|^~\\&|A|B|C|D|20260301120000+0000||ADT^A08|ID1|P|2.5.1";

fn answer(code: &str, id: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|C|D|A|B|20260301120000+0000||ACK^A08^ACK|9|P|2.5.1\rMSA|{code}|{id}\rERR|||204^Unknown|E\r"
    )
    .into_bytes()
}

fn settled(commit: Option<Vec<u8>>, result: Result<Vec<u8>, Error>, foreign: u64) -> Settled<()> {
    Settled {
        key: (),
        commit,
        result,
        duration: Duration::ZERO,
        foreign,
    }
}

fn check(settled: Settled<()>, expected: &str) {
    let shown = match judged(settled, hl7::Options::default()) {
        Ok(acknowledged) => format!("{:?}", acknowledged.outcome),
        Err(unsent) => {
            let condition = unsent.condition.map(|code| format!(" {code}"));
            format!(
                "{:?} {:?}{}",
                unsent.outcome,
                unsent.then(),
                condition.unwrap_or_default()
            )
        }
    };
    assert_eq!(shown, expected);
}

#[test]
fn rows_stand_in_the_order_of_the_outcomes() {
    for (at, row) in TABLE.iter().enumerate() {
        assert_eq!(row.outcome as usize, at);
        assert_eq!(row.outcome.row(), row);
    }
}

#[test]
fn every_end_has_its_row() {
    let broken = || Error::Broken(Arc::new(std::io::ErrorKind::ConnectionReset.into()));
    let second = Duration::from_secs(1);
    for (code, expected) in [
        ("AA", "Accepted"),
        ("CA", "Committed"),
        ("AE", "ApplicationError SentAgain 204"),
        ("CE", "CommitError SentAgain 204"),
        ("AR", "ApplicationReject Dead 204"),
        ("CR", "CommitReject Dead 204"),
        ("OK", "UnknownCode Repeated 204"),
        ("", "UnknownCode Repeated 204"),
    ] {
        check(settled(None, Ok(answer(code, "ID1")), 0), expected);
    }
    let busy = Error::Busy {
        waiting: 1,
        wait: second,
    };
    for (error, foreign, expected) in [
        (Error::TimedOut(second), 0, "Silent Repeated"),
        (Error::TimedOut(second), 2, "Foreign Repeated"),
        (Error::Closed, 0, "Lost Repeated"),
        (broken(), 0, "Lost Repeated"),
        (Error::GivenUp, 0, "Lost Repeated"),
        (Error::NotMllp, 0, "NotMllp Repeated"),
        (busy, 0, "NotSent Waits"),
        (Error::Stopped, 0, "NotSent Waits"),
    ] {
        check(settled(None, Err(error.clone()), foreign), expected);
        // Once committed, nothing is sent again.
        if error.was_sent() {
            let committed = Some(answer("CA", "ID1"));
            check(settled(committed, Err(error), foreign), "NotApplied");
        }
    }
    let rejected = Some(answer("CA", "ID1"));
    let behind = settled(rejected, Ok(answer("AR", "ID1")), 0);
    check(behind, "ApplicationReject Dead 204");
}

#[test]
fn answers_are_recognised_by_their_control_id() {
    let check = |answer: &[u8], asks, expected| {
        assert_eq!(
            recognise(answer, "ID1", hl7::Options::default(), asks),
            expected
        );
    };
    check(&answer("AA", "ID1"), true, Match::Final);
    check(&answer("AA", " ID1 "), false, Match::Final);
    check(&answer("CA", "ID1"), true, Match::Commit);
    check(&answer("CA", "ID1"), false, Match::Final);
    check(&answer("CE", "ID1"), true, Match::Final);
    check(&answer("OK", "ID1"), true, Match::Final);
    check(&answer("AA", "ID2"), true, Match::Foreign);
    check(&answer("AA", ""), true, Match::Foreign);
    check(SENT.as_bytes(), true, Match::Foreign);
    check(b"{\"status\":\"ok\"}", true, Match::Foreign);
    check(b"", true, Match::Foreign);
}

#[test]
fn what_is_asked_for_is_read_from_the_message() {
    let check = |more: &str, id: &str, expected| {
        let text = format!("{SENT}{more}\r");
        assert_eq!(asks_for_application(text.as_bytes(), id), expected);
    };
    check("", "ID1", Some(false));
    check("|||AL|AL", "ID1", Some(true));
    check("|||AL|NE", "ID1", Some(false));
    check("|||AL|SU", "ID1", Some(false));
    check("", "ID2", None);
    check("", "", None);
    assert_eq!(asks_for_application(b"no message", "ID1"), None);
}

#[test]
fn sentences_say_what_the_ehr_said_in_numbers_only() {
    let unsent = judged(
        settled(None, Ok(answer("AE", "ID1")), 0),
        hl7::Options::default(),
    );
    let unsent = unsent.unwrap_err();
    insta::assert_snapshot!(unsent.sentence(), @"The EHR could not process the message. It is sent again; see its answer for why. (condition 204)");
    assert!(!format!("{unsent:?}").contains("Unknown"), "{unsent:?}");
}
