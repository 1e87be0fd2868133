//! Sends the probe and judges what comes back: its framing, then its acknowledgement.
//!
//! Start at [`exchange`].

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::probe::Probe;
use super::{Check, Step, Verdict};
use crate::hl7::{Message, Path};
use crate::mllp::frame::{self, CARRIAGE_RETURN, Decoder, Event};
use crate::mllp::sender::Stream;

/// An acknowledgement is a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// How long what follows an answer is waited for: its carriage return, or a second answer.
const AFTER: Duration = Duration::from_millis(500);

/// What came back.
#[derive(Default)]
struct Seen {
    first: Vec<u8>,
    size_bytes: usize,
    answer: Option<Vec<u8>>,
    more_answers: usize,
    /// The byte right after the end block.
    after_end: Option<u8>,
    warnings: Vec<&'static str>,
    broken: bool,
}

pub(super) async fn exchange(mut stream: Stream, probe: &Probe, limit: Duration) -> Vec<Check> {
    let started = Instant::now();
    let mut bytes = Vec::new();
    let mut checks = Vec::new();
    if let Err(error) = frame::encode(&probe.bytes, &mut bytes) {
        checks.push(Check::new(
            Step::Sent,
            Verdict::Bad,
            started,
            error.to_string(),
        ));
        return checks;
    }
    let write = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    let (verdict, text) = match timeout(limit, write).await {
        Ok(Ok(())) => (Verdict::Good, probe.describe()),
        Ok(Err(cause)) => (
            Verdict::Bad,
            format!("it could not be sent: {}", broken(&cause)),
        ),
        Err(_) => (Verdict::Bad, "the peer takes no bytes".to_owned()),
    };
    checks.push(Check::new(Step::Sent, verdict, started, text));
    if verdict == Verdict::Bad {
        return checks;
    }

    let started = Instant::now();
    let mut seen = Seen::default();
    let end = listen(&mut stream, &mut seen, started + limit).await;
    let duration_ms = started.elapsed().as_millis() as u64;
    if seen.answer.is_some() {
        // Whether more comes or the connection ends is all the same now.
        let _ = listen(&mut stream, &mut seen, Instant::now() + AFTER).await;
    }
    // How the peer takes the end is its own affair.
    let _ = timeout(AFTER, stream.shutdown()).await;
    let mut framing = judge_framing(&seen, end, limit, started);
    framing.duration_ms = duration_ms;
    checks.push(framing);
    if let Some(answer) = &seen.answer {
        let mut check = judge_acknowledgement(answer, probe, started);
        check.duration_ms = duration_ms;
        if seen.more_answers > 0 {
            let note = "another answer followed, as in enhanced mode";
            check.notes.push(note.to_owned());
        }
        checks.push(check);
    }
    checks
}

/// How reading ended.
enum End {
    Answered,
    Closed,
    Broken(io::Error),
    TimedOut,
}

/// Reads until an answer is there, or nothing more comes.
async fn listen(stream: &mut Stream, seen: &mut Seen, until: Instant) -> End {
    let mut decoder = Decoder::new(MAX_ANSWER_BYTES);
    let is_first = seen.answer.is_none();
    loop {
        let mut input = Vec::with_capacity(4096);
        match timeout_at(until, stream.read_buf(&mut input)).await {
            Err(_) => return End::TimedOut,
            Ok(Ok(0)) => return End::Closed,
            Ok(Err(cause)) => return End::Broken(cause),
            Ok(Ok(_)) => {}
        }
        seen.size_bytes += input.len();
        if seen.first.len() < 4 {
            seen.first.extend(input.iter().take(4));
        }
        if !is_first && seen.after_end.is_none() {
            seen.after_end = input.first().copied();
        }
        let mut rest = input.as_slice();
        while let Some(event) = decoder.next(&mut rest) {
            match event {
                Event::Frame(payload) if seen.answer.is_none() => {
                    seen.answer = Some(payload);
                    seen.after_end = rest.first().copied();
                }
                Event::Frame(_) => seen.more_answers += 1,
                Event::Warning { warning, .. } => seen.warnings.push(warning.code()),
                Event::Remnant { .. } => seen.warnings.push(frame::Warning::Restart.code()),
                _ => {
                    seen.broken = true;
                    return End::Closed;
                }
            }
        }
        if is_first && seen.answer.is_some() {
            return End::Answered;
        }
    }
}

