//! The processes that hold the connections. They do as the referee says on standard input, and end
//! when it does not say anything any more.

use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread;
use std::time::Duration;

use longlink::{Builder, Connection, Heartbeat, Listener, RetryPolicy};

use crate::keys;
use crate::plan::{LARGEST, LARGEST_WINDOW, Plan, Side, name_of};
use crate::report::{Report, Status};
use crate::stage::{Link, Stage};
use crate::talk::{CLOSE_TIMEOUT, Talk};
use crate::watch::rest;

/// An answer that takes longer than this interval could be one that will never come, so it has to
/// be long enough for a busy machine.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
const MISSES: u32 = 3;

/// Silence for so long is death: on a client, and at the latest on a server.
pub(crate) const DEATH: Duration = INTERVAL.saturating_mul(MISSES + 1);

/// Longer than any outage that the adversary makes.
pub(crate) const RESUME_WITHIN: Duration = Duration::from_secs(25);

/// How often a player tells how it is.
const TICK: Duration = Duration::from_millis(250);

/// What the conversations of one slot are numbered from.
pub(crate) const SLOT: u64 = 1 << 32;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Plays a part, as the arguments say, until standard input ends.
pub(crate) fn play(args: &[String]) -> Result<(), Error> {
    std::panic::set_hook(Box::new(|panic| {
        Report::Wrong { id: 0, text: panic.to_string().replace('\n', ": ") }.say();
        process::exit(101);
    }));
    let (builder, args) = match args {
        [flag, folder, args @ ..] if flag == "--keys" => {
            let is_client = args.first().is_some_and(|part| part == "client");
            let security = if is_client { keys::of_client } else { keys::of_server };
            (builder().security(security(Path::new(folder))?), args)
        }
        args => (builder(), args),
    };
    let stage = Arc::new(Stage::new(builder));
    match args {
        [part, seed, servers @ ..] if part == "client" => client(&stage, seed.parse()?, servers)?,
        [part, seed] if part == "server" => server(&stage, seed.parse()?, converse)?,
        [part, seed] if part == "mortal" => server(&stage, seed.parse()?, answer)?,
        _ => return Err("there is no such part".into()),
    }
    thread::spawn({
        let stage = stage.clone();
        move || tick(&stage)
    });
    for line in io::stdin().lock().lines() {
        match &*line? {
            "go" => stage.goes_on.store(true, SeqCst),
            "rest" => stage.goes_on.store(false, SeqCst),
            "tell" => tell(stage.watch.all(), |id, text| Report::Note { id, text }),
            line => return Err(format!("what is {line:?}?").into()),
        }
    }
    Ok(())
}

/// Tells how it is, and which calls do not return.
fn tick(stage: &Stage) {
    loop {
        Report::Status(Status { heap: crate::heap(), ..stage.status() }).say();
        tell(stage.watch.overdue(), |id, text| Report::Wrong { id, text: format!("hangs {text}") });
        rest(TICK);
    }
}

fn tell(calls: Vec<(u64, String)>, report: impl Fn(u64, String) -> Report) {
    calls.into_iter().for_each(|(id, text)| report(id, text).say());
}

fn builder() -> Builder {
    let retry = RetryPolicy::exponential(Duration::from_millis(20), Duration::from_millis(500));
    Connection::builder()
        .heartbeat(Heartbeat::every(INTERVAL).misses(MISSES))
        .retry(retry.unlimited())
        .connect_timeout(Duration::from_millis(1500))
        .close_timeout(CLOSE_TIMEOUT)
        .resume_within(RESUME_WITHIN)
        .window(LARGEST_WINDOW)
        .max_message(LARGEST)
}

/// One conversation after the other in each slot. A slot has the address of a server, behind a `+`
/// if that one is mortal.
fn client(stage: &Arc<Stage>, seed: u64, slots: &[String]) -> Result<(), Error> {
    for (slot, addr) in (1..).zip(slots) {
        let (addr, plan): (_, fn(u64, u64) -> Plan) = match addr.strip_prefix('+') {
            Some(addr) => (addr, Plan::with_mortal),
            None => (&**addr, Plan::new),
        };
        let (addr, stage): (SocketAddr, _) = (addr.parse()?, stage.clone());
        thread::Builder::new().name(format!("slot {slot}")).spawn(move || {
            let mut id = slot * SLOT;
            loop {
                while !stage.goes_on.load(SeqCst) {
                    rest(Duration::from_millis(10));
                }
                // Who sees that none is open must know that none will be.
                stage.open.fetch_add(1, SeqCst);
                if stage.goes_on.load(SeqCst) {
                    call(&stage, &plan(seed, id), addr);
                    id += 1;
                }
                stage.open.fetch_sub(1, SeqCst);
            }
        })?;
    }
    Ok(())
}

