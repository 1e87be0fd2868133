//! What each kind of vector means.

use ligature::hl7::path::Index;
use ligature::hl7::value::{self, DateTime, Precision};
use ligature::hl7::{
    Charset, Content, Delimiters, Fill, Message, Options, Path, batch, dictionary, escape, stamp,
};
use serde_json::{Value, json};

use super::{text, wire};

/// What becomes of one case.
pub(super) fn check(case: &Value) -> Result<(), String> {
    let input = text(&case["input"]);
    let expected = &case["expected"];
    let options = &case["options"];
    match text(&case["kind"]) {
        "path" => on_message(input, |message| {
            let path = path(case)?;
            let found = match text(&case["mode"]) {
                "raw" => message.raw(&path).unwrap_or_default().to_owned(),
                _ => shown(message.get(&path), expected),
            };
            same(&found, text(expected))
        }),
        "presence" => on_message(input, |message| {
            let (content, expected) = (message.get(&path(case)?), text(expected));
            let state = match content {
                Content::Absent if expected == "empty" => "empty",
                Content::Absent => "absent",
                Content::Null => "null",
                Content::Text(_) => "value",
            };
            same(state, expected)
        }),
        "segment-names" => on_message(input, |message| {
            same(
                &Value::from(message.segment_names().collect::<Vec<_>>()),
                expected,
            )
        }),
        "segment-count" => on_message(input, |message| {
            let count = match text(&case["path"]) {
                "*" => message.segments().count(),
                _ => message.count(&path(case)?),
            };
            same(&Value::from(count), expected)
        }),
        "field-count" => on_message(input, |message| {
            let path = path(case)?;
            let segment = message
                .segments()
                .find(|segment| segment.name() == path.segment());
            same(
                &Value::from(segment.map(|segment| segment.field_count())),
                expected,
            )
        }),
        "repetition-count" => on_message(input, |message| {
            same(&Value::from(message.count(&path(case)?)), expected)
        }),
        // The message as written when lines that are no segments are joined to the segment before.
        "joined" => {
            let options = Options {
                join_lines: true,
                ..Options::default()
            };
            let message = Message::parse_with(input.as_bytes(), options);
            let message = message.map_err(|error| error.to_string())?;
            same(
                &String::from_utf8_lossy(&message.bytes()).into_owned(),
                text(expected),
            )
        }
        "parses" => same(
            &Value::from(Message::parse(input.as_bytes()).is_ok()),
            expected,
        ),
        "roundtrip" => on_message(input, |message| {
            let normal = |text: &str| text.replace("\r\n", "\r").replace('\n', "\r");
            same(
                &String::from_utf8_lossy(&message.to_bytes()).into_owned(),
                text(expected),
            )?;
            same(
                &String::from_utf8_lossy(&message.normalize()).into_owned(),
                normal(text(expected)).as_str(),
            )
        }),
        "unescape" => delimiters(case).and_then(|delimiters| {
            let plain = options.is_object();
            let decode = if plain {
                escape::plain_text
            } else {
                escape::decode
            };
            same(
                &decode(input, &delimiters, Charset::UTF_8).into_owned(),
                text(expected),
            )
        }),
        "escape" => delimiters(case).and_then(|delimiters| {
            let written = escape::encode(input, &delimiters).ok_or("cannot be written")?;
            same(&written.into_owned(), text(expected))
        }),
        "delimiters" => match Message::parse(input.as_bytes()) {
            Err(_) if expected["error"].is_string() => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(_) if expected["error"].is_string() => Err("was read".into()),
            Ok(message) => delimiters_like(message.delimiters(), expected),
        },
        "path-syntax" => path_syntax(input, expected),
        "charset" => charset(case, expected),
        "batch" => batch_like(input, expected),
        "classify" => same(class(input), text(expected)),
        "ack" => on_message(input, |message| wire::ack_like(message, options, expected)),
        "ack-code" => on_message(input, |message| wire::ack_code(message, options, expected)),
        "unreadable" => wire::unreadable(input, expected),
        "trim-trailing" => trim_trailing(input, case, expected),
        "datetime" => datetime(input, expected),
        "datetime-instant" => datetime_instant(input, options, expected),
        "number" => number(input, text(&case["type"]), expected),
        "mllp-decode" => wire::mllp_decode(case, expected),
        "mllp-encode" => wire::mllp_encode(input, expected),
        "warnings" => warnings(case, expected),
        "not-hl7" => match read(case) {
            Ok(_) => Err("was read".into()),
            Err(error) => same(&error, text(expected)),
        },
        "hits" => on_message(input, |message| {
            let hits = message.get_all(&path(case)?).into_iter();
            let hits: Vec<String> = hits.map(|hit| state(hit)).collect();
            same(&Value::from(hits), expected)
        }),
        "header" => on_message(input, |message| header(message, expected)),
        "set" => set(case, expected),
        "normalize" => same(
            &String::from_utf8_lossy(&batch::normalize(&bytes(case))).into_owned(),
            text(expected),
        ),
        "split" => {
            let entries = batch::split(input.as_bytes()).into_iter();
            let entries: Vec<_> = entries.map(String::from_utf8_lossy).collect();
            same(&json!(entries), expected)
        }
        "batch-warnings" => {
            let read = batch::read(input.as_bytes());
            let found: Vec<_> = read
                .warnings
                .iter()
                .map(|w| json!([w.code, w.offset]))
                .collect();
            same(&Value::from(found), expected)
        }
        "path-error" => match input.parse::<Path>() {
            Ok(_) => Err("was read".into()),
            Err(error) => same(&Value::from(error.at), expected),
        },
        "path-display" => {
            let path: Path = input.parse().map_err(|error| format!("{error}"))?;
            same(&path.to_string(), text(expected))
        }
        "path-covers" => {
            let grant: Path = input.parse().map_err(|error| format!("{error}"))?;
            same(&Value::from(grant.covers(&path(case)?)), expected)
        }
        "path-reads" => {
            let path: Path = input.parse().map_err(|error| format!("{error}"))?;
            let reads: Vec<String> = path.reads().iter().map(Path::to_string).collect();
            same(&Value::from(reads), expected)
        }
        "label" => {
            let path: Path = input.parse().map_err(|error| format!("{error}"))?;
            same(&json!(dictionary::label(&path)), expected)
        }
        "event-label" => {
            let (code, event) = input.split_once('^').unwrap_or((input, ""));
            same(
                &json!(dictionary::event(code, event).map(|event| event.label())),
                expected,
            )
        }
        "stamp" => {
            let now = "2026-01-02T03:04:05+05:30[+05:30]".parse().unwrap();
            let stamped =
                stamp(input.as_bytes(), "NEW-1", &now).map_err(|error| error.to_string())?;
            same(
                &String::from_utf8_lossy(&stamped).into_owned(),
                text(expected),
            )
        }
        kind => Err(format!("nothing here knows the kind {kind:?}")),
    }
}

