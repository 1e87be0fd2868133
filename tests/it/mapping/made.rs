//! Components made here, instruction by instruction: what no guest in Rust would do, and what no author would think of.

use ligature::mapping::contract::SERVED;
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction, MemorySection,
    MemoryType, Module, RefType, TableSection, TableType, TypeSection, ValType,
};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function as Asked, InterfaceId, Resolve, WorldId};

use super::contract::{parsed, released};
use super::*;

/// The place that is asked for, or the field.
pub(super) const PATH: &str = "PID-5.1";
pub(super) const FIELD: &str = "mx_City";

// Where things are in a made component's memory.
pub(super) const TEXT: u32 = 16;
pub(super) const LIST: u32 = 256;
pub(super) const RESULT: u32 = 512;
pub(super) const VERDICT: u32 = 640;
pub(super) const ANSWER: u32 = 704;
const MANIFEST: u32 = 1_024;
const PLACES: u32 = 1_200;
const HEAP: i32 = 8_192;

/// A component to be made.
pub(super) struct Made<'a> {
    pub(super) resolve: &'a Resolve,
    pub(super) world: WorldId,
    /// The one function that it imports, as function 0, if any; dropping the borrowed handle is function 1.
    pub(super) asks: Option<(InterfaceId, &'a Asked)>,
    /// What the mapping's one function does; the handle is its parameter, and it ends with the address of an answer.
    pub(super) body: &'a [Instruction<'a>],
    pub(super) text: &'a str,
}

/// An inbound component of the newest version that asks nothing.
pub(super) fn inbound(body: &[Instruction<'_>]) -> Vec<u8> {
    let newest = SERVED[SERVED.len() - 1].to_string();
    let resolve = parsed(&released(&newest));
    let mut worlds = resolve.worlds.iter();
    let (world, _) = worlds
        .find(|(_, world)| world.name == "inbound-mapping")
        .unwrap();
    Made {
        resolve: &resolve,
        world,
        asks: None,
        body,
        text: PATH,
    }
    .component()
}

impl Made<'_> {
    pub(super) fn component(&self) -> Vec<u8> {
        let Self {
            resolve,
            world,
            text,
            ..
        } = *self;
        let interface = |name: &str| {
            let mut interfaces = resolve.interfaces.iter();
            let found = interfaces.find(|(_, known)| known.name.as_deref() == Some(name));
            resolve.id_of(found.unwrap().0).unwrap()
        };
        let (subject, resource, exporting, export) = match resolve.worlds[world].name.as_str() {
            "inbound-mapping" => ("hl7", "message", "inbound", "to-lead-squared"),
            "outbound-mapping" => ("lead-squared", "change", "outbound", "to-hl7"),
            other => panic!("world {other} is new: say how it is made"),
        };
        let i32 = ValType::I32;
        let flat = |types: &[WasmType]| -> Vec<ValType> {
            let flat = types.iter().map(|flat| match flat {
                WasmType::I64 => ValType::I64,
                WasmType::F32 => ValType::F32,
                WasmType::F64 => ValType::F64,
                _ => ValType::I32,
            });
            flat.collect()
        };
        let mut types = TypeSection::new();
        let mut imports = ImportSection::new();
        let signature = self.asks.map(|(of, function)| {
            let own = resolve.id_of(of).unwrap();
            imports.import(&own, &function.name, EntityType::Function(0));
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            (flat(&signature.params), flat(&signature.results))
        });
        let (params, results) = signature.unwrap_or_default();
        types.ty().function(params, results);
        types.ty().function([i32], []);
        types.ty().function([i32], [i32]);
        types.ty().function([], [i32]);
        types.ty().function([i32; 4], [i32]);
        let first = if self.asks.is_some() {
            let dropped = format!("[resource-drop]{resource}");
            imports.import(&interface(subject), &dropped, EntityType::Function(1));
            2
        } else {
            0
        };

        let mut functions = FunctionSection::new();
        functions.function(2).function(3).function(4);
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: 1,
            maximum: None,
            shared: false,
        });
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: 2,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut globals = GlobalSection::new();
        let next = GlobalType {
            val_type: i32,
            mutable: true,
            shared: false,
        };
        globals.global(next, &ConstExpr::i32_const(HEAP));
        let mut exports = ExportSection::new();
        let export = format!("{}#{export}", interface(exporting));
        exports.export(&export, ExportKind::Func, first);
        let describe = format!("{}#describe", interface("about"));
        exports.export(&describe, ExportKind::Func, first + 1);
        exports.export("cabi_realloc", ExportKind::Func, first + 2);
        exports.export("memory", ExportKind::Memory, 0);

        let mut code = CodeSection::new();
        let mut maps = Function::new([]);
        for instruction in self.body {
            maps.instruction(instruction);
        }
        maps.instruction(&Instruction::End);
        code.function(&maps);
        let mut describes = Function::new([]);
        describes.instruction(&Instruction::I32Const(MANIFEST.cast_signed()));
        describes.instruction(&Instruction::End);
        code.function(&describes);
        code.function(&reserves());

        let mut data = DataSection::new();
        let mut put = |at: u32, bytes: Vec<u8>| {
            data.active(0, &ConstExpr::i32_const(at.cast_signed()), bytes);
        };
        let words = |words: &[u32]| -> Vec<u8> {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            bytes.collect()
        };
        put(TEXT, text.into());
        put(LIST, words(&[TEXT, text.len() as u32]));
        put(VERDICT, b"!".into());
        // `ok(skip(text))`: two discriminants, then the text.
        put(ANSWER, words(&[0, 1, VERDICT, 1]));
        // Name, version, vendor, summary; events, reads, three kinds of targets, places, tables, settings, rows,
        // annotations.
        let mut manifest = [0; 28];
        manifest[..2].copy_from_slice(&[TEXT, text.len() as u32]);
        if exporting == "outbound" {
            manifest[18..20].copy_from_slice(&[PLACES, 1]);
        }
        put(MANIFEST, words(&manifest));
        put(PLACES, words(&[PLACES + 8, PATH.len() as u32]));
        put(PLACES + 8, PATH.into());

        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions);
        module.section(&tables).section(&memories).section(&globals);
        module.section(&exports).section(&code).section(&data);
        let mut bytes = module.finish();
        embed_component_metadata(&mut bytes, resolve, world, StringEncoding::UTF8).unwrap();
        generate::from_core_module(&bytes).unwrap()
    }
}

/// `cabi_realloc` that never gives anything back.
fn reserves() -> Function {
    let mut reserves = Function::new([]);
    for instruction in [
        Instruction::GlobalGet(0),
        Instruction::GlobalGet(0),
        Instruction::LocalGet(3),
        Instruction::I32Add,
        Instruction::I32Const(7),
        Instruction::I32Add,
        Instruction::I32Const(-8),
        Instruction::I32And,
        Instruction::GlobalSet(0),
        Instruction::End,
    ] {
        reserves.instruction(&instruction);
    }
    reserves
}
