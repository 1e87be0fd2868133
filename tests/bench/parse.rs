//! (e) Parsing: an update of 2 KB, 20 values of it, its edited form written, and one document of 10 MB.
//!
//! Beside `hl7kit` and `hl7-parser` in the same rounds, on the same text. `hl7-parser` borrows from a `&str` and
//! `hl7kit` copies one; ours is given bytes, finds their character set and decodes them, and looks for odd escapes.

use std::hint::black_box;
use std::time::Duration;

use ligature::hl7::{Fill, Message, Path};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::load::Times;

const ROUNDS: usize = 400;
/// Calls in a round: one of ours is too short for a clock.
const CALLS: u32 = 50;
/// Of the others, whose parsing takes longer: a round must not be long enough for the machine to do something else.
const CALLS_OF_OTHERS: u32 = 5;
const DOCUMENT_BYTES: usize = 10 * 1024 * 1024;

const PLACES: [&str; 20] = [
    "MSH-9.2", "MSH-10", "EVN-2", "PID-3.1", "PID-3.4", "PID-5.1", "PID-5.2", "PID-7", "PID-8",
    "PID-11.1", "PID-11.3", "PID-11.5", "PID-13.6", "PID-13.7", "PID-18", "PV1-2", "PV1-7.2",
    "PV1-19", "NK1-2.1", "IN1-4",
];

