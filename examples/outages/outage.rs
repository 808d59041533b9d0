//! The outages, and what is promised in them.

use std::thread;
use std::time::Duration;

use crate::keys::Keys;
use crate::network::{self, CLIENT, CLIENT_MOVED, Path as Way, Unknown};
use crate::programs::{self, Result};
use crate::scene::{Account, Cast, LINES, Scene, now, rest};

/// Of both programs.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);
pub(crate) const MISSES: u32 = 2;
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(500);

/// What is promised, in any silent outage.
const CLIENT_NOTICES: Duration = HEARTBEAT.saturating_mul(MISSES + 1);
const SERVER_NOTICES: Duration = HEARTBEAT.saturating_mul(MISSES + 2);
const REGAINED: Duration = Duration::from_secs(1);

/// What a machine that does other things meanwhile may add to that.
const SLACK: Duration = Duration::from_secs(1);

const LONG: Duration = Duration::from_secs(8);

struct Outage {
    name: &'static str,
    /// Nothing is sent meanwhile.
    idle: bool,
    /// The server lives, and nothing may come twice.
    once: bool,
    happen: fn(&mut Scene) -> Result<()>,
}

const fn busy(name: &'static str, happen: fn(&mut Scene) -> Result<()>) -> Outage {
    Outage { name, idle: false, once: true, happen }
}

const fn idle(name: &'static str, happen: fn(&mut Scene) -> Result<()>) -> Outage {
    Outage { name, idle: true, once: true, happen }
}

const UP: Way = Way { up: false, ..Way::OPEN };
const DOWN: Way = Way { down: false, ..Way::OPEN };
const RESETS: Way = Way { unknown: Unknown::Reset, ..Way::OPEN };

const OUTAGES: [Outage; 13] = [
    busy("ten resets", |scene| {
        scene.network.set(RESETS);
        for _ in 0..10 {
            scene.fails();
            scene.network.forget();
            scene.is_open();
            rest(Duration::from_secs(1));
        }
        Ok(())
    }),
    busy("cable out, 1 s", |scene| cut(scene, Way::CUT, Duration::from_secs(1))),
    busy("cable out, 8 s", |scene| cut(scene, Way::CUT, LONG)),
    idle("cable out, 8 s, idle", |scene| cut(scene, Way::CUT, LONG)),
    busy("nothing gets up, 8 s", |scene| cut(scene, UP, LONG)),
    idle("nothing gets up, 8 s, idle", |scene| cut(scene, UP, LONG)),
    busy("nothing gets down, 8 s", |scene| cut(scene, DOWN, LONG)),
    idle("nothing gets down, 8 s, idle", |scene| cut(scene, DOWN, LONG)),
    busy("NAT forgot, silently", |scene| {
        scene.fails();
        scene.network.forget();
        scene.is_open();
        Ok(())
    }),
    busy("NAT forgot, with RST", |scene| {
        scene.network.set(RESETS);
        scene.fails();
        scene.network.forget();
        scene.is_open();
        Ok(())
    }),
    busy("client has a new address", |scene| {
        scene.fails();
        scene.network.move_client(CLIENT, CLIENT_MOVED);
        scene.is_open();
        Ok(())
    }),
    busy("interface down, 8 s", |scene| {
        scene.fails();
        scene.network.interface_down();
        rest(LONG);
        scene.network.interface_up();
        scene.is_open();
        Ok(())
    }),
    Outage {
        name: "kill -9 with a backlog",
        idle: false,
        once: false,
        happen: |scene| {
            scene.signal_server("STOP")?;
            rest(Duration::from_millis(500));
            scene.fails();
            scene.signal_server("KILL")?;
            rest(Duration::from_secs(1));
            scene.start_server()?;
            scene.is_open();
            Ok(())
        },
    },
];

fn cut(scene: &mut Scene, way: Way, time: Duration) -> Result<()> {
    scene.fails();
    scene.network.set(way);
    rest(time);
    scene.network.set(Way::OPEN);
    scene.is_open();
    Ok(())
}

/// All of them at once, each on a network of its own, with keys or in clear
/// text. Returns whether all is as promised.
pub(crate) fn run(secured: bool) -> Result<bool> {
    if let Some(why) = network::obstacle() {
        return Err(why.into());
    }
    let programs = programs::build()?;
    let keys = secured.then(|| Keys::make_by(programs.join("server"))).transpose()?;
    let cast = Cast { programs, keys };
    let begun = now();
    let accounts: Vec<Result<Account>> = thread::scope(|scope| {
        let threads: Vec<_> =
            OUTAGES.iter().map(|outage| scope.spawn(|| endure(outage, &cast))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });

    println!(
        "--heartbeat {HEARTBEAT:?} --misses {MISSES} (server: --misses {MISSES}), \
         --retry-delay {RETRY_DELAY:?}; {LINES} lines, 200/s, through an echo{}; {:.0?} in all\n",
        if secured { ", over TLS" } else { "" },
        begun.elapsed()
    );
    println!(
        "| outage | client notices | server notices | regained | sent again | lost | doubled | reordered |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut complaints = Vec::new();
    for (outage, account) in OUTAGES.iter().zip(accounts) {
        match account {
            Ok(account) => {
                println!("| {} | {account} |", outage.name);
                complaints.extend(broken(outage, &account));
            }
            Err(error) => complaints.push(format!("{}: {error}", outage.name)),
        }
    }
    complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
    Ok(complaints.is_empty())
}

fn endure(outage: &Outage, cast: &Cast) -> Result<Account> {
    let mut scene = Scene::open(cast)?;
    scene.wait_for_replies(LINES / 4)?;
    if outage.idle {
        scene.pause(true);
        // What was on its way has arrived.
        rest(Duration::from_millis(500));
    }
    (outage.happen)(&mut scene)?;
    scene.pause(false);
    scene.close()
}

/// Promises that were not kept.
fn broken(outage: &Outage, account: &Account) -> Vec<String> {
    let Account { client, server, regained, lost, doubled, reordered, .. } = account;
    let limits = [
        ("the client notices", *client, CLIENT_NOTICES),
        ("the server notices", *server, SERVER_NOTICES),
        ("regained", Some(*regained), REGAINED),
    ];
    let mut broken = Vec::new();
    for (what, time, limit) in limits {
        if let Some(time) = time.filter(|time| *time > limit + SLACK) {
            broken.push(format!("{}: {what} after {time:.1?}", outage.name));
        }
    }
    if *lost > 0 || (outage.once && doubled + reordered > 0) {
        broken.push(format!(
            "{}: {lost} lost, {doubled} doubled, {reordered} reordered",
            outage.name
        ));
    }
    broken
}
