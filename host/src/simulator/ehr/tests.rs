//! The EHR over a real socket, and what it holds against messages.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::judge::judge;
use super::*;

const GOOD: &str = "MSH|^~\\&|BRIDGE|CRM|EHR|HOSP|20260301120000+0000||ADT^A08^ADT_A01|ID1|P|2.5.1||||||UNICODE UTF-8\r\
                    EVN|A08|20260301120000\rPID|1||42^^^CRM^PI||Fenwick^Odalys\\T\\Co||19800101|F\rPV1|1|O\r";

fn check(edit: impl FnOnce(String) -> String, expected: &[&str]) {
    let text = edit(GOOD.to_owned());
    let (_, findings) = judge(text.as_bytes());
    assert_eq!(findings, expected, "{text:?}");
}

#[test]
fn what_is_held_against_messages() {
    let swap = |from: &'static str, to: &'static str| move |text: String| text.replace(from, to);
    check(|text| text, &[]);
    check(
        swap("\r", "\n"),
        &[
            "a line feed: segments end in a carriage return alone",
            "the last segment does not end in a carriage return",
        ],
    );
    check(swap("MSH|", "XSH|"), &["no MSH at the very beginning"]);
    check(swap("|ID1|", "||"), &["MSH-10 is empty"]);
    check(swap("|2.5.1|", "|3|"), &["MSH-12 is no version"]);
    check(
        swap("20260301120000+0000", "20260301120000"),
        &["MSH-7 has no offset"],
    );
    check(swap("EVN|A08|20260301120000\r", ""), &["EVN is missing"]);
    check(
        swap("EVN|A08|", "EVN|A04|"),
        &["EVN-1 is not the event of MSH-9"],
    );
    check(
        swap("42^^^CRM^PI", "42"),
        &["PID-3: an identifier without its assigning authority"],
    );
    check(swap("42^^^CRM^PI", ""), &["PID-3 is empty"]);
    check(
        swap("19800101", "1980-01-01"),
        &["PID-7 is no time", "PID-7 is more than a date"],
    );
    check(swap("19800101", "19801301"), &["PID-7 is no time"]);
    check(swap("|F\r", "|Female\r"), &["PID-8 is not of table 0001"]);
    check(swap("\\T\\", "\\Q\\"), &["PID-5: an escape that is none"]);
    check(
        swap("\\T\\", "\\"),
        &["PID-5: an escape character that begins nothing"],
    );
    check(
        swap("PV1|1|O\r", "PV1|1|O\rBOO|1\r"),
        &["BOO is no segment of such a message"],
    );
    check(swap("19800101", "19800230"), &["PID-7 is no time"]);
    check(
        swap("ADT^A08^ADT_A01", "ADT^A08^ADT_A05"),
        &["MSH-9.3 is not the structure of the event"],
    );
    check(
        swap("PV1|1|O\r", "PV1|1|O\rPD1|||1\r"),
        &["PD1 is out of order"],
    );
    check(
        swap("PV1|1|O\r", "PV1|1|O\rSCH|1\r"),
        &["SCH does not belong into ADT"],
    );
    check(
        swap("PV1|1|O\r", "PV1|1|O\rPV1|2|O\r"),
        &["PV1 comes 2 times"],
    );
    check(
        swap("PV1|1|O\r", "PV1|1|O\rOBX|1|ST||1|text\rIN1|1|PLAN\r"),
        &["OBX-3 is empty", "OBX-11 is empty", "IN1-3 is empty"],
    );
    // Groups repeat, and local segments stand anywhere.
    check(
        swap(
            "PV1|1|O\r",
            "ZPD|1\rPV1|1|O\rIN1|1|P|A\rIN2||1\rIN1|2|P|B\rZIN|1\r",
        ),
        &[],
    );
    check(swap("UNICODE UTF-8", ""), &[]);
    check(
        |text| {
            text.replace("UNICODE UTF-8", "")
                .replace("Odalys", "Odélys")
        },
        &["the bytes are not of the character set that MSH-18 names"],
    );
}

struct Peer {
    ehr: Handle,
    stream: TcpStream,
}

