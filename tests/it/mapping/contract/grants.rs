//! Every function of every served version, asked by a component that is granted nothing: it learns nothing, or the
//! function stands in [`OPEN`]. So a function that is added without a check fails here.
//!
//! The components are made, one for each function: a guest in Rust would ask only what its author thought of.

use ligature::flow::Grants;
use wasm_encoder::{Instruction, MemArg};
use wit_parser::Function as Asked;
use wit_parser::abi::AbiVariant;

use super::super::made::{ANSWER, FIELD, LIST, Made, PATH, RESULT, TEXT, VERDICT};
use super::*;

/// Facts of the flow, which say nothing about a patient and need no grant.
const OPEN: [&str; 6] = [
    "flow.channel",
    "flow.control-id",
    "flow.default-country-code",
    "flow.event",
    "flow.received-at",
    "flow.time-zone",
];

/// How a function can be told to have said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// It answers with an access error.
    Error,
    /// It answers with an empty list.
    List,
    /// It answers nothing, whatever it is asked.
    Nothing,
    /// It always answers.
    Always,
}

impl Says {
    fn of(resolve: &Resolve, function: &Asked) -> Self {
        let Some(result) = &function.result else {
            return Self::Nothing;
        };
        let Type::Id(id) = result else {
            return Self::Always;
        };
        match &resolve.types[*id].kind {
            TypeDefKind::Result(of)
                if of
                    .err
                    .is_some_and(|err| shape(resolve, &err) == "access-error") =>
            {
                Self::Error
            }
            TypeDefKind::List(_) => Self::List,
            _ => Self::Always,
        }
    }

    /// What the made component answers when it learned nothing, and when it learned something.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Error => ("1", "0"),
            Self::List => ("0", "1"),
            Self::Nothing => ("-", "-"),
            Self::Always => ("!", "!"),
        }
    }
}

#[test]
fn nothing_is_told_that_is_not_granted() {
    let fixture = Fixture::new();
    let mut told = std::collections::BTreeSet::new();
    let mut walked = 0;
    for version in SERVED {
        let resolve = parsed(&released(&version.to_string()));
        for (world, of) in &resolve.worlds {
            for item in of.imports.values() {
                let WorldItem::Interface { id, .. } = item else {
                    panic!("a world of interfaces");
                };
                let interface = resolve.interfaces[*id].name.as_deref().unwrap();
                for function in resolve.interfaces[*id].functions.values() {
                    let name = format!("{interface}.{}", function.name);
                    let says = Says::of(&resolve, function);
                    let text = match interface {
                        "lead-squared" => FIELD,
                        _ => PATH,
                    };
                    let made = Made {
                        resolve: &resolve,
                        world,
                        asks: Some((*id, function)),
                        body: &asks(&resolve, function, text),
                        text,
                    };
                    let component = fixture.load(&made.component());
                    let (nothing, something) = says.words();
                    let narrow = Grants::default();
                    assert_eq!(answer(&fixture, &component, narrow), nothing, "{name}");
                    let wide = Grants {
                        reads: vec![PATH.into(), format!("lead.{FIELD}")],
                        ..Grants::default()
                    };
                    if ["hl7", "lead-squared"].contains(&interface) {
                        assert_eq!(answer(&fixture, &component, wide), something, "{name}");
                    }
                    if says == Says::Always {
                        told.insert(name);
                    }
                    walked += 1;
                }
            }
        }
    }
    let open: Vec<_> = told.iter().map(String::as_str).collect();
    assert_eq!(
        open, OPEN,
        "a function answers whatever is granted: check the grant, or say in OPEN why none is needed"
    );
    assert!(walked > 25, "{walked} functions");
}

/// What a made component answers under some grants.
fn answer(fixture: &Fixture, component: &Arc<Component>, grants: Grants) -> String {
    let release = Arc::new(Release {
        grants,
        ..release(component)
    });
    let runtime = &fixture.runtime;
    match component.direction() {
        Direction::EhrToLeadSquared => {
            let run = runtime.run(component.clone(), input(&release, "ADT^A04", MESSAGE));
            match run.outcome {
                Ok(Mapped::Skip(text)) => text,
                other => panic!("{:?}", other.map(|_| "mapped")),
            }
        }
        Direction::LeadSquaredToEhr => {
            let run = runtime.compose(component.clone(), change_input(&release, CHANGE));
            match run.outcome {
                Ok(Composed::Skip(text)) => text,
                other => panic!("{:?}", other.map(|_| "composed")),
            }
        }
    }
}

/// Asks, looks whether anything was told, and answers with that.
fn asks(resolve: &Resolve, function: &Asked, text: &str) -> Vec<Instruction<'static>> {
    let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
    assert!(!signature.indirect_params, "{} has many", function.name);
    let at = |offset: u64| MemArg {
        offset,
        align: 0,
        memory_index: 0,
    };
    let constant = |value: u32| Instruction::I32Const(value.cast_signed());
    let mut body = Vec::new();
    for param in &function.params {
        argument(resolve, &param.ty, text, &mut body);
    }
    if signature.retptr {
        body.push(constant(RESULT));
    }
    body.push(Instruction::Call(0));
    body.extend(signature.results.iter().map(|_| Instruction::Drop));
    let digit = u32::from(b'0');
    body.push(constant(VERDICT));
    match Says::of(resolve, function) {
        Says::Error => {
            let is_error = Instruction::I32Load8U(at(0));
            body.extend([constant(RESULT), is_error, constant(digit)]);
            body.push(Instruction::I32Add);
        }
        Says::List => {
            let length = Instruction::I32Load(at(4));
            body.extend([constant(RESULT), length, constant(0), Instruction::I32Ne]);
            body.extend([constant(digit), Instruction::I32Add]);
        }
        Says::Nothing => body.push(constant(u32::from(b'-'))),
        Says::Always => body.push(constant(u32::from(b'!'))),
    }
    body.push(Instruction::I32Store8(at(0)));
    // A borrowed handle is given back before the call ends.
    body.extend([Instruction::LocalGet(0), Instruction::Call(1)]);
    body.push(constant(ANSWER));
    body
}

/// One argument: the message or the change, the text, or the first of what there is to choose from.
fn argument(resolve: &Resolve, of: &Type, text: &str, body: &mut Vec<Instruction<'static>>) {
    let constant = |value: u32| Instruction::I32Const(value.cast_signed());
    let id = match of {
        Type::String => {
            body.extend([constant(TEXT), constant(text.len() as u32)]);
            return;
        }
        Type::Bool | Type::U32 => return body.push(constant(0)),
        Type::Id(id) => *id,
        other => panic!("{other:?} is new: say what is asked with it"),
    };
    match &resolve.types[id].kind {
        TypeDefKind::Type(of) => argument(resolve, of, text, body),
        TypeDefKind::Handle(Handle::Borrow(_)) => body.push(Instruction::LocalGet(0)),
        TypeDefKind::Enum(_) => body.push(constant(0)),
        TypeDefKind::List(Type::String) => body.extend([constant(LIST), constant(1)]),
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter();
            fields.for_each(|field| argument(resolve, &field.ty, text, body));
        }
        other => panic!("{} is new: say what is asked with it", other.as_str()),
    }
}
