//! Vectors of what goes over the wire: frames and acknowledgements.

use ligature::hl7::ack::{self, AckCode, AckMode, Condition, Fault, Outcome};
use ligature::hl7::{Fill, Message, Path};
use ligature::mllp::frame::{self, Event};
use serde_json::{Value, json};

use super::kinds::{hex, same, shown, unhex};
use super::text;

pub(super) fn ack_like(message: &Message, options: &Value, expected: &Value) -> Result<(), String> {
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

/// `CA AA`: the first answer and the application acknowledgement after it, `-` for none.
pub(super) fn ack_code(message: &Message, options: &Value, expected: &Value) -> Result<(), String> {
    let mode = match text(&options["mode"]) {
        "original" => AckMode::Original,
        "enhanced" => AckMode::Enhanced,
        _ => AckMode::Auto,
    };
    let outcome = match text(&options["outcome"]) {
        "failed" => Outcome::Failed,
        "rejected" => Outcome::Rejected,
        _ => Outcome::Stored,
    };
    let replies = ack::replies(&message.header(), mode, outcome);
    let shown = |code: Option<AckCode>| code.map_or("-", AckCode::as_str);
    let found = format!("{} {}", shown(replies.first), shown(replies.application));
    same(&found, text(expected))
}

/// The answer to what is no message: fields of it, or null where there is none.
pub(super) fn unreadable(input: &str, expected: &Value) -> Result<(), String> {
    let now = "2026-01-02T03:04:05+00:00[+00:00]".parse().unwrap();
    let Some(answer) = ack::build_unreadable(input.as_bytes(), "OWN-1", &now) else {
        return same(&Value::Null, expected);
    };
    let answer = Message::parse(&answer).map_err(|error| error.to_string())?;
    let Some(fields) = expected.as_object() else {
        return Err("was answered".into());
    };
    for (name, expected) in fields {
        let place: Path = name.parse().map_err(|error| format!("{error}"))?;
        same(&shown(answer.get(&place), expected), text(expected))
            .map_err(|difference| format!("{name}: {difference}"))?;
    }
    Ok(())
}

/// The chunks are hexadecimal digits, or text with `options.text`.
pub(super) fn mllp_decode(case: &Value, expected: &Value) -> Result<(), String> {
    let options = &case["options"];
    let (is_text, is_strict) = (
        options["text"] == json!(true),
        options["strict"] == json!(true),
    );
    let limit = options["max_bytes"].as_u64().unwrap_or(1 << 20) as usize;
    let framing = frame::Framing {
        strict: is_strict,
        ..Default::default()
    };
    let mut decoder = frame::Decoder::with_framing(limit, framing);
    let (mut frames, mut remnants, mut warnings, mut error) = (vec![], vec![], vec![], None);
    let shown = |payload: &[u8]| match is_text {
        true => String::from_utf8_lossy(payload).into_owned(),
        false => hex(payload),
    };
    for chunk in case["input"].as_array().into_iter().flatten().map(text) {
        let chunk = if is_text {
            chunk.as_bytes().to_vec()
        } else {
            unhex(chunk)
        };
        let mut rest = &chunk[..];
        while let Some(event) = decoder.next(&mut rest) {
            match event {
                Event::Frame(payload) => frames.push(shown(&payload)),
                Event::Remnant { payload, .. } => remnants.push(shown(&payload)),
                Event::Warning { warning, .. } => warnings.push(warning.code()),
                Event::TooLarge => error = Some("too large"),
                Event::Noise => error = Some("noise"),
                Event::Violation { warning, .. } => error = Some(warning.code()),
                Event::TlsHello => error = Some("TLS hello"),
            }
            if error.is_some() {
                break;
            }
        }
        if error.is_some() {
            break;
        }
    }
    if expected["error"].is_string() {
        return error
            .map(|_| ())
            .ok_or_else(|| "nothing was noticed".into());
    }
    same(&error, &None)?;
    for (name, found) in [
        ("frames", json!(frames)),
        ("remnants", json!(remnants)),
        ("warnings", json!(warnings)),
    ] {
        if let Some(expected) = expected.get(name) {
            same(&found, expected).map_err(|difference| format!("{name}: {difference}"))?;
        }
    }
    Ok(())
}

pub(super) fn mllp_encode(input: &str, expected: &Value) -> Result<(), String> {
    let mut out = Vec::new();
    match frame::encode(&unhex(input), &mut out) {
        Err(_) if expected["error"].is_string() => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(()) => same(&hex(&out), text(expected)),
    }
}
