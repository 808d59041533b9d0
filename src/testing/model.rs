//! The model checker's world (`--cfg shuttle`): threads whose schedule is
//! chosen at random, a clock of its own, and a network in memory.
//!
//! The library runs in it as it is, both sides at once; only
//! [`sync`](crate::sync) and [`net`](crate::net) reach into this world instead
//! of the system's. Every lock and every system call is a point at which
//! another thread may go on.
//!
//! The clock stands still while any thread can do something (unless a scenario
//! lets it [`hurry`]), and else jumps to the next deadline that somebody waits for. So the time that has passed is
//! the measure of a lost wake-up: what should have happened at once happens
//! only with somebody's next deadline or, without one, never, which is
//! reported as a deadlock. An execution also fails unless every thread ends.
//!
//! `LONGLINK_MODEL_RUNS` sets how many schedules of each scenario are tried.
//! A failure prints its schedule; `LONGLINK_MODEL_SCHEDULE` runs it again.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool as Flag;
use std::time::{Duration, Instant, SystemTime};

use shuttle::rand::RngCore;
use shuttle::scheduler::{
    PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task, TaskId,
};
use shuttle::thread::{self, Thread};
use shuttle::{Config, Runner};

use crate::sync::Arc;

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(crate) use shuttle::thread_local;

mod tests;

/// What all threads of an execution share. They change places only at shuttle's
/// own operations, on one thread of the system, so nothing here needs a lock;
/// but nothing may wake another thread while it is borrowed.
struct World {
    began: Instant,
    now: Instant,
    asleep: Duration,
    timers: Vec<(Instant, Arc<Sleeper>)>,
    network: crate::net::Network,
}

impl Default for World {
    fn default() -> World {
        #[expect(clippy::disallowed_methods, reason = "the origin of the model's clock")]
        let now = Instant::now();
        World {
            began: now,
            now,
            asleep: Duration::ZERO,
            timers: Vec::new(),
            network: crate::net::Network::default(),
        }
    }
}

std::thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
    /// Nobody but the clock can go on.
    static IDLE: Cell<bool> = const { Cell::new(false) };
    /// The clock does not wait until nobody else can go on.
    static HURRIED: Cell<bool> = const { Cell::new(false) };
}

fn world<T>(f: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(f)
}

pub(crate) fn network<T>(f: impl FnOnce(&mut crate::net::Network) -> T) -> T {
    world(|world| f(&mut world.network))
}

/// Tells what happens, if `LONGLINK_MODEL_TRACE` is set.
pub(crate) fn trace(what: impl FnOnce() -> String) {
    if std::env::var_os("LONGLINK_MODEL_TRACE").is_some() {
        let thread = thread::current();
        eprintln!("{:?} {:?}: {}", thread.id(), thread.name().unwrap_or("main"), what());
    }
}

/// Another thread may go on here.
pub(crate) fn switch() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

/// So may many, for as long as it takes to find another link: a thread comes
/// back late from a system call.
pub(crate) fn come_back_late() {
    if below(16) == 0 {
        (0..below(100)).for_each(|_| thread::yield_now());
    }
    switch();
}

/// A thread that waits.
#[derive(Debug)]
pub(crate) struct Sleeper {
    thread: Thread,
    awake: Flag,
}

impl Sleeper {
    pub(crate) fn new() -> Arc<Sleeper> {
        Arc::new(Sleeper { thread: thread::current(), awake: Flag::new(false) })
    }

    pub(crate) fn wake(&self) {
        self.awake.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }

    /// Blocks until woken, by somebody or by the clock.
    pub(crate) fn sleep(self: &Arc<Sleeper>, deadline: Option<Instant>) {
        world(|world| match deadline {
            Some(at) if at <= world.now => self.awake.store(true, Ordering::SeqCst),
            Some(at) => world.timers.push((at, self.clone())),
            None => {}
        });
        while !self.awake.load(Ordering::SeqCst) {
            thread::park();
        }
        world(|world| world.timers.retain(|(_, sleeper)| !Arc::ptr_eq(sleeper, self)));
    }
}

/// Time passes.
fn run_clock() {
    loop {
        thread::yield_now();
        let due = world(|world| {
            let mut now = world.timers.iter().map(|(at, _)| *at).min()?;
            if !IDLE.get() {
                now = now.min(world.now + HASTE);
            }
            world.now = world.now.max(now);
            let due = world.timers.extract_if(.., |(at, _)| *at <= now);
            Some(due.collect::<Vec<_>>())
        });
        trace(|| format!("{} threads have waited", due.as_ref().map_or(0, Vec::len)));
        match due {
            Some(due) => due.iter().for_each(|(_, sleeper)| sleeper.wake()),
            // Nobody can go on, ever: all have ended, or it is a deadlock.
            None if IDLE.get() => return,
            None => {}
        }
    }
}

