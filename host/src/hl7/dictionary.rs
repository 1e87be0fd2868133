//! Names of what stands in a message: segments, fields, data types, components, tables, events.
//!
//! For labels, hints and error texts. Nothing is ever refused because it is missing here or differs: senders use
//! other versions, tables of their own and Z-segments. The facts are text files beside this one, built in; where they
//! come from is in `dictionary/NOTICE.md`. A lookup finds its block by binary search and reads the lines of that block.
//! Start with [`field`] and [`label`].

use std::str::Lines;
use std::sync::OnceLock;

use super::Path;

#[cfg(test)]
mod tests;

/// A field of a segment, or a component of a data type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Counted from 1.
    pub number: u16,
    /// Such as `Patient Name`.
    pub name: &'static str,
    /// Such as `XPN`, as of version 2.5.1 where the element exists there; empty if it varies (OBX-5).
    pub data_type: &'static str,
    /// The first version that has it, `2.1` to `2.8.2`.
    pub since: &'static str,
    /// Whether the standard lets it repeat.
    pub repeats: bool,
    /// Whether version 2.8.2 no longer has it.
    pub withdrawn: bool,
    /// The number of the HL7 table that its codes are of.
    pub table: Option<u16>,
    /// `2.1=PN,2.3=XPN`, ascending; empty if there was ever only one.
    types: &'static str,
}

impl Element {
    /// The data type in a version such as `2.3.1`; a version that is not known has that of 2.5.1.
    pub fn data_type_in(&self, version: &str) -> &'static str {
        let Some(wanted) = version_number(version) else {
            return self.data_type;
        };
        self.types
            .split(',')
            .filter_map(|change| change.split_once('='))
            .take_while(|(since, _)| version_number(since).is_some_and(|since| since <= wanted))
            .last()
            .map_or(self.data_type, |(_, data_type)| data_type)
    }

    fn read(line: &'static str) -> Option<Self> {
        let mut cells = line.split('\t');
        let number = cells.next()?.parse().ok()?;
        let mut cell = || cells.next().unwrap_or_default();
        let (name, data_type, since, marks) = (cell(), cell(), cell(), cell());
        Some(Self {
            number,
            name,
            data_type,
            since,
            repeats: marks.contains('*'),
            withdrawn: marks.contains('-'),
            table: cell().parse().ok(),
            types: cell(),
        })
    }
}

/// What a message tells of: MSH-9.1 and MSH-9.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// MSH-9.1, such as `ADT`.
    pub message_code: &'static str,
    /// MSH-9.2, such as `A08`.
    pub trigger_event: &'static str,
    /// Such as `Update patient information`.
    pub description: &'static str,
    /// MSH-9.3, such as `ADT_A01`: several events share one structure.
    pub structure: &'static str,
    /// The first version that has it; empty if that is not known.
    pub since: &'static str,
    /// The last version that has it, up to 2.8.
    pub until: &'static str,
    /// Whether the standard keeps it for older systems only.
    pub deprecated: bool,
    /// The structure of the answer, such as `ACK`; empty if that is not known.
    pub answer: &'static str,
}

impl Event {
    /// Such as `A08 - Update patient information`.
    pub fn label(&self) -> String {
        format!("{} - {}", self.trigger_event, self.description)
    }

    fn read(message_code: &'static str, line: &'static str) -> Self {
        let mut cells = line.split('\t');
        let mut cell = || cells.next().unwrap_or_default();
        Self {
            message_code,
            trigger_event: cell(),
            description: cell(),
            structure: cell(),
            since: cell(),
            until: cell(),
            deprecated: cell() == "-",
            answer: cell(),
        }
    }
}

/// The name of a segment, such as `Patient Identification` for `PID`.
pub fn segment(id: &str) -> Option<&'static str> {
    segments_file().get(id).map(|block| block.title)
}

/// The field of a segment, counted from 1: `field("PID", 5)`.
pub fn field(segment: &str, number: u16) -> Option<Element> {
    fields(segment).find(|field| field.number == number)
}

/// The fields of a segment in order; none if it is not known.
pub fn fields(segment: &str) -> impl Iterator<Item = Element> {
    elements(segments_file().get(segment))
}

/// The name of a data type, such as `Extended Person Name` for `XPN`.
pub fn data_type(id: &str) -> Option<&'static str> {
    types_file().get(id).map(|block| block.title)
}