async fn peer(settings: Settings) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tracker = TaskTracker::new();
    let stop = CancellationToken::new();
    let ehr = Simulator::start(listener, None, settings, &tracker, stop).unwrap();
    let stream = TcpStream::connect(ehr.address()).await.unwrap();
    Peer { ehr, stream }
}

impl Peer {
    /// Sends a message; gives what came back until `frames` are there or the connection is over.
    async fn send(&mut self, text: &str, frames: usize) -> String {
        let bytes = [b"\x0b", text.as_bytes(), b"\x1c\r"].concat();
        self.stream.write_all(&bytes).await.unwrap();
        let mut read = Vec::new();
        while read.iter().filter(|byte| **byte == 0x1c).count() < frames {
            if self.stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                break;
            }
        }
        String::from_utf8(read).unwrap()
    }
}

#[tokio::test]
async fn it_answers_as_it_is_asked() {
    let mut peer = peer(Settings::default()).await;
    let answer = peer.send(GOOD, 1).await;
    assert!(
        answer.contains("|ACK^A08^ACK|") && answer.contains("\rMSA|AA|ID1\r"),
        "{answer}"
    );
    assert!(answer.contains("|EHR|HOSP|BRIDGE|CRM|"), "{answer}");
    let enhanced = GOOD.replace("|2.5.1||||||", "|2.5.1|||AL|AL||");
    let answer = peer.send(&enhanced.replace("ID1", "ID2"), 2).await;
    assert!(
        answer.contains("MSA|CA|ID2") && answer.contains("MSA|AA|ID2"),
        "{answer}"
    );
    peer.send(GOOD, 1).await;
    let received = peer.ehr.received();
    let told: Vec<_> = received
        .iter()
        .map(|it| (it.answered.as_str(), it.repeats))
        .collect();
    assert_eq!(told, [("AA", 0), ("CA AA", 0), ("AA", 1)]);
    assert_eq!(peer.ehr.control_ids()["ID1"], 2);
    assert_eq!(received[0].field("PID", 8), "F");
    assert!(peer.ehr.noise().is_empty());
}

#[tokio::test]
async fn it_is_strict_where_it_is_told_to_be() {
    let mut peer = peer(Settings {
        is_strict: true,
        ..Settings::default()
    })
    .await;
    let answer = peer.send(&GOOD.replace("EVN|A08", "EVN|A04"), 1).await;
    assert!(answer.contains("MSA|AE|ID1\rERR|"), "{answer}");
    let answer = peer.send(GOOD, 1).await;
    // The same control id with other bytes.
    assert!(answer.contains("MSA|AE|ID1"), "{answer}");
}

#[tokio::test]
async fn it_gives_patients_numbers() {
    let settings = Settings {
        assigns: Some("EHR".into()),
        ..Settings::default()
    };
    let mut peer = peer(settings).await;
    let answer = peer.send(GOOD, 1).await;
    assert!(
        answer.contains("PID|1||700001^^^EHR^MR~42^^^CRM^PI||Fenwick"),
        "{answer}"
    );
    let again = peer.send(GOOD, 1).await;
    assert!(again.contains("PID|1||700001^"), "{again}");
}

#[tokio::test]
async fn it_has_moods() {
    let mut peer = peer(Settings::default()).await;
    for (kind, expected) in [
        (Kind::Ar, "MSA|AR|ID1"),
        (Kind::Foreign, "MSA|AA|XID1"),
        (Kind::UnknownCode, "MSA|OK|ID1"),
        (Kind::Rubbish, "{\"status\""),
    ] {
        peer.ehr.tell(Mood::once(kind));
        let answer = peer.send(GOOD, 1).await;
        assert!(answer.contains(expected), "{kind:?}: {answer}");
    }
    peer.ehr.tell(Mood::once(Kind::NoMsa));
    assert!(!peer.send(GOOD, 1).await.contains("MSA"));
    peer.ehr.tell(Mood::once(Kind::Half));
    let half = peer.send(GOOD, 1).await;
    assert!(
        half.starts_with("\u{b}MSH") && !half.contains('\u{1c}'),
        "{half}"
    );
}
