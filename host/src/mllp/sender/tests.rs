//! The peers here are written out byte for byte.

use std::collections::HashSet;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(30),
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
    let address = listener.local_addr().unwrap();
    Sender::connect(format!("127.0.0.1:{}", address.port()), TIMEOUTS)
        .await
        .unwrap();
    drop(listener);
    let error = Sender::connect(address, TIMEOUTS).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("connecting to {address} failed: ")),
        "{text}"
    );
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
