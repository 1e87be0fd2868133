//! Rules, sources and conditions.

use ligature_mapper::{
    self as mapper, Each, EachSource, Fact, Hits, Kind, OnError, Order, Silent, Test,
    check_pattern, is_comparable,
};
use toml::de::DeValue;

use super::keys::Keys;
use super::step::steps;
use super::{MAX_LIMIT, ask, is_countable, needed, template};
use crate::mapping::document::{Ask, Condition, DEFAULT_LIMIT, Rule, Source, kind_of};

/// Sources inside sources, and conditions inside conditions.
const MAX_DEPTH: usize = 4;

/// What a rule is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A field of LeadSquared.
    Field,
    /// A place of a message.
    Place,
    Key,
    Note,
    At,
    Retired,
    Items,
}

/// The keys that every row has.
pub(super) fn rule(keys: &mut Keys<'_, '_>, part: Part) -> Option<Rule> {
    let faults = keys.faults;
    let each = each(keys);
    let was_in_loop = faults.in_loop.get();
    if each.is_some() {
        if was_in_loop {
            let text = "a loop inside of a loop: the rows of one read one element each";
            keys.fault("for-each", text.into());
        }
        faults.in_loop.set(true);
    }
    let mut source = source(keys, 1);
    faults.in_loop.set(was_in_loop);
    if let Some(each) = each {
        source = source.map(|source| Source::Each(Box::new(EachSource { each, source })));
    }
    let kind = source.as_ref().map_or(Kind::Text, kind_of);
    let (steps, kind) = steps(keys, kind);
    let when = conditions(keys, "when");
    let (null, empty) = (silent(keys, "null"), silent(keys, "empty"));
    let required = keys.boolean("required").unwrap_or_default();
    let on_error = on_error(keys, part, required);
    if let Some(kinds) = needed(part)
        && !kinds.contains(&kind)
        && source.is_some()
    {
        let kinds: Vec<_> = kinds.iter().map(ToString::to_string).collect();
        let kinds = kinds.join(" or ");
        let text = format!("the steps end in {kind}, but {kinds} is needed here");
        keys.fault("steps", text);
    }
    Some(Rule {
        source: source?,
        steps,
        when,
        null,
        empty,
        on_error,
        required,
    })
}

/// `for-each` with its filter and limit.
pub(super) fn each(keys: &mut Keys<'_, '_>) -> Option<Each<'static, Ask>> {
    if !keys.has("for-each") {
        return None;
    }
    if keys.faults.is_outbound() {
        let text = "a change has no segments: what is repeated in the message is a [[repeat]]";
        keys.fault("for-each", text.into());
        ["for-each", "filter", "limit"]
            .iter()
            .for_each(|key| keys.skip(key));
        return None;
    }
    let over = keys.path("for-each");
    if over.as_ref().is_some_and(|over| !is_countable(over)) {
        let text = "is a segment or a field without numbers: OBX or PID-13";
        keys.fault("for-each", text.into());
    }
    let was_in_loop = keys.faults.in_loop.replace(true);
    let filter = conditions(keys, "filter");
    keys.faults.in_loop.set(was_in_loop);
    let limit = keys.count("limit").unwrap_or(DEFAULT_LIMIT.into());
    if limit > MAX_LIMIT.into() {
        keys.fault("limit", format!("is at most {MAX_LIMIT}"));
    }
    Some(Each {
        over: Ask::Path(over?),
        filter,
        limit: u16::try_from(limit).unwrap_or(MAX_LIMIT),
    })
}

/// `"keep"`, `"clear"` or `{ default = "…" }`.
fn silent(keys: &mut Keys<'_, '_>, key: &str) -> Silent<'static> {
    if let Some(DeValue::Table(_)) = keys.peek(key) {
        return default(keys, key).map_or(Silent::Keep, Silent::Default);
    }
    match keys.choice(key, &["keep", "clear"]) {
        Some("clear") => Silent::Clear,
        _ => Silent::Keep,
    }
}

