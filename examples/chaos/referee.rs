//! The course of a soak, and its verdict.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Settings;
use crate::adversary::{Adversary, Slot};
use crate::journal::Journal;
use crate::keys::Keys;
use crate::ledger::{Account, Balance, Ledger, Part};
use crate::plan::{LARGEST, LARGEST_WINDOW, LONG_PAUSE, Side};
use crate::player::{DEATH, Error, RESUME_WITHIN};
use crate::process::{Held, Process};
use crate::proxy::Proxy;
use crate::report::Status;
use crate::talk::CLOSE_TIMEOUT;
use crate::watch::{now, rest};

/// Traffic without an adversary, before it is measured what a process holds.
const WARM_UP: Duration = Duration::from_secs(3);

/// The players are there within this.
const START: Duration = Duration::from_secs(20);

/// When the adversary has ended and nothing more is sent, all conversations end within this: a dead
/// link is noticed, the slowest reader reads on, and then there is the time to close (which is
/// longer than that of a session to which nobody comes back).
const DRAIN: Duration = DEATH.saturating_add(LONG_PAUSE).saturating_add(CLOSE_TIMEOUT);

/// And this much later a server has forgotten them.
const FORGET: Duration = RESUME_WITHIN.saturating_add(Duration::from_secs(10));

/// What tables may have grown by on the heap. A hundred bytes that leak in each conversation of a
/// minute are more.
const TABLES: u64 = 16 * 1024;

const KIB: u64 = 1024;

pub(crate) fn run(settings: Settings) -> Result<bool, Error> {
    let Settings { seed, connections, time, .. } = settings;
    let tls = if settings.tls { " over TLS" } else { "" };
    println!("seed {seed}: {connections} connections{tls}, {} s", time.as_secs());
    let mut soak = Soak::start(settings)?;
    let held = soak.run(settings)?;
    let balance = soak.ledger.balance();
    tell_account(&balance, &soak.ledger);
    let given_back = tell_held(&held, kept_by_allocator(settings));
    let verdict = given_back && balance.wrong.is_empty();
    if !verdict {
        soak.tell("tell")?;
        rest(Duration::from_secs(1));
        soak.ledger.journal.tell();
        balance.wrong.iter().for_each(|wrong| println!("wrong: {wrong}"));
    }
    println!("{} (seed {seed})", if verdict { "all is well" } else { "FAILED" });
    Ok(verdict)
}

/// What the players are told when they start.
struct Script {
    seed: u64,
    keys: Option<Keys>,
}

impl Script {
    fn of(&self, part: &str) -> Vec<String> {
        let keys = self.keys.iter();
        let keys = keys.flat_map(|keys| ["--keys".into(), keys.folder().display().to_string()]);
        keys.chain([part.into(), self.seed.to_string()]).collect()
    }
}

/// Everything that is running.
struct Soak {
    script: Script,
    ledger: Arc<Ledger>,
    client: Process,
    server: Process,
    mortal: Process,
}

/// What client and server held.
#[derive(Default, Clone, Copy)]
struct Course {
    before: [Held; 2],
    peak: [Held; 2],
    after: [Held; 2],
}

impl Soak {
    fn start(settings: Settings) -> Result<Soak, Error> {
        let Settings { seed, connections, tls, verbose, .. } = settings;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let slot = |number| Slot::new(Proxy::to(nowhere), number >= connections);
        let slots = (0..connections + connections.div_ceil(4)).map(slot).collect();
        let ledger = Arc::new(Ledger::new(slots, Journal::new(verbose)));
        let keys = if tls { Some(Keys::make()?) } else { None };
        let script = Script { seed, keys };
        let server = start(&ledger, Part::Server, script.of("server"))?;
        let mortal = start_mortal(&ledger, &script, 1)?;
        let mut args = script.of("client");
        args.extend(
            ledger.slots.iter().map(|slot| {
                format!("{}{}", if slot.is_mortal { "+" } else { "" }, slot.proxy.addr())
            }),
        );
        let client = start(&ledger, Part::Client, args)?;
        Ok(Soak { script, ledger, client, server, mortal })
    }

