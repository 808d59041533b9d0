//! Which cores a benchmark runs on, where that can be chosen.

#[cfg(target_os = "linux")]
pub(crate) fn cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None);
    allowed.map_or(Vec::new(), |set| (0..1024).filter(|core| set.is_set(*core)).collect())
}

/// Keeps this thread, and those it starts from now on, on one core.
#[cfg(target_os = "linux")]
pub(crate) fn pin(core: Option<usize>) {
    if let Some(core) = core {
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        rustix::thread::sched_setaffinity(None, &set).expect("the core was allowed before");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn cores() -> Vec<usize> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_: Option<usize>) {}
