//! What holds for any bytes and any text.

use proptest::prelude::*;

use super::super::ack::AckCode;
use super::answers::fault;
use super::*;

/// Bytes that often come near a message.
fn near_message() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => proptest::sample::select(vec![
            "MSH|^~\\&|", "MSH", "PID|", "OBX|1|", "BHS|^~\\&|", "BTS|1", "\r", "\n", "\r\n", "|", "^", "~", "&", "\\", "\"\"",
            "\\F\\", "\\X0D\\", "\\XC3\\", "#", "ADT^A01", "UNICODE UTF-8", "GB 18030-2000", "8859/1", "ISO IR87",
            "\u{feff}", "é", "語",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    let start = prop_oneof![
        6 => Just("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||".to_owned()),
        2 => proptest::sample::select(vec!["8859/1", "GB18030", "SJIS", "ISO IR87", "BIG-5", "8859/8"])
            .prop_map(|set| format!("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||{set}\rPID|")),
        1 => Just(String::new()),
    ];
    (start, proptest::collection::vec(token, 0..40))
        .prop_map(|(start, tokens)| [start.into_bytes(), tokens.concat()].concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic_and_written_back(bytes in near_message()) {
        for entry in batch::split(&bytes) {
            let _ = ack::build_unreadable(entry, "1", &now());
            let Ok(mut message) = Message::parse(entry) else { continue };
            prop_assert_eq!(&message.to_bytes()[..], entry);
            for segment in message.segments() {
                for field in 0..=segment.field_count() + 1 {
                    for repetition in segment.repetitions(field) {
                        let _ = (repetition.leaf(1, 1), repetition.leaf(2, 2));
                    }
                }
            }
            let answer = ack::build(&message, AckCode::Ae, Some(&fault()), "1", &now());
            prop_assert!(answer.iter().all(|&byte| !byte.is_ascii_control() || byte == b'\r'));
            let normal = message.normalize();
            let again = Message::parse(&normal).unwrap();
            prop_assert_eq!(again.normalize(), normal);
            let place = path("PID-3.2");
            if message.set(&place, Fill::Text("x")).is_ok() {
                prop_assert_eq!(at(&message, "PID-3.2"), "'x'");
                // Half a character, kept as it is, may take a new delimiter for its other half.
                if !codes(&message).contains(&warning::CHARSET_MISMATCH) {
                    let again = Message::parse(&message.to_bytes()).unwrap();
                    prop_assert_eq!(at(&again, "PID-3.2"), "'x'");
                }
            }
        }
    }

    #[test]
    fn decoding_undoes_encoding(text in any::<String>()) {
        let delimiters = Delimiters::read(b"MSH|^~\\&#|").unwrap().0;
        let encoded = escape::encode(&text, &delimiters).unwrap();
        let decoded = escape::decode(&encoded, &delimiters, Charset::UTF_8);
        prop_assert_eq!(decoded, text.replace("\r\n", "\n"));
    }

    #[test]
    fn what_is_set_is_read(text in "[^\r\n]{1,40}", field in 1_u16..40, component in 1_u16..6) {
        let mut message = message(ADMIT);
        let place = path(&format!("PID-{field}[2].{component}"));
        message.set(&place, Fill::Text(&text)).unwrap();
        prop_assert_eq!(message.get(&place).text_or_empty(), text.as_str());
        let again = Message::parse(&message.to_bytes()).unwrap();
        prop_assert_eq!(again.get(&place).text_or_empty(), text.as_str());
        let mut untouched = message.clone();
        untouched.set(&place, Fill::Empty).unwrap();
        prop_assert_eq!(again.raw(&path("OBX[2]")), untouched.raw(&path("OBX[2]")));
    }

    #[test]
    fn an_answer_names_any_control_id(id in "[^|\\x00-\\x1f\\x7f]{1,40}") {
        let inbound = message(&format!("MSH|^~\\&|A||||||ADT^A01|{id}|P|2.5\r"));
        let answer = ack::build(&inbound, AckCode::Aa, None, "1", &now());
        let answer = Message::parse(&answer).unwrap();
        prop_assert_eq!(answer.raw(&path("MSA-2")), Some(id.as_str()));
    }

    #[test]
    fn any_text_is_a_path_or_an_error_within_it(text in "(PID|OBX|[a-z]{0,3})[-.\\[\\]0-9*='a-z é]{0,20}") {
        match text.parse::<Path>() {
            Ok(path) => prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path)),
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.at)),
        }
    }
}
