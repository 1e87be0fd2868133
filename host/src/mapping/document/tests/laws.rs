//! What holds of every document, step and text.

use ligature_mapper::{
    self as mapper, Base64, Each, EachSource, Hits, Kind, Lenience, Miss, Notation, OnError,
    Operation, Order, Reading, Silent, Test, Unit,
};
use proptest::prelude::*;

use super::*;
use crate::mapping::document::{kind_of, rule_of};

type Text = mapper::Text<'static>;

fn path() -> impl Strategy<Value = Path> {
    prop_oneof![
        Just("PID-3"),
        Just("PID-3[.5='MR'].1"),
        Just("PID-3[.5='M R''s' and .4='\"'].1"),
        Just("PID-3[.4='}'].1"),
        Just("OBX[2]-5"),
        Just("OBX-5"),
        Just("ZZZ-1.2.3"),
    ]
    .prop_map(|text| text.parse().unwrap())
}

fn ask() -> impl Strategy<Value = Ask> {
    path().prop_map(Ask::Path)
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9é'\"\\\\ \n\t{}=,.;*-]{1,8}"
}

fn text() -> impl Strategy<Value = Text> {
    word().prop_map(Into::into)
}

fn hits() -> impl Strategy<Value = Hits<'static>> {
    prop_oneof![
        Just(Hits::Last),
        Just(Hits::Refuse),
        text().prop_map(Hits::All),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    let leaf = prop_oneof![
        ask().prop_map(Source::Ask),
        (ask(), hits()).prop_map(|(ask, hits)| Source::Hits(ask, hits)),
        ask().prop_map(Source::Raw),
        ask().prop_map(Source::Count),
        Just(Source::Fact(mapper::Fact::Channel)),
        Just(Source::Setting("clinic".into())),
        text().prop_map(Source::Constant),
        (text(), ask(), text()).prop_map(|(before, ask, behind)| Source::Template(vec![
            Source::Constant(before),
            Source::Ask(ask),
            Source::Constant(behind),
        ])),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let parts = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            parts.clone().prop_map(Source::First),
            (text(), parts).prop_map(|(separator, parts)| Source::Concat { separator, parts }),
            (inner, leaf_conditions()).prop_map(|(source, when)| match source {
                // A part of a part is one part.
                Source::Part(_) => source,
                source => Source::Part(Box::new(mapper::Part {
                    source,
                    steps: vec![Step::Upper],
                    when,
                })),
            }),
        ]
    })
}

fn leaf_conditions() -> impl Strategy<Value = Vec<Condition>> {
    let test = prop_oneof![
        Just(Test::Present),
        Just(Test::Absent),
        Just(Test::Null),
        (text(), any::<bool>()).prop_map(|(text, any_case)| Test::Equals { text, any_case }),
        (prop::collection::vec(text(), 0..3), any::<bool>())
            .prop_map(|(texts, any_case)| Test::In { texts, any_case }),
        Just(Test::Matches("^[A-Z]+\\d{2}".into())),
        Just(Test::Compare(Order::AtLeast, "1.5".into())),
    ];
    let leaf = (ask(), test).prop_map(|(ask, test)| Condition::Is {
        subject: Source::Ask(ask),
        test,
    });
    prop::collection::vec(leaf, 0..3)
}

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    (leaf_conditions(), 0..4_u8).prop_map(|(inner, how)| match (inner.is_empty(), how) {
        (true, _) | (_, 0) => inner,
        (_, 1) => vec![Condition::Any(inner)],
        (_, 2) => vec![Condition::All(inner)],
        (_, _) => vec![Condition::Not(Box::new(Condition::Any(inner)))],
    })
}

fn miss() -> impl Strategy<Value = Miss<'static>> {
    prop_oneof![
        Just(Miss::Fault),
        Just(Miss::Pass),
        text().prop_map(Miss::Default),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    let lenience = prop_oneof![
        Just(Lenience::None),
        Just(Lenience::Plain),
        Just(Lenience::DayFirst),
        Just(Lenience::MonthFirst),
    ];
    (any::<bool>(), lenience).prop_map(|(first_day, lenience)| Reading {
        first_day,
        lenience,
    })
}

