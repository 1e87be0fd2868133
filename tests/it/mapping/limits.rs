//! One guest that misbehaves in the way that the event names, and what becomes of each.

use super::*;

/// The misbehaving guest, loaded once for a test.
struct Misbehaving {
    fixture: Fixture,
    component: Arc<Component>,
    release: Arc<Release>,
}

impl Misbehaving {
    fn new() -> Self {
        let fixture = Fixture::new();
        let component = fixture.load(&guests::guest("misbehaving"));
        let release = Arc::new(release(&component));
        Self {
            fixture,
            component,
            release,
        }
    }

    fn run(&self, event: &str) -> Run {
        let input = Input {
            tables: table("codes", "A", "known"),
            ..input(&self.release, event, MESSAGE)
        };
        self.fixture.runtime.run(self.component.clone(), input)
    }
}

#[test]
fn every_misbehaviour_ends_with_its_own_code_and_sentence() {
    let guest = Misbehaving::new();
    let check = |event: &str, code: &str, part: &str| {
        let run = guest.run(event);
        let Err(failure) = &run.outcome else {
            panic!("{event}: it was mapped");
        };
        let sentence = failure.sentence();
        assert_eq!(failure.code(), code, "{event}: {sentence}");
        assert!(sentence.contains(part), "{event}: {sentence}");
        // What the guest wrote may be patient data.
        for secret in ["Hartmann", "4711", "987-65"] {
            assert!(!sentence.contains(secret), "{event}: {sentence}");
            assert!(!format!("{failure:?}").contains(secret), "{event}");
        }
    };
    check(
        "grow",
        "mapping-over-limit",
        "more than its 64 MiB of memory",
    );
    check(
        "large-answer",
        "mapping-over-limit",
        "more than 16 MiB at once",
    );
    check(
        "large-call",
        "mapping-over-limit",
        "more than 16 MiB at once",
    );
    check(
        "many-answers",
        "mapping-over-limit",
        "more than 16 MiB at once",
    );
    check("recurse", "mapping-trapped", "itself too deeply");
    check("panic", "mapping-trapped", "it stopped itself");
    check("refuse", "mapping-refused", "a reason of its own");
    check(
        "missing",
        "mapping-refused",
        "a value that it requires is missing",
    );
    check(
        "read-ungranted",
        "mapping-not-granted",
        "reads PID-19, which",
    );
    check(
        "write-ungranted",
        "mapping-not-granted",
        "writes a lead field",
    );
    check(
        "write-activity-as-lead",
        "mapping-not-granted",
        "writes a lead field",
    );
    check("twice", "mapping-bad-answer", "assigns \"mrn\" twice");
    check("decimal", "mapping-bad-answer", "\"name\" is not a decimal");
    check("date", "mapping-bad-answer", "does not exist");
    check("activity-date", "mapping-bad-answer", "does not exist");
    // And the instance after all of those is as good as new.
    assert_eq!(lead(&guest.run("none"), "mrn"), "4711");
}

#[test]
fn what_no_language_would_do_ends_with_its_own_code_and_sentence() {
    use wasm_encoder::Instruction::{
        Block, Br, Drop, End, I32Const, I32DivS, I32Load, Loop, RefNull, TableGrow, Unreachable,
    };
    use wasm_encoder::{BlockType, HeapType, MemArg};

    let fixture = Fixture::new();
    let check = |body: &[wasm_encoder::Instruction<'_>], code: &str, part: &str| {
        let component = fixture.load(&made::inbound(body));
        let release = Arc::new(release(&component));
        let run = fixture
            .runtime
            .run(component, input(&release, "ADT^A04", MESSAGE));
        let failure = run.outcome.err().unwrap();
        assert_eq!(failure.code(), code, "{}", failure.sentence());
        assert!(failure.sentence().contains(part), "{}", failure.sentence());
    };
    let grows = [
        Block(BlockType::Empty),
        Loop(BlockType::Empty),
        RefNull(HeapType::FUNC),
        I32Const(1_000),
        TableGrow(0),
        Drop,
        Br(0),
        End,
        End,
        I32Const(0),
    ];
    check(
        &grows,
        "mapping-over-limit",
        "more than its 64 MiB of memory",
    );
    check(&[Unreachable], "mapping-trapped", "it stopped itself");
    let divides = [I32Const(1), I32Const(0), I32DivS];
    check(&divides, "mapping-trapped", "the component broke");
    let outside = MemArg {
        offset: 0,
        align: 0,
        memory_index: 0,
    };
    let reads = [I32Const(-8), I32Load(outside)];
    check(&reads, "mapping-trapped", "the component broke");
    // Its answer is nowhere.
    check(&[I32Const(-8)], "mapping-trapped", "the component broke");
}

