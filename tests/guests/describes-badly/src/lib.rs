//! Describes itself in the bad way that its text names; the tests write another text into the file.

use std::hint::black_box;

use ligature_guest::{InboundMapping, Manifest, Setting, SettingKind, flow};

struct DescribesBadly;

ligature_guest::export_inbound!(DescribesBadly);

/// Twenty bytes, so that every way has room.
static WAY: &str = "way:good............";

impl InboundMapping for DescribesBadly {
    fn describe() -> Manifest {
        let manifest = Manifest::new("describes-badly", "1.0.0").reads(["PID-3"]);
        // Read as it is in the file, not as it was when this was compiled.
        let way = black_box(WAY).trim_start_matches("way:");
        match way.trim_end_matches('.') {
            "no-name" => Manifest::new("", "1.0.0"),
            "nameless-target" => manifest.lead_target("", "Nothing", "mx_Nothing"),
            "twice" => manifest
                .lead_target("mrn", "Record number", "mx_MRN")
                .lead_target("mrn", "Record number", "mx_Other"),
            "many-targets" => (0..1_001).fold(manifest, |manifest, number| {
                manifest.lead_target(&number.to_string(), "One", "mx_One")
            }),
            "many-paths" => manifest.reads(vec!["PID-3"; 1_001]),
            "many-settings" => (0..1_001).fold(manifest, |manifest, number| {
                manifest.setting(Setting {
                    name: number.to_string(),
                    label: String::new(),
                    help: String::new(),
                    kind: SettingKind::Text,
                    required: false,
                    default: None,
                })
            }),
            "path" => manifest.reads(["the name"]),
            "field" => manifest.reads(["lead.LastName"]),
            "event" => manifest.events(["lead-update"]),
            "long-text" => manifest.summary(&"x".repeat(5_000)),
            "large" => manifest.summary(&"x".repeat(20 * 1024 * 1024)),
            "panic" => panic!("no description"),
            "memory" => {
                let mut held = Vec::new();
                loop {
                    held.push(black_box(vec![1_u8; 1024 * 1024]));
                }
            }
            "asks" => manifest.summary(&flow::event()),
            _ => manifest,
        }
    }
}
