//! Sockets in memory, for the model checker. The bounds are small, so that
//! writes are cut short and reads are short often enough.

#[path = "poll.rs"]
mod poll;

pub(crate) use poll::*;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use bytes::Buf;
use rustix::io::Errno;

use crate::proto::frame::Space;
use crate::proto::pulse::Watch;
use crate::sync::{Arc, now};
use crate::testing::model::{Sleeper, below, come_back_late, network, switch, trace};

/// So many bytes are on their way in one direction.
const ROOM: usize = 200;

/// All sockets, and who waits for them.
#[derive(Default)]
pub(crate) struct Network {
    ends: BTreeMap<usize, End>,
    next: usize,
    sleepers: Vec<Arc<Sleeper>>,
    /// Threads that block in a read are not scheduled.
    held: bool,
}

/// One side of a connection, a listener, a pipe, or what polls for others.
#[derive(Default)]
struct End {
    addr: Option<SocketAddr>,
    /// Connections that wait to be accepted.
    backlog: Option<VecDeque<usize>>,
    peer: Option<usize>,
    inbox: VecDeque<u8>,
    /// What follows the inbox.
    end: Option<Ended>,
    /// This side will not write any more.
    shut: bool,
    /// What this side writes is lost and it is not told, until so many bytes
    /// wait to be acknowledged.
    swallowed: Option<usize>,
    /// What the peer's kernel has acknowledged, when it was last asked for.
    acknowledged: u64,
    /// It tells that the machine has slept.
    alarm: bool,
    /// What it polls for, if it is for that.
    registered: Vec<Registered>,
    read_timeout: Option<Duration>,
    reading: bool,
    writing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Fin,
    Reset,
}

impl End {
    /// Reads what is there, or a part of it.
    fn take(&mut self, space: &mut Space<'_>) -> Option<io::Result<usize>> {
        if self.inbox.is_empty() {
            return self.end.map(|end| match end {
                Ended::Fin => Ok(0),
                Ended::Reset => Err(Errno::CONNRESET.into()),
            });
        }
        let most = space.len().min(self.inbox.len());
        let n = most - below(most.min(20));
        let bytes: Vec<u8> = self.inbox.drain(..n).collect();
        Some(Ok(space.put(&bytes)))
    }
}

impl Network {
    fn add(&mut self, end: End) -> usize {
        self.next += 1;
        self.ends.insert(self.next, end);
        self.next
    }

    fn end(&mut self, id: usize) -> &mut End {
        self.ends.get_mut(&id).expect("an open socket")
    }

    fn peer(&mut self, id: usize) -> Option<&mut End> {
        let peer = self.end(id).peer?;
        self.ends.get_mut(&peer)
    }

    fn readiness(&mut self, id: usize) -> Interest {
        let end = self.end(id);
        let failed = end.end == Some(Ended::Reset);
        let read = !end.inbox.is_empty()
            || end.end.is_some()
            || end.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty());
        let (shut, swallowed, registered) = (end.shut, end.swallowed, end.registered.clone());
        let room = match swallowed {
            Some(left) => left > 0,
            None => self.peer(id).is_none_or(|peer| peer.inbox.len() < ROOM),
        };
        let read = read || registered.iter().any(|registered| self.is_ready(registered));
        Interest { read, write: failed || shut || room }
    }

    /// The client's end of a link ends, with whatever is on its way, and the
    /// other end as well or not: then it hears nothing any more.
    fn hang_up(&mut self, link: usize, how: Ended, both: bool) {
        for id in [Some(link), self.end(link).peer].into_iter().flatten() {
            let Some(end) = self.ends.get_mut(&id) else { continue };
            let kept = below(end.inbox.len() + 1);
            end.inbox.truncate(kept);
            end.swallowed = Some(ROOM);
            if both || id == link {
                end.end.get_or_insert(how);
                end.shut = true;
            }
        }
    }
}

/// Something happened on the network.
fn stir() {
    let sleepers = network(|network| std::mem::take(&mut network.sleepers));
    sleepers.iter().for_each(|sleeper| sleeper.wake());
}

