//! How much memory a run may take, and keeps.

use std::ffi::{c_int, c_long};

use libmimalloc_sys::mi_option_set;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Bytes of memory that are free, within the limits of this process's control group.
pub fn available() -> u64 {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let of_group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(of_group)
}

/// `mi_option_purge_delay` of mimalloc 3: milliseconds until freed memory goes back to the
/// system.
const PURGE_DELAY: c_int = 15;
const NEVER: c_long = -1;

/// Keeps freed memory for the next layer of an encoder: to give it back and to have it
/// cleared again takes up to a tenth of an INT8 run's time.
pub fn keep_freed() {
    // SAFETY: options may be set at any time.
    unsafe { mi_option_set(PURGE_DELAY, NEVER) };
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    /// The number of the option, which the crate does not name.
    #[test]
    fn the_option_is_the_delay() {
        const DEFAULT: c_long = 1_000;
        // SAFETY: as above.
        assert_eq!(unsafe { mi_option_get(PURGE_DELAY) }, DEFAULT);
        keep_freed();
        // SAFETY: as above.
        assert_eq!(unsafe { mi_option_get(PURGE_DELAY) }, NEVER);
    }
}
