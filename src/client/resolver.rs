//! Names are resolved on threads of their own, since the system's resolver blocks.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Instant;

use crate::driver::DriverHandle;
use crate::host::Host;
use crate::sync::{self, Arc, Mutex};

type Addrs = io::Result<Vec<SocketAddr>>;

/// Resolves names, each on a thread of its own: one that hangs holds up no other.
/// There is at most one thread for each host; one that hangs is waited for by the
/// attempts that follow.
pub(super) struct Resolver {
    /// By the index of the host.
    jobs: HashMap<usize, Job>,
    driver: Arc<DriverHandle>,
    ask: Ask,
}

/// Blocks until the addresses of a host are known.
type Ask = Arc<dyn Fn(&Host) -> Addrs + Send + Sync>;

struct Job {
    since: Instant,
    answer: Arc<Mutex<Option<Addrs>>>,
}

impl Resolver {
    pub(super) fn new(driver: Arc<DriverHandle>) -> Resolver {
        let ask =
            |host: &Host| (host.name.as_str(), host.port).to_socket_addrs().map(Iterator::collect);
        Resolver::with(driver, Arc::new(ask))
    }

    pub(super) fn with(driver: Arc<DriverHandle>, ask: Ask) -> Resolver {
        Resolver { jobs: HashMap::new(), driver, ask }
    }

    /// Begins to resolve the name of a host, unless that is under way. Returns since
    /// when it is; `None` once there is an answer. The driver is woken when the answer is
    /// there.
    pub(super) fn resolve(&mut self, index: usize, host: &Host, now: Instant) -> Option<Instant> {
        if !self.jobs.contains_key(&index) {
            self.jobs.insert(index, Job { since: now, answer: self.begin(host) });
        }
        let job = &self.jobs[&index];
        job.answer.lock().is_none().then_some(job.since)
    }

    fn begin(&self, host: &Host) -> Arc<Mutex<Option<Addrs>>> {
        if let Ok(ip) = host.name.parse() {
            return Arc::new(Mutex::new(Some(Ok(vec![SocketAddr::new(ip, host.port)]))));
        }
        let answer = Arc::new(Mutex::new(None));
        let (host, driver, ask) = (host.clone(), self.driver.clone(), self.ask.clone());
        let started = sync::spawn("longlink-resolver", {
            let answer = answer.clone();
            move || {
                let addrs = ask(&host);
                *answer.lock() = Some(addrs);
                driver.wake();
            }
        });
        if let Err(error) = started {
            *answer.lock() = Some(Err(error));
        }
        answer
    }

    /// The addresses of a host, if [`Resolver::resolve`] has an answer. A name is
    /// resolved anew each time.
    pub(super) fn take(&mut self, index: usize) -> Option<Addrs> {
        let addrs = self.jobs.get(&index)?.answer.lock().take()?;
        self.jobs.remove(&index);
        Some(match addrs {
            Ok(none) if none.is_empty() => Err(io::Error::other("the name has no address")),
            addrs => addrs,
        })
    }

    /// Forgets the answers that are there: they are as old as the attempt that did not
    /// wait for them.
    pub(super) fn forget(&mut self) {
        self.jobs.retain(|_, job| job.answer.lock().is_none());
    }
}
