//! Cases are bytes in, events as text out; the laws hold for any bytes and any chunking.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64;

const TOLERANT: Framing = Framing {
    strict: false,
    unframed_starts: &[],
};
const STRICT: Framing = Framing {
    strict: true,
    ..TOLERANT
};
const UNFRAMED: Framing = Framing {
    unframed_starts: &[b"MSH", b"FHS", b"BHS"],
    ..TOLERANT
};

fn events(framing: Framing, chunks: &[&[u8]]) -> Vec<Event> {
    let mut decoder = Decoder::with_framing(LIMIT, framing);
    let mut events = Vec::new();
    for mut chunk in chunks.iter().copied() {
        while let Some(event) = decoder.next(&mut chunk) {
            events.push(event);
        }
        assert!(chunk.is_empty());
    }
    events
}

/// Writes the events of `stream` one a line, after checking that single bytes give the same ones.
fn check(stream: &[u8]) -> String {
    check_with(TOLERANT, stream)
}

fn check_with(framing: Framing, stream: &[u8]) -> String {
    let whole = events(framing, &[stream]);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(whole, events(framing, &bytes));
    let line = |event: &Event| match event {
        Event::Frame(payload) => format!("frame {}", payload.escape_ascii()),
        Event::Remnant { payload, offset } => {
            format!("remnant {} before {offset}", payload.escape_ascii())
        }
        Event::Warning { warning, offset } => format!("{} at {offset}", warning.code()),
        Event::TooLarge => "too large".to_owned(),
        Event::Noise => "too much noise".to_owned(),
        Event::Violation { warning, offset } => format!("refused {} at {offset}", warning.code()),
        Event::TlsHello => "TLS hello".to_owned(),
    };
    whole.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn takes_frames_out_of_a_stream() {
    assert_snapshot!(check(b"\x0bMSH|a\r\x1c\r"), @r"frame MSH|a\r");
    assert_snapshot!(check(b"\x0bone\x1c\r\x0btwo\x1c\r"), @r"
    frame one
    frame two
    ");
    assert_snapshot!(check(b"\x0b\x1c\r"), @"frame");
    assert_snapshot!(check(b""), @"");
    assert_snapshot!(check(b"\x0bnever ended"), @"");
}

#[test]
fn forgives_what_stands_around_a_frame() {
    assert_snapshot!(check(b"\r\n \t\0\x0bone\x1c\r\n\x0btwo\x1c\r\r\n"), @r"
    frame one
    frame two
    ");
    assert_snapshot!(check(b"\x0bone\x1c\x0btwo\x1c\n\x0bthree\x1c"), @r"
    frame one
    mllp-no-cr-after-end-block at 5
    frame two
    mllp-no-cr-after-end-block at 10
    frame three
    ");
    assert_snapshot!(check(b"GET / HTTP/1.1\r\n\x0bone\x1c\rxx\x0btwo\x1c\r"), @r"
    mllp-noise-before-frame at 0
    frame one
    mllp-noise-before-frame at 22
    frame two
    ");
    assert_snapshot!(check(b"\x0bone\x1ctwo\x1c\r"), @r"
    frame one
    mllp-no-cr-after-end-block at 5
    mllp-noise-before-frame at 5
    ");
}

#[test]
fn strict_framing_forgives_nothing() {
    assert_snapshot!(check_with(STRICT, b"\x0bone\x1c\r\x0btwo\x1c\r"), @r"
    frame one
    frame two
    ");
    assert_snapshot!(check_with(STRICT, b"\x0bone\x1c\r\n\x0btwo\x1c\r"), @r"
    frame one
    refused mllp-noise-before-frame at 6
    ");
    assert_snapshot!(check_with(STRICT, b"\x0bone\x1c\x0btwo\x1c\r"), @"refused mllp-no-cr-after-end-block at 5");
    assert_snapshot!(check_with(STRICT, b"\x0bhalf\x0bwhole\x1c\r"), @"refused mllp-start-block-in-frame at 5");
    assert_snapshot!(check_with(STRICT, b"MSH|a\r\x1c\r"), @"refused mllp-noise-before-frame at 0");
    // The carriage return is awaited, and its time runs.
    let mut decoder = Decoder::with_framing(LIMIT, STRICT);
    assert_eq!(decoder.next(&mut b"\x0bone\x1c".as_slice()), None);
    assert_eq!(decoder.open(), Some(Open::Frame(0)));
}

#[test]
fn a_header_opens_a_frame_where_that_is_allowed() {
    assert_snapshot!(check_with(UNFRAMED, b"MSH|a\r\x1c\r\nBHS|b\x1c\x0btwo\x1c\r"), @r"
    mllp-no-start-block at 0
    frame MSH|a\r
    mllp-no-start-block at 9
    frame BHS|b
    mllp-no-cr-after-end-block at 15
    frame two
    ");
    assert_snapshot!(check_with(UNFRAMED, b"MSA|a\x1c\r\x0bone\x1c\r"), @r"
    mllp-noise-before-frame at 0
    frame one
    ");
    assert_snapshot!(check_with(UNFRAMED, b"xMSH|a\x1c\r\x0bone\x1c\r"), @r"
    mllp-noise-before-frame at 0
    frame one
    ");
    assert_snapshot!(check(b"MSH|a\r\x1c\r\x0bone\x1c\r"), @r"
    mllp-noise-before-frame at 0
    frame one
    ");
}

#[test]
fn a_tls_hello_is_known_by_its_first_byte() {
    assert_snapshot!(check(b"\x16\x03\x01\x02\x00\x01\x0b"), @"TLS hello");
    assert_snapshot!(check_with(STRICT, b"\x16\x03\x01"), @"TLS hello");
    assert_snapshot!(check(b"\n\x16\x03\x01"), @"mllp-noise-before-frame at 1");
}

#[test]
fn a_start_block_in_a_frame_begins_anew() {
    assert_snapshot!(check(b"\x0bhalf\x0bwhole\x1c\r"), @r"
    remnant half before 5
    frame whole
    ");
}

#[test]
fn limits_end_the_stream() {
    let mut stream = [b"\x0b".as_slice(), &[b'x'; LIMIT], b"\x1c\r"].concat();
    assert_eq!(check(&stream), format!("frame {}", "x".repeat(LIMIT)));
    stream.insert(1, b'x');
    stream.extend_from_slice(b"\x0bnext\x1c\r");
    assert_snapshot!(check(&stream), @"too large");

    let mut stream = vec![b'x'; MAX_NOISE_BYTES];
    stream.extend_from_slice(b"\x0bone\x1c\r");
    assert_snapshot!(check(&stream), @r"
    mllp-noise-before-frame at 0
    frame one
    ");
    stream.insert(0, b'x');
    assert_snapshot!(check(&stream), @r"
    mllp-noise-before-frame at 0
    too much noise
    ");
}

#[test]
fn the_start_of_a_frame_that_will_not_end_can_be_kept() {
    let mut decoder = Decoder::new(LIMIT);
    assert_eq!(decoder.next(&mut b"\r\n\x0bhalf".as_slice()), None);
    assert_eq!(decoder.open(), Some(Open::Frame(2)));
    assert_eq!(decoder.skipped_bytes(), 2);
    assert_eq!(decoder.take_rest(), b"half");
    assert_eq!(decoder.next(&mut b"\x1c\r\x0bx\x1c\r".as_slice()), None);
}

#[test]
fn block_characters_cannot_be_sent() {
    let mut out = Vec::new();
    encode(b"MSH|a\r", &mut out).unwrap();
    assert_eq!(out, b"\x0bMSH|a\r\x1c\r");
    let error = encode(b"ab\x1c", &mut out).unwrap_err();
    assert_snapshot!(error, @"byte 0x1c at offset 2 is a block character of MLLP and cannot stand in a payload");
    assert_eq!(out.len(), 9);
}

#[test]
fn debug_shows_no_payload() {
    let mut stream = b"\x0bpatient\x1c\r".as_slice();
    let mut decoder = Decoder::new(LIMIT);
    let event = decoder.next(&mut stream);
    assert_snapshot!(format!("{event:?}"), @"Some(Frame(7 bytes))");
    assert_eq!(decoder.next(&mut b"\r\x0bpatient".as_slice()), None);
    assert!(!format!("{decoder:?}").contains("patient"));
}

/// Bytes in which the characters that matter are frequent.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        2 => Just(START_BLOCK),
        2 => Just(END_BLOCK),
        1 => Just(CARRIAGE_RETURN),
        6 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..400)
}

proptest! {
    #[test]
    fn chunking_changes_nothing(stream in stream(), cuts in prop::collection::vec(0..400usize, 0..20)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        for framing in [TOLERANT, STRICT, UNFRAMED] {
            prop_assert_eq!(events(framing, &[&stream]), events(framing, &chunks));
        }
    }

    #[test]
    fn decoding_undoes_encoding(payloads in prop::collection::vec(stream(), 0..10)) {
        let payloads: Vec<Vec<u8>> = payloads
            .into_iter()
            .map(|payload| {
                let payload = payload.into_iter().filter(|b| ![START_BLOCK, END_BLOCK].contains(b));
                payload.take(LIMIT).collect()
            })
            .collect();
        let mut wire = Vec::new();
        for payload in &payloads {
            encode(payload, &mut wire).unwrap();
        }
        let expected: Vec<Event> = payloads.into_iter().map(Event::Frame).collect();
        prop_assert_eq!(&events(TOLERANT, &[&wire]), &expected);
        prop_assert_eq!(events(STRICT, &[&wire]), expected);
    }
}