/// The input as bytes: text, hexadecimal digits (`input_hex`), or characters that stand for bytes (`input_latin1`).
fn bytes(case: &Value) -> Vec<u8> {
    if let Some(digits) = case["input_hex"].as_str() {
        return unhex(digits);
    }
    match case["input_latin1"].as_str() {
        Some(latin) => latin
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect(),
        None => text(&case["input"]).as_bytes().to_vec(),
    }
}

pub(super) fn unhex(digits: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap();
    (0..digits.len() / 2).map(pair).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the input as a message, in the character set that the options impose.
fn read(case: &Value) -> Result<Message, String> {
    let options = &case["options"];
    let options = Options {
        charset: options["charset"]
            .as_str()
            .map(|name| name.parse().unwrap()),
        strict_charset: options["strict"].as_bool().unwrap_or_default(),
        join_lines: options["join_lines"].as_bool().unwrap_or_default(),
    };
    Message::parse_with(&bytes(case), options).map_err(|error| error.to_string())
}

fn state(content: Content<'_>) -> String {
    match content {
        Content::Null => "\"\"".into(),
        content => content.text_or_empty().into_owned(),
    }
}

pub(super) fn same<A, B>(found: &A, expected: &B) -> Result<(), String>
where
    A: PartialEq<B> + std::fmt::Debug + ?Sized,
    B: std::fmt::Debug + ?Sized,
{
    if found == expected {
        Ok(())
    } else {
        Err(format!("{found:?} is not {expected:?}"))
    }
}

fn on_message(
    input: &str,
    then: impl FnOnce(&Message) -> Result<(), String>,
) -> Result<(), String> {
    Message::parse(input.as_bytes())
        .map_err(|error| error.to_string())
        .and_then(|message| then(&message))
}

fn path(case: &Value) -> Result<Path, String> {
    text(&case["path"])
        .parse()
        .map_err(|error: ligature::hl7::path::Error| error.to_string())
}

/// Text as the vectors mean it: null is two quotes where a suite does not tell it from a value.
pub(super) fn shown(content: Content<'_>, expected: &Value) -> String {
    match content {
        Content::Null if text(expected) == "\"\"" => "\"\"".into(),
        content => content.text_or_empty().into_owned(),
    }
}

fn delimiters(case: &Value) -> Result<Delimiters, String> {
    let header = format!("MSH{}", text(&case["delimiters"]));
    Delimiters::read(header.as_bytes())
        .map(|(delimiters, _)| delimiters)
        .map_err(|error| error.to_string())
}

fn delimiters_like(found: &Delimiters, expected: &Value) -> Result<(), String> {
    for (name, found) in [
        ("field", Some(found.field)),
        ("component", Some(found.component)),
        ("repetition", found.repetition),
        ("escape", found.escape),
        ("subcomponent", found.subcomponent),
        ("truncation", found.truncation),
    ] {
        if let Some(expected) = expected.get(name) {
            same(
                &Value::from(found.map(|byte| char::from(byte).to_string())),
                expected,
            )?;
        }
    }
    Ok(())
}

fn path_syntax(input: &str, expected: &Value) -> Result<(), String> {
    let path: Path = match input.parse() {
        Err(_) if expected["error"].is_string() => return Ok(()),
        Err(error) => return Err(ToString::to_string(&error)),
        Ok(_) if expected["error"].is_string() => return Err("was read".into()),
        Ok(path) => path,
    };
    let index = |index| match index {
        Index::Unset => Value::from(1),
        Index::Nth(nth) => Value::from(nth),
        Index::Every => Value::from("*"),
    };
    for (name, found) in [
        ("segment", Value::from(path.segment())),
        ("occurrence", index(path.occurrence())),
        ("field", Value::from(path.field())),
        ("repetition", index(path.repetition())),
        ("component", Value::from(path.component())),
        ("subcomponent", Value::from(path.subcomponent())),
    ] {
        if let Some(expected) = expected.get(name) {
            same(&found, expected)?;
        }
    }
    Ok(())
}

fn charset(case: &Value, expected: &Value) -> Result<(), String> {
    match read(case) {
        Err(_) if expected["error"].is_string() => Ok(()),
        Err(error) => Err(error),
        Ok(message) => same(&shown(message.get(&path(case)?), expected), text(expected)),
    }
}

fn batch_like(input: &str, expected: &Value) -> Result<(), String> {
    let read = batch::read(input.as_bytes());
    let messages: Vec<_> = read
        .messages
        .iter()
        .map(|bytes| Message::parse(bytes))
        .collect();
    if expected["error"].is_string() {
        let odd = !read.warnings.is_empty() || messages.iter().any(Result::is_err);
        return if odd {
            Ok(())
        } else {
            Err("nothing was noticed".into())
        };
    }
    let messages: Vec<_> = messages.into_iter().flatten().collect();
    let control_ids: Vec<_> = messages
        .iter()
        .map(|message| message.header().control_id)
        .collect();
    let field = |name: &str| {
        let (segment, number) = name.split_once('-').unwrap();
        let line = read
            .envelope
            .iter()
            .find(|line| line.starts_with(segment.as_bytes()))?;
        let line = std::str::from_utf8(line).unwrap();
        let index: usize = number.parse().unwrap();
        // Field 1 of a header is its separator.
        line.split('|').nth(if segment.ends_with("HS") {
            index - 1
        } else {
            index
        })
    };
    for (name, expected) in expected.as_object().unwrap() {
        let found = match name.as_str() {
            "messages" => Value::from(messages.len()),
            "batches" => Value::from(read.count("BHS").max(read.count("BTS"))),
            "file" => Value::from(read.count("FHS") > 0),
            "envelope" => Value::from(!read.envelope.is_empty()),
            "control_ids" => Value::from(control_ids.clone()),
            name => Value::from(field(name)),
        };
        same(&found, expected).map_err(|difference| format!("{name}: {difference}"))?;
    }
    Ok(())
}

fn class(input: &str) -> &'static str {
    let read = batch::read(input.as_bytes());
    let readable = read
        .messages
        .iter()
        .any(|bytes| Message::parse(bytes).is_ok());
    if read.count("FHS") > 0 {
        "file"
    } else if read.count("BHS") > 0 || read.messages.len() > 1 {
        "batch"
    } else if readable {
        "message"
    } else {
        "not hl7"
    }
}