pub(crate) fn run() -> anyhow::Result<Value> {
    let document = document()?;
    let text = update();
    let message = Message::parse(text.as_bytes())?;
    let kit = hl7kit::Message::parse(text.as_str())?;
    let peer = hl7_parser::parse_message(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let paths: Vec<Path> = PLACES
        .iter()
        .map(|place| place.parse())
        .collect::<Result<_, _>>()?;
    let kit_paths: Vec<hl7kit::Path> = PLACES
        .iter()
        .map(|place| hl7kit::Path::parse(place))
        .collect::<Result<_, _>>()?;
    let peer_paths: Vec<hl7_parser::query::LocationQuery> = PLACES
        .iter()
        .map(|place| place.replace('-', ".").parse())
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut edited = message.clone();
    edited.set(&"PID-5.1".parse()?, Fill::Text("Fenwick & Sons"))?;
    edited.set(&"PV1-3.4".parse()?, Fill::Text("EAST"))?;
    edited.set(&"ZPI-1".parse()?, Fill::Text("added"))?;

    let mut times: [Vec<Duration>; 7] = Default::default();
    for _ in 0..ROUNDS {
        let round = [
            time(CALLS, || {
                drop(black_box(Message::parse(black_box(text.as_bytes()))))
            }),
            time(CALLS_OF_OTHERS, || {
                drop(black_box(hl7kit::Message::parse(black_box(text.as_str()))))
            }),
            time(CALLS_OF_OTHERS, || {
                drop(black_box(hl7_parser::parse_message(black_box(&text))))
            }),
            time(CALLS, || {
                for path in &paths {
                    black_box(message.get(path));
                }
            }),
            time(CALLS, || {
                for path in &kit_paths {
                    let span = kit.resolve(path);
                    black_box(span.map(|span| kit.decode(&kit.raw()[span.range()])));
                }
            }),
            time(CALLS, || {
                for path in &peer_paths {
                    black_box(peer.query(path.clone()));
                }
            }),
            time(CALLS, || drop(black_box(edited.to_bytes()))),
        ];
        for (times, time) in times.iter_mut().zip(round) {
            times.push(time);
        }
    }
    let [
        parse,
        kit_parse,
        peer_parse,
        reads,
        kit_reads,
        peer_reads,
        encode,
    ] = times.map(Times::new);
    let p50_us = |times: &Times| times.quantile(0.5).as_secs_f64() * 1e6;
    let ratio = |ours: &Times, theirs: &Times| round(p50_us(ours) / p50_us(theirs));
    eprintln!(
        "  parse p50 {:.2} µs (hl7kit {:.2}, hl7-parser {:.2}), 20 reads {:.2} µs (hl7kit {:.2}, hl7-parser {:.2}), encode {:.2} µs",
        p50_us(&parse),
        p50_us(&kit_parse),
        p50_us(&peer_parse),
        p50_us(&reads),
        p50_us(&kit_reads),
        p50_us(&peer_reads),
        p50_us(&encode),
    );
    Ok(json!({
        "message_bytes": text.len(),
        "parse": {
            "ours_us": round(p50_us(&parse)), "hl7kit_us": round(p50_us(&kit_parse)), "hl7_parser_us": round(p50_us(&peer_parse)),
            "ratio_to_hl7kit": ratio(&parse, &kit_parse), "ratio_to_hl7_parser": ratio(&parse, &peer_parse), "goal_us": 5,
        },
        "read_20_paths": {
            "ours_us": round(p50_us(&reads)), "hl7kit_us": round(p50_us(&kit_reads)), "hl7_parser_us": round(p50_us(&peer_reads)),
            "ratio_to_hl7kit": ratio(&reads, &kit_reads), "ratio_to_hl7_parser": ratio(&reads, &peer_reads), "goal_us": 2,
        },
        "encode_edited": { "ours_us": round(p50_us(&encode)), "goal_us": 5 },
        "document_10_mb": document,
    }))
}

/// An update of about 2 KB, as full as hospitals send them.
fn update() -> String {
    let mut text = String::from(
        "MSH|^~\\&|EHR|CLINIC^1.2.840.1^ISO|LIG|LSQ|20261120093000+0000||ADT^A08^ADT_A01|B0000001|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
         EVN|A08|20261120093000||UPD^Changed by desk|4711^Clerk^Cora\r\
         PID|1||0012345^^^CLINIC&1.2.840.2&ISO^MR~987654^^^STATE^SS~A-77^^^INSURER^MB||Fenwick&van&Fenwick^Odalys^Q^^Ms^^L~Fenn^Oda^^^^^N|Marsh^Ida|19840219|F||2106-3^White^HL70005|\
         1 Elm Street^Apt 4 \\T\\ 5^Boston^MA^02110^USA^H~PO Box 9^^Boston^MA^02111^USA^M||^PRN^PH^^1^617^5550143~^NET^Internet^odalys@example.org|^WPN^PH^^1^617^5550144|en^English^ISO639|M^Married^HL70002|||AC0000001^^^CLINIC^AN||||N^Not Hispanic^HL70189|||||||N\r\
         PD1||||1234^Attend^Ada^^^Dr^MD^^NPI\r\
         PV1|1|O|CL^R1^B1^MAIN^^^W^2||||1234^Attend^Ada^^^Dr^MD^^NPI~9876^Attend^Ada|5678^Refer^Rex^^^Dr|||MED||||1|||1234^Attend^Ada|OP|V0000001^^^CLINIC^VN|||||||||||||||||||||||||20261120090000\r",
    );
    for (number, kin) in [
        "Rowan^^^^Mr|SPO^Spouse^HL70063",
        "Ida|MTH^Mother^HL70063",
        "Piet|FTH^Father^HL70063",
    ]
    .iter()
    .enumerate()
    {
        text.push_str(&format!("NK1|{}|Fenwick^{kin}|2 Elm Street^^Boston^MA^02110^USA|^PRN^PH^^1^617^5550145||C^Emergency contact^HL70131\r", number + 1));
    }
    for (number, value) in [
        "62.5|kg^kilogram^UCUM",
        "168|cm^centimetre^UCUM",
        "37.1|Cel^degree^UCUM",
    ]
    .iter()
    .enumerate()
    {
        text.push_str(&format!(
            "OBX|{}|NM|{}-1^Measured at desk^LN||{value}|||||F|||20261120091500\r",
            number + 1,
            8300 + number
        ));
    }
    text.push_str("AL1|1|DA^Drug^HL70127|70618^Penicillin^RXNORM|SV^Severe^HL70128|Rash\\.br\\Swelling\rDG1|1||J06.9^Acute infection^I10|||W\r");
    text.push_str("GT1|1||Fenwick^Odalys||1 Elm Street^^Boston^MA^02110\rIN1|1|PLAN1^Standard|INS1|Example Mutual|PO Box 1^^Boston^MA^02110\r");
    text
}

/// The mean of a round's calls.
fn time(calls: u32, call: impl Fn()) -> Duration {
    let started = Instant::now();
    for _ in 0..calls {
        call();
    }
    started.elapsed() / calls
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// One OBX with a document of 10 MB, read, looked into and written; the copies are those at the peak, the input among them.
fn document() -> anyhow::Result<Value> {
    // No room is given back while it grows, which the parser could take for its copy.
    let mut input = Vec::with_capacity(DOCUMENT_BYTES + 128);
    input.extend_from_slice(b"MSH|^~\\&|A||||||ORU^R01|1|P|2.5\rOBX|1|ED|doc||^APP^PDF^Base64^");
    input.extend(b"JVBERi0xLjQK".iter().cycle().take(DOCUMENT_BYTES));
    input.extend_from_slice(b"||||||F\r");
    let path: Path = "OBX-5.5".parse()?;
    let before = resident_bytes("VmRSS:")?;
    // Makes the kernel forget the highest mark so far.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let mut times = Vec::new();
    for _ in 0..10 {
        let started = Instant::now();
        let message = Message::parse(&input)?;
        let length = message.get(&path).text_or_empty().len();
        let written = message.bytes();
        times.push(started.elapsed());
        anyhow::ensure!(
            length == DOCUMENT_BYTES && *written == *input,
            "the document comes back whole"
        );
    }
    let more = resident_bytes("VmHWM:")?.saturating_sub(before);
    let copies = 1.0 + more as f64 / DOCUMENT_BYTES as f64;
    let times = Times::new(times);
    eprintln!(
        "  10 MB document p50 {:?}, {copies:.1} copies at the peak",
        times.quantile(0.5)
    );
    Ok(json!({
        "parse_read_write_ms": round(times.quantile(0.5).as_secs_f64() * 1e3),
        "copies_at_peak": round(copies),
        "goal_ms": 50,
        "goal_copies": 3,
    }))
}

/// A line of `/proc/self/status`, which counts in units of 1024 bytes.
fn resident_bytes(name: &str) -> anyhow::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let units = line
        .and_then(|line| line.split_whitespace().next())
        .unwrap_or("0");
    Ok(units.parse::<usize>()? * 1024)
}
