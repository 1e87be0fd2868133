//! What is refused at upload, each with a sentence for its author; and artefacts that nobody may swap.

use super::*;

/// A component, what is wrong with it, and the sentence that its author gets.
struct Broken {
    name: &'static str,
    bytes: Vec<u8>,
    expected: &'static str,
}

fn broken(name: &'static str, bytes: impl Into<Vec<u8>>, expected: &'static str) -> Broken {
    let bytes = bytes.into();
    Broken {
        name,
        bytes,
        expected,
    }
}

/// A component of one empty instance, exported under each of these names.
fn exporting(names: &[&str]) -> Vec<u8> {
    let mut exports = vec![names.len() as u8];
    for name in names {
        exports.extend([0, name.len() as u8]);
        exports.extend(name.bytes());
        exports.extend([5, 0, 0]);
    }
    let mut component = b"\0asm\x0d\0\x01\0\x05\x03\x01\x01\x00\x0b".to_vec();
    component.push(exports.len() as u8);
    component.extend(exports);
    component
}

/// A component that imports one more empty instance.
fn importing(mut component: Vec<u8>, name: &str) -> Vec<u8> {
    // How many types there are already: none in an empty component.
    component.extend(b"\x07\x03\x01\x42\x00");
    let mut import = vec![1, 0, name.len() as u8];
    import.extend(name.bytes());
    import.extend([5, 0]);
    component.extend([10, import.len() as u8]);
    component.extend(import);
    component
}

/// A component with one more core module in it, which has memory that threads can share.
fn with_shared_memory(mut component: Vec<u8>) -> Vec<u8> {
    let module = b"\0asm\x01\0\0\0\x05\x04\x01\x03\x01\x01";
    component.extend([1, module.len() as u8]);
    component.extend(module);
    component
}

/// A guest of the tests that describes itself in another way than it was compiled to.
fn describing(guest: &[u8], way: &str) -> Vec<u8> {
    const COMPILED: &[u8] = b"way:good............";
    let mut component = guest.to_vec();
    let mut places = component.windows(COMPILED.len());
    let at = places.position(|part| part == COMPILED).unwrap();
    let text = format!("way:{way:.<16}");
    component[at..at + COMPILED.len()].copy_from_slice(text.as_bytes());
    component
}

