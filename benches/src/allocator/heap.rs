//! How much memory is in use, and how much was at most, counted at the allocation itself: other workloads of
//! the same process, and what its heap keeps for later, do not blur the figure.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting bytes as they are asked for.
///
/// For a program of one thread: counts are read and written back, which costs next to nothing, and threads
/// would lose some.
#[derive(Debug)]
pub struct Counting;

fn add(bytes: usize) {
    let in_use = IN_USE.load(Ordering::Relaxed) + bytes;
    IN_USE.store(in_use, Ordering::Relaxed);
    if in_use > PEAK.load(Ordering::Relaxed) {
        PEAK.store(in_use, Ordering::Relaxed);
    }
}

fn remove(bytes: usize) {
    IN_USE.store(IN_USE.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
}

// SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise about `layout` is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: `at` came from `System` with this `layout`, as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        remove(layout.size());
        add(size);
        // SAFETY: as for `dealloc`, and `size` is the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The most bytes in use since the last [`restart_peak`].
pub fn peak_bytes() -> usize {
    PEAK.load(Ordering::Relaxed)
}

/// From now on the peak is that of what comes.
pub fn restart_peak() {
    PEAK.store(IN_USE.load(Ordering::Relaxed), Ordering::Relaxed);
}
