//! A client's thread: dials, tends the link until it is lost, and dials again.
//!
//! It waits in `poll` for the link or for the sockets that are dialled, for the next
//! deadline, or for a call of another thread.

use std::time::Instant;

use crate::dial::Dialler;
use crate::driver::{DriverHandle, SleepWatch};
use crate::foreign;
use crate::link::{Checkup, Shared};
use crate::net::{self, Alarm, Interest, Socket};
use crate::sync::{self, Arc};

pub(crate) struct Client {
    shared: Arc<Shared>,
    driver: Arc<DriverHandle>,
    dialler: Dialler,
    /// When to look at the connection again, and what to wait for on its link.
    deadline: Option<Instant>,
    watch: Option<(Arc<Socket>, Interest)>,
    sleep: SleepWatch,
    over: bool,
}

/// What a wait has brought.
#[derive(Default)]
struct Ready {
    /// Another thread calls.
    called: bool,
    link: Option<Interest>,
    /// The index of a socket that is dialled.
    dialled: Option<usize>,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>, driver: Arc<DriverHandle>, dialler: Dialler) -> Client {
        let sleep = SleepWatch::new();
        Client { shared, driver, dialler, deadline: None, watch: None, sleep, over: false }
    }

    /// Runs until the connection is over.
    pub(crate) fn run(mut self) {
        self.start();
        while !self.over {
            self.turn();
        }
    }

    fn start(&mut self) {
        self.tend();
        self.dialler.start();
        self.dialler.advance(&self.shared, &self.driver, None);
    }

    fn turn(&mut self) {
        let ready = self.wait();
        let slept = self.sleep.has_slept();
        if slept {
            foreign::log!(debug, "the machine has slept: checking the connection");
            self.shared.lock().wake_up();
        }
        if let Some(interest) = ready.link {
            self.shared.serve(interest);
        }
        // A poll that failed has not told of a call, and `serve` may have called.
        let called = ready.called || self.driver.is_pending();
        if called {
            self.driver.answer();
        }
        let due = self.deadline.is_some_and(|at| sync::now() >= at);
        if slept || called || due || ready.link.is_some() {
            self.tend();
        }
        self.dialler.advance(&self.shared, &self.driver, ready.dialled);
    }

    fn next(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.dialler.deadline()).min()
    }

    fn wait(&self) -> Ready {
        let readable = Interest { read: true, write: false };
        let mut fds = vec![net::poll_fd(self.driver.pipe(), readable)];
        fds.extend(self.sleep.alarm().map(|alarm| net::poll_fd(alarm, readable)));
        let link = fds.len();
        fds.extend(self.watch.iter().map(|(socket, interest)| net::poll_fd(&**socket, *interest)));
        let first_dialled = fds.len();
        let mut dialled = Vec::new();
        self.dialler.watch(|index, socket, interest| {
            fds.push(net::poll_fd(socket, interest));
            dialled.push(index);
        });
        net::poll(&mut fds, self.next());
        let mut ready = Ready::default();
        let interests = fds.iter().map(net::readiness).enumerate();
        for (at, interest) in interests.filter(|(_, is)| is.read || is.write) {
            match at {
                0 => ready.called = true,
                at if at < link => self.sleep.alarm().into_iter().for_each(Alarm::answer),
                at if at < first_dialled => ready.link = Some(interest),
                at => ready.dialled = ready.dialled.or(Some(dialled[at - first_dialled])),
            }
        }
        ready
    }

    /// Looks after the connection, and tells the dialler what has become of the link.
    fn tend(&mut self) {
        let Checkup { deadline, watch, lost, hurry, over } = self.shared.check_up(self.deadline);
        (self.deadline, self.watch, self.over) = (deadline, watch, over);
        match lost {
            _ if over => self.dialler.stop(),
            Some(lost) => self.dialler.lost(&self.shared, &lost),
            None => {}
        }
        if hurry {
            self.dialler.hurry();
        }
    }
}

/// A thread that dies leaves no caller waiting. It should only ever end with the
/// connection.
impl Drop for Client {
    fn drop(&mut self) {
        if !self.over {
            self.shared.lose_driver();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
