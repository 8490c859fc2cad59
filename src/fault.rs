//! Named points where a test build kills its own process, so that a crash test can die between any two steps.
//!
//! `FAULT_POINT="name:count"` kills the process with SIGKILL on the count-th passage of the point. Without the
//! feature `fault-injection` (every release build) a point is an empty function and the variable is never read.

/// Passes the point `name`: nothing happens unless this is a fault-injection build that was told to die here.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub fn point(name: &str) {
    let _ = name;
}

/// Passes the point `name`, and dies there where `FAULT_POINT` says so.
#[cfg(feature = "fault-injection")]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let armed = ARMED.get_or_init(|| parse(&std::env::var("FAULT_POINT").ok()?));
    if let Some((armed, count)) = armed
        && armed == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        // SIGKILL cannot be caught, so nothing is flushed or closed: that is the point. If it cannot be sent, the
        // process must still not go on.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}

/// Whether this is the deliberately broken build that stores a position before what its records caused.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub fn breaks_commit_order() -> bool {
    false
}

/// Whether this is the deliberately broken build that stores a position before what its records caused:
/// `FAULT_ORDER=position-first`.
#[cfg(feature = "fault-injection")]
pub fn breaks_commit_order() -> bool {
    std::env::var("FAULT_ORDER").is_ok_and(|order| order == "position-first")
}

/// After how many inputs a snapshot is due.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub fn snapshot_inputs(usual: u64) -> u64 {
    usual
}

/// After how many inputs a snapshot is due: `FAULT_SNAPSHOT_INPUTS`, so that a short run meets many.
#[cfg(feature = "fault-injection")]
pub fn snapshot_inputs(usual: u64) -> u64 {
    std::env::var("FAULT_SNAPSHOT_INPUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// `name:count`, or `name` alone for the first passage.
#[cfg(feature = "fault-injection")]
fn parse(text: &str) -> Option<(String, u64)> {
    match text.split_once(':') {
        Some((name, count)) => Some((name.to_owned(), count.parse().ok()?)),
        None => Some((text.to_owned(), 1)),
    }
}

#[cfg(all(test, feature = "fault-injection"))]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_name_and_a_count() {
        assert_eq!(parse("snapshot:3"), Some(("snapshot".to_owned(), 3)));
        assert_eq!(parse("snapshot"), Some(("snapshot".to_owned(), 1)));
        assert_eq!(parse("snapshot:x"), None);
    }
}