fn unit() -> impl Strategy<Value = Unit> {
    prop_oneof![
        Just(Unit::Years),
        Just(Unit::Months),
        Just(Unit::Weeks),
        Just(Unit::Days),
        Just(Unit::Hours),
        Just(Unit::Minutes),
        Just(Unit::Seconds),
    ]
}

fn texts_steps() -> impl Strategy<Value = Step> {
    let number = 1..30_u32;
    prop_oneof![
        prop_oneof![
            Just(Step::Trim),
            Just(Step::Upper),
            Just(Step::Lower),
            Just(Step::Title),
            Just(Step::Name),
            Just(Step::Digits),
            Just(Step::PlainText),
            Just(Step::Hash),
            Just(Step::Base64(Base64::Encode)),
            Just(Step::Base64(Base64::Decode)),
        ],
        (number.clone(), text(), any::<bool>()).prop_map(|(length, with, at_end)| Step::Pad {
            length,
            with,
            at_end
        }),
        number.clone().prop_map(Step::Truncate),
        (number.clone(), number).prop_map(|(start, length)| Step::Substring { start, length }),
        (text(), prop::option::of(prop_oneof![-3..0_i32, 1..4_i32]))
            .prop_map(|(at, pick)| Step::Split { at, pick }),
        prop_oneof![-3..0_i32, 1..4_i32].prop_map(Step::Pick),
        text().prop_map(Step::Join),
        (text(), text()).prop_map(|(from, to)| Step::Replace { from, to }),
        (0..2_u32).prop_map(|group| Step::Extract {
            pattern: "([a-z]+)\\s*".into(),
            group
        }),
        text().prop_map(|to| Step::ReplacePattern {
            pattern: "[^a-z]{2,3}".into(),
            to
        }),
        text().prop_map(Step::Prefix),
        text().prop_map(Step::Suffix),
        text().prop_map(Step::Default),
        (text(), 0..9_u32).prop_map(|(with, keep)| Step::Mask { with, keep }),
        (prop::collection::btree_map(text(), text(), 0..3), miss()).prop_map(|(entries, miss)| {
            Step::Map {
                entries: entries.into_iter().collect(),
                miss,
            }
        }),
        (prop::option::of(text()), miss()).prop_map(|(column, miss)| Step::Table {
            table: "genders".into(),
            column,
            miss,
        }),
    ]
}

fn typed_steps() -> impl Strategy<Value = Step> {
    let operation = prop_oneof![
        Just(Operation::Add),
        Just(Operation::Subtract),
        Just(Operation::Multiply),
    ];
    let operand = prop_oneof![
        Just("2"),
        Just("-0.05"),
        Just("9999999999999999999999999999")
    ];
    let notation = prop_oneof![
        Just(Notation::Plain),
        Just(Notation::Point),
        Just(Notation::Comma),
    ];
    prop_oneof![
        reading().prop_map(Step::Date),
        reading().prop_map(|reading| Step::DateTime(Reading {
            first_day: false,
            ..reading
        })),
        any::<bool>().prop_map(|lenient| Step::Time { lenient }),
        Just(Step::FormatDate("%%".into())),
        (any::<i32>(), unit()).prop_map(|(by, unit)| Step::Shift { by, unit }),
        unit().prop_map(Step::Age),
        notation.prop_map(Step::Number),
        (operation, operand.clone()).prop_map(|(operation, operand)| Step::Arithmetic {
            operation,
            operand: operand.into(),
        }),
        (operand, 0..11_u32).prop_map(|(by, places)| Step::Divide {
            by: by.into(),
            places,
        }),
        (0..11_u32).prop_map(Step::Round),
        (0..11_u32, text(), text()).prop_map(|(places, point, group)| Step::FormatNumber {
            places,
            point,
            group,
        }),
        Just(Step::Boolean {
            yes: Vec::new(),
            no: Vec::new()
        }),
        (text(), text()).prop_map(|(yes, no)| Step::Boolean {
            yes: vec![yes],
            no: vec![no]
        }),
        (text(), text()).prop_map(|(yes, no)| Step::Words { yes, no }),
    ]
}