/// Every broken component, in the order in which a host looks.
fn table() -> Vec<Broken> {
    let good = guests::guest("misbehaving");
    let inbound = guests::guest("describes-badly");
    let outbound = guests::guest("describes-badly-outbound");
    let of = |way| describing(&inbound, way);
    let of_outbound = |way| describing(&outbound, way);
    let about = "ligature:mapping/about@1.0.0";
    let to_lead_squared = "ligature:mapping/inbound@1.0.0";
    let to_hl7 = "ligature:mapping/outbound@1.0.0";
    vec![
        broken(
            "too large",
            vec![0; 60 * 1024 * 1024],
            "more than the 50331648 that are taken; build it optimized",
        ),
        broken(
            "empty file",
            *b"",
            "the file is not WebAssembly: upload the .wasm file that the build wrote",
        ),
        broken(
            "another kind of file",
            *b"#!/bin/sh",
            "the file is not WebAssembly: upload the .wasm file",
        ),
        broken(
            "core module",
            ligature_mapper::INBOUND_MODULE,
            "the file is a core module, not a component: run `wasm-tools component new",
        ),
        broken(
            "nothing but the beginning",
            *b"\0asm",
            "the file is cut off or damaged at byte",
        ),
        broken(
            "cut off in the middle",
            &good[..good.len() / 2],
            "the file is cut off or damaged at byte",
        ),
        broken(
            "cut off at the end",
            &good[..good.len() - 1],
            "the file is cut off or damaged at byte",
        ),
        broken(
            "import of WASI",
            guests::guest("imports-wasi"),
            "it comes from Rust's standard library for WASI: build for `wasm32-unknown-unknown`",
        ),
        broken(
            "import of another package",
            importing(exporting(&[]), "acme:clock/now@1.0.0"),
            "the component imports acme:clock/now@1.0.0, but a mapping can reach nothing but ligature:mapping/…; take the import out of the component's world",
        ),
        broken(
            "another version",
            guests::guest("another-version"),
            "the component is built for ligature:mapping/log@2.0.0, this host serves",
        ),
        broken(
            "later version",
            importing(exporting(&[]), "ligature:mapping/hl7@1.7.0"),
            "the component is built for ligature:mapping/hl7@1.7.0, this host serves version 1.0 of the contract; bring the host up to date, or build the component",
        ),
        broken(
            "draft",
            importing(exporting(&[]), "ligature:mapping/hl7@0.1.0"),
            "the component is built for ligature:mapping/hl7@0.1.0, this host serves version 1.0 of the contract; that is a draft which was never released",
        ),
        broken(
            "no version",
            exporting(&["ligature:mapping/about"]),
            "the component is built for ligature:mapping/about, this host serves version 1.0 of the contract; it names no version",
        ),
        broken(
            "no exports",
            exporting(&[]),
            "the component does not export ligature:mapping/about",
        ),
        broken(
            "no mapping",
            exporting(&[about]),
            "the component does not export ligature:mapping/inbound",
        ),
        broken(
            "no description",
            exporting(&[to_hl7]),
            "the component does not export ligature:mapping/about",
        ),
        broken(
            "both worlds",
            exporting(&[about, to_lead_squared, to_hl7]),
            "the component exports both `inbound` and `outbound`: build one for each world",
        ),
        broken(
            "memory for threads",
            with_shared_memory(good.clone()),
            "the component uses something of WebAssembly that this host does not have: threads must be enabled",
        ),
        broken(
            "empty exports",
            exporting(&[about, to_lead_squared]),
            "the component does not fit the contract",
        ),
        broken(
            "describe never ends",
            guests::guest("describes-forever"),
            "the component cannot describe itself: the component did not answer within 100 ms",
        ),
        broken(
            "describe panics",
            of("panic"),
            "the component cannot describe itself: the component broke: it stopped itself (a panic or a failed check)",
        ),
        broken(
            "describe takes memory",
            of("memory"),
            "the component cannot describe itself: the component asked for more than its 64 MiB of memory",
        ),
        broken(
            "describe says too much",
            of("large"),
            "the component cannot describe itself: the component handed over more than 16 MiB at once",
        ),
        broken(
            "describe asks the host",
            of("asks"),
            "the component cannot describe itself: the component broke",
        ),
        broken(
            "no name",
            of("no-name"),
            "the component's description of itself cannot be used: it has no name",
        ),
        broken(
            "nameless target",
            of("nameless-target"),
            "cannot be used: a lead target has no name",
        ),
        broken(
            "target twice",
            of("twice"),
            "cannot be used: lead target \"mrn\" is listed twice",
        ),
        broken(
            "too many targets",
            of("many-targets"),
            "cannot be used: it lists more than 1000 of lead target",
        ),
        broken(
            "too many settings",
            of("many-settings"),
            "cannot be used: it lists more than 1000 rows or settings",
        ),
        broken(
            "too many paths",
            of("many-paths"),
            "cannot be used: it lists more than 1000 paths, events or places",
        ),
        broken(
            "unknown path",
            of("path"),
            "cannot be used: it asks to read \"the name\", which is no path",
        ),
        broken(
            "field where a path must be",
            of("field"),
            "cannot be used: it asks to read \"lead.LastName\", which is no path",
        ),
        broken(
            "unknown event",
            of("event"),
            "the component's description of itself cannot be used",
        ),
        broken(
            "long text",
            of("long-text"),
            "cannot be used: a text of it is longer than 4096 bytes",
        ),
        broken(
            "no place",
            of_outbound("no-place"),
            "cannot be used: it lists no place that it fills",
        ),
        broken(
            "targets to the EHR",
            of_outbound("targets"),
            "cannot be used: it lists targets in LeadSquared, but fills HL7 messages: list places",
        ),
        broken(
            "path where a field must be",
            of_outbound("field"),
            "cannot be used: it asks to read \"PID-5\", which is no field: write lead.<Schema> or activity.<Schema>",
        ),
        broken(
            "place of the host",
            of_outbound("place"),
            "cannot be used: it asks to fill \"MSH-10\", which cannot be",
        ),
        broken(
            "event of the other way",
            of_outbound("event"),
            "cannot be used: event \"ADT^A04\" is none of",
        ),
    ]
}

