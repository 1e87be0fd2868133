//! Every example of `host/docs/mapping.md`, run as it stands there.
//!
//! A `toml` block with `[[` is a document of its own, or goes on under a heading; another one is a lead row.
//! Its comments say what it is run on and what comes of it: `# PID|1||007` a segment, `# gives …` the outcome.
//! A row of the table of steps has the chain, what comes in and what goes out.

use ligature_mapper::STEPS;

use super::*;

const REFERENCE: &str = include_str!("../../../../docs/mapping.md");

#[test]
fn every_example_does_what_is_said() {
    let (mut run, mut wrong) = (0, String::new());
    for block in REFERENCE.split("```toml\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let lines = block.lines();
        let segment = |line: &str| line.len() > 4 && line.as_bytes()[3] == b'|';
        let comments = lines.filter_map(|line| line.strip_prefix("# "));
        let (segments, rest): (Vec<_>, Vec<_>) = comments.partition(|line| segment(line));
        let expected = rest.iter().find_map(|line| line.strip_prefix("gives "));
        let heading = "format = 1\nname = \"t\"\n";
        let text = match (block.starts_with("format"), block.contains("[[")) {
            (true, _) => block.to_owned(),
            (false, true) => format!("{heading}{block}"),
            (false, false) => format!("{heading}[[lead]]\ntarget = \"T\"\n{block}"),
        };
        let parsed = Document::parse(&text);
        assert!(parsed.is_ok(), "{}\n{text}", faults(&text));
        let Some(expected) = expected else { continue };
        let message = message(&segments.join("\r"));
        let outcome = match block.contains("[[") {
            false => outcome(&text, &message),
            true => {
                let ran = map(&text, &message);
                said(
                    ran.outcome.map(|mapped| Some(shown::mapped(&mapped))),
                    &ran.warnings,
                )
            }
        };
        if outcome != expected {
            wrong += &format!("{block}but: {outcome}\n\n");
        }
        run += 1;
    }
    assert_eq!(wrong, "");
    assert!(run >= 20, "{run} examples were found");
}

/// The chains of the table of steps.
pub(in crate::mapping) fn chains() -> Vec<&'static str> {
    let table = REFERENCE.split("<!-- steps -->").nth(1).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let chains = rows.filter_map(|row| row.trim_matches('|').split(" | ").next());
    let chains = chains.map(|cell| cell.trim().trim_matches('`'));
    chains.filter(|chain| !chain.contains("phone")).collect()
}

#[test]
fn every_step_has_a_row_that_is_true() {
    let (mut words, mut wrong) = (Vec::new(), String::new());
    let table = REFERENCE.split("<!-- steps -->").nth(1).unwrap();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let cell = |at: usize| cells[at].trim_matches('`');
        let (chain, from, to) = (cell(0), cell(2), cell(3));
        let quoted = toml::Value::String(from.into());
        let text = format!(
            "format = 1\nname = \"t\"\n[[lead]]\ntarget = \"T\"\nconstant = {quoted}\nsteps = [{chain}]\n"
        );
        if chain.contains("phone") {
            // Of the other direction alone; `outbound` has its tests.
            words.push("phone");
            continue;
        }
        let Ok(parsed) = Document::parse(&text) else {
            wrong += &format!("{row}\nbut: {}\n", faults(&text));
            continue;
        };
        let steps = &parsed.lead[0].rule.steps;
        words.extend(steps.iter().map(|step| step.word()));
        let outcome = outcome(&text, &message("PID|1"));
        if outcome != to {
            wrong += &format!("{row}\nbut: {outcome}\n");
        }
    }
    assert_eq!(wrong, "");
    for info in STEPS {
        assert!(words.contains(&info.word), "{} has no row", info.word);
    }
}