#[test]
fn a_guest_that_does_not_return_is_stopped_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Arc::new(Runtime::new(Config::new(folder.path().into()), mac).unwrap());
    let component = runtime.load(&guests::guest("misbehaving")).unwrap();
    let release = Arc::new(release(&component));
    for event in ["spin", "spin-in-calls"] {
        let run = runtime.run(component.clone(), input(&release, event, MESSAGE));
        let failure = run.outcome.err().unwrap();
        assert_eq!(failure.code(), "mapping-timed-out");
        assert!(failure.is_transient());
        assert_eq!(
            failure.sentence(),
            "the component did not answer within 100 ms; it is tried again, and if it stays slow its vendor should look"
        );
        assert!(
            run.duration >= Duration::from_millis(90),
            "{:?}",
            run.duration
        );
    }
}

/// Spinning guests may take all workers that one component gets, and another component still runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_spins_leaves_a_worker_to_the_others() {
    let guest = Misbehaving::new();
    let document = include_str!("../../../examples/quickstart/adt-a04-lead.toml");
    let honest = generate::component(&Document::parse(document).unwrap()).unwrap();
    let honest = guest.fixture.load(&honest);
    let honest_release = Arc::new(release(&honest));
    let runtime = &guest.fixture.runtime;
    let spinning = (0..64).map(|_| {
        let input = input(&guest.release, "spin", MESSAGE);
        Box::pin(runtime.to_lead_squared(&guest.component, input))
    });
    let spinning = futures_util::future::join_all(spinning);
    let honest = runtime.to_lead_squared(&honest, input(&honest_release, "ADT^A04", MESSAGE));
    tokio::select! {
        biased;
        _ = spinning => panic!("20 s have passed"),
        run = honest => assert_eq!(lead(&run, "mx_MRN"), "4711"),
    }
}

#[test]
fn a_refusal_keeps_its_text_for_those_who_may_see_it() {
    let run = Misbehaving::new().run("refuse");
    let Err(Failure::Refused(refusal)) = run.outcome else {
        panic!("not refused");
    };
    assert!(refusal == Refusal::Other("Hartmann".into()));
}

#[test]
fn a_path_is_granted_with_all_that_its_predicate_reads() {
    let guest = Misbehaving::new();
    let run = guest.run("read-ungranted-predicate");
    assert_eq!(lead(&run, "name"), "4711");
    let component = guest.component.clone();
    let mut narrow = release(&component);
    narrow.grants.reads = vec!["PID-3.2".into()];
    let input = input(&Arc::new(narrow), "read-ungranted-predicate", MESSAGE);
    let run = guest.fixture.runtime.run(component, input);
    assert!(
        sentence(&run).contains("reads PID-3, which"),
        "{}",
        sentence(&run)
    );
}

#[test]
fn a_denied_read_that_the_guest_can_do_without_is_no_failure() {
    let guest = Misbehaving::new();
    assert_eq!(lead(&guest.run("probe-ungranted"), "name"), "true");
    assert_eq!(lead(&guest.run("bad-path"), "name"), "true");
}

#[test]
fn code_table_misses_are_recorded() {
    let run = Misbehaving::new().run("codes");
    assert_eq!(lead(&run, "name"), "Some(\"known\") None true");
    let misses: Vec<_> = run
        .misses
        .iter()
        .map(|miss| (miss.table.as_str(), miss.code.as_str()))
        .collect();
    assert_eq!(misses, [("The codes", "B")]);
}

#[test]
fn the_log_is_cut_to_a_hundred_lines_of_a_kilobyte() {
    let run = Misbehaving::new().run("log");
    assert!(run.outcome.is_ok());
    assert_eq!(run.log.len(), 100);
    assert_eq!(run.lines_cut, 9_900);
    assert!(run.log.iter().all(|line| line.text.len() <= 1_024));
    assert!(run.log[0].text.starts_with("0 é"));
    let run = Misbehaving::new().run("log-a-million");
    assert!(run.outcome.is_ok(), "{}", sentence(&run));
    assert_eq!((run.log.len(), run.lines_cut), (100, 999_900));
}

#[test]
fn of_every_path_those_granted_are_answered() {
    // PID-3 and PID-5.
    assert_eq!(lead(&Misbehaving::new().run("every-path"), "name"), "2");
}

#[test]
fn nothing_is_left_of_the_message_before() {
    let guest = Misbehaving::new();
    for _ in 0..20 {
        assert_eq!(lead(&guest.run("remember"), "name"), "None false");
    }
}

#[test]
fn a_crossing_with_many_paths_is_answered() {
    assert_eq!(
        lead(&Misbehaving::new().run("many-paths"), "name"),
        "100000"
    );
}

#[test]
fn skipping_is_an_answer() {
    let run = Misbehaving::new().run("skip");
    assert!(matches!(run.outcome, Ok(Mapped::Skip(text)) if text == "not for us"));
}
