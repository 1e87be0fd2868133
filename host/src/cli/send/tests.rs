//! Files go to a real listener whose answers are written out here.

use std::collections::HashSet;
use std::sync::Mutex;

use clap::{CommandFactory, Parser};
use insta::assert_snapshot;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::*;
use crate::mllp::listener::{self, Access, Limits, Received, Reply};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

#[test]
fn the_arguments_are_sound() {
    Cli::command().debug_assert();
}

/// A listener that answers each payload with what `answer` makes of its control id; no answer closes the connection.
async fn listen(
    answer: impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static,
) -> (String, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limits = Limits {
        max_payload_bytes: 100_000,
        ..Limits::default()
    };
    let access = Access::default();
    let receive = move |received: Received| {
        let text = String::from_utf8(received.payload).unwrap();
        assert!(!text.contains('\n'), "segments end in CR");
        let answer = answer(text.split('|').nth(9).unwrap_or_default());
        async move {
            Reply {
                close: answer.is_none(),
                answers: answer.map(String::into_bytes).into_iter().collect(),
                ..Reply::default()
            }
        }
    };
    let tracker = TaskTracker::new();
    let shutdown = CancellationToken::new();
    let serving = listener::serve(
        listener,
        limits,
        access,
        receive,
        tracker.clone(),
        shutdown.clone(),
    );
    tracker.spawn(serving);
    (address, shutdown.drop_guard())
}

fn ack(code: &str, id: &str, text: &str) -> Option<String> {
    Some(format!(
        "MSH|^~\\&|||||20260102||ACK|1|P|2.5.1\rMSA|{code}|{id}|{text}\r"
    ))
}

/// Sends `file` and returns the exit status and what was printed, times blotted out.
async fn check(file: &str, to: &str, flags: &[&str]) -> anyhow::Result<(u8, String)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.hl7");
    std::fs::write(&path, file)?;
    let path = path.display().to_string();
    let arguments = [["send", &path, "--to", to].as_slice(), flags].concat();
    let mut out = Vec::new();
    let status = run(Cli::try_parse_from(arguments)?.args, &mut out).await?;
    let text = String::from_utf8(out)?;
    let line = |line: &str| match line.split_once(" ms") {
        Some((before, after)) => format!(
            "{}* ms{after}",
            before.trim_end_matches(|c| ".0123456789".contains(c))
        ),
        None => line.replace(&folder.path().display().to_string(), ""),
    };
    Ok((
        status,
        text.lines().map(line).collect::<Vec<_>>().join("\n"),
    ))
}

const TWO: &str = "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|ID1|P|2.5.1\nPID|1\n\n\
    MSH|^~\\&|A|B|C|D|20260101||ADT^A04|ID2|P|2.5.1\r\nPID|2\r\n";