    /// Returns what client and server held when nobody talked, and at most.
    fn run(&mut self, settings: Settings) -> Result<Course, Error> {
        self.until("the players are there", Soak::is_there, START);
        let idle = self.held();
        self.tell("go")?;
        rest(WARM_UP);
        self.tell("rest")?;
        self.until("the warm-up has ended", Soak::is_quiet, DRAIN);
        self.until(
            "everything is given back after the warm-up",
            |soak| soak.has_left_nothing(&idle, u64::MAX),
            FORGET,
        );
        let before = self.held();
        if self.ledger.is_wrong() {
            return Ok(Course { before: idle, peak: before, after: before });
        }
        let mut course = Course { before, peak: before, after: before };
        self.tell("go")?;
        self.suffer(settings, &mut course);
        self.tell("rest")?;
        println!("the adversary has ended");
        self.until("all conversations have ended", Soak::is_quiet, DRAIN);
        let forgotten = |soak: &Soak| soak.has_left_nothing(&before, TABLES);
        self.until("everything is given back", forgotten, FORGET);
        course.after = self.held();
        Ok(course)
    }

    /// Lets the adversary work, and tells each second how it goes.
    fn suffer(&mut self, settings: Settings, course: &mut Course) {
        let Settings { seed, time, .. } = settings;
        let Soak { script, ledger, client, server, mortal } = self;
        let (script, ledger, client, server) = (&*script, &*ledger, &*client, &*server);
        let adversary = &Adversary::default();
        thread::scope(|scope| {
            for (number, slot) in ledger.slots.iter().enumerate() {
                scope.spawn(move || adversary.harass(seed, number + 1, slot, &ledger.journal));
            }
            scope.spawn(move || {
                adversary.stop_and_go(seed, client, server, &ledger.slots, &ledger.journal);
            });
            scope.spawn(move || {
                let mut generation = 1;
                let start = || {
                    generation += 1;
                    start_mortal(ledger, script, generation).expect("it was started before")
                };
                adversary.kill(seed, mortal, start, &ledger.journal);
            });
            let begun = now();
            let mut meter = Meter::new(ledger);
            while begun.elapsed() < time && !ledger.is_wrong() {
                rest(Duration::from_secs(1));
                meter.tell(begun, ledger);
                for (peak, held) in course.peak.iter_mut().zip(held(ledger, client, server)) {
                    *peak = peak.max(held);
                }
            }
            adversary.end();
        });
    }

    fn tell(&mut self, what: &str) -> Result<(), Error> {
        self.client.tell(what)?;
        Ok(self.server.tell(what)?)
    }

    /// Waits until something is true, unless something is wrong already.
    fn until(&mut self, what: &str, done: impl Fn(&Soak) -> bool, within: Duration) {
        let begun = now();
        while !done(self) && !self.ledger.is_wrong() {
            if begun.elapsed() > within {
                return self.ledger.wrong(&format!("not within {within:?}: {what}"));
            }
            rest(Duration::from_millis(20));
        }
    }

    fn is_there(&self) -> bool {
        let (client, server) = self.ledger.statuses();
        client.heap > 0 && server.heap > 0
    }

    /// No conversation is open.
    fn is_quiet(&self) -> bool {
        let (client, server) = self.ledger.statuses();
        client.open == 0 && server.open == 0
    }

    fn held(&self) -> [Held; 2] {
        held(&self.ledger, &self.client, &self.server)
    }

    fn has_left_nothing(&self, before: &[Held; 2], heap: u64) -> bool {
        self.held().iter().zip(before).all(|(held, before)| held.is_back(before, heap))
    }
}

fn start(ledger: &Arc<Ledger>, part: Part, args: Vec<String>) -> Result<Process, Error> {
    let ledger = ledger.clone();
    Ok(Process::start(&args, move |report| ledger.hear(part, report))?)
}

fn start_mortal(ledger: &Arc<Ledger>, script: &Script, generation: u64) -> Result<Process, Error> {
    start(ledger, Part::Mortal(generation), script.of("mortal"))
}

