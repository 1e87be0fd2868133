//! What a document says, row by row, as a person reads it: for those who look and do not change.

use super::mapper::{OnError, Silent};
use super::text::conditions;
use super::{Document, Group, Row, Rule, words};

/// Rows that fill one record, or one message.
#[derive(Debug)]
pub struct Part {
    /// Such as `Lead fields`.
    pub title: String,
    pub lines: Vec<Line>,
}

/// One row.
#[derive(Debug)]
pub struct Line {
    /// The field's schema name, or outbound the place; empty for what is no field.
    pub target: String,
    /// What people call it; empty where nobody said.
    pub label: String,
    pub from: String,
    pub steps: Vec<String>,
    /// Empty where it always speaks.
    pub when: String,
    /// What it does without a value, or with one that does not fit, where that is not the usual.
    pub otherwise: Vec<String>,
}

/// Every row of a document, in the order of the mapping screen.
pub fn spoken(document: &Document) -> Vec<Part> {
    let groups = &document.groups;
    let mut parts = Vec::new();
    let several = document.activities.len() > 1;
    for (at, activity) in document.activities.iter().enumerate() {
        let own = [
            ("Number of the appointment", &activity.key),
            ("Time", &activity.at),
            ("Note", &activity.note),
        ];
        let own = own.into_iter().filter_map(|(label, rule)| {
            let rule = rule.as_ref()?;
            Some(line("", label, rule, None))
        });
        let fields = activity.fields.iter().map(|row| of_row(row, groups));
        parts.push(Part {
            title: match several {
                true => format!("Activity {}", at + 1),
                false => "Activity".to_owned(),
            },
            lines: own.chain(fields).collect(),
        });
    }
    let rows = |title: &str, rows: &[Row]| Part {
        title: title.to_owned(),
        lines: rows.iter().map(|row| of_row(row, groups)).collect(),
    };
    parts.push(rows("Lead fields", &document.lead));
    parts.push(rows("Places of the message", &document.places));
    for repeat in &document.repeats {
        let title = format!("{}, once for each item", repeat.target);
        parts.push(rows(&title, &repeat.places));
    }
    parts.retain(|part| !part.lines.is_empty());
    parts
}

/// Conditions that rows share: their name, and what must hold.
pub fn groups(document: &Document) -> Vec<(String, String)> {
    let groups = document.groups.iter();
    let groups = groups.map(|group| (group.name.to_string(), conditions(&group.when)));
    groups.collect()
}

fn of_row(row: &Row, groups: &[Group]) -> Line {
    let group = usize::from(row.group).checked_sub(1);
    let group = group.and_then(|at| groups.get(at));
    line(&row.target, &row.label, &row.rule, group)
}

fn line(target: &str, label: &str, rule: &Rule, group: Option<&Group>) -> Line {
    let (from, steps) = words(rule);
    let own = Some(&rule.when).filter(|when| !when.is_empty());
    let group = group.map(|group| group.name.to_string());
    let when = [group, own.map(|when| conditions(when))];
    let said = [
        rule.required.then(|| "needed".to_owned()),
        silent("without a value", &rule.empty),
        silent("if it is deleted", &rule.null),
        match &rule.on_error {
            OnError::LeaveOut => None,
            OnError::Default(text) => Some(format!("if it cannot be used: writes {text}")),
            OnError::Wait => Some("if it cannot be used: waits".to_owned()),
            OnError::Refuse => Some("if it cannot be used: refuses the message".to_owned()),
        },
    ];
    Line {
        target: target.to_owned(),
        label: label.to_owned(),
        from,
        steps,
        when: when.into_iter().flatten().collect::<Vec<_>>().join(" and "),
        otherwise: said.into_iter().flatten().collect(),
    }
}

fn silent(title: &str, silent: &Silent<'_>) -> Option<String> {
    match silent {
        Silent::Keep => None,
        Silent::Clear => Some(format!("{title}: empties the field")),
        Silent::Default(text) => Some(format!("{title}: writes {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_said_with_what_is_unusual_about_them() {
        let text = "format = 1\nname = \"n\"\n\
            [[group]]\nname = \"insured\"\nwhen = [{ path = \"IN1-3\", present = true }]\n\
            [[lead]]\ntarget = \"mx_Plan\"\nlabel = \"Plan\"\ngroup = \"insured\"\npath = \"IN1-2\"\nsteps = [\"trim\"]\n\
            empty = \"clear\"\nnull = { default = \"none\" }\non-error = \"wait\"\n";
        let document = Document::parse(text).unwrap();
        let parts = spoken(&document);
        assert_eq!(parts.len(), 1);
        let line = &parts[0].lines[0];
        assert_eq!(
            (&*parts[0].title, &*line.from, &*line.steps[0], &*line.when),
            ("Lead fields", "IN1-2", "trim", "insured")
        );
        assert_eq!(
            line.otherwise,
            [
                "without a value: empties the field",
                "if it is deleted: writes none",
                "if it cannot be used: waits",
            ]
        );
    }
}
