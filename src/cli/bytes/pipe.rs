//! `client --stdio`: what standard input and output lead to is one end, such as `ssh` with its
//! `ProxyCommand`.
//!
//! Neither a read nor a write of them can be woken, so they are not waited for when the session
//! is over: the process ends.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use log::Level;

use super::local::{Local, Streams};
use super::{Broken, FAREWELL, LAST_BYTES, LOOK};
use crate::cli::args::ClientArgs;
use crate::cli::end::{self, Ending};
use crate::cli::events::Watch;
use crate::cli::stdio::{has_lost_reader, stdout};
use crate::cli::{code, log as journal};
use crate::{Connection, Event};

struct Pipe {
    connection: OnceLock<Connection>,
    /// Everything that came is written, and nothing more comes.
    received: AtomicBool,
    watch: Watch,
}

/// Carries bytes until both ways have ended, and ends the process.
///
/// # Errors
///
/// What kept it from beginning.
pub fn run(args: &ClientArgs) -> anyhow::Result<Infallible> {
    journal::start(args.level()).context("cannot start the log")?;
    let (connection, received) = Default::default();
    let pipe = Arc::new(Pipe { connection, received, watch: Watch::new(&args.hosts()) });
    let told = pipe.clone();
    end::when_told_or_hung_up(move |code| told.interrupt(code))
        .context("cannot wait for Ctrl-C")?;
    let streams = Arc::new(Streams::new().context("cannot make a pipe")?);
    let (builder, secured) = args.secured_builder()?;
    pipe.watch.set_secured(secured);
    let (watching, output) = (pipe.clone(), streams.clone());
    let builder = builder.on_event(move |connection, event| {
        let connected = watching.connection.get().is_some();
        watching.watch.on_event(&event);
        match event {
            Event::Connected { .. } => drop(watching.connection.set(connection.clone())),
            // Nobody else looks after the output yet.
            Event::Retrying { .. } if !connected => {
                if let Err(gone) = output.fail_within(Duration::ZERO) {
                    watching.end(Err(gone.into()));
                }
            }
            _ if super::is_end(&event) => watching.clone().end_soon(),
            _ => {}
        }
    });
    let connection = match builder.connect(args.hosts()) {
        Ok(connection) => connection,
        Err(error) => pipe.end(Err(error.into())),
    };
    // The event may be still to come.
    let _ = pipe.connection.set(connection.clone());
    let (sending, reading, up) = (pipe.clone(), streams.clone(), connection.clone());
    let send = move || {
        // Of the session, the thread that receives knows by itself, and may have more to write.
        match super::send_all(&up, &*reading, &sending.received) {
            Err(why @ Broken::Local(_)) => sending.end(Err(why)),
            Ok(()) | Err(Broken::Session(_)) => {}
        }
    };
    let up = thread::Builder::new().name("input".into()).spawn(send);
    let up = up.unwrap_or_else(|error| pipe.end(Err(error.into())));
    pipe.end(super::receive_all(&connection, &*streams).and_then(|()| {
        pipe.received.store(true, Ordering::SeqCst);
        let _ = up.join();
        super::close(&connection)
    }))
}

impl Pipe {
    /// Ends the process. The first who does so knows why.
    fn end(&self, ended: Result<(), Broken>) -> ! {
        let ending = Ending::begin();
        if let Some(connection) = self.connection.get() {
            let carried = super::carried(&connection.stats());
            if let Err(why) = &ended {
                super::part(connection, why);
                let _ = connection.close_within(FAREWELL);
            }
            log::info!("{carried}");
        }
        let Err(why) = ended else { ending.exit(code::OK) };
        match &why {
            // Who would read that? `ssh` leaves in this way.
            Broken::Local(error) if has_lost_reader(stdout(), error) => {
                log::info!("nothing reads the output any more");
            }
            Broken::Session(error) if self.watch.has_told(error) => {}
            _ => log::error!("{}", why.told("standard input or output")),
        }
        ending.exit(code::FAILED)
    }

    /// The session is over. A thread that is stuck in a write does not see that.
    fn end_soon(self: Arc<Self>) {
        let end = move || {
            thread::park_timeout(LOOK);
            if !self.received.load(Ordering::SeqCst) {
                self.end(super::check(self.connection.wait()))
            }
        };
        let _ = thread::Builder::new().name("end".into()).spawn(end);
    }

    /// Ctrl-C, SIGTERM or SIGHUP.
    fn interrupt(&self, code: u8) {
        if code == end::HUNG_UP {
            // `ssh` has left, and its last words may still be read.
            thread::park_timeout(LAST_BYTES);
        }
        let ending = Ending::begin();
        if let Some(connection) = self.connection.get() {
            // A link that only tells of the end is none that counts.
            let carried = super::carried(&connection.stats());
            connection.abort();
            let _ = connection.close_within(FAREWELL);
            let level = if code == end::HUNG_UP { Level::Info } else { Level::Error };
            log::log!(level, "interrupted: {carried}");
        }
        ending.exit(code)
    }
}
