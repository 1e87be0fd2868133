//! The peers here are written out byte for byte.

use std::collections::HashSet;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(30),
    application: Duration::from_secs(60),
};

fn pair() -> (Sender<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(1024);
    (Sender::over(ours, TIMEOUTS), theirs)
}

async fn expect(stream: &mut DuplexStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read, bytes);
}

#[tokio::test]
async fn sends_over_one_connection_and_credits_no_foreign_answer() {
    let (mut sender, mut peer) = pair();
    let peer = TaskTracker::new().spawn(async move {
        expect(&mut peer, b"\x0bone\x1c\r").await;
        peer.write_all(b"\x0bfor one\x1c\r\r\n").await.unwrap();
        expect(&mut peer, b"\x0btwo\x1c\r").await;
        peer.write_all(b"\x0bfor another\x1c\r\x0bfor ")
            .await
            .unwrap();
        peer.write_all(b"two\x1c").await.unwrap();
    });
    let answer = sender
        .send(b"one", |answer| answer == b"for one")
        .await
        .unwrap();
    assert_eq!(
        (answer.payload.as_slice(), answer.foreign),
        (b"for one".as_slice(), 0)
    );
    let answer = sender
        .send(b"two", |answer| answer == b"for two")
        .await
        .unwrap();
    assert_eq!(
        (answer.payload.as_slice(), answer.foreign),
        (b"for two".as_slice(), 1)
    );
    peer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_put_aside() {
    let (mut sender, mut peer) = pair();
    let error = sender.send(b"one", |_| true).await.unwrap_err();
    insta::assert_snapshot!(error, @"no acknowledgement came within 30 s");
    assert!(error.keeps_connection());
    peer.write_all(b"\x0bfor one\x1c\r\x0bfor two\x1c\r")
        .await
        .unwrap();
    let answer = sender
        .send(b"two", |answer| answer == b"for two")
        .await
        .unwrap();
    assert_eq!(answer.foreign, 1);
}

#[tokio::test]
async fn says_how_the_connection_ended() {
    let (mut sender, peer) = pair();
    drop(peer);
    let error = sender.send(b"one", |_| true).await.unwrap_err();
    assert!(matches!(error, Error::Closed | Error::Broken(_)), "{error}");

    let (mut sender, mut peer) = pair();
    peer.write_all(b"\x0bhalf an answer").await.unwrap();
    peer.shutdown().await.unwrap();
    let error = sender.send(b"one", |_| true).await.unwrap_err();
    insta::assert_snapshot!(error, @"the peer closed the connection before it acknowledged");
    assert!(!error.keeps_connection());

    let (mut sender, mut peer) = pair();
    let error = sender.send(b"a\x0b", |_| true).await.unwrap_err();
    assert!(matches!(error, Error::Payload(_)));
    let noise = async {
        let _ = peer.write_all(&[b'x'; 5000]).await;
    };
    let (error, ()) = tokio::join!(sender.send(b"one", |_| true), noise);
    assert!(matches!(error, Err(Error::NotMllp)));
}

#[tokio::test]
async fn a_full_window_deadlocks_with_no_peer() {
    // The peer reads nothing until its own answers are taken.
    let (mut sender, mut peer) = pair();
    let large = vec![b'x'; 100_000];
    sender.queue(&large).unwrap();
    let peer = TaskTracker::new().spawn(async move {
        let mut answer = Vec::new();
        frame::encode(&[b'y'; 100_000], &mut answer).unwrap();
        peer.write_all(&answer).await.unwrap();
        peer
    });
    let answer = sender
        .answer(Instant::now() + TIMEOUTS.answer)
        .await
        .unwrap();
    assert_eq!(answer.len(), 100_000);
    peer.await.unwrap();
}

#[tokio::test]
async fn connects_to_a_name_and_says_when_it_cannot() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target(listener.local_addr().unwrap());
    Sender::connect(&target).await.unwrap();
    drop(listener);
    let error = Sender::connect(&target).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("connecting to {} failed: ", target.address)),
        "{text}"
    );
}

fn target(address: std::net::SocketAddr) -> Target {
    Target {
        address: address.to_string(),
        tls: None,
        timeouts: TIMEOUTS,
    }
}

/// The answer to `one` is `for one`; `commit one` comes before it where there are two.
fn judge(key: &&str, answer: &[u8]) -> Match {
    match String::from_utf8_lossy(answer).split_once(' ') {
        Some(("for", name)) if name == *key => Match::Final,
        Some(("commit", name)) if name == *key => Match::Commit,
        _ => Match::Foreign,
    }
}

fn settled(settled: Option<Settled<&str>>) -> String {
    let Some(settled) = settled else {
        return "nothing".to_owned();
    };
    let commit = settled
        .commit
        .map(|commit| String::from_utf8(commit).unwrap());
    let result = match settled.result {
        Ok(answer) => String::from_utf8(answer).unwrap(),
        Err(error) => error.to_string(),
    };
    let key = settled.key;
    format!(
        "{key}: {result}, commit {commit:?}, foreign {}",
        settled.foreign
    )
}

