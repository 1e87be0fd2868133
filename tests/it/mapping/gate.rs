//! What is refused at upload, each with a sentence for its author; and artefacts that nobody may swap.

use super::*;

fn check(component: &[u8], expected: &str) {
    let fixture = Fixture::new();
    match fixture.runtime.load(component) {
        Ok(_) => panic!("taken, but expected: {expected}"),
        Err(rejected) => assert!(
            rejected.to_string().contains(expected),
            "{rejected}\nexpected: {expected}"
        ),
    }
}

#[test]
fn what_is_no_component_is_told_apart() {
    let good = guests::guest("misbehaving");
    check(b"", "not WebAssembly");
    check(b"#!/bin/sh", "not WebAssembly");
    check(b"\0asm", "cut off or damaged");
    check(
        ligature_mapper::INBOUND_MODULE,
        "a core module, not a component",
    );
    check(&good[..good.len() / 2], "cut off or damaged at byte");
    check(&good[..good.len() - 1], "cut off or damaged at byte");
    check(
        &vec![0; 60 * 1024 * 1024],
        "more than the 50331648 that are taken",
    );
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    let rejected = Fixture::new().runtime.load(&damaged);
    assert!(rejected.is_err());
}

#[test]
fn an_import_of_the_system_says_where_it_came_from() {
    check(
        &guests::guest("imports-wasi"),
        "imports wasi:cli/environment@0.2.6, but a mapping can reach nothing but ligature:mapping/…; \
         it comes from Rust's standard library for WASI: build for `wasm32-unknown-unknown`",
    );
}

#[test]
fn another_version_of_the_contract_is_named() {
    check(
        &guests::guest("another-version"),
        "built for ligature:mapping/log@2.0.0, this host serves ligature:mapping/…@0.1.x",
    );
}

#[test]
fn an_empty_component_exports_nothing() {
    check(
        b"\0asm\x0d\0\x01\0",
        "does not export ligature:mapping/about@0.1",
    );
}

/// A component of one empty instance, exported under each of these names of the contract.
fn exporting(names: &[&str]) -> Vec<u8> {
    let mut exports = vec![names.len() as u8];
    for name in names {
        let name = format!("ligature:mapping/{name}@0.1.0");
        exports.extend([0, name.len() as u8]);
        exports.extend(name.bytes());
        exports.extend([5, 0, 0]);
    }
    let mut component = b"\0asm\x0d\0\x01\0\x05\x03\x01\x01\x00\x0b".to_vec();
    component.push(exports.len() as u8);
    component.extend(exports);
    component
}

#[test]
fn a_component_is_for_one_world() {
    check(
        &exporting(&["about", "inbound", "outbound"]),
        "exports both `inbound` and `outbound`: build one for each world",
    );
    check(
        &exporting(&["about"]),
        "does not export ligature:mapping/inbound@0.1",
    );
    check(
        &exporting(&["outbound"]),
        "does not export ligature:mapping/about@0.1",
    );
}

#[test]
fn a_component_that_cannot_describe_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(Config::new(folder.path().into()), mac).unwrap();
    let rejected = runtime.load(&guests::guest("describes-forever")).err();
    assert!(
        rejected
            .unwrap()
            .to_string()
            .contains("cannot describe itself: the component did not answer within 100 ms")
    );
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