fn judge_framing(seen: &Seen, end: End, limit: Duration, started: Instant) -> Check {
    let bad = |text: String| Check::new(Step::Framing, Verdict::Bad, started, text);
    if seen.answer.is_some() {
        let mut notes: Vec<String> = seen.warnings.iter().map(|code| explain(code)).collect();
        if seen.after_end != Some(CARRIAGE_RETURN) {
            notes.push("no carriage return (0D) came after the end block (1C)".to_owned());
        }
        notes.dedup();
        let verdict = if notes.is_empty() {
            Verdict::Good
        } else {
            Verdict::Odd
        };
        let text = match verdict {
            Verdict::Good => "start block 0B, end block 1C, carriage return 0D, as it should be",
            _ => "an MLLP frame, with oddities",
        };
        let mut check = Check::new(Step::Framing, verdict, started, text);
        check.notes = notes;
        return check;
    }
    if let Some(what) = foreign(&seen.first) {
        return bad(format!(
            "{} bytes came that are no MLLP frame: {what}",
            seen.size_bytes
        ));
    }
    match end {
        _ if seen.broken => bad("what came is no MLLP frame".to_owned()),
        End::TimedOut if seen.size_bytes == 0 => bad(format!(
            "no answer within {} s: the receiver may hold the message back, or expect TLS",
            limit.as_secs()
        )),
        End::TimedOut => bad(format!(
            "an answer of {} bytes began and did not end within {} s",
            seen.size_bytes,
            limit.as_secs()
        )),
        End::Broken(cause) => bad(format!("the connection broke before an answer: {}", broken(&cause))),
        End::Closed | End::Answered if seen.size_bytes == 0 => bad(
            "the peer closed the connection without an answer: this address may not be allowed, or TLS be expected"
                .to_owned(),
        ),
        End::Closed | End::Answered => bad(format!(
            "the peer closed the connection after {} bytes that are no whole frame",
            seen.size_bytes
        )),
    }
}

/// What speaks there, if it is known and not MLLP.
fn foreign(first: &[u8]) -> Option<&'static str> {
    match first {
        [0x15, 0x03, ..] => Some("the peer speaks TLS; connect with --tls"),
        [b'H', b'T', b'T', b'P', ..] => Some("a web server"),
        [b'S', b'S', b'H', ..] => Some("an SSH server"),
        [b'M', b'S', b'H', ..] => Some("HL7 without the start block 0B of MLLP"),
        _ => None,
    }
}

fn explain(code: &str) -> String {
    let words = match code {
        "mllp-noise-before-frame" => "bytes that belong to no frame came before the answer",
        "mllp-no-cr-after-end-block" => "no carriage return (0D) came after the end block (1C)",
        "mllp-start-block-in-frame" => "a frame began anew before it had ended",
        other => other,
    };
    words.to_owned()
}

fn broken(cause: &io::Error) -> String {
    let inner = cause.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => format!(
            "the peer refused ({alert:?}): it may ask for a certificate of ours (--cert, --key)"
        ),
        _ => cause.to_string(),
    }
}

fn judge_acknowledgement(answer: &[u8], probe: &Probe, started: Instant) -> Check {
    let check = |verdict, text: String| Check::new(Step::Acknowledgement, verdict, started, text);
    let message = match Message::parse(answer) {
        Ok(message) => message,
        Err(error) => return check(Verdict::Bad, format!("the answer is no HL7: {error}")),
    };
    let field = |segment, number| {
        let path = Path::new(segment, Some(number))?;
        message.raw_bytes(&path).map(|value| value.into_owned())
    };
    let code = field("MSA", 1).unwrap_or_default();
    let id = field("MSA", 2).unwrap_or_default();
    let known = ["AA", "AE", "AR", "CA", "CE", "CR"];
    let Some(code) = known.into_iter().find(|known| known.as_bytes() == code) else {
        let text = "the answer has no acknowledgement code of table 0008 in MSA-1";
        return check(Verdict::Bad, text.to_owned());
    };
    let is_positive = matches!(code, "AA" | "CA");
    let mut check = match (id == probe.control_id, is_positive) {
        (false, _) if id.is_empty() => check(
            Verdict::Bad,
            format!("{code}, but MSA-2 is empty: no sender can tell which message it answers"),
        ),
        (false, _) => check(
            Verdict::Bad,
            format!(
                "{code}, but MSA-2 is not the control id that was sent: it answers another message"
            ),
        ),
        (true, true) => check(
            Verdict::Good,
            format!("{code} under the control id that was sent"),
        ),
        (true, false) if probe.is_harmless => check(
            Verdict::Good,
            format!(
                "{code} under the control id that was sent: the receiver refuses this query, as it may; the connection works"
            ),
        ),
        (true, false) => check(
            Verdict::Bad,
            format!("{code} under the control id that was sent: the receiver refuses the message"),
        ),
    };
    let has_text = [("MSA", 3), ("ERR", 8)];
    if has_text
        .iter()
        .any(|(segment, number)| field(segment, *number).is_some_and(|text| !text.is_empty()))
    {
        let note =
            "it comes with a text, which is not shown here, because it may hold patient data";
        check.notes.push(note.to_owned());
    }
    check
}