fn default(keys: &mut Keys<'_, '_>, key: &str) -> Option<mapper::Text<'static>> {
    let (at, table) = keys.table(key)?;
    let mut inner = Keys::new(keys.faults, table, at, &format!("{} {key}", keys.row));
    let text = inner.text("default");
    if text.is_none() {
        inner.missing("default");
    }
    inner.end();
    text.map(Into::into)
}

fn on_error(keys: &mut Keys<'_, '_>, part: Part, required: bool) -> OnError<'static> {
    let on_error = if let Some(DeValue::Table(_)) = keys.peek("on-error") {
        default(keys, "on-error").map_or(OnError::LeaveOut, OnError::Default)
    } else {
        match keys.choice("on-error", &["leave-out", "wait", "refuse"]) {
            Some("wait") => OnError::Wait,
            Some("refuse") => OnError::Refuse,
            Some(_) => OnError::LeaveOut,
            None => return OnError::LeaveOut,
        }
    };
    let goes_on = matches!(on_error, OnError::LeaveOut | OnError::Default(_));
    let must_not = match part {
        _ if required => Some("a required row"),
        Part::Key => Some("an activity's key"),
        Part::Retired => Some("a retired identifier"),
        Part::At if matches!(on_error, OnError::Default(_)) => Some("a date and time"),
        _ => None,
    };
    if let Some(what) = must_not.filter(|_| goes_on) {
        keys.fault("on-error", format!("is wait or refuse for {what}"));
    }
    on_error
}

/// Exactly one of the sources of the document's direction.
pub(super) fn source(keys: &mut Keys<'_, '_>, depth: usize) -> Option<Source> {
    const INBOUND: &[&str] = &[
        "path", "raw", "count", "fact", "setting", "constant", "template", "first", "concat",
    ];
    const OUTBOUND: &[&str] = &[
        "field", "fact", "setting", "constant", "template", "first", "concat",
    ];
    let known = match keys.faults.is_outbound() {
        true => OUTBOUND,
        false => INBOUND,
    };
    let given: Vec<_> = known
        .iter()
        .copied()
        .filter(|name| keys.has(name))
        .collect();
    let [name] = given[..] else {
        let text = match (given.is_empty(), known.split_last()) {
            (true, Some((last, others))) => {
                format!("one of {} and {last} is needed", others.join(", "))
            }
            _ => format!("{} exclude each other", given.join(" and ")),
        };
        keys.fault("", text);
        known.iter().for_each(|name| keys.skip(name));
        ["hits", "separator", "before"]
            .iter()
            .for_each(|name| keys.skip(name));
        return None;
    };
    match name {
        "path" => {
            let path = keys.path("path");
            let hits = match keys.choice("hits", &["first", "last", "all", "refuse", "list"]) {
                Some("last") => Some(Hits::Last),
                Some("refuse") => Some(Hits::Refuse),
                Some("list") => Some(Hits::List),
                Some("all") => Some(Hits::All(
                    keys.any_text("separator")
                        .unwrap_or_else(|| ", ".into())
                        .into(),
                )),
                _ => None,
            };
            let path = Ask::Path(path?);
            Some(match hits {
                Some(hits) => Source::Hits(path, hits),
                None => Source::Ask(path),
            })
        }
        "raw" => Some(Source::Raw(Ask::Path(keys.path("raw")?))),
        "count" => Some(Source::Count(Ask::Path(keys.path("count")?))),
        "field" => {
            let before = keys.boolean("before").unwrap_or_default();
            let field = keys.field("field")?;
            Some(Source::Ask(Ask::Field { field, before }))
        }
        "fact" => {
            let word = keys.text("fact")?;
            match fact(keys, &word) {
                Ok(fact) => Some(Source::Fact(fact)),
                Err(text) => {
                    keys.fault("fact", text);
                    None
                }
            }
        }
        "setting" => {
            let name = keys.text("setting")?;
            match setting(keys, &name) {
                Ok(source) => Some(source),
                Err(text) => {
                    keys.fault("setting", text);
                    None
                }
            }
        }
        "constant" => Some(Source::Constant(keys.any_text("constant")?.into())),
        "template" => {
            let text = keys.text("template")?;
            let parts = template::parse(&text, |name| embedded(keys, name));
            match parts {
                Ok(parts) => Some(Source::Template(parts)),
                Err(text) => {
                    keys.fault("template", text);
                    None
                }
            }
        }
        "first" => parts(keys, "first", depth).map(Source::First),
        _ => {
            let parts = parts(keys, "concat", depth);
            let separator = keys.any_text("separator").unwrap_or_default().into();
            Some(Source::Concat {
                separator,
                parts: parts?,
            })
        }
    }
}

