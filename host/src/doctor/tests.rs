//! The listeners here are written out byte for byte.

use insta::assert_snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;

/// Looks at a listener that answers with what `answer` makes of the control id it was sent, and writes the report
/// without times, addresses and ids.
async fn check(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> (bool, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sent = Vec::new();
        while !sent.ends_with(b"\x1c\r") {
            assert_ne!(stream.read_buf(&mut sent).await.unwrap(), 0);
        }
        let text = String::from_utf8(sent).unwrap();
        let control_id = text.split('|').nth(9).unwrap();
        stream.write_all(&answer(control_id)).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let probe = Probe::harmless(7, &Zoned::now());
    let control_id = String::from_utf8(probe.control_id.clone()).unwrap();
    let report = examine(Question {
        address: address.clone(),
        tls: None,
        probe,
        limit: Duration::from_secs(5),
    })
    .await;
    peer.await.unwrap();
    let text = report.to_string();
    let lines = text.lines().skip(2).map(|line| {
        let line = line.replace(&address, "ADDRESS").replace(&control_id, "ID");
        let line = line.replace("127.0.0.1 is 127.0.0.1", "NAME is IP");
        match line.split_once(" (") {
            Some((before, after)) if after.ends_with(" ms)") && !after.contains(", ") => {
                before.to_owned()
            }
            _ => line
                .rsplit_once(" (")
                .map_or(line.clone(), |(before, _)| before.to_owned()),
        }
    });
    (report.is_well(), lines.collect::<Vec<_>>().join("\n"))
}

fn acknowledgement(code: &str, id: &str, text: &str) -> String {
    format!("MSH|^~\\&|A|B|C|D|20260101||ACK|1|P|2.4\rMSA|{code}|{id}|{text}\r")
}

#[tokio::test]
async fn a_sound_connection_is_well() {
    let (well, text) =
        check(|id| format!("\x0b{}\x1c\r", acknowledgement("AA", id, "")).into()).await;
    assert!(well, "{text}");
    assert!(
        text.contains("ok    framing  start block 0B, end block 1C, carriage return 0D"),
        "{text}"
    );
    assert!(
        text.contains("ok    answer   AA under the control id that was sent"),
        "{text}"
    );
    assert!(text.ends_with("All is well."), "{text}");
}

#[tokio::test]
async fn a_refusal_of_the_query_is_no_fault_and_its_text_is_not_shown() {
    let (well, text) =
        check(|id| format!("\x0b{}\x1c", acknowledgement("AR", id, "PATIENT")).into()).await;
    assert!(well, "{text}");
    assert!(text.contains("odd   framing"), "{text}");
    assert!(
        text.contains("no carriage return (0D) came after the end block"),
        "{text}"
    );
    assert!(
        text.contains("AR under the control id that was sent: the receiver refuses this query"),
        "{text}"
    );
    assert!(!text.contains("PATIENT"), "{text}");
}

#[tokio::test]
async fn faults_are_named() {
    let fault = async |answer: &'static [u8]| {
        let (well, text) = check(move |_| answer.to_vec()).await;
        assert!(!well, "{text}");
        let line = text.lines().find(|line| line.starts_with("FAULT")).unwrap();
        line.to_owned()
    };
    assert_snapshot!(fault(b"").await, @"FAULT framing  the peer closed the connection without an answer: this address may not be allowed, or TLS be expected");
    assert_snapshot!(fault(b"HTTP/1.1 400 Bad Request\r\n\r\n").await, @"FAULT framing  28 bytes came that are no MLLP frame: a web server");
    assert_snapshot!(fault(b"\x15\x03\x03\x00\x02\x02\x0a").await, @"FAULT framing  7 bytes came that are no MLLP frame: the peer speaks TLS; connect with --tls");
    assert_snapshot!(fault(b"\x0bhalf").await, @"FAULT framing  the peer closed the connection after 5 bytes that are no whole frame");
    assert_snapshot!(fault(b"\x0bhello\x1c\r").await, @"FAULT answer   the answer is no HL7: no MSH segment at offset 0, where the message starts");
    assert_snapshot!(fault(b"\x0bMSH|^~\\&|A|B|C|D|20260101||ACK|1|P|2.4\rMSA|AA|OTHER\r\x1c\r").await, @"FAULT answer   AA, but MSA-2 is not the control id that was sent: it answers another message");
    assert_snapshot!(fault(b"\x0bMSH|^~\\&|A|B|C|D|20260101||ACK|1|P|2.4\rMSA|OK|OTHER\r\x1c\r").await, @"FAULT answer   the answer has no acknowledgement code of table 0008 in MSA-1");
}

#[tokio::test]
async fn says_where_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let report = examine(Question {
        address,
        tls: None,
        probe: Probe::harmless(7, &Zoned::now()),
        limit: Duration::from_secs(5),
    })
    .await;
    let last = report.checks.last().unwrap();
    assert_eq!((last.step, last.verdict), (Step::Tcp, Verdict::Bad));
    assert!(
        last.text.contains("nothing listens on this port"),
        "{}",
        last.text
    );
}

#[test]
fn only_one_message_with_a_control_id_can_be_sent() {
    let refused = |bytes: &[u8]| Probe::message(bytes).unwrap_err().to_string();
    let message = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A04|ID|P|2.4\r".as_slice();
    Probe::message(message).unwrap();
    assert_snapshot!(refused(&message.repeat(2)), @"these are 2 messages: give one");
    assert_snapshot!(refused(b"MSH|^~\\&|A|B|C|D|20260101||ADT^A04||P|2.4\r"), @"MSH-10 is empty: without a control id no answer can be told to belong to the message");
    assert_snapshot!(refused(b"hello"), @"this is no HL7 message: no MSH segment at offset 0, where the message starts");
}
