//! The allocator inside a component: hands out memory upwards and takes almost nothing back.
//!
//! An instance maps one message and is thrown away, so freeing would be work for nobody.
//! What comes last may grow or go in place, which is how texts and lists are built up.
//! Small instances live in the memory they start with: growing it would cost the host a system call for each message.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

const PAGE_BYTES: usize = 64 * 1024;

/// Allocates upwards from the end of the program.
pub(crate) struct Arena {
    /// The first free address; zero before the first call.
    next: AtomicUsize,
}

#[global_allocator]
static ARENA: Arena = Arena {
    next: AtomicUsize::new(0),
};

#[expect(unsafe_code, reason = "an allocator is an unsafe contract")]
// SAFETY: addresses from `start` on belong to nobody else, an address is handed out once unless it was given back,
// and a component has one thread, so plain loads and stores of `next` do not race.
unsafe impl GlobalAlloc for Arena {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut next = self.next.load(Ordering::Relaxed);
        if next == 0 {
            next = start();
        }
        let at = next.next_multiple_of(layout.align());
        match at.checked_add(layout.size()) {
            Some(end) if reach(end) => {
                self.next.store(end, Ordering::Relaxed);
                at as *mut u8
            }
            _ => std::ptr::null_mut(),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if at as usize + layout.size() == self.next.load(Ordering::Relaxed) {
            self.next.store(at as usize, Ordering::Relaxed);
        }
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let last = at as usize + layout.size() == self.next.load(Ordering::Relaxed);
        if last || size <= layout.size() {
            let Some(end) = (at as usize).checked_add(size) else {
                return std::ptr::null_mut();
            };
            if last {
                if !reach(end) {
                    return std::ptr::null_mut();
                }
                self.next.store(end, Ordering::Relaxed);
            }
            return at;
        }
        // SAFETY: the caller's contract for `realloc`, carried over to `alloc`.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(at, moved, layout.size());
            }
            moved
        }
    }
}

/// The first address that nothing lies at: behind the program, or behind the data where there is none.
fn start() -> usize {
    let [address, length] = crate::export::program::program_place();
    if address == 0 {
        return std::arch::wasm32::memory_size(0) * PAGE_BYTES;
    }
    address + length
}

/// Makes memory up to `end` exist.
#[inline]
fn reach(end: usize) -> bool {
    let missing = end
        .div_ceil(PAGE_BYTES)
        .saturating_sub(std::arch::wasm32::memory_size(0));
    missing == 0 || std::arch::wasm32::memory_grow(0, missing) != usize::MAX
}
