//! Peers here speak raw bytes: over TCP where sockets matter, over an in-memory stream where the clock is paused.

mod bounds;
mod telling;

use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;

const LIMITS: Limits = Limits {
    max_payload_bytes: 64 * 1024,
    frame_timeout: Duration::from_secs(30),
    max_connections: 8,
    max_connections_of_one: 8,
    budget_bytes: 1024 * 1024,
    idle_close: None,
    framing: Framing {
        strict: false,
        unframed_starts: &[],
    },
    commit_blocks: false,
};

/// What a listener was given, one line each.
type Log = Arc<Mutex<Vec<String>>>;

fn note(log: &Log, received: &Received) -> Vec<u8> {
    let payload = received.payload.escape_ascii().to_string();
    let line = match received.fault {
        Some(fault) => format!("{payload} ({})", fault.code()),
        None => payload,
    };
    log.lock().unwrap().push(line);
    [b"ack ", received.payload.as_slice()].concat()
}

/// Answers `ack` and the payload at once.
fn echo(log: &Log) -> impl Fn(Received) -> std::future::Ready<Reply> + Clone + use<> {
    let log = log.clone();
    move |received| {
        let answers = vec![note(&log, &received)];
        std::future::ready(Reply {
            answers,
            ..Reply::default()
        })
    }
}