/// Tries until there is a result or the time is over, each time that something
/// has happened.
fn until<T>(
    deadline: Option<Instant>,
    mut attempt: impl FnMut(&mut Network) -> Option<T>,
) -> Option<T> {
    loop {
        let sleeper = Sleeper::new();
        let result = network(|network| {
            network.sleepers.push(sleeper.clone());
            attempt(network)
        });
        let over = result.is_some() || deadline.is_some_and(|at| now() >= at);
        if !over {
            sleeper.sleep(deadline);
        }
        network(|network| network.sleepers.retain(|other| !Arc::ptr_eq(other, &sleeper)));
        if over {
            return result;
        }
    }
}

/// The connections that there are, by their client's socket.
fn links() -> Vec<usize> {
    network(|network| {
        let ends = network.ends.iter();
        ends.filter(|(id, end)| end.peer.is_some_and(|peer| **id < peer))
            .map(|(id, _)| *id)
            .collect()
    })
}

/// Cuts every connection, and sometimes only the client notices.
pub(crate) fn cut() {
    cut_ends(below(2) == 0);
}

/// Cuts every connection, as both sides notice.
pub(crate) fn cut_both() {
    cut_ends(true);
}

fn cut_ends(both: bool) {
    switch();
    let how = if below(2) == 0 { Ended::Fin } else { Ended::Reset };
    for link in links() {
        network(|network| network.hang_up(link, how, both));
    }
    stir();
}

/// From now on nothing arrives on the connections that there are.
pub(crate) fn swallow() {
    for link in links() {
        network(|network| {
            network.end(link).swallowed = Some(ROOM);
            if let Some(peer) = network.peer(link) {
                peer.swallowed = Some(ROOM);
            }
        });
    }
}

/// The machine sleeps, and wakes.
pub(crate) fn ring() {
    network(|network| {
        let alarms = network.ends.values_mut().filter(|end| end.alarm);
        alarms.for_each(|end| end.inbox.push_back(0));
    });
    stir();
}

/// Readers are not scheduled, from now on or any more.
pub(crate) fn hold_readers(held: bool) {
    network(|network| network.held = held);
    stir();
}

#[derive(Debug)]
pub(crate) struct Socket(usize);

impl Socket {
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Socket> {
        switch();
        let id = network(|network| {
            let listener = network
                .ends
                .values_mut()
                .find(|end| end.backlog.is_some() && end.addr == Some(addr));
            if listener.is_none() {
                return Err(io::Error::from(Errno::CONNREFUSED));
            }
            let ours = network.add(End { addr: Some(addr), ..End::default() });
            let theirs = network.add(End { addr: Some(addr), peer: Some(ours), ..End::default() });
            network.end(ours).peer = Some(theirs);
            let mut ends = network.ends.values_mut();
            let listener = ends.find(|end| end.backlog.is_some() && end.addr == Some(addr));
            listener.unwrap().backlog.as_mut().unwrap().push_back(theirs);
            Ok(ours)
        })?;
        stir();
        Ok(Socket(id))
    }

    pub(crate) fn connected(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn listen(addr: SocketAddr) -> io::Result<Socket> {
        let backlog = Some(VecDeque::new());
        let end = End { addr: Some(addr), backlog, ..End::default() };
        Ok(Socket(network(|network| network.add(end))))
    }

    /// A model has no system that could hand one over.
    pub(crate) fn inherit(_: TcpListener) -> io::Result<Socket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        switch();
        network(|network| {
            let end = network.end(self.0);
            let accepted = end.backlog.as_mut().expect("a listener").pop_front();
            let addr = end.addr.expect("a listener's");
            Ok((Socket(accepted.ok_or(Errno::AGAIN)?), addr))
        })
    }

    pub(crate) fn spare() -> Option<Socket> {
        Some(Socket(network(|network| network.add(End::default()))))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(network(|network| network.end(self.0).addr.expect("bound")))
    }

    pub(crate) fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn watch(&self, _watch: Watch) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn read(&self, space: Space<'_>, _: Option<Duration>) -> io::Result<usize> {
        let timeout = network(|network| network.end(self.0).read_timeout);
        let deadline = timeout.map(|timeout| now() + timeout);
        self.read_until(space, deadline, true)
    }

    pub(crate) fn try_read(&self, space: Space<'_>) -> io::Result<usize> {
        self.read_until(space, Some(now()), false)
    }

