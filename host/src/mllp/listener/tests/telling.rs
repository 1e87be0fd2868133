//! What a listener tells beside payloads and answers: what it forgave, and the commit acknowledgements of release 2.

use super::*;

#[tokio::test]
async fn what_was_forgiven_comes_with_the_next_payload() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let receive = move |received: Received| {
        let codes: Vec<&str> = received.warnings.iter().map(|one| one.code()).collect();
        let payload = received.payload.escape_ascii().to_string();
        seen.lock().unwrap().push(format!("{payload}: {codes:?}"));
        std::future::ready(Reply::default())
    };
    let (mut stream, _shutdown, task) = over_memory(4096, receive);
    // One after the other: plain, noise twice, no carriage return, a frame begun anew, plain again.
    let frames: [&[u8]; 4] = [
        b"\x0bone\x1c\r",
        b"some noise\x0btwo\x1c more",
        b"\x0bthr\x0bthree\x1c\r",
        b"\n\x0bfour\x1c\r",
    ];
    for bytes in frames {
        stream.write_all(bytes).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    task.await.unwrap();
    assert_eq!(
        *log.lock().unwrap(),
        [
            r#"one: []"#,
            r#"two: ["mllp-noise-before-frame"]"#,
            r#"thr: ["mllp-no-cr-after-end-block", "mllp-noise-before-frame", "mllp-start-block-in-frame"]"#,
            r#"three: []"#,
            r#"four: []"#,
        ]
    );
}

#[tokio::test]
async fn release_2_has_a_commit_acknowledgement_before_the_answer() {
    let limits = Limits {
        commit_blocks: true,
        ..LIMITS
    };
    let receive = |received: Received| {
        let is_stored = received.payload != b"lost";
        std::future::ready(Reply {
            // A message may ask for no answer; what carries it is acknowledged all the same.
            answers: match received.payload.as_slice() {
                b"silent" => Vec::new(),
                payload => vec![[b"ack ", payload].concat()],
            },
            is_stored,
            ..Reply::default()
        })
    };
    let (mut stream, _shutdown, task) = over_memory_within(limits, 4096, receive);
    for (sent, answer) in [
        ("one", b"\x0b\x06\x1c\r\x0back one\x1c\r".as_slice()),
        ("silent", b"\x0b\x06\x1c\r"),
        ("lost", b"\x0b\x15\x1c\r\x0back lost\x1c\r"),
    ] {
        let frame = format!("\x0b{sent}\x1c\r");
        stream.write_all(frame.as_bytes()).await.unwrap();
        expect(&mut stream, answer).await;
    }
    // What is not whole is not acknowledged in any way.
    stream.write_all(b"\x0bhalf").await.unwrap();
    stream.shutdown().await.unwrap();
    expect_end(&mut stream).await;
    task.await.unwrap();
}
