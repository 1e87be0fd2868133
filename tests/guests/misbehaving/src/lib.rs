//! Misbehaves in the way that the event names; with any other event it behaves.

use std::cell::Cell;
use std::hint::black_box;

use ligature_guest::{
    Activity, Content, Date, DateTime, InboundMapping, Manifest, Mapped, Message, Refusal, Time,
    UnmappedCode, Value, Write, codes, flow, log,
};

struct Misbehaving;

ligature_guest::export_inbound!(Misbehaving);

thread_local! {
    static REMEMBERED: Cell<Option<String>> = const { Cell::new(None) };
}

impl InboundMapping for Misbehaving {
    fn describe() -> Manifest {
        Manifest::new("misbehaving", "1.0.0")
            .vendor("the tests")
            .reads(["PID-3", "PID-5"])
            .lead_target("mrn", "Medical record number", "mx_MRN")
            .lead_target("name", "Name", "LastName")
            .activity_target("status", "Status", "Status")
            .table("codes", "Codes")
    }

    fn to_lead_squared(message: &Message<'_>) -> Result<Mapped, Refusal> {
        let write = Write::new().lead("mrn", message.text("PID-3.1")?);
        let event = flow::event();
        match event.strip_prefix("TST^").unwrap_or(&event) {
            "spin" => loop {
                black_box(0);
            },
            "spin-in-calls" => loop {
                black_box(message.get("PID-3.1")?);
            },
            "grow" => {
                let mut held = Vec::new();
                loop {
                    held.push(black_box(vec![1_u8; 1024 * 1024]));
                }
            }
            "recurse" => write.lead("name", deeper(1).to_string()).into_mapped(),
            // The event of a flow has no hyphen.
            "large-answer" | "large" => write
                .lead("name", "x".repeat(20 * 1024 * 1024))
                .into_mapped(),
            "large-call" => {
                log::write(log::Level::Info, &"x".repeat(20 * 1024 * 1024));
                write.into_mapped()
            }
            "many-answers" => {
                let activities = (0..500_000).map(|_| Activity::keyed(""));
                Ok(Mapped::Write(Write {
                    activities: activities.collect(),
                    ..write
                }))
            }
            "log" => {
                for line in 0..10_000 {
                    log::write(log::Level::Info, &format!("{line} {}", "é".repeat(1_000)));
                }
                write.into_mapped()
            }
            "log-a-million" => {
                for _ in 0..1_000_000 {
                    log::write(log::Level::Info, "again");
                }
                write.into_mapped()
            }
            "every-path" => {
                let mut granted = 0;
                for segment in [
                    "MSH", "EVN", "PID", "PD1", "NK1", "PV1", "OBX", "IN1", "ZZZ",
                ] {
                    for field in 1..=60 {
                        let path = format!("{segment}-{field}");
                        granted += usize::from(message.get(&path).is_ok());
                    }
                }
                write.lead("name", granted.to_string()).into_mapped()
            }
            "panic" => panic!("with {:?}", message.text("PID-5.1")?),
            "refuse" => Err(Refusal::Other(message.required("PID-5.1")?)),
            "missing" => write
                .lead("name", message.required("PID-5.9")?)
                .into_mapped(),
            "read-ungranted" => write.lead("name", message.text("PID-19")?).into_mapped(),
            "read-ungranted-predicate" => write
                .lead("name", message.text("PID-3[.1='4711' and .2=''].1")?)
                .into_mapped(),
            "probe-ungranted" => {
                let refused = message.get("PID-19").is_err() && message.get("ZZZ").is_err();
                write.lead("name", refused.to_string()).into_mapped()
            }
            "bad-path" => {
                let refused = message.get("no path").is_err();
                write.lead("name", refused.to_string()).into_mapped()
            }
            "write-ungranted" => write.lead("salary", "1").into_mapped(),
            "write-activity-as-lead" => write.lead("status", "1").into_mapped(),
            "twice" => write.lead("mrn", "again").into_mapped(),
            "decimal" => write
                .lead("name", Value::Decimal("1e5".into()))
                .into_mapped(),
            "date" => write.lead("name", Value::Date(FEBRUARY_30)).into_mapped(),
            "activity-date" => {
                let at = DateTime {
                    date: FEBRUARY_30,
                    time: Time {
                        hour: 1,
                        minute: 2,
                        second: 3,
                        nanosecond: 4,
                    },
                    offset_minutes: None,
                };
                write.activity(Activity::keyed("a").at(at)).into_mapped()
            }
            "codes" => {
                let known = codes::translate("codes", "A")?;
                let unknown = codes::translate("codes", "B")?;
                let table = codes::translate("nowhere", "A").is_err();
                write
                    .lead("name", format!("{known:?} {unknown:?} {table}"))
                    .into_mapped()
            }
            // Events that a flow can have.
            "Z02" => {
                let name = message.required("PID-5.1")?;
                assert!(name != "Trap", "with {name:?}");
                write.lead("name", name).into_mapped()
            }
            "Z01" => {
                let code = message.required("PID-5.1")?;
                match codes::translate("codes", &code)? {
                    Some(value) => write.lead("name", value).into_mapped(),
                    None => Err(Refusal::UnmappedCode(UnmappedCode {
                        table: "codes".into(),
                        code,
                    })),
                }
            }
            "remember" => {
                let before = REMEMBERED.take();
                REMEMBERED.set(message.text("PID-5.1")?);
                // The stack and the heap of a run before would show here as well.
                let seen = seen_before();
                write
                    .lead("name", format!("{before:?} {seen}"))
                    .into_mapped()
            }
            "many-paths" => {
                let paths: Vec<_> = (0..100_000).map(|_| "PID-3.1").collect();
                let contents = message.get_all(&paths)?;
                let texts = contents
                    .iter()
                    .filter(|content| matches!(content, Content::Text(_)));
                write.lead("name", texts.count().to_string()).into_mapped()
            }
            "skip" => Ok(Mapped::Skip("not for us".into())),
            _ => write.into_mapped(),
        }
    }
}

const FEBRUARY_30: Date = Date {
    year: 2026,
    month: 2,
    day: 30,
};

fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX {
        0
    } else {
        frame[7] + deeper(depth + 1)
    }
}

/// Marks a piece of fresh heap and tells whether it carried the mark already.
fn seen_before() -> bool {
    const MARK: u64 = 0x4C49_4741_5455_5245;
    let mut piece: Vec<u64> = Vec::with_capacity(32 * 1024);
    let spare = piece.spare_capacity_mut();
    // SAFETY: none is needed to be right here: memory of an instance before is what this looks for.
    let seen = unsafe { spare[16 * 1024].assume_init() } == MARK;
    spare[16 * 1024].write(MARK);
    black_box(&mut piece);
    seen
}