/// What stands between the braces of a template.
fn embedded(keys: &Keys<'_, '_>, name: &str) -> Result<Source, String> {
    if let Some(name) = name.strip_prefix("fact.") {
        return fact(keys, name).map(Source::Fact);
    }
    if let Some(name) = name.strip_prefix("setting.") {
        return setting(keys, name);
    }
    ask(keys.faults, name).map(Source::Ask)
}

fn fact(keys: &Keys<'_, '_>, word: &str) -> Result<Fact, String> {
    let outbound = keys.faults.is_outbound();
    let in_loop = keys.faults.in_loop.get();
    let known = FACTS.iter().filter(|(_, fact)| match fact {
        Fact::Event | Fact::ReceivedAt | Fact::Channel => true,
        Fact::ControlId => !outbound,
        Fact::Number => in_loop,
        Fact::Item => in_loop && outbound,
    });
    let known: Vec<_> = known.collect();
    match known.iter().find(|(known, _)| *known == word) {
        Some((_, fact)) => Ok(*fact),
        None => {
            let known: Vec<_> = known.iter().map(|(known, _)| *known).collect();
            Err(format!("{word:?} is none of {}", known.join(", ")))
        }
    }
}

/// What facts are called.
pub(in crate::mapping::document) const FACTS: [(&str, Fact); 6] = [
    ("event", Fact::Event),
    ("received-at", Fact::ReceivedAt),
    ("control-id", Fact::ControlId),
    ("channel", Fact::Channel),
    ("number", Fact::Number),
    ("item", Fact::Item),
];

fn setting(keys: &Keys<'_, '_>, name: &str) -> Result<Source, String> {
    let settings = keys.faults.settings.borrow();
    match settings.iter().any(|known| known == name) {
        true => Ok(Source::Setting(name.to_owned().into())),
        false => Err(format!("there is no [[setting]] named {name:?}")),
    }
}

/// The sources of a list; a text is a path or a field, a table a source with steps and conditions of its own.
fn parts(keys: &mut Keys<'_, '_>, name: &str, depth: usize) -> Option<Vec<Source>> {
    let (faults, row) = (keys.faults, keys.row.clone());
    let items = keys.list(name)?;
    if items.is_empty() || depth == MAX_DEPTH {
        keys.fault(name, "the list is empty or too deep".into());
        return None;
    }
    let mut sources = Vec::new();
    for (at, item) in items {
        match item {
            DeValue::String(text) => match ask(faults, text) {
                Ok(ask) => sources.push(Source::Ask(ask)),
                Err(text) => faults.add(at, &row, name, text),
            },
            DeValue::Table(table) => {
                let mut keys = Keys::new(faults, table, at, &row);
                let part = part(&mut keys, depth + 1);
                if let Some(part) = &part
                    && kind_of(part) != Kind::Text
                {
                    let kind = kind_of(part);
                    keys.fault(
                        "",
                        format!("the part gives {kind}, but text is needed here"),
                    );
                }
                sources.extend(part);
                keys.end();
            }
            other => {
                let text = format!("expected a path or a table, found {}", other.type_str());
                faults.add(at, &row, name, text);
            }
        }
    }
    Some(sources)
}

/// A source with steps and conditions of its own.
fn part(keys: &mut Keys<'_, '_>, depth: usize) -> Option<Source> {
    let source = source(keys, depth);
    let kind = source.as_ref().map_or(Kind::Text, kind_of);
    let (steps, _) = steps(keys, kind);
    let when = conditions(keys, "when");
    Some(match steps.is_empty() && when.is_empty() {
        true => source?,
        false => Source::Part(Box::new(mapper::Part {
            source: source?,
            steps,
            when,
        })),
    })
}