#[tokio::test]
async fn prints_a_line_for_each_acknowledgement() {
    let (to, _guard) = listen(|id| ack("AA", id, "")).await;
    let (status, text) = check(TWO, &to, &[]).await.unwrap();
    assert_eq!(status, 0);
    assert_snapshot!(text, @r"
    ID1  AA  * ms
    ID2  AA  * ms
    2 messages: 2 AA
    ");
    let batch = format!("FHS|^~\\&\rBHS|^~\\&\r{TWO}BTS|2\rFTS|1\r");
    assert_eq!(check(&batch, &to, &[]).await.unwrap().1, text);
    let frames = "\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A04|ID1|P|2.5.1\r\x1c\r\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A04|ID2|P|2.5.1\r\x1c\r";
    assert_eq!(check(frames, &to, &[]).await.unwrap().1, text);
}

#[tokio::test]
async fn fails_unless_all_are_accepted_under_their_own_control_id() {
    let (to, _guard) = listen(|id| match id {
        "ID1" => ack("CA", id, "stored"),
        _ => ack("AE", id, "cannot be stored now"),
    })
    .await;
    let (status, text) = check(TWO, &to, &[]).await.unwrap();
    assert_eq!(status, 1);
    assert_snapshot!(text, @r"
    ID1  CA  * ms  stored
    ID2  AE  * ms  cannot be stored now
    2 messages: 1 AE, 1 CA
    ");
}

#[tokio::test(start_paused = true)]
async fn credits_no_foreign_acknowledgement() {
    let (to, _guard) = listen(|_| ack("AA", "ID9", "")).await;
    let (status, text) = check(TWO, &to, &["--json"]).await.unwrap();
    assert_eq!(status, 1);
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line["error"], "no acknowledgement came within 30 s");
    assert_eq!(line["control_id"], "ID1");
    assert_eq!(line["file"], "/a.hl7");
    assert_eq!(line["accepted"], false);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let summary = &last["summary"];
    assert_eq!(summary["messages"], 2);
    assert_eq!(summary["accepted"], 0);
    assert_eq!(summary["unsent"], 0);
    let errors = json!({ "no acknowledgement came within 30 s": 2 });
    assert_eq!(summary["errors"], errors);
}

#[tokio::test]
async fn goes_on_over_a_new_connection() {
    let (to, _guard) = listen(|id| if id == "ID1" { None } else { ack("AA", id, "") }).await;
    let (status, text) = check(TWO, &to, &[]).await.unwrap();
    assert_eq!(status, 1);
    assert_snapshot!(text, @r"
    ID1  --  * ms  the peer closed the connection before it acknowledged
    ID2  AA  * ms
    2 messages: 1 AA, 1 without an acknowledgement
    ");
}

#[tokio::test]
async fn waits_for_the_application_acknowledgement_when_told() {
    let (to, _guard) = listen(|id| {
        // Two frames in one answer: the listener of the tests has no second.
        ack("CA", id, "")
            .filter(|_| id == "ID1")
            .or_else(|| ack("AA", id, ""))
    })
    .await;
    let flags = ["--application-ack", "--timeout", "1"];
    let (status, text) = check(TWO, &to, &flags).await.unwrap();
    assert_eq!(status, 1);
    assert_snapshot!(text, @r"
    ID1  --  * ms  the message was taken, but no application acknowledgement came within 1 s
    ID2  AA  * ms
    2 messages: 1 AA, 1 without an acknowledgement
    ");
}

#[tokio::test]
async fn a_folder_is_sent_in_the_order_of_its_names() {
    let (to, _guard) = listen(|id| ack("AA", id, "")).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, id) in [("b.hl7", "ID2"), ("a.hl7", "ID1"), (".hidden", "ID3")] {
        let text = format!("MSH|^~\\&|A|B|C|D|20260101||ADT^A04|{id}|P|2.5.1\r");
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = folder.path().display().to_string();
    let arguments = ["send", &path, "--to", &to];
    let mut out = Vec::new();
    let status = run(Cli::try_parse_from(arguments).unwrap().args, &mut out).await;
    assert_eq!(status.unwrap(), 0);
    let text = String::from_utf8(out).unwrap();
    let ids: Vec<&str> = text.lines().map(|line| &line[..3]).collect();
    assert_eq!(ids, ["ID1", "ID2", "2 m"]);
    std::fs::remove_dir_all(folder.path()).unwrap();
    std::fs::create_dir(folder.path()).unwrap();
    let arguments = Cli::try_parse_from(arguments).unwrap().args;
    let error = run(arguments, &mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().ends_with("holds no file"), "{error}");
}

#[tokio::test]
async fn says_when_nobody_listens() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = closed.local_addr().unwrap().to_string();
    drop(closed);
    let (status, text) = check(TWO, &to, &[]).await.unwrap();
    assert_eq!(status, 1);
    let text = text.replace(&to, "ADDRESS");
    assert_snapshot!(text, @r"
    ID1  --  * ms  connecting to ADDRESS failed: Connection refused (os error 111)
    1 more not sent
    1 message: 1 without an acknowledgement
    ");
}

#[tokio::test]
async fn sends_what_is_no_message_unless_it_must_be_stamped() {
    let (to, _guard) = listen(|_| ack("AR", "", "no MSH segment")).await;
    let (status, text) = check("hello", &to, &[]).await.unwrap();
    assert_eq!(status, 1);
    assert_snapshot!(text, @"(no control id)  AR  * ms  no MSH segment");
    let error = check("hello", &to, &["--new-control-id"])
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("a.hl7, message 1"), "{error}");
    let error = check("\n", &to, &[]).await.unwrap_err();
    assert_snapshot!(error, @"the files hold no message");
}

#[tokio::test]
async fn as_a_load_generator_gives_every_message_a_control_id_of_its_own() {
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let ids = seen.clone();
    let (to, _guard) = listen(move |id| {
        assert!(ids.lock().unwrap().insert(id.to_owned()));
        ack("AA", id, "")
    })
    .await;
    let flags = ["--count", "1000", "--connections", "4", "--window", "8"];
    let (status, text) = check(TWO, &to, &[flags.as_slice(), &["--json"]].concat())
        .await
        .unwrap();
    assert_eq!(status, 0, "{text}");
    let figures: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(figures["codes"], json!({ "AA": 1000 }));
    assert_eq!(figures["connections"], 4);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1000);
    assert!(seen.iter().all(|id| id.len() <= 20));
}

#[test]
fn figures_fit_on_a_few_lines() {
    let tally = Tally {
        messages: 102,
        accepted: 99,
        codes: BTreeMap::from([("AA".to_owned(), 99), ("AE".to_owned(), 1)]),
        errors: BTreeMap::from([("no acknowledgement came within 30 s".to_owned(), 2)]),
        latencies_us: (1..=100).map(|ms| ms * 1_000).collect(),
    };
    let figures = Figures {
        tally: &tally,
        connections: 4,
        window: 2,
        unsent: 3,
        duration: Duration::from_millis(500),
    };
    assert_snapshot!(figures.text(), @r"
    102 messages over 4 connections, window 2, in 0.50 s: 200 messages/s
    latency p50 50.00 ms, p95 95.00 ms, p99 99.00 ms, max 100.00 ms
    AA 99
    AE 1
    2 without an acknowledgement: no acknowledgement came within 30 s
    3 more not sent
    ");
}