struct Rig {
    address: SocketAddr,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Rig {
    async fn start<F, Fut>(limits: Limits, receive: F) -> Self
    where
        F: Fn(Received) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tracker = TaskTracker::new();
        let shutdown = CancellationToken::new();
        let access = Access::default();
        let serving = serve(
            listener,
            limits,
            access,
            receive,
            tracker.clone(),
            shutdown.clone(),
        );
        tracker.spawn(serving);
        Self {
            address,
            tracker,
            shutdown,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// One connection over memory, whose peer end is returned.
fn over_memory<F, Fut>(
    buffer: usize,
    receive: F,
) -> (DuplexStream, CancellationToken, JoinHandle<()>)
where
    F: Fn(Received) -> Fut + Send + 'static,
    Fut: Future<Output = Reply> + Send + 'static,
{
    over_memory_within(LIMITS, buffer, receive)
}

fn over_memory_within<F, Fut>(
    limits: Limits,
    buffer: usize,
    receive: F,
) -> (DuplexStream, CancellationToken, JoinHandle<()>)
where
    F: Fn(Received) -> Fut + Send + 'static,
    Fut: Future<Output = Reply> + Send + 'static,
{
    let (ours, theirs) = tokio::io::duplex(buffer);
    let (reader, writer) = tokio::io::split(theirs);
    let shutdown = CancellationToken::new();
    let connection = Connection {
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        peer_subject: None,
        limits,
        budget: Arc::new(Budget::new(limits.budget_bytes, limits.max_payload_bytes)),
        receive,
        shutdown: shutdown.child_token(),
    };
    let task = TaskTracker::new().spawn(connection.run(reader, writer));
    (ours, shutdown, task)
}

async fn expect(stream: &mut (impl AsyncRead + Unpin), bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(
        read.escape_ascii().to_string(),
        bytes.escape_ascii().to_string()
    );
}

async fn expect_end(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest.escape_ascii().to_string(), "");
}

#[tokio::test]
async fn answers_every_frame_in_order() {
    let log = Log::default();
    let rig = Rig::start(LIMITS, echo(&log)).await;
    let mut stream = rig.connect().await;
    for byte in b"\x0bone\x1c\r" {
        stream.write_all(&[*byte]).await.unwrap();
    }
    expect(&mut stream, b"\x0back one\x1c\r").await;
    stream
        .write_all(b"\r\n\x0btwo\x1c\x0bthree\x1c\r\x0bfo")
        .await
        .unwrap();
    expect(&mut stream, b"\x0back two\x1c\r\x0back three\x1c\r").await;
    stream.write_all(b"ur\x1c").await.unwrap();
    expect(&mut stream, b"\x0back four\x1c\r").await;
    rig.stop().await;
    expect_end(&mut stream).await;
    assert_eq!(*log.lock().unwrap(), ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn hands_on_one_payload_of_a_connection_at_a_time() {
    let running = Arc::new(AtomicUsize::new(0));
    let rig = Rig::start(LIMITS, move |received: Received| {
        let running = running.clone();
        async move {
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            Reply {
                answers: vec![received.payload],
                ..Reply::default()
            }
        }
    })
    .await;
    let mut stream = rig.connect().await;
    let frames: Vec<u8> = (0..500)
        .flat_map(|n| format!("\x0b{n}\x1c\r").into_bytes())
        .collect();
    let (mut reader, mut writer) = stream.split();
    tokio::join!(
        async { writer.write_all(&frames).await.unwrap() },
        expect(&mut reader, &frames)
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_peer_that_ends_its_half_gets_its_answers() {
    let rig = Rig::start(LIMITS, echo(&Log::default())).await;
    let mut stream = rig.connect().await;
    stream
        .write_all(b"\x0bone\x1c\r\x0btwo\x1c\r")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    expect(&mut stream, b"\x0back one\x1c\r\x0back two\x1c\r").await;
    expect_end(&mut stream).await;
}

#[tokio::test]
async fn sends_as_many_answers_as_there_are_and_closes_when_told() {
    let rig = Rig::start(LIMITS, async |received: Received| {
        match received.payload.as_slice() {
            b"none" => Reply::default(),
            b"two" => Reply {
                answers: vec![b"commit".to_vec(), b"application".to_vec()],
                ..Reply::default()
            },
            _ => Reply {
                answers: vec![b"bye".to_vec()],
                close: true,
                ..Reply::default()
            },
        }
    })
    .await;
    let mut stream = rig.connect().await;
    stream
        .write_all(b"\x0bnone\x1c\r\x0btwo\x1c\r\x0blast\x1c\r\x0bnone\x1c\r")
        .await
        .unwrap();
    expect(
        &mut stream,
        b"\x0bcommit\x1c\r\x0bapplication\x1c\r\x0bbye\x1c\r",
    )
    .await;
    expect_end(&mut stream).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_framed_closes_the_connection() {
    let rig = Rig::start(LIMITS, async |_: Received| Reply {
        answers: vec![b"a\x0bb".to_vec()],
        ..Reply::default()
    })
    .await;
    let mut stream = rig.connect().await;
    stream.write_all(b"\x0bone\x1c\r").await.unwrap();
    expect_end(&mut stream).await;
}

#[tokio::test]
async fn broken_frames_are_handed_on_and_never_answered() {
    let log = Log::default();
    let rig = Rig::start(LIMITS, echo(&log)).await;
    let mut stream = rig.connect().await;
    stream
        .write_all(b"\x0bhalf\x0bwhole\x1c\r\x0bcut")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    expect(&mut stream, b"\x0back whole\x1c\r").await;
    expect_end(&mut stream).await;
    assert_eq!(
        *log.lock().unwrap(),
        [
            "half (mllp-start-block-in-frame)",
            "whole",
            "cut (mllp-frame-cut-off)"
        ]
    );
}

#[tokio::test]
async fn an_oversized_frame_closes_its_connection_alone() {
    let log = Log::default();
    let rig = Rig::start(
        Limits {
            max_payload_bytes: 10,
            ..LIMITS
        },
        echo(&log),
    )
    .await;
    let mut other = rig.connect().await;
    let mut stream = rig.connect().await;
    stream
        .write_all(b"\x0b0123456789\x1c\r\x0b0123456789x")
        .await
        .unwrap();
    expect(&mut stream, b"\x0back 0123456789\x1c\r").await;
    expect_end(&mut stream).await;
    other.write_all(b"\x0bone\x1c\r").await.unwrap();
    expect(&mut other, b"\x0back one\x1c\r").await;
    assert_eq!(
        *log.lock().unwrap(),
        ["0123456789", "0123456789 (mllp-frame-too-large)", "one"]
    );
}

#[tokio::test]
async fn connections_over_the_limit_wait() {
    let rig = Rig::start(
        Limits {
            max_connections: 1,
            ..LIMITS
        },
        echo(&Log::default()),
    )
    .await;
    let mut first = rig.connect().await;
    first.write_all(b"\x0bone\x1c\r").await.unwrap();
    expect(&mut first, b"\x0back one\x1c\r").await;
    let mut second = rig.connect().await;
    second.write_all(b"\x0btwo\x1c\r").await.unwrap();
    first.write_all(b"\x0bthree\x1c\r").await.unwrap();
    expect(&mut first, b"\x0back three\x1c\r").await;
    assert!(
        second.try_read(&mut [0; 1]).is_err(),
        "nobody serves the second connection yet"
    );
    drop(first);
    expect(&mut second, b"\x0back two\x1c\r").await;
}

#[tokio::test]
async fn shutdown_answers_what_was_read_whole() {
    let log = Log::default();
    let started = Arc::new(Notify::new());
    let finish = Arc::new(Notify::new());
    let rig = Rig::start(LIMITS, {
        let (log, started, finish) = (log.clone(), started.clone(), finish.clone());
        move |received: Received| {
            let answers = vec![note(&log, &received)];
            let (started, finish) = (started.clone(), finish.clone());
            async move {
                started.notify_one();
                finish.notified().await;
                Reply {
                    answers,
                    ..Reply::default()
                }
            }
        }
    })
    .await;
    let mut stream = rig.connect().await;
    let mut idle = rig.connect().await;
    stream
        .write_all(b"\x0bone\x1c\r\x0btwo\x1c\r\x0bthr")
        .await
        .unwrap();
    started.notified().await;
    rig.shutdown.cancel();
    expect_end(&mut idle).await;
    finish.notify_one();
    expect(&mut stream, b"\x0back one\x1c\r").await;
    started.notified().await;
    finish.notify_one();
    expect(&mut stream, b"\x0back two\x1c\r").await;
    expect_end(&mut stream).await;
    rig.stop().await;
    assert_eq!(*log.lock().unwrap(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_frame_must_end_in_time_and_silence_between_frames_may_last() {
    let log = Log::default();
    let (mut peer, _shutdown, task) = over_memory(1024, echo(&log));
    peer.write_all(b"\x0bone\x1c\r").await.unwrap();
    expect(&mut peer, b"\x0back one\x1c\r").await;
    sleep(Duration::from_secs(100_000)).await;
    peer.write_all(b"\x0btwo\x1c\r").await.unwrap();
    expect(&mut peer, b"\x0back two\x1c\r").await;

    let started = Instant::now();
    for part in [b"\x0bslow".as_slice(), b"still", b"still"] {
        peer.write_all(part).await.unwrap();
        sleep(Duration::from_secs(9)).await;
    }
    expect_end(&mut peer).await;
    assert_eq!(started.elapsed().as_secs(), 30);
    drop(peer);
    task.await.unwrap();
    assert_eq!(
        log.lock().unwrap().last().map(String::as_str),
        Some("slowstillstill (mllp-frame-timed-out)")
    );
}

#[tokio::test(start_paused = true)]
async fn noise_without_a_frame_closes() {
    let log = Log::default();
    let (mut peer, _shutdown, _task) = over_memory(1024, echo(&log));
    let started = Instant::now();
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    expect_end(&mut peer).await;
    assert_eq!(started.elapsed().as_secs(), 10);

    let (mut peer, _shutdown, _task) = over_memory(64 * 1024, echo(&log));
    let started = Instant::now();
    peer.write_all(&[b'x'; 5000]).await.unwrap();
    expect_end(&mut peer).await;
    assert_eq!(started.elapsed().as_secs(), 0);
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_the_next_payload_and_ends_at_shutdown() {
    let receive = async |received: Received| Reply {
        answers: vec![received.payload],
        pause: Some(Duration::from_secs(60)),
        ..Reply::default()
    };
    let (mut peer, shutdown, _task) = over_memory(1024, receive);
    let started = Instant::now();
    peer.write_all(b"\x0bone\x1c\r\x0btwo\x1c\r\x0bthree\x1c\r")
        .await
        .unwrap();
    expect(&mut peer, b"\x0bone\x1c\r").await;
    assert_eq!(started.elapsed().as_secs(), 0);
    expect(&mut peer, b"\x0btwo\x1c\r").await;
    assert_eq!(started.elapsed().as_secs(), 60);
    shutdown.cancel();
    expect(&mut peer, b"\x0bthree\x1c\r").await;
    expect_end(&mut peer).await;
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_holds_the_sender_back() {
    let receive = async |_: Received| -> Reply { pending().await };
    let (mut peer, _shutdown, _task) = over_memory(1024, receive);
    let frames = b"\x0bmessage\x1c\r".repeat(100_000);
    let mut written = 0;
    let write = async {
        while written < frames.len() {
            written += peer.write(&frames[written..]).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(5), write).await.is_err());
    assert!(written < 2 * LARGE, "{written} bytes were taken");
}

/// More than one read buffer and one pipe.
const LARGE: usize = 32 * 1024;

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_answers_is_dropped() {
    let (mut peer, _shutdown, task) = over_memory(1024, echo(&Log::default()));
    let frames = b"\x0bmessage\x1c\r".repeat(100_000);
    let started = Instant::now();
    let write = peer.write_all(&frames);
    assert!(timeout(Duration::from_secs(5), write).await.is_err());
    task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[test]
fn debug_shows_no_payload() {
    let received = Received {
        payload: b"patient".to_vec(),
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        peer_subject: None,
        fault: None,
        warnings: Vec::new(),
    };
    assert!(!format!("{received:?}").contains("patient"));
    assert!(format!("{received:?}").contains("size_bytes: 7"));
}