    fn read_until(
        &self,
        mut space: Space<'_>,
        deadline: Option<Instant>,
        blocking: bool,
    ) -> io::Result<usize> {
        let before = network(|network| std::mem::replace(&mut network.end(self.0).reading, true));
        assert!(!before, "two threads read one socket");
        switch();
        let result = until(deadline, |network| match blocking && network.held {
            true => None,
            false => network.end(self.0).take(&mut space),
        });
        trace(|| format!("read {}: {result:?}", self.0));
        stir();
        network(|network| network.end(self.0).reading = false);
        come_back_late();
        result.unwrap_or(Err(Errno::AGAIN.into()))
    }

    pub(crate) fn is_readable(&self) -> bool {
        network(|network| network.readiness(self.0).read)
    }

    pub(crate) fn has_queued(&self) -> bool {
        switch();
        network(|network| {
            let end = network.end(self.0);
            !end.inbox.is_empty() || end.end.is_some()
        })
    }

    /// What is not swallowed is acknowledged at once.
    pub(crate) fn acknowledged(&self, written: u64) -> Option<u64> {
        switch();
        network(|network| {
            let end = network.end(self.0);
            end.swallowed.is_none().then(|| end.acknowledged = written);
            Some(end.acknowledged)
        })
    }

    pub(crate) fn has_bytes(&self) -> bool {
        switch();
        network(|network| !network.end(self.0).inbox.is_empty())
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        network(|network| network.end(self.0).read_timeout = timeout);
        Ok(())
    }

    pub(crate) fn write(&self, bytes: &mut impl Buf) -> io::Result<bool> {
        let before = network(|network| std::mem::replace(&mut network.end(self.0).writing, true));
        assert!(!before, "two threads write one socket");
        switch();
        let result = loop {
            if !bytes.has_remaining() {
                break Ok(true);
            }
            match self.put(bytes.chunk()) {
                Ok(n) => bytes.advance(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break Ok(false),
                Err(e) => break Err(e),
            }
        };
        network(|network| network.end(self.0).writing = false);
        come_back_late();
        result
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        switch();
        let sent = self.put(bytes)?;
        assert_eq!(sent, bytes.len(), "a handshake is short");
        Ok(())
    }

    fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = network(|network| {
            let end = network.end(self.0);
            if end.end == Some(Ended::Reset) {
                return Err(Errno::CONNRESET.into());
            }
            if end.shut {
                return Err(Errno::PIPE.into());
            }
            let swallowed = end.swallowed;
            let Some(peer) = network.peer(self.0) else { return Err(Errno::PIPE.into()) };
            let room = swallowed.unwrap_or(ROOM.saturating_sub(peer.inbox.len()));
            let n = bytes.len().min(room);
            if n == 0 && !bytes.is_empty() {
                return Err(Errno::AGAIN.into());
            }
            if swallowed.is_some() {
                network.end(self.0).swallowed = Some(room - n);
                return Ok(n);
            }
            peer.inbox.extend(&bytes[..n]);
            Ok(n)
        });
        trace(|| format!("writes {}: {sent:?} of {bytes:?}", self.0));
        stir();
        sent
    }

    pub(crate) fn reset_on_close(&self) {}

    pub(crate) fn failure(&self) -> Option<io::Error> {
        None
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        switch();
        network(|network| {
            if how != Shutdown::Write {
                network.end(self.0).end.get_or_insert(Ended::Fin);
            }
            if how != Shutdown::Read {
                network.end(self.0).shut = true;
                if let Some(peer) = network.peer(self.0) {
                    peer.end.get_or_insert(Ended::Fin);
                }
            }
        });
        stir();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        network(|network| {
            let Some(end) = network.ends.remove(&self.0) else { return };
            let how = if end.inbox.is_empty() { Ended::Fin } else { Ended::Reset };
            let ends = end.backlog.into_iter().flatten().chain(end.peer);
            for id in ends.collect::<Vec<_>>() {
                if let Some(end) = network.ends.get_mut(&id) {
                    end.end.get_or_insert(how);
                    end.shut |= how == Ended::Reset;
                }
            }
        });
        stir();
    }
}
