//! Never ends describing itself.

use ligature_guest::{InboundMapping, Manifest};

struct DescribesForever;

ligature_guest::export_inbound!(DescribesForever);

impl InboundMapping for DescribesForever {
    fn describe() -> Manifest {
        loop {
            std::hint::black_box(0);
        }
    }
}