#[tokio::test]
async fn a_link_connects_again_and_credits_nothing_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut link = Link::new(target(listener.local_addr().unwrap()), 2);
    let peer = TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = vec![0; 12];
        stream.read_exact(&mut read).await.unwrap();
        // Out of order, once foreign, once twice, then it hangs up.
        stream
            .write_all(b"\x0bfor nobody\x1c\r\x0bfor two\x1c\r\x0bfor two\x1c\r")
            .await
            .unwrap();
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = vec![0; 8];
        stream.read_exact(&mut read).await.unwrap();
        // What belongs to the first connection's message counts for nothing here.
        stream
            .write_all(b"\x0bfor one\x1c\r\x0bfor three\x1c\r")
            .await
            .unwrap();
        stream
    });
    link.open().await.unwrap();
    link.queue("one", b"one");
    link.queue("two", b"two");
    assert!(!link.has_room());
    insta::assert_snapshot!(settled(link.settle(judge).await), @"two: for two, commit None, foreign 1");
    let lost = settled(link.settle(judge).await);
    assert!(
        lost.starts_with("one: the peer closed the connection before it acknowledged")
            || lost.starts_with("one: the connection broke before"),
        "{lost}"
    );
    assert_eq!(settled(link.settle(judge).await), "nothing");
    link.open().await.unwrap();
    link.queue("three", b"three");
    insta::assert_snapshot!(settled(link.settle(judge).await), @"three: for three, commit None, foreign 1");
    assert_eq!(link.foreign(), 3);
    peer.await.unwrap();
}

#[tokio::test]
async fn a_commit_acknowledgement_is_kept_until_the_application_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = target(listener.local_addr().unwrap());
    target.timeouts.application = Duration::from_millis(50);
    let mut link = Link::new(target, 1);
    let peer = TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = vec![0; 6];
        stream.read_exact(&mut read).await.unwrap();
        stream
            .write_all(b"\x0bcommit one\x1c\r\x0bfor one\x1c\r")
            .await
            .unwrap();
        stream.read_exact(&mut read).await.unwrap();
        stream.write_all(b"\x0bcommit two\x1c\r").await.unwrap();
        stream
    });
    link.open().await.unwrap();
    link.queue("one", b"one");
    insta::assert_snapshot!(settled(link.settle(judge).await), @r#"one: for one, commit Some("commit one"), foreign 0"#);
    link.queue("two", b"two");
    insta::assert_snapshot!(settled(link.settle(judge).await), @r#"two: the message was taken, but no application acknowledgement came within 0.05 s, commit Some("commit two"), foreign 0"#);
    link.queue("a", b"a\x0b");
    insta::assert_snapshot!(settled(link.settle(judge).await), @"a: byte 0x0b at offset 1 is a block character of MLLP and cannot stand in a payload, commit None, foreign 0");
    peer.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_the_peer_closed_meanwhile_takes_no_payload() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut link = Link::new(target(listener.local_addr().unwrap()), 1);
    let closed = std::sync::Arc::new(tokio::sync::Notify::new());
    let peer = TaskTracker::new().spawn({
        let closed = closed.clone();
        async move {
            for name in [b"one", b"two"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut read = vec![0; 6];
                stream.read_exact(&mut read).await.unwrap();
                let answer = [b"\x0bfor ".as_slice(), name, b"\x1c\r"].concat();
                stream.write_all(&answer).await.unwrap();
                drop(stream);
                closed.notify_one();
            }
        }
    });
    for key in ["one", "two"] {
        let ended = link.send(key, key.as_bytes(), judge).await;
        assert_eq!(ended.result.unwrap(), format!("for {key}").as_bytes());
        closed.notified().await;
    }
    peer.await.unwrap();
}

#[test]
fn waits_grow_and_never_fall_together() {
    let backoff = Backoff::default();
    let seconds = |failures, random| backoff.delay(failures, random).as_secs_f32().round();
    assert_eq!(
        [0, 1].map(|failures| seconds(failures, u32::MAX)),
        [0.0, 0.0]
    );
    let most = [2, 3, 4, 7, 8, 100].map(|failures| seconds(failures, u32::MAX));
    assert_eq!(most, [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]);
    assert_eq!(seconds(100, 0), 30.0);
    assert_eq!(Backoff::NONE.delay(100, u32::MAX), Duration::ZERO);
}

#[tokio::test]
async fn keeps_each_kind_of_oddity_once() {
    let (mut sender, mut peer) = pair();
    peer.write_all(b"\x0bone\x1c\x0btwo\x1cxx\x0bthree\x1c\r")
        .await
        .unwrap();
    for _ in 0..3 {
        sender
            .answer(Instant::now() + TIMEOUTS.answer)
            .await
            .unwrap();
    }
    let warnings: HashSet<Warning> = sender.warnings().iter().copied().collect();
    assert_eq!(
        warnings,
        HashSet::from([Warning::NoCarriageReturn, Warning::Noise])
    );
    assert_eq!(sender.warnings().len(), 2);
}
