//! What a peer may not do: stay idle, be odd, be somebody else, or take the memory of all.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_where_that_is_wanted() {
    let limits = Limits {
        idle_close: Some(Duration::from_secs(60)),
        ..LIMITS
    };
    let (mut peer, _shutdown, _task) = over_memory_within(limits, 1024, echo(&Log::default()));
    sleep(Duration::from_secs(50)).await;
    peer.write_all(b"\x0bone\x1c\r").await.unwrap();
    expect(&mut peer, b"\x0back one\x1c\r").await;
    let started = Instant::now();
    expect_end(&mut peer).await;
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn strict_framing_closes_and_keeps_what_came() {
    let limits = Limits {
        framing: Framing {
            strict: true,
            unframed_starts: &[],
        },
        ..LIMITS
    };
    let log = Log::default();
    let (mut peer, _shutdown, task) = over_memory_within(limits, 1024, echo(&log));
    peer.write_all(b"\x0bone\x1c\r\x0btwo\x1c\x0bthree\x1c\r")
        .await
        .unwrap();
    expect(&mut peer, b"\x0back one\x1c\r").await;
    expect_end(&mut peer).await;
    task.await.unwrap();
    assert_eq!(
        *log.lock().unwrap(),
        ["one", "two (mllp-framing-not-strict)"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_tls_hello_on_a_plain_port_closes_at_once() {
    let (mut peer, _shutdown, _task) = over_memory(1024, echo(&Log::default()));
    let started = Instant::now();
    peer.write_all(b"\x16\x03\x01\x02\x00").await.unwrap();
    expect_end(&mut peer).await;
    assert_eq!(started.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn large_frames_share_a_budget_and_small_ones_always_pass() {
    const LARGE_FRAME: usize = 3 * 1024 * 1024;
    let limits = Limits {
        max_payload_bytes: 2 * LARGE_FRAME,
        budget_bytes: 1,
        ..LIMITS
    };
    let budget = Arc::new(Budget::new(limits.budget_bytes, limits.max_payload_bytes));
    let shutdown = CancellationToken::new();
    let connect = || {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let (reader, writer) = tokio::io::split(theirs);
        let connection = Connection {
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            peer_subject: None,
            limits,
            budget: budget.clone(),
            receive: async |received: Received| Reply {
                answers: vec![format!("{} {:?}", received.payload.len(), received.fault).into()],
                ..Reply::default()
            },
            shutdown: shutdown.child_token(),
        };
        TaskTracker::new().spawn(connection.run(reader, writer));
        ours
    };
    let half = [b"\x0b".as_slice(), &[b'x'; LARGE_FRAME]].concat();
    let started = Instant::now();

    // The first takes the only large share and stops.
    let mut hoarder = connect();
    hoarder.write_all(&half).await.unwrap();
    // The second is not read beyond its medium share, the third not beyond what always passes.
    let mut second = connect();
    let mut third = connect();
    let is_held =
        |written: Result<std::io::Result<()>, tokio::time::error::Elapsed>| written.is_err();
    let wait = Duration::from_secs(1);
    assert!(is_held(timeout(wait, second.write_all(&half)).await));
    let mut medium = vec![b'x'; 2 * 1024 * 1024];
    medium[0] = 0x0b;
    assert!(is_held(timeout(wait, third.write_all(&medium)).await));

    // A small frame passes all the same.
    let mut small = connect();
    small.write_all(b"\x0bone\x1c\r").await.unwrap();
    expect(&mut small, b"\x0b3 None\x1c\r").await;
    assert_eq!(started.elapsed().as_secs(), 2);

    // The hoarder's time runs out; whoever waited has all of its own time left.
    expect_end(&mut hoarder).await;
    assert_eq!(started.elapsed().as_secs(), 30);
    sleep(Duration::from_secs(25)).await;
    let rest = async {
        loop {
            if second.write_all(&[b'x'; 1000]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(Duration::from_millis(100), rest).await.is_err());
    second.write_all(b"\x1c\r").await.unwrap();
    let mut answer = vec![0; 40];
    let count = second.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    assert!(answer.contains(" None"), "{answer:?}");
}

#[tokio::test]
async fn peers_outside_the_allowed_networks_are_closed_at_once() {
    let serve_for = |networks: &[&str]| {
        let peers = networks.iter().map(|network| network.parse().unwrap());
        let access = Access {
            peers: peers.collect(),
            ..Access::default()
        };
        async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let shutdown = CancellationToken::new();
            let receive = echo(&Log::default());
            let tracker = TaskTracker::new();
            let serving = serve(
                listener,
                LIMITS,
                access,
                receive,
                tracker.clone(),
                shutdown.clone(),
            );
            tracker.spawn(serving);
            (TcpStream::connect(address).await.unwrap(), shutdown)
        }
    };
    let (mut stream, _shutdown) = serve_for(&["10.0.0.0/8", "::1/128"]).await;
    expect_end(&mut stream).await;
    let (mut stream, _shutdown) = serve_for(&["10.0.0.0/8", "127.0.0.0/30"]).await;
    stream.write_all(b"\x0bone\x1c\r").await.unwrap();
    expect(&mut stream, b"\x0back one\x1c\r").await;
    let mapped = "::ffff:127.0.0.1".parse().unwrap();
    let access = Access {
        peers: vec!["127.0.0.0/8".parse().unwrap()],
        ..Access::default()
    };
    assert!(access.admits(mapped), "IPv4 mapped into IPv6 is IPv4");
}
