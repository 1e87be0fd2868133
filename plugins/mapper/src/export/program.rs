//! Where a component finds its program: behind its memory, where the host put it.

use std::sync::atomic::{AtomicU32, Ordering};

use ligature_guest as guest;

use crate::{Program, Unreadable};

/// Address and length of the program in this module's memory.
///
/// The host appends the program to the module as a data segment and writes both numbers with another, so a module
/// without a program (the one that is kept in the repository) says zero.
#[expect(
    unsafe_code,
    reason = "the export's name is how the host finds the place"
)]
#[unsafe(no_mangle)]
pub(crate) static LIGATURE_PROGRAM: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];

/// Address and length of the program; zeros without one.
pub(crate) fn program_place() -> [usize; 2] {
    [0, 1].map(|at: usize| LIGATURE_PROGRAM[at].load(Ordering::Relaxed) as usize)
}

fn program_bytes() -> &'static [u8] {
    let [address, length] = program_place();
    if address == 0 {
        return &[];
    }
    #[expect(
        unsafe_code,
        reason = "the program lies in memory that nothing else uses"
    )]
    // SAFETY: the host put `length` bytes at `address`, in pages of their own that no allocator hands out.
    unsafe {
        std::slice::from_raw_parts(address as *const u8, length)
    }
}

pub(super) fn program() -> Result<Program<'static>, guest::Refusal> {
    crate::decode(program_bytes())
        .map_err(|Unreadable| guest::Refusal::Other("no program inside".into()))
}

pub(super) fn describe() -> guest::Manifest {
    match crate::decode_manifest(program_bytes()) {
        Ok(manifest) => super::manifest(&manifest),
        Err(Unreadable) => guest::Manifest::new("mapper without a program", "0.0.0"),
    }
}