/// A list of conditions that all must hold.
pub(super) fn conditions(keys: &mut Keys<'_, '_>, key: &str) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let (faults, row) = (keys.faults, keys.row.clone());
    for (position, (at, table)) in keys.tables(key).into_iter().enumerate() {
        let place = format!("{row} condition {}", position + 1);
        let mut keys = Keys::new(faults, table, at, place.trim_start());
        conditions.extend(condition(&mut keys, 1));
        keys.end();
    }
    conditions
}

fn condition(keys: &mut Keys<'_, '_>, depth: usize) -> Option<Condition> {
    for key in ["all", "any"] {
        if !keys.has(key) {
            continue;
        }
        let mut inner = Vec::new();
        for (at, table) in keys.tables(key) {
            let mut keys = Keys::new(keys.faults, table, at, &keys.row);
            if depth < MAX_DEPTH {
                inner.extend(condition(&mut keys, depth + 1));
            } else {
                keys.fault("", "conditions are nested too deeply".into());
                keys.skip_all();
            }
            keys.end();
        }
        if inner.is_empty() {
            keys.fault(key, "needs a condition".into());
        }
        return Some(match key {
            "all" => Condition::All(inner),
            _ => Condition::Any(inner),
        });
    }
    if keys.has("not") {
        let (at, table) = keys.table("not")?;
        let mut keys = Keys::new(keys.faults, table, at, &keys.row);
        let inner = match depth < MAX_DEPTH {
            true => condition(&mut keys, depth + 1),
            false => {
                keys.fault("", "conditions are nested too deeply".into());
                keys.skip_all();
                None
            }
        };
        keys.end();
        return Some(Condition::Not(Box::new(inner?)));
    }
    if keys.faults.is_outbound() && keys.has("changed") {
        let is_field = keys.has("field") && !keys.has("before");
        if keys.boolean("changed") != Some(true) || !is_field {
            keys.fault("changed", "is true, of a field without before".into());
            keys.skip_all();
            return None;
        }
        let field = keys.field("field")?;
        let at = |before| Ask::Field {
            field: field.clone(),
            before,
        };
        return Some(Condition::Changed(at(false), at(true)));
    }
    let subject = part(keys, 2);
    let kind = subject.as_ref().map_or(Kind::Text, kind_of);
    let test = test(keys, kind);
    Some(Condition::Is {
        subject: subject?,
        test: test?,
    })
}

fn test(keys: &mut Keys<'_, '_>, kind: Kind) -> Option<Test<'static>> {
    const ORDERS: [(&str, Order); 4] = [
        ("below", Order::Below),
        ("at-most", Order::AtMost),
        ("at-least", Order::AtLeast),
        ("above", Order::Above),
    ];
    if let Some((key, order)) = ORDERS.iter().find(|(key, _)| keys.has(key)) {
        let with = match keys.peek(key) {
            Some(DeValue::String(_)) => keys.text(key)?,
            _ => keys.decimal(key)?,
        };
        if !is_comparable(kind, &with) {
            keys.fault(key, format!("{kind} cannot be compared with {with:?}"));
        }
        return Some(Test::Compare(*order, with.into()));
    }
    if keys.has("equals") {
        let text = keys.text("equals")?.into();
        let any_case = keys.boolean("any-case").unwrap_or_default();
        return Some(Test::Equals { text, any_case });
    }
    if keys.has("in") {
        let texts = keys.texts("in").into_iter().map(Into::into).collect();
        let any_case = keys.boolean("any-case").unwrap_or_default();
        return Some(Test::In { texts, any_case });
    }
    if keys.has("matches") {
        let pattern = keys.text("matches")?;
        if let Err(error) = check_pattern(&pattern) {
            keys.fault("matches", error);
        }
        return Some(Test::Matches(pattern.into()));
    }
    for (key, test) in [
        ("present", Test::Present),
        ("absent", Test::Absent),
        ("null", Test::Null),
    ] {
        if keys.has(key) {
            if keys.boolean(key) != Some(true) {
                keys.fault(key, "is true, or left out".into());
            }
            return Some(test);
        }
    }
    let text = "one of present, absent, null, equals, in, matches, below, at-most, at-least and above is needed";
    keys.fault("", text.into());
    None
}
