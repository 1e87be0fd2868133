//! Conformance vectors of public test suites, from the folder `shared/vectors` beside the repository where there is one.
//!
//! They are run against, never copied; the project's own cases stand beside the code. Cases marked
//! `recommended: false` are dialects that we do not follow.

use std::path::Path as File;

use ligature::hl7::ack::{self, AckCode, Condition, Fault};
use ligature::hl7::path::Index;
use ligature::hl7::{Charset, Content, Delimiters, Fill, Message, Options, Path, batch, escape};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors");

#[test]
#[expect(
    clippy::print_stderr,
    reason = "says that there is nothing to run against"
)]
fn vectors_of_other_suites() {
    let Ok(folder) = File::new(FOLDER).read_dir() else {
        eprintln!(
            "no vectors beside the repository; the project's own cases stand beside the code"
        );
        return;
    };
    let mut run = 0;
    let mut failed = Vec::new();
    for file in folder.map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for case in cases
            .iter()
            .filter(|case| case["recommended"] != Value::Bool(false))
        {
            match check(case) {
                None => {}
                Some(Ok(())) => run += 1,
                Some(Err(difference)) => {
                    failed.push(format!("{}: {difference}", text(&case["id"])))
                }
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} differ:\n{}",
        failed.len(),
        run + failed.len(),
        failed.join("\n")
    );
    assert!(run > 300, "only {run} vectors were found");
}

/// What becomes of one case; `None` if its kind belongs to another room.
fn check(case: &Value) -> Option<Result<(), String>> {
    let input = text(&case["input"]);
    let expected = &case["expected"];
    Some(match text(&case["kind"]) {
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
            let plain = case["options"].is_object();
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
        "charset" => charset(case),
        "batch" => batch_like(input, expected),
        "classify" => same(class(input), text(expected)),
        "ack" => on_message(input, |message| {
            ack_like(message, &case["options"], expected)
        }),
        _ => return None,
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn same<A, B>(found: &A, expected: &B) -> Result<(), String>
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
fn shown(content: Content<'_>, expected: &Value) -> String {
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

fn charset(case: &Value) -> Result<(), String> {
    let hex = text(&case["input_hex"]);
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
        .collect();
    let options = Options {
        charset: case["options"]["charset"]
            .as_str()
            .map(|name| name.parse().unwrap()),
        strict_charset: case["options"]["strict"].as_bool().unwrap_or_default(),
    };
    let expected = &case["expected"];
    match Message::parse_with(&bytes, options) {
        Err(_) if expected["error"].is_string() => Ok(()),
        Err(error) => Err(error.to_string()),
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

fn ack_like(message: &Message, options: &Value, expected: &Value) -> Result<(), String> {
    let code: AckCode = text(&options["code"]).parse().unwrap();
    let fault = options["text"].as_str().map(|text| Fault {
        condition: Condition::Application,
        text: Box::leak(text.into()),
        location: None,
    });
    let control_id = options["message_control_id"].as_str().unwrap_or("OWN-1");
    let now = "2026-01-02T03:04:05+00:00[+00:00]".parse().unwrap();
    let answer = ack::build(message, code, fault.as_ref(), control_id, &now);
    let mut answer = Message::parse(&answer).map_err(|error| error.to_string())?;
    // Who wants to answer under a name of their own sets it.
    for (option, place) in [("application", "MSH-3"), ("facility", "MSH-4")] {
        if let Some(name) = options[option].as_str() {
            answer
                .set(&place.parse().unwrap(), Fill::Text(name))
                .map_err(|error| error.to_string())?;
        }
    }
    for (name, expected) in expected.as_object().unwrap() {
        let get = |message: &Message, name: &str| {
            name.parse()
                .map(|path| shown(message.get(&path), expected))
                .unwrap_or_default()
        };
        if name == "differs_from_input" {
            for name in expected.as_array().unwrap().iter().map(text) {
                if get(&answer, name) == get(message, name) {
                    return Err(format!("{name} is the inbound one"));
                }
            }
        } else {
            same(&get(&answer, name), text(expected))
                .map_err(|difference| format!("{name}: {difference}"))?;
        }
    }
    Ok(())
}
