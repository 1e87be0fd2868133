//! A connection: frames in, answers out, in the order they came.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{acknowledgement, codes};
use super::judge::judge;
use super::mood::{Kind, Mood};
use super::reader::Message;
use super::{Ehr, Received};

const START: u8 = 0x0b;
const END: [u8; 2] = [0x1c, b'\r'];

/// Largest frame that is taken.
const MOST: usize = 16 * 1024 * 1024;

/// Takes connections until `shutdown`.
pub(super) async fn serve(
    listener: TcpListener,
    ehr: Arc<Ehr>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors or a caller already gone: look again a little later.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (ehr, stop) = (Arc::clone(&ehr), shutdown.clone());
        tracker.spawn(async move {
            tokio::select! {
                // A peer that goes away is nothing to tell of.
                _ = talk(&ehr, stream) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn talk(ehr: &Ehr, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let connection = {
        let mut state = ehr.state();
        state.connections += 1;
        state.connections
    };
    let mut read = Vec::new();
    loop {
        while let Some(payload) = frame(&mut read, ehr) {
            if !take(ehr, &mut stream, connection, &payload).await? {
                return Ok(());
            }
        }
        if read.len() > MOST {
            ehr.state().noise.push("a frame that does not end".into());
            return Ok(());
        }
        if stream.read_buf(&mut read).await? == 0 {
            if !read.is_empty() {
                ehr.state().noise.push("half a frame".into());
            }
            return Ok(());
        }
    }
}

/// Takes a whole frame off what was read; what lies outside of frames is noted.
fn frame(read: &mut Vec<u8>, ehr: &Ehr) -> Option<Vec<u8>> {
    let start = read.iter().position(|byte| *byte == START);
    let outside = start.unwrap_or(read.len());
    if outside > 0 {
        read.drain(..outside);
        let text = format!("{outside} bytes outside of frames");
        ehr.state().noise.push(text);
    }
    let end = read.windows(2).position(|pair| pair == END)?;
    let frame: Vec<u8> = read.drain(..end + END.len()).collect();
    let payload = frame[1..end].to_vec();
    if payload.contains(&START) {
        ehr.state()
            .noise
            .push("a start block inside a frame".into());
    }
    Some(payload)
}

/// Notes a message and answers it; says whether the connection goes on.
async fn take(
    ehr: &Ehr,
    stream: &mut TcpStream,
    connection: usize,
    payload: &[u8],
) -> io::Result<bool> {
    let (mood, answers) = note(ehr, connection, payload);
    ehr.changed.notify_waiters();
    if mood.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(mood.delay_ms)).await;
    }
    match mood.kind {
        Kind::Silent => return Ok(true),
        Kind::Drop => return Ok(false),
        Kind::Noise => stream.write_all(b"BUSY, CALL AGAIN\r\n").await?,
        Kind::Rubbish => {
            let bytes = [&[START][..], b"{\"status\":\"ok\"}", &END].concat();
            stream.write_all(&bytes).await?;
        }
        _ => {}
    }
    for answer in answers {
        let bytes = [&[START][..], &answer, &END].concat();
        if mood.kind == Kind::Half {
            stream.write_all(&bytes[..bytes.len() / 2]).await?;
            return Ok(false);
        }
        stream.write_all(&bytes).await?;
    }
    Ok(true)
}

/// Notes a message; gives what to do with it and what to answer.
fn note(ehr: &Ehr, connection: usize, payload: &[u8]) -> (Mood, Vec<Vec<u8>>) {
    let (text, mut findings) = judge(payload);
    let message = Message::read(&text, &mut Vec::new());
    let part = |number, component| {
        let message = message.as_ref();
        message.map_or("", |it| it.component("MSH", number, component))
    };
    let event = format!("{}^{}", part(9, 1), part(9, 2));
    let control_id = part(10, 1).to_owned();
    let state = &mut *ehr.state();
    let entry = state.ids.entry(control_id.clone());
    let (count, first) = entry.or_insert_with(|| (0, payload.to_vec()));
    let repeats = *count;
    *count += 1;
    if first.as_slice() != payload {
        findings.push("MSH-10 is that of another message".into());
    }
    let mood = state.moods.next(&event);
    let is_good = findings.is_empty() || !ehr.settings.is_strict;
    let settings = &ehr.settings;
    let mut acknowledge =
        |code: &str, id: Option<&str>| acknowledgement(settings, state, message.as_ref(), code, id);
    let id = Some(control_id.as_str());
    let (said, answers) = match mood.kind {
        Kind::Honest | Kind::Half => {
            let codes = codes(message.as_ref(), is_good);
            let answers = codes.iter().map(|code| acknowledge(code, id)).collect();
            (codes.join(" "), answers)
        }
        Kind::Foreign => {
            let other = format!("X{control_id}");
            (
                "AA to another".into(),
                vec![acknowledge("AA", Some(&other))],
            )
        }
        Kind::NoMsa => ("no MSA".into(), vec![acknowledge("AA", None)]),
        Kind::UnknownCode => ("OK".into(), vec![acknowledge("OK", id)]),
        Kind::Rubbish => ("rubbish".into(), Vec::new()),
        Kind::Noise => ("noise".into(), Vec::new()),
        Kind::Silent => ("nothing".into(), Vec::new()),
        Kind::Drop => ("closed".into(), Vec::new()),
        kind => {
            let code = kind.code().unwrap_or("AA");
            (code.to_owned(), vec![acknowledge(code, id)])
        }
    };
    state.received.push(Received {
        seq: state.received.len() + 1,
        at_ms: Timestamp::now().as_millisecond(),
        connection,
        event,
        control_id,
        repeats,
        findings,
        answered: if said.is_empty() {
            "nothing".into()
        } else {
            said
        },
        text: text.clone(),
    });
    (mood, answers)
}
