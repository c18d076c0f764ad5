//! Processor time of a thread and of the process; where the system has no such clock, the time that passed.

use std::time::Duration;

/// Nanoseconds that the calling thread has computed.
#[cfg(unix)]
pub(super) fn thread_time() -> u64 {
    nanoseconds(rustix::time::ClockId::ThreadCPUTime)
}

/// Processor time of all threads of the process so far.
#[cfg(unix)]
#[must_use]
pub fn process_time() -> Duration {
    Duration::from_nanos(nanoseconds(rustix::time::ClockId::ProcessCPUTime))
}

#[cfg(unix)]
fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds since the first call.
#[cfg(not(unix))]
pub(super) fn thread_time() -> u64 {
    process_time().as_nanos() as u64
}

/// Time since the first call.
#[cfg(not(unix))]
#[must_use]
pub fn process_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}