/// Client and server.
fn held(ledger: &Ledger, client: &Process, server: &Process) -> [Held; 2] {
    let statuses: [Status; 2] = ledger.statuses().into();
    let mut statuses = statuses.into_iter();
    [client, server].map(|process| {
        let heap = statuses.next().map_or(0, |status| status.heap);
        Held { heap, ..process.held().unwrap_or_default() }
    })
}

/// The lines that are printed once a second.
struct Meter {
    at: Instant,
    messages: u64,
    bytes: u64,
}

impl Meter {
    fn new(ledger: &Ledger) -> Meter {
        let (client, server) = ledger.statuses();
        let (messages, bytes) = (client.messages + server.messages, client.bytes + server.bytes);
        Meter { at: now(), messages, bytes }
    }

    fn tell(&mut self, begun: Instant, ledger: &Ledger) {
        let (client, server) = ledger.statuses();
        let next = Meter::new(ledger);
        let time = (next.at - self.at).as_secs_f64();
        println!(
            "{:4.0} s {:7.0} messages/s {:6.1} MiB/s, links {} up {} down, {} resumed, {} unacknowledged",
            begun.elapsed().as_secs_f64(),
            (next.messages - self.messages) as f64 / time,
            (next.bytes - self.bytes) as f64 / time / (KIB * KIB) as f64,
            client.links_up,
            client.links_down,
            client.resumed,
            client.unacknowledged + server.unacknowledged,
        );
        *self = next;
    }
}

fn tell_account(balance: &Balance, ledger: &Ledger) {
    let heads = ["to server", "to client", "to mortal", "its replies"];
    println!("{:13}{}", "", heads.map(|head| format!("{head:>12}")).concat());
    let row = |name: &str, of: fn(&Account) -> u64| {
        let columns = balance.accounts.each_ref().map(|account| format!("{:>12}", of(account)));
        println!("{name:13}{}", columns.concat());
    };
    row("sent", |account| account.sent);
    row("delivered", |account| account.delivered);
    row("handed back", |account| account.handed_back);
    row("repeated", |account| account.repeated);
    row("lost", |account| account.lost);
    row("doubled", |account| account.doubled);
    row("reordered", |account| account.reordered);
    row("corrupted", |account| account.corrupted);
    let (client, server) = ledger.statuses();
    println!(
        "{} conversations, {} resumes, {} messages sent again, sessions lost: {} unused, {} mortal; \
         {} deaths by silence, {} of them false",
        balance.conversations,
        client.resumed,
        client.replayed + server.replayed,
        balance.sessions_lost[0],
        balance.sessions_lost[1],
        balance.deaths,
        balance.false_deaths,
    );
}

/// What an allocator may keep for later when it was given everything back: what fills the windows.
fn kept_by_allocator(settings: Settings) -> u64 {
    const FULL: usize = 2 * (LARGEST_WINDOW + LARGEST);
    (settings.connections.div_ceil(4) * 5 * FULL) as u64
}

/// Prints what was held; returns whether it was given back.
fn tell_held(course: &Course, kept: u64) -> bool {
    let mut fine = true;
    for (index, side) in Side::BOTH.into_iter().enumerate() {
        let [before, peak, after] =
            [course.before, course.peak, course.after].map(|held| held[index]);
        fine &= after.is_back(&before, TABLES) && after.resident <= before.resident + kept;
        let row = |name: &str, of: fn(&Held) -> u64| {
            println!(
                "{:7}{name:15}{:>10}{:>10}{:>10}",
                side.name(),
                of(&before),
                of(&peak),
                of(&after)
            );
        };
        if index == 0 {
            println!("{:22}{:>10}{:>10}{:>10}", "", "before", "peak", "after");
        }
        row("threads", |held| held.threads);
        row("descriptors", |held| held.descriptors);
        row("heap KiB", |held| held.heap / KIB);
        row("resident KiB", |held| held.resident / KIB);
    }
    fine
}

impl Held {
    fn is_back(&self, before: &Held, heap: u64) -> bool {
        self.threads <= before.threads
            && self.descriptors <= before.descriptors
            && self.heap <= before.heap.saturating_add(heap)
    }

    fn max(&self, other: Held) -> Held {
        Held {
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
            resident: self.resident.max(other.resident),
            heap: self.heap.max(other.heap),
        }
    }
}
