//! What holds for any bytes: a function for each of five rooms, which panics where it does not.
//!
//! Fuzzing calls them with what it makes up (`tests/fuzz`), the tests with its seeds and with what proptest makes up.

use ligature::hl7::ack::{self, AckCode, AckMode, Condition, Fault, Outcome};
use ligature::hl7::{
    Charset, Content, Delimiters, Fill, Message, Options, Path, batch, dictionary, escape, warning,
};
use ligature::mllp::frame::{self, Decoder, Event};

/// A law: panics for bytes that break it.
pub type Law = fn(&[u8]);

/// Name and law of each, as the fuzz targets and the folders of their seeds are called.
pub const ALL: [(&str, Law); 5] = [
    ("parser", parser),
    ("path", path),
    ("escape", escape),
    ("frame", frame),
    ("acknowledgement", acknowledgement),
];

/// Any bytes are read without a panic and written back; normalizing is a fixed point; an edit is read back.
pub fn parser(bytes: &[u8]) {
    let read = batch::read(bytes);
    let total: usize = read.messages.iter().map(|entry| entry.len()).sum();
    assert!(total <= bytes.len(), "no byte is in two messages");
    let normal = batch::normalize(bytes);
    assert!(!normal.contains(&b'\n') && batch::normalize(&normal) == normal);
    for entry in read.messages {
        let Ok(mut message) = Message::parse(entry) else {
            continue;
        };
        assert!(message.to_bytes() == entry, "written back byte for byte");
        joined(entry);
        let normal = message.normalize();
        let again = Message::parse(&normal).map(|again| again.normalize());
        assert!(again.as_ref() == Ok(&normal), "normalize is a fixed point");
        let _ = message.header();
        for segment in message.segments() {
            let _ = dictionary::segment(segment.name());
            for field in 0..=segment.field_count() + 1 {
                for repetition in segment.repetitions(field) {
                    for component in 1..4 {
                        let _ = (repetition.leaf(component, 1), repetition.leaf(component, 2));
                    }
                }
            }
        }
        let place = place("PID-3[2].4.2");
        if message.set(&place, Fill::Text("a|b\\c")).is_ok() {
            assert!(
                message.get(&place) == Content::Text("a|b\\c".into()),
                "an edit is read back"
            );
            assert!(message.to_bytes() != entry || entry.is_empty());
        }
    }
}

/// With lines joined to the segments before them, what is written has no such lines left and is read as the same.
fn joined(entry: &[u8]) {
    let joining = Options {
        join_lines: true,
        ..Options::default()
    };
    let Ok(message) = Message::parse_with(entry, joining) else {
        return;
    };
    let has = |code| message.warnings().iter().any(|seen| seen.code == code);
    let written = message.bytes();
    // A broken character may swallow what is put behind it.
    if has(warning::CHARSET_MISMATCH) || message.charset().name() == "ISO-2022-JP" {
        return;
    }
    let again = Message::parse_with(&written, joining);
    assert!(
        again.is_ok_and(|again| again.bytes() == written
            && again.segment_names().eq(message.segment_names())
            && !again
                .warnings()
                .iter()
                .any(|seen| seen.code == warning::CONTINUATION_LINE)),
        "joining lines is a fixed point"
    );
}

/// Any text is a path that writes itself as one that is equal, or an error within the text.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Path>() {
        Ok(path) => {
            assert!(
                path.to_string().parse().as_ref() == Ok(&path),
                "a path reads its own text"
            );
            assert!(path.covers(&path) && path.reads().contains(&path));
            let _ = dictionary::label(&path);
            let message = Message::parse(b"MSH|^~\\&|A\rPID|1||a^b~c\r");
            if let Ok(mut message) = message {
                let _ = (
                    message.get(&path),
                    message.raw(&path).map(str::len),
                    message.count(&path),
                );
                assert!(message.get_all(&path).len() <= 16);
                let _ = message.set(&path, Fill::Null);
            }
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.at)),
    }
}

