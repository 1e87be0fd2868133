//! The contract: what was released never changes, later versions only add, every item is documented, and the host tells
//! nothing that a release does not grant.

use std::collections::BTreeMap;

use ligature::mapping::contract::{SERVED, Version};
use wit_parser::{Docs, Handle, Resolve, Stability, Type, TypeDef, TypeDefKind, WorldItem};

use super::*;

mod grants;

/// Every released version and the digest of its text, oldest first. A line that is here never changes.
const RELEASED: [(&str, &str); 1] = [(
    "1.0.0",
    "3964218edfa83996abb5e0366ca36c75b698c18e663788df515f142962ac9b50",
)];

pub(super) fn released(version: &str) -> String {
    let file = guests::root().join(format!("wit/released/{version}/mapping.wit"));
    std::fs::read_to_string(file).unwrap()
}

fn current() -> String {
    std::fs::read_to_string(guests::root().join("wit/mapping.wit")).unwrap()
}

pub(super) fn parsed(text: &str) -> Resolve {
    let mut resolve = Resolve::default();
    resolve.push_source("mapping.wit", text).unwrap();
    resolve
}

#[test]
fn a_released_text_never_changes() {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(guests::root().join("wit/released")).unwrap() {
        kept.push(entry.unwrap().file_name().into_string().unwrap());
    }
    kept.sort();
    let known = RELEASED.map(|(version, _)| version);
    assert_eq!(kept, known);
    for (version, digest) in RELEASED {
        let text = released(version);
        assert_eq!(Digest::of(text.as_bytes()).as_str(), digest, "{version}");
        let package = format!("package ligature:mapping@{version};");
        assert!(text.contains(&package), "{version} is of another version");
    }
    // A change of the text is a version of its own, released with a copy.
    let (newest, _) = RELEASED[RELEASED.len() - 1];
    assert!(
        current() == released(newest),
        "wit/mapping.wit is not version {newest}: give it the next one, and wit/released a copy"
    );
}

#[test]
fn the_newest_version_of_each_major_is_served() {
    let mut newest: BTreeMap<u64, Version> = BTreeMap::new();
    for (version, _) in RELEASED {
        let version = Version::parse(version).unwrap();
        newest.insert(version.major, version);
    }
    let newest: Vec<_> = newest.into_values().collect();
    assert_eq!(newest, SERVED);
    for readme in ["wit/README.md", "guest-sdk/README.md"] {
        let text = std::fs::read_to_string(guests::root().join(readme)).unwrap();
        for version in SERVED {
            let row = text.lines().filter(|line| line.starts_with('|'));
            let row = row.filter(|line| line.contains(&format!("`ligature:mapping@{version}`")));
            assert_eq!(row.count(), 1, "{readme} has no row for {version}");
        }
    }
}

/// What a component may rely on: each item, its shape, and since when it is there.
struct Shapes(BTreeMap<String, (String, Option<String>)>);

impl Shapes {
    fn of(resolve: &Resolve) -> Self {
        let mut shapes = BTreeMap::new();
        let mut add = |name: String, shape: String, stability: &Stability| {
            let since = match stability {
                Stability::Stable { since, .. } => Some(since.to_string()),
                _ => None,
            };
            shapes.insert(name, (shape, since));
        };
        for (_, interface) in &resolve.interfaces {
            let name = interface.name.clone().unwrap();
            add(name.clone(), "interface".into(), &interface.stability);
            for (type_name, id) in &interface.types {
                let definition = &resolve.types[*id];
                let shape = kind(resolve, &definition.kind);
                add(format!("{name}.{type_name}"), shape, &definition.stability);
            }
            for (function_name, function) in &interface.functions {
                let params = function.params.iter().map(|param| {
                    let shape = shape(resolve, &param.ty);
                    format!("{}: {shape}", param.name)
                });
                let params: Vec<_> = params.collect();
                let result = function.result.map(|result| shape(resolve, &result));
                let shape = format!("({}) -> {result:?}", params.join(", "));
                add(
                    format!("{name}.{function_name}"),
                    shape,
                    &function.stability,
                );
            }
        }
        for (_, world) in &resolve.worlds {
            add(
                format!("world {}", world.name),
                String::new(),
                &world.stability,
            );
            let imports = world.imports.iter().map(|item| ("imports", item));
            let exports = world.exports.iter().map(|item| ("exports", item));
            for (way, (_, item)) in imports.chain(exports) {
                let WorldItem::Interface { id, stability, .. } = item else {
                    panic!("a world of interfaces");
                };
                let interface = resolve.interfaces[*id].name.as_deref().unwrap();
                let name = format!("world {} {way} {interface}", world.name);
                add(name, String::new(), stability);
            }
        }
        Self(shapes)
    }

    /// Interfaces that a world exports, whose functions a host looks for in every component.
    fn exported(&self) -> Vec<&str> {
        let names = self.0.keys();
        let exported = names.filter_map(|name| name.split_once(" exports "));
        exported.map(|(_, interface)| interface).collect()
    }
}

fn shape(resolve: &Resolve, of: &Type) -> String {
    match of {
        Type::Id(id) => {
            let TypeDef { name, kind: of, .. } = &resolve.types[*id];
            name.clone().unwrap_or_else(|| kind(resolve, of))
        }
        plain => format!("{plain:?}").to_lowercase(),
    }
}

