//! Describes an outbound mapping in the bad way that its text names; the tests write another text into the file.

use std::hint::black_box;

use ligature_guest::{Change, Composed, Manifest, OutboundMapping, Places, Refusal};

struct DescribesBadly;

ligature_guest::export_outbound!(DescribesBadly);

/// Twenty bytes, so that every way has room.
static WAY: &str = "way:good............";

impl OutboundMapping for DescribesBadly {
    fn describe() -> Manifest {
        let manifest = Manifest::new("describes-badly", "1.0.0").reads(["lead.LastName"]);
        // Read as it is in the file, not as it was when this was compiled.
        let way = black_box(WAY).trim_start_matches("way:");
        match way.trim_end_matches('.') {
            "no-place" => manifest,
            "targets" => manifest.lead_target("mrn", "Record number", "mx_MRN"),
            "field" => manifest.places(["PID-5"]).reads(["PID-5"]),
            "place" => manifest.places(["MSH-10"]),
            "event" => manifest.places(["PID-5"]).events(["ADT^A04"]),
            _ => manifest.places(["PID-5"]),
        }
    }

    fn to_hl7(_: &Change<'_>) -> Result<Composed, Refusal> {
        Places::new().into_composed()
    }
}