/// The same id, if it is one of a data type: what OBX-2 says is text of the sender.
pub fn data_type_id(id: &str) -> Option<&'static str> {
    types_file().get(id).map(|block| block.key)
}

/// The component of a data type, counted from 1: `component("XPN", 1)`.
pub fn component(data_type: &str, number: u16) -> Option<Element> {
    components(data_type).find(|component| component.number == number)
}

/// The components of a data type in order; none if it has none or is not known.
pub fn components(data_type: &str) -> impl Iterator<Item = Element> {
    elements(types_file().get(data_type))
}

/// The name of an HL7 table, such as `Acknowledgment code` for 8.
pub fn table(number: u16) -> Option<&'static str> {
    tables_file()
        .get(&format!("{number:04}"))
        .map(|block| block.title)
}

/// The meaning of a code in an HL7 table: `table_value(1, "F")` is `Female`.
pub fn table_value(number: u16, code: &str) -> Option<&'static str> {
    table_values(number)
        .find(|(known, _)| *known == code)
        .map(|(_, meaning)| meaning)
}

/// The codes of an HL7 table and their meanings; none if it is not known.
pub fn table_values(number: u16) -> impl Iterator<Item = (&'static str, &'static str)> {
    let block = tables_file().get(&format!("{number:04}"));
    lines(block).filter_map(|line| line.split_once('\t'))
}

/// The event of a message type: `event("ADT", "A08")`.
pub fn event(message_code: &str, trigger_event: &str) -> Option<Event> {
    events(message_code).find(|event| event.trigger_event == trigger_event)
}

/// The events of a message type, by their codes; none if it is not known.
pub fn events(message_code: &str) -> impl Iterator<Item = Event> {
    let block = events_file().get(message_code);
    lines(block).map(move |line| Event::read(block.map_or("", |block| block.key), line))
}

/// What stands at a path, as a person would say it: `Patient Name, Family Name` for `PID-5.1`.
///
/// Names what is known and stops there; `None` if not even the segment is.
pub fn label(path: &Path) -> Option<String> {
    let Some(number) = path.field() else {
        return segment(path.segment()).map(str::to_owned);
    };
    let field = field(path.segment(), number)?;
    let mut label = field.name.to_owned();
    let mut data_type = field.data_type;
    for number in [path.component(), path.subcomponent()]
        .into_iter()
        .flatten()
    {
        let Some(part) = component(data_type, number) else {
            break;
        };
        label.push_str(", ");
        label.push_str(part.name);
        data_type = part.data_type;
    }
    Some(label)
}

/// `2.3.1` as numbers that compare.
fn version_number(version: &str) -> Option<[u8; 3]> {
    let mut numbers = [0; 3];
    for (index, part) in version.trim().split('.').enumerate() {
        *numbers.get_mut(index)? = part.parse().ok()?;
    }
    Some(numbers)
}

/// One `@` line of a file and what follows it.
#[derive(Clone, Copy)]
struct Block {
    key: &'static str,
    title: &'static str,
    lines: &'static str,
}

/// A file cut into its blocks, which are sorted by key.
struct File(Vec<Block>);

impl File {
    fn read(text: &'static str) -> Self {
        let blocks = text.split("\n@").skip(1).map(|block| {
            let (first, lines) = block.split_once('\n').unwrap_or((block, ""));
            let (key, title) = first.split_once('\t').unwrap_or((first, ""));
            Block { key, title, lines }
        });
        Self(blocks.collect())
    }

    fn get(&self, key: &str) -> Option<Block> {
        let found = self.0.binary_search_by(|block| block.key.cmp(key));
        found.ok().map(|index| self.0[index])
    }
}

fn lines(block: Option<Block>) -> Lines<'static> {
    block.map_or("", |block| block.lines).lines()
}

fn elements(block: Option<Block>) -> impl Iterator<Item = Element> {
    lines(block).filter_map(Element::read)
}

fn segments_file() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| File::read(include_str!("dictionary/segments.tsv")))
}

fn types_file() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| File::read(include_str!("dictionary/types.tsv")))
}

fn tables_file() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| File::read(include_str!("dictionary/tables.tsv")))
}

fn events_file() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| File::read(include_str!("dictionary/events.tsv")))
}
