//! What holds for any bytes, tried on what proptest makes up and on the seeds of the fuzz targets.

use std::panic::catch_unwind;

use ligature_tests::{properties, workspace_root};
use proptest::prelude::*;

/// Pieces that come near a message, a frame, a path, an escape.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        5 => proptest::sample::select(vec![
            "MSH|^~\\&|", "MSH^~|\\&^", "MSH|^~&|", "msh|", "BHS|^~\\&|", "FTS|1", "PID|", "OBX|1|", "|", "^", "~", "&", "\\", "#", "\"\"",
            "\r", "\n", "\r\n", "\u{b}", "\u{1c}", "\u{1c}\r", "\\F\\", "\\X0D\\", "\\XE2\\", "\\.br\\", "PID-3", "[2]", "[.5='MR']", ".1", "é", "語",
            "\u{feff}", "UNICODE UTF-8", "GB 18030-2000", "ISO IR87", "8859/1", "A|B|C|D|2026||ADT^A01|7|P|2.5",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_keep_the_laws(bytes in pieces()) {
        for (_, law) in properties::ALL {
            law(&bytes);
        }
    }

    #[test]
    fn any_message_keeps_the_laws(rest in pieces()) {
        let bytes = [b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|7|P|2.5||||||".to_vec(), rest].concat();
        properties::parser(&bytes);
        properties::acknowledgement(&bytes);
    }

    #[test]
    fn an_answer_names_any_control_id(id in proptest::collection::vec(any::<u8>().prop_filter("no part of a field", |byte| !b"|\r\n\0".contains(byte)), 1..40)) {
        let start = b"MSH|^~\\&|A||||||ADT^A01|".to_vec();
        properties::acknowledgement(&[start, id, b"|P|2.5||||||8859/1\r".to_vec()].concat());
    }
}

#[test]
fn the_seeds_of_the_fuzz_targets_keep_the_laws() {
    let mut tried = 0;
    for (name, law) in properties::ALL {
        let folder = workspace_root().join("tests/fuzz/seeds").join(name);
        let mut seeds: Vec<_> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        seeds.sort();
        assert!(seeds.len() >= 5, "{name} has seeds");
        for seed in seeds {
            let bytes = std::fs::read(&seed).unwrap();
            // Each seed, and what is left of it when it is cut anywhere: a short stand-in for a fuzzer's work.
            for end in 0..=bytes.len() {
                let held = catch_unwind(|| law(&bytes[..end]));
                assert!(held.is_ok(), "{}, cut after {end} bytes", seed.display());
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "only {tried} inputs");
}