fn kind(resolve: &Resolve, of: &TypeDefKind) -> String {
    let shape = |of: &Type| shape(resolve, of);
    let optional = |of: &Option<Type>| of.as_ref().map_or("_".into(), &shape);
    match of {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter();
            let fields = fields.map(|field| format!("{}: {}", field.name, shape(&field.ty)));
            format!("record {{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter();
            let cases = cases.map(|case| format!("{}({})", case.name, optional(&case.ty)));
            format!("variant {{ {} }}", cases.collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Enum(of) => {
            let cases = of.cases.iter().map(|case| case.name.clone());
            format!("enum {{ {} }}", cases.collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Tuple(tuple) => {
            format!(
                "tuple {:?}",
                tuple.types.iter().map(shape).collect::<Vec<_>>()
            )
        }
        TypeDefKind::Option(of) => format!("option<{}>", shape(of)),
        TypeDefKind::List(of) => format!("list<{}>", shape(of)),
        TypeDefKind::Result(of) => format!("result<{}, {}>", optional(&of.ok), optional(&of.err)),
        TypeDefKind::Type(of) => shape(of),
        TypeDefKind::Resource => "resource".into(),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", shape(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", shape(&Type::Id(*id))),
        other => panic!("{} is new: say what of it may change", other.as_str()),
    }
}

/// What a component of `old` would not find in `new`, or what was added to it without saying so.
fn broken_promises(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (Shapes::of(&parsed(old)), Shapes::of(&parsed(new)));
    let mut broken = Vec::new();
    for (name, (shape, _)) in &old.0 {
        match new.0.get(name) {
            None => broken.push(format!("{name} is gone")),
            Some((other, _)) if other != shape => {
                broken.push(format!("{name} is {other} instead of {shape}"));
            }
            Some(_) => {}
        }
    }
    let frozen = old.exported();
    for (name, (_, since)) in new.0.iter().filter(|(name, _)| !old.0.contains_key(*name)) {
        let interface = name.split('.').next().unwrap_or_default();
        if frozen.contains(&interface) || name.contains(" exports ") {
            broken.push(format!("{name} is new in what components export"));
        }
        if since.is_none() {
            broken.push(format!("{name} does not say @since when"));
        }
    }
    broken
}

#[test]
fn a_later_version_only_adds() {
    for pair in RELEASED.windows(2) {
        let [(old, _), (new, _)] = pair else { continue };
        if old.split('.').next() == new.split('.').next() {
            let broken = broken_promises(&released(old), &released(new));
            assert!(broken.is_empty(), "{new} after {old}: {broken:?}");
        }
    }

    // And a change that breaks a promise is found.
    let old = released("1.0.0");
    let check = |from: &str, to: &str, expected: &[&str]| {
        assert!(old.contains(from), "{from:?} is not in the text");
        let new = old.replace("@1.0.0;", "@1.1.0;").replacen(from, to, 1);
        assert_eq!(broken_promises(&old, &new), expected, "{to}");
    };
    let event = "    event: func() -> string;\n";
    let added = "    @since(version = 1.1.0)\n    sender: func() -> string;\n";
    check(event, &format!("{event}{added}"), &[]);
    let unmarked = "    sender: func() -> string;\n";
    let said = "flow.sender does not say @since when";
    check(event, &format!("{event}{unmarked}"), &[said]);
    check(event, "", &["flow.event is gone"]);
    let changed = "flow.event is () -> Some(\"u32\") instead of () -> Some(\"string\")";
    check(event, "    event: func() -> u32;\n", &[changed]);
    let describe = "    describe: func() -> manifest;\n";
    let added = "    @since(version = 1.1.0)\n    examine: func() -> string;\n";
    let said = "about.examine is new in what components export";
    check(describe, &format!("{describe}{added}"), &[said]);
    let cause = "        too-many,\n";
    let more = "        too-many,\n        too-old,\n";
    let said = "log.cause is enum { malformed, unmapped-code, several-values, too-many, too-old } \
                instead of enum { malformed, unmapped-code, several-values, too-many }";
    check(cause, more, &[said]);
}

#[test]
fn every_item_is_documented() {
    let text = current();
    let resolve = parsed(&text);
    let mut bare = Vec::new();
    let mut look = |name: String, docs: &Docs| {
        if docs
            .contents
            .as_ref()
            .is_none_or(|text| text.trim().is_empty())
        {
            bare.push(name);
        }
    };
    for (_, package) in &resolve.packages {
        look(package.name.to_string(), &package.docs);
    }
    for (_, world) in &resolve.worlds {
        look(world.name.clone(), &world.docs);
    }
    for (_, interface) in &resolve.interfaces {
        let name = interface.name.clone().unwrap();
        look(name.clone(), &interface.docs);
        for function in interface.functions.values() {
            look(format!("{name}.{}", function.name), &function.docs);
        }
        for (type_name, id) in &interface.types {
            let definition = &resolve.types[*id];
            let name = format!("{name}.{type_name}");
            // What is taken over with `use` is documented where it is made.
            if matches!(definition.kind, TypeDefKind::Type(_)) {
                continue;
            }
            look(name.clone(), &definition.docs);
            let member = |member: &str| format!("{name}.{member}");
            match &definition.kind {
                TypeDefKind::Record(record) => {
                    let fields = record.fields.iter();
                    fields.for_each(|field| look(member(&field.name), &field.docs));
                }
                TypeDefKind::Variant(variant) => {
                    let cases = variant.cases.iter();
                    cases.for_each(|case| look(member(&case.name), &case.docs));
                }
                TypeDefKind::Enum(of) => {
                    let cases = of.cases.iter();
                    cases.for_each(|case| look(member(&case.name), &case.docs));
                }
                _ => {}
            }
        }
    }
    assert!(bare.is_empty(), "without a word: {bare:?}");
    assert!(resolve.interfaces.len() > 8, "the whole text was read");
}
