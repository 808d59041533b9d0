//! Names are resolved on threads of their own, since the system's resolver blocks.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Instant;

use crate::driver::DriverHandle;
use crate::host::Host;
use crate::sync::{self, Arc, Mutex};

type Addrs = io::Result<Vec<SocketAddr>>;

/// Resolves names, each on a thread of its own: one that hangs holds up no other.
/// There is at most one thread for each host; one that hangs is waited for by the
/// attempts that follow.
pub(super) struct Resolver {
    jobs: Vec<Option<Job>>,
    ask: Ask,
}

/// Blocks until the addresses of a host are known.
type Ask = Arc<dyn Fn(&Host) -> Addrs + Send + Sync>;

struct Job {
    since: Instant,
    answer: Arc<Mutex<Option<Addrs>>>,
}

impl Resolver {
    pub(super) fn new(hosts: usize) -> Resolver {
        let ask =
            |host: &Host| (host.name.as_str(), host.port).to_socket_addrs().map(Iterator::collect);
        Resolver::with(hosts, Arc::new(ask))
    }

    pub(super) fn with(hosts: usize, ask: Ask) -> Resolver {
        Resolver { jobs: (0..hosts).map(|_| None).collect(), ask }
    }

    /// Begins to resolve the name of a host, unless that is under way. Returns since
    /// when it is; `None` once there is an answer, or if none is needed. The driver
    /// is woken when the answer is there.
    pub(super) fn resolve(
        &mut self,
        index: usize,
        host: &Host,
        now: Instant,
        driver: &Arc<DriverHandle>,
    ) -> Option<Instant> {
        if host.name.parse::<IpAddr>().is_ok() {
            return None;
        }
        if self.jobs[index].is_none() {
            let answer = Arc::new(Mutex::new(None));
            self.jobs[index] = Some(Job { since: now, answer: answer.clone() });
            let (host, driver, ask) = (host.clone(), driver.clone(), self.ask.clone());
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
        }
        let job = self.jobs[index].as_ref()?;
        job.answer.lock().is_none().then_some(job.since)
    }

    /// The addresses of a host that [`Resolver::resolve`] has found. A name is
    /// resolved anew each time.
    pub(super) fn take(&mut self, index: usize, host: &Host) -> Addrs {
        if let Ok(ip) = host.name.parse() {
            return Ok(vec![SocketAddr::new(ip, host.port)]);
        }
        let job = self.jobs[index].take().expect("the name was resolved");
        let addrs = job.answer.lock().take().expect("the name was resolved")?;
        match addrs.is_empty() {
            true => Err(io::Error::other("the name has no address")),
            false => Ok(addrs),
        }
    }

    /// Forgets the answers that are there: they are as old as the attempt that did not
    /// wait for them.
    pub(super) fn forget(&mut self) {
        for job in &mut self.jobs {
            job.take_if(|job| job.answer.lock().is_some());
        }
    }
}