/// What is encoded has no delimiter left and decodes to itself; any text is decoded without a panic.
///
/// The first byte chooses among delimiters.
pub fn escape(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let headers: [&[u8]; 4] = [b"MSH|^~\\&|", b"MSH|^~\\&#|", b"MSH^~|\\&^", b"MSH$:?@;$"];
    let Ok((delimiters, _)) = Delimiters::read(headers[usize::from(*choice) % headers.len()])
    else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    for charset in [Charset::UTF_8, Charset::WINDOWS_1252] {
        let decoded = escape::decode(&text, &delimiters, charset);
        assert!(decoded.len() <= text.len() * 3);
        let _ = escape::plain_text(&text, &delimiters, charset);
    }
    let encoded = escape::encode(&text, &delimiters);
    let encoded = encoded.unwrap_or_default();
    let splits = |byte: u8| {
        byte == delimiters.field || byte == delimiters.component || byte.is_ascii_control()
    };
    assert!(!encoded.bytes().any(splits), "nothing in it splits");
    let decoded = escape::decode(&encoded, &delimiters, Charset::UTF_8);
    assert!(
        decoded == text.replace("\r\n", "\n"),
        "decoding undoes encoding"
    );
}

/// Frames are the same for any chunking; what is encoded is one frame.
///
/// The first byte is the size of the chunks.
pub fn frame(bytes: &[u8]) {
    const MAX: usize = 4096;
    let Some((size, stream)) = bytes.split_first() else {
        return;
    };
    let size = usize::from(*size).max(1);
    let whole = events(&mut Decoder::new(MAX), [stream]);
    assert!(
        whole == events(&mut Decoder::new(MAX), stream.chunks(size)),
        "in chunks of {size}"
    );
    assert!(
        whole == events(&mut Decoder::new(MAX), stream.chunks(1)),
        "byte by byte"
    );
    let mut framed = Vec::new();
    if stream.len() <= MAX && frame::encode(stream, &mut framed).is_ok() {
        let events = events(&mut Decoder::new(MAX), [&framed[..]]);
        assert!(
            events == [Event::Frame(stream.to_vec())],
            "what is encoded is one frame"
        );
    }
}

fn events<'a>(decoder: &mut Decoder, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut events = Vec::new();
    for mut chunk in chunks {
        while let Some(event) = decoder.next(&mut chunk) {
            let ended = matches!(
                event,
                Event::TooLarge | Event::Noise | Event::Violation { .. } | Event::TlsHello
            );
            events.push(event);
            if ended {
                return events;
            }
        }
    }
    events
}

/// An answer is a message without raw control bytes that names the control id; what is no message is answered too.
pub fn acknowledgement(bytes: &[u8]) {
    let Ok(now) = "2026-01-02T03:04:05+00:00[+00:00]".parse() else {
        return;
    };
    let fault = Fault {
        condition: Condition::DataType,
        text: "field PID-7 is not a date",
        location: Some(place("PID-7")),
    };
    let framed = |answer: &[u8]| {
        let mut out = Vec::new();
        assert!(frame::encode(answer, &mut out).is_ok(), "an answer travels");
        assert!(
            answer
                .iter()
                .all(|byte| !byte.is_ascii_control() || *byte == b'\r')
        );
    };
    if let Some(answer) = ack::build_unreadable(bytes, "OWN-1", &now) {
        framed(&answer);
        assert!(
            Message::parse(&answer).is_ok(),
            "what is no message is answered by one"
        );
    }
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    for outcome in [Outcome::Stored, Outcome::Failed, Outcome::Rejected] {
        for mode in [AckMode::Original, AckMode::Enhanced, AckMode::Auto] {
            let replies = ack::replies(&message.header(), mode, outcome);
            let positive = replies.first.is_some_and(AckCode::is_positive);
            assert!(
                !positive || outcome == Outcome::Stored,
                "only what is stored is accepted"
            );
            assert!(!positive || !message.header().control_id.trim().is_empty());
        }
    }
    for (code, fault) in [(AckCode::Aa, None), (AckCode::Ar, Some(&fault))] {
        let answer = ack::build(&message, code, fault, "OWN-1", &now);
        framed(&answer);
        let Ok(answer) = Message::parse(&answer) else {
            panic!("the answer to a message is a message");
        };
        let sent = message.raw_bytes(&place("MSH-10")).unwrap_or_default();
        // Control bytes are written as escapes, and sets that switch by escape sequences cannot be cut.
        if sent
            .iter()
            .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
            && answer.charset() == message.charset()
        {
            let echoed = answer.raw_bytes(&place("MSA-2")).unwrap_or_default();
            assert!(echoed == sent, "MSA-2 is MSH-10");
        }
    }
}

/// A path of our own making.
fn place(text: &str) -> Path {
    match text.parse() {
        Ok(path) => path,
        Err(error) => panic!("{error}"),
    }
}
