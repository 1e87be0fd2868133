//! Mapping document to component: the kept interpreter with the document's program put behind its memory.
//!
//! Needs no compiler: the interpreter's core module gets two more data segments, one with the program in pages of its
//! own, one that tells the interpreter where it is, and becomes a component.
//! The same document gives the same bytes; the component carries the document's text, so that it can be turned back.

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{ComponentSection, ConstExpr, CustomSection};
use wasmparser::{ExternalKind, Operator, Parser, Payload};
use wit_component::ComponentEncoder;

use super::document::Document;
use crate::flow::Direction;

/// The custom section that holds the document's text.
const DOCUMENT_SECTION: &str = "ligature:mapping-document";

/// The interpreter's export that says where the program is: address and length.
const PROGRAM_EXPORT: &str = "LIGATURE_PROGRAM";

const PAGE_BYTES: u64 = 64 * 1024;

/// Memory that an instance starts with behind its program. Pages that are not touched cost nothing; growing would
/// cost a system call for each message.
const HEAP_PAGES: u64 = 16;

/// A core module that cannot be made a component. For the interpreter this is a fault of the build, not of the
/// document: `plugins/mapper/build` mends it.
#[derive(Debug, thiserror::Error)]
#[error("the core module cannot be made a component: {0}")]
pub struct Error(String);

/// Makes the component of a document.
///
/// # Errors
///
/// Only when the interpreter in the repository does not fit this code.
pub fn component(document: &Document) -> Result<Vec<u8>, Error> {
    let interpreter = match document.direction {
        Direction::EhrToLeadSquared => ligature_mapper::INBOUND_MODULE,
        Direction::LeadSquaredToEhr => ligature_mapper::OUTBOUND_MODULE,
    };
    component_with(interpreter, document)
}

/// Makes the component of a document with another build of the interpreter for its direction.
///
/// # Errors
///
/// The interpreter does not fit this code.
pub fn component_with(interpreter: &[u8], document: &Document) -> Result<Vec<u8>, Error> {
    let core = with_program(interpreter, &document.to_program())?;
    let mut component = from_core_module(&core)?;
    let section = CustomSection {
        name: DOCUMENT_SECTION.into(),
        data: document.to_text().into_bytes().into(),
    };
    section.append_to_component(&mut component);
    Ok(component)
}

/// Makes the component of a core module that the SDK's export macro was used in, as `cargo build` writes it.
///
/// # Errors
///
/// The module does not say what its imports and exports mean.
pub fn from_core_module(core: &[u8]) -> Result<Vec<u8>, Error> {
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Error(format!("{error:#}")))
}

/// The document that a component was made of; none if it was not made of one.
pub fn document_of(component: &[u8]) -> Option<Document> {
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.ok()? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(section) if depth == 0 && section.name() == DOCUMENT_SECTION => {
                return Document::parse(std::str::from_utf8(section.data()).ok()?).ok();
            }
            _ => {}
        }
    }
    None
}

/// The interpreter's core module with a program inside.
fn with_program(interpreter: &[u8], program: &[u8]) -> Result<Vec<u8>, Error> {
    let place = Place::find(interpreter)
        .map_err(|error| Error(error.to_string()))?
        .ok_or_else(|| Error(format!("it has no export {PROGRAM_EXPORT}")))?;
    let mut module = wasm_encoder::Module::new();
    let mut insert = Insert { place, program };
    insert
        .parse_core_module(&mut module, Parser::new(0), interpreter)
        .map_err(|error| Error(error.to_string()))?;
    Ok(module.finish())
}

/// Where things are in the interpreter's memory.
struct Place {
    /// Address of the static that tells where the program is.
    pointer: u32,
    /// First address behind the memory that the interpreter starts with.
    end: u32,
}

impl Place {
    fn find(module: &[u8]) -> wasmparser::Result<Option<Self>> {
        let (mut globals, mut export, mut end) = (Vec::new(), None, None);
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        end.get_or_insert(memory?.initial * PAGE_BYTES);
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        let mut operators = global?.init_expr.get_operators_reader();
                        globals.push(match operators.read()? {
                            Operator::I32Const { value } => Some(value.cast_unsigned()),
                            _ => None,
                        });
                    }
                }
                Payload::ExportSection(exports) => {
                    for one in exports {
                        let one = one?;
                        if one.name == PROGRAM_EXPORT && one.kind == ExternalKind::Global {
                            export = Some(one.index as usize);
                        }
                    }
                }
                _ => {}
            }
        }
        let pointer = export.and_then(|index| globals.get(index).copied().flatten());
        let end = end.and_then(|end| u32::try_from(end).ok());
        Ok(pointer.zip(end).map(|(pointer, end)| Self { pointer, end }))
    }
}

/// Copies the interpreter and puts the program in.
struct Insert<'a> {
    place: Place,
    program: &'a [u8],
}

impl Reencode for Insert<'_> {
    type Error = std::convert::Infallible;

    fn memory_type(
        &mut self,
        memory: wasmparser::MemoryType,
    ) -> Result<wasm_encoder::MemoryType, reencode::Error> {
        let mut memory = reencode::utils::memory_type(self, memory);
        memory.minimum += (self.program.len() as u64).div_ceil(PAGE_BYTES) + HEAP_PAGES;
        Ok(memory)
    }

    fn data_count(&mut self, count: u32) -> Result<u32, reencode::Error> {
        Ok(count + 2)
    }

    fn parse_data_section(
        &mut self,
        data: &mut wasm_encoder::DataSection,
        section: wasmparser::DataSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_data_section(self, data, section)?;
        let at = |address: u32| ConstExpr::i32_const(address.cast_signed());
        let length = self.program.len() as u32;
        // Segments are written in order, so this one replaces the zeros that the interpreter was built with.
        let told = [self.place.end.to_le_bytes(), length.to_le_bytes()].concat();
        data.active(0, &at(self.place.pointer), told);
        data.active(0, &at(self.place.end), self.program.iter().copied());
        Ok(())
    }

    fn parse_export(
        &mut self,
        exports: &mut wasm_encoder::ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), reencode::Error> {
        if export.name != PROGRAM_EXPORT {
            reencode::utils::parse_export(self, exports, export)?;
        }
        Ok(())
    }
}
