//! How much memory a run may take.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Bytes of memory that are free, within the limits of this process's control group.
pub fn available() -> u64 {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let of_group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(of_group)
}