/// Steps that fit behind each other, taken from any.
fn chain(mut kind: Kind, steps: Vec<Step>) -> Vec<Step> {
    let mut chain = Vec::new();
    for step in steps {
        if let Some(gives) = step.gives(kind) {
            kind = gives;
            chain.push(step);
        }
    }
    chain
}

fn rule() -> impl Strategy<Value = Rule> {
    let silent = prop_oneof![
        Just(Silent::Keep),
        Just(Silent::Clear),
        text().prop_map(Silent::Default),
    ];
    let on_error = prop_oneof![
        Just(OnError::LeaveOut),
        Just(OnError::Wait),
        Just(OnError::Refuse),
        text().prop_map(OnError::Default),
    ];
    let step = prop_oneof![texts_steps(), typed_steps()];
    let each = (conditions(), 1..5_u16, any::<bool>());
    (
        (source(), prop::option::of(each)),
        prop::collection::vec(step, 0..6),
        conditions(),
        silent.clone(),
        silent,
        on_error,
        any::<bool>(),
    )
        .prop_map(
            |((source, each), steps, when, null, empty, on_error, required)| {
                // A part is what stands inside of something.
                let source = match source {
                    Source::Part(part) => part.source,
                    source => source,
                };
                let source = match each {
                    None => source,
                    Some((filter, limit, segment)) => Source::Each(Box::new(EachSource {
                        each: Each {
                            over: Ask::Path(if segment { "OBX" } else { "PID-3" }.parse().unwrap()),
                            filter,
                            limit,
                        },
                        source,
                    })),
                };
                let goes_on = matches!(on_error, OnError::Default(_));
                Rule {
                    steps: chain(kind_of(&source), steps),
                    when,
                    null,
                    empty,
                    required: required && !goes_on,
                    on_error,
                    ..rule_of(source)
                }
            },
        )
}

fn any_document() -> impl Strategy<Value = Document> {
    let rows = prop::collection::btree_map(word(), rule(), 1..4);
    let group = prop::option::of(conditions());
    (word(), rows, group).prop_map(|(name, rows, group)| {
        let mut document = Document::new(Direction::EhrToLeadSquared, &name);
        document.settings.push(mapper::Setting {
            name: "clinic".into(),
            label: "".into(),
            help: "".into(),
            kind: mapper::SettingKind::Choice(vec!["Lakeside".into()]),
            default: None,
            required: false,
        });
        if let Some(when) = group.filter(|when| !when.is_empty()) {
            document.groups.push(Group {
                name: "one".into(),
                when,
            });
        }
        let group = document.groups.len() as u16;
        document.lead = rows
            .into_iter()
            .map(|(target, rule)| Row {
                id: target.clone().into(),
                target: target.into(),
                label: "".into(),
                group,
                rule,
            })
            .collect();
        document.sort();
        document
    })
}

proptest! {
    #[test]
    fn any_document_is_read_back_as_it_was_written(document in any_document()) {
        let text = document.to_text();
        let read = Document::parse(&text);
        prop_assert!(read.is_ok(), "{}\n{}", faults(&text), text);
        prop_assert!(read.is_ok_and(|read| read == document), "{}", text);
    }

    #[test]
    fn no_step_panics_on_any_text(document in any_document(), texts in prop::collection::vec("\\PC{0,40}", 4)) {
        let segments = format!(
            "PID|1||{}^^^B^MR~{}\rOBX|1||||{}\rOBX|2||||{}",
            texts[0], texts[1], texts[2], texts[3]
        );
        let message = message(&segments);
        let message = Message::parse(message.as_bytes()).unwrap();
        let program = document.to_program();
        let ran = native::map(&program, &message, &facts()).unwrap();
        // The same again, whatever it was.
        let again = native::map(&program, &message, &facts()).unwrap();
        prop_assert!(ran.outcome == again.outcome && ran.warnings == again.warnings);
    }

    #[test]
    fn what_is_no_document_is_a_fault_and_no_panic(text in "\\PC{0,200}", key in "[a-z-]{1,12}") {
        let _ = Document::parse(&text);
        let _ = Document::parse(&format!("format = 1\nname = \"x\"\n[[lead]]\ntarget = \"T\"\n{key} = {text}"));
    }
}
