//! Several callers of one line, and a target that cannot be reached.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::super::Timeouts;
use super::*;

fn line(address: &str, backoff: Backoff, stop: &CancellationToken) -> Line {
    let target = Target {
        address: address.to_owned(),
        tls: None,
        timeouts: Timeouts::default(),
    };
    let (line, work) = Line::new(target, 1, backoff, stop.clone());
    TaskTracker::new().spawn(work);
    line
}

fn is_for(name: &'static str) -> impl Fn(&[u8]) -> Match + Send + Sync + 'static {
    move |answer| match answer == format!("for {name}").as_bytes() {
        true => Match::Final,
        false => Match::Foreign,
    }
}

/// Reads one frame of three letters and gives what is in it.
async fn frame(stream: &mut TcpStream) -> String {
    let mut read = [0; 6];
    stream.read_exact(&mut read).await.unwrap();
    String::from_utf8(read[1..4].to_vec()).unwrap()
}

#[tokio::test]
async fn callers_share_one_connection_and_wait_for_their_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            let name = frame(&mut stream).await;
            // The next one waits for this answer.
            let more = stream.try_read(&mut [0; 8]);
            assert!(more.is_err(), "{more:?}");
            let answer = format!("\x0bfor nobody\x1c\r\x0bfor {name}\x1c\r");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let stop = CancellationToken::new();
    let line = line(&address, Backoff::default(), &stop);
    let (one, two, six) = tokio::join!(
        line.send(b"one".to_vec(), is_for("one")),
        line.send(b"two".to_vec(), is_for("two")),
        line.send(b"six".to_vec(), is_for("six")),
    );
    for (settled, name) in [(one, "one"), (two, "two"), (six, "six")] {
        assert_eq!(settled.foreign, 1);
        assert_eq!(settled.result.unwrap(), format!("for {name}").as_bytes());
    }
    peer.await.unwrap();
}

#[tokio::test]
async fn nobody_is_kept_waiting_for_a_target_that_rests() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let stop = CancellationToken::new();
    let long = Backoff {
        first: Duration::from_secs(3_600),
        most: Duration::from_secs(3_600),
    };
    let line = line(&address, long, &stop);
    for expected in ["connecting", "connecting", "resting"] {
        let error = line.send(b"one".to_vec(), is_for("one")).await;
        let error = error.result.unwrap_err();
        let found = match error {
            Error::Connect { .. } => "connecting",
            Error::Resting { .. } => "resting",
            _ => "something else",
        };
        assert_eq!(found, expected, "{error}");
        assert!(!error.was_sent());
    }
}

#[tokio::test]
async fn a_stop_lets_the_answer_come_that_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let line = line(&address, Backoff::default(), &stop);
    let peer = TaskTracker::new().spawn({
        let stop = stop.clone();
        async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(frame(&mut stream).await, "one");
            stop.cancel();
            stream.write_all(b"\x0bfor one\x1c\r").await.unwrap();
            // Nothing more is sent.
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        }
    });
    let (one, two) = tokio::join!(
        line.send(b"one".to_vec(), is_for("one")),
        line.send(b"two".to_vec(), is_for("two")),
    );
    assert_eq!(one.result.unwrap(), b"for one");
    assert!(matches!(two.result, Err(Error::Stopped)));
    let late = line.send(b"six".to_vec(), is_for("six")).await;
    assert!(matches!(late.result, Err(Error::Stopped)));
    drop(line);
    peer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_finds_the_line_full_is_given_a_turn_of_their_own() {
    let mut turns = Turns {
        each: Duration::ZERO,
        given: Instant::now(),
    };
    assert_eq!(turns.next(), SOONEST);
    for _ in 0..100 {
        turns.note(Duration::from_millis(10));
    }
    let waits: Vec<u128> = (0..3).map(|_| turns.next().as_millis()).collect();
    // Behind the 128 who wait, one after the other.
    assert_eq!(waits, [1_289, 1_299, 1_309]);
    for _ in 0..10_000 {
        turns.next();
    }
    assert_eq!(turns.next(), LATEST);
}