/// Empties are trimmed where an edit made them: here it fills the last component and takes it away again.
fn trim_trailing(input: &str, case: &Value, expected: &Value) -> Result<(), String> {
    let start = "MSH|^~\\&|\r";
    on_message(&format!("{start}{input}"), |message| {
        let mut message = message.clone();
        let field = path(case)?;
        let count = message.raw(&field).unwrap_or_default().split('^').count();
        let last: Path = format!("{field}.{count}")
            .parse()
            .map_err(|error| format!("{error}"))?;
        for fill in [Fill::Text("x"), Fill::Empty] {
            message
                .set(&last, fill)
                .map_err(|error| error.to_string())?;
        }
        let written = String::from_utf8_lossy(&message.to_bytes()).into_owned();
        same(&written, &format!("{start}{}", text(expected)))
    })
}

fn datetime(input: &str, expected: &Value) -> Result<(), String> {
    if expected["null"] == Value::Bool(true) {
        let text = format!("MSH|^~\\&|\rPID|{input}");
        return on_message(&text, |message| {
            same(&message.get(&"PID-1".parse().unwrap()), &Content::Null)
        });
    }
    let read = DateTime::parse(input);
    let Some(expected) = expected.as_object() else {
        return same(&read, &None);
    };
    let read = read.ok_or("was not read")?;
    let precision = match read.precision() {
        Precision::Year => "year",
        Precision::Month => "month",
        Precision::Day => "day",
        Precision::Hour => "hour",
        Precision::Minute => "minute",
        Precision::Second => "second",
        Precision::Fraction => "fraction",
    };
    let fraction = read.fraction.map(|fraction| {
        let digits = format!("{:04}", fraction.ten_thousandths);
        digits[..usize::from(fraction.digits)].to_owned()
    });
    let found = json!({
        "precision": precision, "year": read.year, "month": read.month, "day": read.day, "hour": read.hour,
        "minute": read.minute, "second": read.second, "fraction": fraction, "offset_minutes": read.offset_minutes,
    });
    for (name, found) in found.as_object().into_iter().flatten() {
        same(found, expected.get(name).unwrap_or(&Value::Null))
            .map_err(|difference| format!("{name}: {difference}"))?;
    }
    Ok(())
}