/// The client's side of a conversation.
fn call(stage: &Arc<Stage>, plan: &Plan, addr: SocketAddr) {
    // It goes on for ever, but the adversary does not.
    const CONNECT: Duration = Duration::from_secs(40);
    let link = Link::new(stage, plan.id);
    let seen = link.clone();
    let builder =
        stage.builder.clone().window(plan.window).on_event(move |_, event| seen.saw(&event));
    let seat = stage.watch.seat(plan.id);
    match seat.call("connect", CONNECT, || builder.connect(addr)) {
        Ok(connection) => {
            Talk { stage, plan, me: Side::Client, connection, link: &link }.run(None);
        }
        Err(error) => {
            let text = format!("connect: {error} ({error:?})");
            Report::Wrong { id: plan.id, text }.say();
        }
    }
}

/// A thread for each connection.
fn server(
    stage: &Arc<Stage>,
    seed: u64,
    serve: fn(&Arc<Stage>, u64, u64, Connection),
) -> Result<(), Error> {
    let listener: Listener = stage.builder.clone().bind("127.0.0.1:0")?;
    Report::Listening(listener.local_addr()).say();
    let stage = stage.clone();
    thread::Builder::new().name("accept".into()).spawn(move || {
        for (session, connection) in (1..).zip(listener.incoming().filter_map(Result::ok)) {
            let stage = stage.clone();
            stage.open.fetch_add(1, SeqCst);
            thread::spawn(move || {
                serve(&stage, seed, session, connection);
                stage.open.fetch_sub(1, SeqCst);
            });
        }
    })?;
    Ok(())
}

/// The server's side of a conversation, whose number its first message tells.
fn converse(stage: &Arc<Stage>, seed: u64, _: u64, connection: Connection) {
    let link = Link::new(stage, 0);
    let seen = link.clone();
    connection.on_event(move |_, event| seen.saw(&event));
    let first = connection.recv();
    let Ok(Some(first)) = first else {
        // It has died with its link, or its client has left.
        stage.unused.fetch_add(1, Relaxed);
        return;
    };
    let Some((id, 0)) = name_of(&first) else {
        return Report::Wrong { id: 0, text: format!("begins with {first:?}") }.say();
    };
    link.is_of(id);
    let plan = &Plan::new(seed, id);
    Talk { stage, plan, me: Side::Server, connection, link: &link }.run(Some(&first));
}

/// Answers each message, and says so before.
fn answer(stage: &Arc<Stage>, seed: u64, session: u64, connection: Connection) {
    let link = Link::new(stage, 0);
    let seen = link.clone();
    connection.on_event(move |_, event| seen.saw(&event));
    let wrong =
        |id, text: String| Report::Wrong { id, text: format!("mortal server: {text}") }.say();
    let mut plan: Option<Plan> = None;
    loop {
        let message = match connection.recv() {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(error) => {
                // Nothing was ever said in it: its client went elsewhere.
                if let Some(plan) = &plan {
                    wrong(plan.id, format!("recv: {error} ({error:?})"));
                }
                return;
            }
        };
        let Some((id, _)) = name_of(&message) else { return wrong(0, format!("{message:?}")) };
        let plan = plan.get_or_insert_with(|| Plan::with_mortal(seed, id));
        link.is_of(id);
        let Some((thread, seq)) = plan.identify(Side::Client, &message, |_| 0) else {
            return wrong(id, format!("corrupted: {message:?}"));
        };
        // Long enough for an acknowledgement that comes too early, and for a kill behind it.
        if seq % 64 == 63 {
            rest(Duration::from_millis(100));
        }
        Report::Served { id, session, thread, seq }.say();
        if let Err(error) = connection.send(plan.message(Side::Server, thread, seq)) {
            return wrong(id, format!("send: {error} ({error:?})"));
        }
    }
    if let Err(error) = connection.close() {
        wrong(plan.map_or(0, |plan| plan.id), format!("close: {error} ({error:?})"));
    }
}