#[test]
fn every_broken_component_gets_its_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let usual = Runtime::new(Config::new(folder.path().into()), mac).unwrap();
    let patient = Fixture::new();
    let documented = guests::root().join("host/docs/components.md");
    let documented = std::fs::read_to_string(documented).unwrap();
    let mut wrong = Vec::new();
    for Broken {
        name,
        bytes,
        expected,
    } in table()
    {
        // On a busy machine anything may take longer than usual.
        let runtime = match name {
            "describe never ends" => &usual,
            _ => &*patient.runtime,
        };
        let said = match runtime.load(&bytes) {
            Ok(_) => "it was taken".to_owned(),
            Err(rejected) => rejected.to_string(),
        };
        if !said.contains(expected) {
            wrong.push(format!("{name}: {said}\n  expected: {expected}"));
        }
        let row = format!("| {name} | ");
        let row = documented.lines().find(|line| line.starts_with(&row));
        if !row.is_some_and(|row| row.contains(expected)) {
            wrong.push(format!(
                "the table of host/docs/components.md has no row `| {name} | … {expected}`"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_guests_of_the_table_are_taken_as_they_are() {
    let fixture = Fixture::new();
    fixture.load(&guests::guest("describes-badly"));
    fixture.load(&guests::guest("describes-badly-outbound"));
}

#[test]
fn a_damaged_file_is_not_taken() {
    let mut damaged = guests::guest("misbehaving");
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    assert!(Fixture::new().runtime.load(&damaged).is_err());
}

#[test]
fn an_artefact_of_somebody_else_is_not_loaded() {
    let fixture = Fixture::new();
    let good = guests::guest("misbehaving");
    let component = fixture.load(&good);
    let kept = || {
        let mut files = std::fs::read_dir(fixture.folder.path()).unwrap();
        let file = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none(), "one component, one file");
        file
    };
    let written = std::fs::read(kept()).unwrap();

    // Changed anywhere, it is compiled again and written as it was.
    for at in [0, 40, written.len() / 2, written.len() - 1] {
        let mut changed = written.clone();
        changed[at] ^= 1;
        std::fs::write(kept(), &changed).unwrap();
        fixture.load(&good);
        assert!(std::fs::read(kept()).unwrap() != changed);
    }
    std::fs::write(kept(), b"short").unwrap();
    fixture.load(&good);

    // A host with another key does not trust it, one with the same key takes it as it is.
    let other = Runtime::new(
        Config::new(fixture.folder.path().into()),
        |bytes: &[u8]| mac(&[bytes, b"other"].concat()),
    );
    let before = std::fs::read(kept()).unwrap();
    other.unwrap().load(&good).unwrap();
    assert!(std::fs::read(kept()).unwrap()[..32] != before[..32]);
    fixture.load(&good);
    let written_at = std::fs::metadata(kept()).unwrap().modified().unwrap();
    let again = start(fixture.folder.path()).load(&good).unwrap();
    assert_eq!(again.digest, component.digest);
    assert_eq!(
        std::fs::metadata(kept()).unwrap().modified().unwrap(),
        written_at
    );
}
