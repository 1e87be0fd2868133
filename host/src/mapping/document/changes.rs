//! In what one version of a document differs from another, as a person would say it.

use std::collections::BTreeMap;

use super::text::conditions;
use super::{Activity, Document, Row, Rule, words};

/// What `after` does otherwise than `before`, one sentence each.
pub fn changes(before: &Document, after: &Document) -> Vec<String> {
    let mut said = Vec::new();
    let (was, is) = (rules(before), rules(after));
    for (name, rule) in &is {
        match was.get(name) {
            None => said.push(format!("{name}: new, {}", whole(rule))),
            Some(old) => said.extend(changed(old, rule).map(|what| format!("{name}: {what}"))),
        }
    }
    let gone = was.keys().filter(|name| !is.contains_key(*name));
    said.extend(gone.map(|name| format!("{name}: not filled any more")));
    let others = [
        (
            before.endings != after.endings,
            "what is skipped or refused",
        ),
        (
            before.groups != after.groups,
            "the conditions that rows share",
        ),
        (
            before.settings != after.settings,
            "the settings that it asks for",
        ),
        (
            before.events != after.events || before.changes != after.changes,
            "the events that it is for",
        ),
        (before.repeats != after.repeats, "what is repeated"),
        (shape(before) != shape(after), "when an activity is written"),
        (
            (&before.name, &before.summary) != (&after.name, &after.summary),
            "its name or summary",
        ),
    ];
    let others = others.into_iter().filter(|(differs, _)| *differs);
    said.extend(others.map(|(_, what)| format!("different: {what}")));
    said
}

/// What a rule says, in one line.
fn whole(rule: &Rule) -> String {
    let (from, steps) = words(rule);
    let steps = match steps.is_empty() {
        true => String::new(),
        false => format!(", then {}", steps.join(", ")),
    };
    let when = match rule.when.is_empty() {
        true => String::new(),
        false => format!(", only if {}", when(rule)),
    };
    format!("from {from}{steps}{when}")
}

fn when(rule: &Rule) -> String {
    match rule.when.is_empty() {
        true => "always".into(),
        false => conditions(&rule.when),
    }
}

fn changed(was: &Rule, is: &Rule) -> impl Iterator<Item = String> {
    let ((old_from, old_steps), (from, steps)) = (words(was), words(is));
    let listed = |steps: &[String]| match steps {
        [] => "none".to_owned(),
        steps => steps.join(", "),
    };
    let handling = |rule: &Rule| {
        (
            rule.required,
            rule.null.clone(),
            rule.empty.clone(),
            rule.on_error.clone(),
        )
    };
    let said = [
        (old_from != from).then(|| format!("from {from} instead of {old_from}")),
        (old_steps != steps)
            .then(|| format!("steps {} instead of {}", listed(&steps), listed(&old_steps))),
        (was.when != is.when).then(|| format!("{} instead of {}", when(is), when(was))),
        (was.required != is.required).then(|| match is.required {
            true => "needed now".to_owned(),
            false => "not needed any more".to_owned(),
        }),
        (was.required == is.required && handling(was) != handling(is))
            .then(|| "otherwise without a value or with one that does not fit".to_owned()),
    ];
    said.into_iter().flatten()
}

/// Every rule by what people call its target.
fn rules(document: &Document) -> BTreeMap<String, &Rule> {
    let mut rules = BTreeMap::new();
    let add = |prefix: &str, row: &Row| {
        let name = if row.label.is_empty() {
            &row.target
        } else {
            &row.label
        };
        format!("{prefix}{name}")
    };
    for row in document.lead.iter().chain(&document.places) {
        rules.insert(add("", row), &row.rule);
    }
    let several = document.activities.len() > 1;
    for (at, activity) in document.activities.iter().enumerate() {
        let prefix = match several {
            true => format!("activity {}, ", at + 1),
            false => "activity, ".to_owned(),
        };
        for row in &activity.fields {
            rules.insert(add(&prefix, row), &row.rule);
        }
        let parts = [
            ("number", &activity.key),
            ("time", &activity.at),
            ("note", &activity.note),
        ];
        for (name, part) in parts {
            if let Some(rule) = part {
                rules.insert(format!("{prefix}{name}"), rule);
            }
        }
    }
    if let Some(rule) = &document.retired {
        rules.insert("former numbers of the patient".into(), rule);
    }
    rules
}

/// What of activities is no rule.
fn shape(document: &Document) -> Vec<Activity> {
    let bare = |activity: &Activity| Activity {
        key: None,
        note: None,
        at: None,
        fields: Vec::new(),
        ..activity.clone()
    };
    document.activities.iter().map(bare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(rows: &str) -> Document {
        Document::parse(&format!(
            "format = 1\nname = \"a\"\nversion = \"1\"\n{rows}"
        ))
        .unwrap()
    }

    #[test]
    fn versions_differ_in_words() {
        let before = document(
            "[[lead]]\ntarget = \"FirstName\"\nlabel = \"First Name\"\npath = \"PID-5.3\"\nsteps = [\"trim\"]\n\
             [[lead]]\ntarget = \"mx_Ward\"\npath = \"PV1-3.1\"\n",
        );
        let after = document(
            "[[lead]]\ntarget = \"FirstName\"\nlabel = \"First Name\"\npath = \"PID-5.2\"\nsteps = [\"trim\", \"title\"]\nrequired = true\n\
             [[lead]]\ntarget = \"Phone\"\npath = \"PID-13\"\n",
        );
        assert_eq!(
            changes(&before, &after),
            [
                "First Name: from PID-5.2 instead of PID-5.3",
                "First Name: steps trim, title instead of trim",
                "First Name: needed now",
                "Phone: new, from PID-13",
                "mx_Ward: not filled any more",
            ]
        );
        assert_eq!(changes(&after, &after), [""; 0]);
    }
}