fn datetime_instant(input: &str, options: &Value, expected: &Value) -> Result<(), String> {
    let zone = jiff::tz::TimeZone::get(text(&options["default_zone"])).unwrap();
    let instant = DateTime::parse(input).and_then(|read| read.instant(&zone));
    same(&json!(instant.map(|instant| instant.to_string())), expected)
}

fn number(input: &str, data_type: &str, expected: &Value) -> Result<(), String> {
    let found = match data_type {
        "SI" => json!(value::sequence(input)),
        _ => json!(value::is_number(input).then(|| input.parse::<f64>().unwrap())),
    };
    same(&found, expected)
}

/// Codes and offsets; what is read with warnings is written back all the same.
fn warnings(case: &Value, expected: &Value) -> Result<(), String> {
    let message = read(case)?;
    same(&message.to_bytes(), &bytes(case))?;
    let warnings = message.warnings().iter();
    let found: Vec<_> = warnings
        .map(|warning| json!([warning.code, warning.offset]))
        .collect();
    same(&Value::from(found), expected)
}

fn header(message: &Message, expected: &Value) -> Result<(), String> {
    let header = message.header();
    let found = json!({
        "control_id": header.control_id, "message_code": header.message_code,
        "trigger_event": header.trigger_event, "structure": header.structure,
        "sending_application": header.sending_application, "sending_facility": header.sending_facility,
        "receiving_application": header.receiving_application, "receiving_facility": header.receiving_facility,
        "message_time": header.message_time, "processing_id": header.processing_id,
        "version": header.version, "accept_ack": header.accept_ack,
        "application_ack": header.application_ack, "charset": header.charset,
    });
    for (name, expected) in expected.as_object().into_iter().flatten() {
        same(&found[name], expected).map_err(|difference| format!("{name}: {difference}"))?;
    }
    Ok(())
}

/// `options.text` is text, null is null, and without it the place is emptied.
fn set(case: &Value, expected: &Value) -> Result<(), String> {
    let mut message = read(case)?;
    let fill = match case["options"].get("text") {
        Some(Value::String(text)) => Fill::Text(text),
        Some(_) => Fill::Null,
        None => Fill::Empty,
    };
    let place = path(case)?;
    match message.set(&place, fill) {
        Err(_) if expected["error"].is_string() => return same(&message.to_bytes(), &bytes(case)),
        Err(error) => return Err(error.to_string()),
        Ok(()) if expected["error"].is_string() => return Err("was set".into()),
        Ok(()) => {}
    }
    let written = message.to_bytes();
    let latin: String = written.iter().map(|&byte| char::from(byte)).collect();
    match case["input_latin1"].is_string() {
        true => same(&latin, text(expected)),
        false => same(
            &String::from_utf8_lossy(&written).into_owned(),
            text(expected),
        ),
    }
}