pub(crate) fn now() -> Instant {
    world(|world| world.now)
}

pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + world(|world| world.now - world.began + world.asleep)
}

pub(crate) fn asleep() -> Duration {
    world(|world| world.asleep)
}

/// The machine sleeps for so long, and wakes: no time has passed on the clock.
fn sleep(time: Duration) {
    world(|world| world.asleep += time);
    crate::net::ring();
}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

pub(crate) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    shuttle::rand::thread_rng().fill_bytes(&mut bytes);
    Ok(bytes)
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { mutex: self, guard }
    }

    pub(crate) fn lock_in_turn(&self) -> MutexGuard<'_, T> {
        self.lock()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    guard: shuttle::sync::MutexGuard<'a, T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Its waits end with a notification or with the clock, and never without.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    sleepers: std::sync::Mutex<Vec<Arc<Sleeper>>>,
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar::default()
    }

    fn sleepers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Sleeper>>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify_one(&self) {
        let mut sleepers = self.sleepers();
        if sleepers.is_empty() {
            return;
        }
        // Which one is anybody's guess.
        let chosen = below(sleepers.len());
        let sleeper = sleepers.swap_remove(chosen);
        drop(sleepers);
        sleeper.wake();
    }

    pub(crate) fn notify_all(&self) {
        let sleepers = std::mem::take(&mut *self.sleepers());
        sleepers.iter().for_each(|sleeper| sleeper.wake());
    }
}

pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> MutexGuard<'a, T> {
    let sleeper = Sleeper::new();
    condvar.sleepers().push(sleeper.clone());
    trace(|| "waits to be notified".to_string());
    let mutex = guard.mutex;
    drop(guard);
    sleeper.sleep(deadline);
    condvar.sleepers().retain(|other| !Arc::ptr_eq(other, &sleeper));
    mutex.lock()
}

/// A number below `bound`.
pub(crate) fn below(bound: usize) -> usize {
    let random = shuttle::rand::thread_rng().next_u64();
    usize::try_from(random % u64::try_from(bound).unwrap()).unwrap()
}

/// The most that passes while a thread has something to do.
const HASTE: Duration = Duration::from_millis(100);

/// From now on time may pass while threads have something to do, as on a busy
/// machine: whatever has a deadline may race with it.
fn hurry() {
    HURRIED.set(true);
}

/// Lets the clock go when nobody else can, or, if it is hurried, now and then.
struct Clockwork<S> {
    threads: S,
    /// The schedule is given, the clock's turns included.
    replay: bool,
}

/// The first thread that the first one starts.
fn is_clock(task: TaskId) -> bool {
    task == TaskId::from(1)
}

impl<S: Scheduler> Scheduler for Clockwork<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.threads.new_execution()
    }

    fn next_task(
        &mut self,
        tasks: &[&Task],
        current: Option<TaskId>,
        yielding: bool,
    ) -> Option<TaskId> {
        let able = |task: &&&Task| task.runnable() && !is_clock(task.id());
        let able: Vec<&Task> = tasks.iter().filter(able).copied().collect();
        IDLE.set(able.is_empty());
        if self.replay {
            return self.threads.next_task(tasks, current, yielding);
        }
        let hurried = HURRIED.get() && self.threads.next_u64().is_multiple_of(100);
        if !able.is_empty() && !hurried {
            return self.threads.next_task(&able, current, yielding);
        }
        let clock = tasks.iter().find(|task| is_clock(task.id()) && task.runnable());
        Some(clock?.id())
    }

    fn next_u64(&mut self) -> u64 {
        self.threads.next_u64()
    }
}

/// Tries many schedules of what `scenario` does.
fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.silence_warnings = true;
    let execution = move || {
        WORLD.set(World::default());
        HURRIED.set(false);
        thread::spawn(run_clock);
        scenario();
    };
    if let Ok(schedule) = std::env::var("LONGLINK_MODEL_SCHEDULE") {
        let threads = ReplayScheduler::new_from_encoded(&schedule);
        Runner::new(Clockwork { threads, replay: true }, config).run(execution);
        return;
    }
    let runs = std::env::var("LONGLINK_MODEL_RUNS").map_or(1000, |runs| runs.parse().unwrap());
    let execution = Arc::new(execution);
    let again = execution.clone();
    let threads = RandomScheduler::new(runs / 2);
    Runner::new(Clockwork { threads, replay: false }, config.clone()).run(move || execution());
    let threads = PctScheduler::new(3, runs / 2);
    Runner::new(Clockwork { threads, replay: false }, config).run(move || again());
}
