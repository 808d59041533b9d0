//! Which cores a benchmark runs on, where that can be chosen.

/// Those that this process may use, whatever is pinned by now.
#[cfg(target_os = "linux")]
pub(crate) fn cores() -> Vec<usize> {
    allowed().map_or(Vec::new(), |set| (0..1024).filter(|core| set.is_set(*core)).collect())
}

/// Keeps this thread, and those it starts from now on, on one core, or lets them run on all that
/// this process may use.
#[cfg(target_os = "linux")]
pub(crate) fn pin(core: Option<usize>) {
    let allowed = allowed();
    let one = |core| {
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        set
    };
    if let Some(set) = core.map(one).or(allowed) {
        rustix::thread::sched_setaffinity(None, &set).expect("the core was allowed before");
    }
}

/// As it was before anything was pinned.
#[cfg(target_os = "linux")]
fn allowed() -> Option<rustix::thread::CpuSet> {
    use std::sync::OnceLock;
    static ALLOWED: OnceLock<Option<rustix::thread::CpuSet>> = OnceLock::new();
    *ALLOWED.get_or_init(|| rustix::thread::sched_getaffinity(None).ok())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn cores() -> Vec<usize> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_: Option<usize>) {}
