//! Acknowledgements: form by version, what is echoed, which code.

use super::super::ack::{AckCode, AckMode, Condition, Fault, Outcome};
use super::*;

pub(super) fn now() -> jiff::Zoned {
    "2026-03-04T05:06:07+01:00[+01:00]".parse().unwrap()
}

pub(super) fn fault() -> Fault {
    Fault {
        condition: Condition::DataType,
        text: "field PID-7 is not a date",
        location: Some(path("PID-7")),
    }
}

fn answer(inbound: &[u8], code: AckCode, fault: Option<&Fault>) -> String {
    let inbound = Message::parse(inbound).unwrap();
    let bytes = ack::build(&inbound, code, fault, "OURS", &now());
    String::from_utf8_lossy(&bytes).replace('\r', "\n")
}

#[test]
fn answers_take_the_form_of_the_inbound_version() {
    insta::assert_snapshot!(answer(ADMIT.as_bytes(), AckCode::Aa, None), @r"
    MSH|^~\&|CRM|HUB|EHR^1.2^ISO|NORTH|20260304050607+0100||ACK^A04^ACK|OURS|P|2.5.1
    MSA|AA|M-7
    ");
    let of = |version: &str| format!("MSH|^~\\&|EHR||||||ADT^A04|9|P|{version}\r");
    insta::assert_snapshot!(answer(of("2.1").as_bytes(), AckCode::Ae, Some(&fault())), @r"
    MSH|^~\&|||EHR||20260304050607+0100||ACK|OURS|P|2.1
    MSA|AE|9|field PID-7 is not a date
    ERR|PID^1^7^102&Data type error&HL70357
    ");
    insta::assert_snapshot!(answer(of("2.4").as_bytes(), AckCode::Ae, Some(&fault())), @r"
    MSH|^~\&|||EHR||20260304050607+0100||ACK^A04^ACK|OURS|P|2.4
    MSA|AE|9|field PID-7 is not a date|||102^Data type error^HL70357
    ERR|PID^1^7^102&Data type error&HL70357
    ");
    insta::assert_snapshot!(answer(of("2.5.1^X").as_bytes(), AckCode::Ar, Some(&fault())), @r"
    MSH|^~\&|||EHR||20260304050607+0100||ACK^A04^ACK|OURS|P|2.5.1^X
    MSA|AR|9|field PID-7 is not a date
    ERR||PID^1^7^1|102^Data type error^HL70357|E|||field PID-7 is not a date
    ");
    insta::assert_snapshot!(answer(of("2.8").as_bytes(), AckCode::Cr, Some(&fault())), @r"
    MSH|^~\&|||EHR||20260304050607+0100||ACK^A04^ACK|OURS|P|2.8
    MSA|CR|9
    ERR||PID^1^7^1|102^Data type error^HL70357|E|||field PID-7 is not a date|field PID-7 is not a date
    ");
    insta::assert_snapshot!(answer(b"MSH^~|\\&#^A^B^C~D^E^^^SIU~S12^7\x1c^^^^^^^^UTF-8", AckCode::Aa, None), @r"
    MSH^~|\&#^C~D^E^A^B^20260304050607+0100^^ACK~S12~ACK^OURS^P^2.5.1^^^^^^UTF-8
    MSA^AA^7\X1C\
    ");
}

#[test]
fn an_answer_echoes_bytes_of_any_set() {
    let inbound =
        Message::parse(b"MSH|^~\\&|\xC9HR||||||ADT^A01|\xE9\\x|P|2.3||||||8859/1\r").unwrap();
    let bytes = ack::build(&inbound, AckCode::Aa, None, "1", &now());
    let expected: &[u8] =
        b"MSH|^~\\&|||\xC9HR||20260304050607+0100||ACK|1|P|2.3||||||8859/1\rMSA|AA|\xE9\\x\r";
    assert_eq!(bytes, expected);
}

#[test]
fn unreadable_input_is_answered_as_far_as_it_can_be() {
    let check = |bytes: &[u8]| {
        ack::build_unreadable(bytes, "OURS", &now())
            .map(|bytes| String::from_utf8_lossy(&bytes).replace('\r', "\n"))
    };
    insta::assert_snapshot!(check(b"MSH|^^\\&|A|B|C|D|||ADT^A01|77|T|2.3\rPID|1").unwrap(), @r"
    MSH|^~\&|C|D|A|B|20260304050607+0100||ACK|OURS|T|2.3
    MSA|AR|77|message cannot be read|||199^Other HL7 syntax error^HL70357
    ERR|MSH^1^^199&Other HL7 syntax error&HL70357
    ");
    insta::assert_snapshot!(check(b"PID|1\rMSH^~|\\&^A\r").unwrap(), @r"
    MSH^~|\&^^^A^^20260304050607+0100^^ACK^OURS^P^2.5.1
    MSA^AR^^MSH-10 is empty
    ERR^^MSH~1^101~Required field missing~HL70357^E^^^MSH-10 is empty
    ");
    insta::assert_snapshot!(check(b"hello").unwrap(), @r"
    MSH|^~\&|||||20260304050607+0100||ACK|OURS|P|2.5.1
    MSA|AR||no MSH segment found
    ERR||MSH^1|100^Segment sequence error^HL70357|E|||no MSH segment found
    ");
    assert_eq!(check(b"\x16\x03\x01\x00\x05\x00ab"), None);
}

#[test]
fn codes_follow_the_sender() {
    let check = |accept: &str, application: &str, outcome: Outcome| {
        let text = format!("MSH|^~\\&|A||||||ADT^A01|1|P|2.5|||{accept}|{application}\r");
        let message = message(&text);
        let replies = ack::replies(&message.header(), AckMode::Auto, outcome);
        let code = |code: Option<AckCode>| code.map_or("-", AckCode::as_str);
        format!("{} {}", code(replies.first), code(replies.application))
    };
    use Outcome::{Failed, Rejected, Stored};
    for (accept, application, expected) in [
        ("", "", ["AA -", "AE -", "AR -"]),
        ("NE", "AL", ["AA -", "AE -", "AR -"]),
        ("NE", "NE", ["- -", "- -", "- -"]),
        ("AL", "NE", ["CA -", "CE -", "CR -"]),
        ("AL", "AL", ["CA AA", "CE AE", "CR AR"]),
        ("AL", "ER", ["CA -", "CE AE", "CR AR"]),
        ("ER", "", ["AA -", "CE -", "CR -"]),
        ("ER", "NE", ["- -", "CE -", "CR -"]),
        ("SU", "NE", ["CA -", "AE -", "AR -"]),
        ("??", "", ["AA -", "AE -", "AR -"]),
    ] {
        let codes = [Stored, Failed, Rejected].map(|outcome| check(accept, application, outcome));
        assert_eq!(codes, expected, "{accept}/{application}");
    }
    let own = message("MSH|^~\\&|A||||||ACK|1|P|2.5\rMSA|AA|1");
    assert_eq!(ack::reply_code(&own.header(), Stored), None);
    let nameless = message("MSH|^~\\&|A||||||ADT^A01||P|2.5\r");
    assert_eq!(
        ack::reply_code(&nameless.header(), Stored),
        Some(AckCode::Ae)
    );
}
