//! A sealed link, over a toy: what is written, and what the peer makes of it.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::SockRef;

use super::*;
use crate::link::halves::{Heard, Written};
use crate::proto::frame::{Decoder, Space};
use crate::proto::testing::sim::planted::{self, Fault};
use crate::secure::{self, End, Failure, Opened};
use crate::testing::logger;

/// The client's end, and its socket.
struct Peer {
    stream: TcpStream,
    channel: Channel,
    decoder: Decoder,
    /// What has arrived, as it was on the wire.
    arrived: u64,
    /// What either end has asked and was not answered.
    unanswered: Arc<AtomicUsize>,
}

/// A server's side of a link, whose peer asks with each of its records, and does not answer
/// unless it writes.
fn sealed(protocol: Protocol) -> (Arc<Shared>, Peer) {
    sealed_after(protocol, &[])
}

/// The peer has said this before the link is installed.
fn sealed_after(protocol: Protocol, said: &[u8]) -> (Arc<Shared>, Peer) {
    let unanswered = Arc::default();
    let [mut channel, mut server] = secure::pair([1, 0], &unanswered);
    server.opener.append(&channel.sealer.seal_now(said));
    server.opener.open(&mut Decoder::default());
    let (shared, stream) = carry(protocol, Some(server));
    // Little is under way when the writer is blocked.
    SockRef::from(&*socket(&shared)).set_send_buffer_size(1).unwrap();
    // It fails instead of waiting for ever.
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut decoder = Decoder::default();
    decoder.allow_data(LIMITS.max_message);
    (shared, Peer { stream, channel, decoder, arrived: 0, unanswered })
}

impl Peer {
    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(&self.channel.sealer.seal_now(bytes)).unwrap();
    }

    fn ask(&mut self, bytes: &[u8]) {
        self.say(bytes);
        assert_eq!(self.unanswered(), 1);
    }

    fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// Ends its bytes.
    fn end(&mut self) {
        self.stream.write_all(&self.channel.sealer.farewell()).unwrap();
    }

    /// Waits for what comes next.
    fn read(&mut self) -> Option<End> {
        let Peer { stream, channel, decoder, arrived, .. } = self;
        let Space::Buffer(space) = channel.opener.space(decoder) else { panic!("no buffer") };
        let n = match stream.read(space) {
            Err(e) if e.kind() != std::io::ErrorKind::ConnectionReset => panic!("{e}"),
            Ok(0) | Err(_) => return Some(channel.opener.at_end()),
            Ok(n) => n,
        };
        channel.opener.filled(n);
        *arrived += n as u64;
        let Opened { end, .. } = channel.opener.open(decoder);
        end
    }

    /// Reads on to the end. Returns how it has come, and the bytes before.
    fn read_all(&mut self) -> (End, Vec<u8>) {
        let mut bytes = Vec::new();
        loop {
            let end = self.read();
            bytes.extend_from_slice(self.decoder.take_all());
            if let Some(end) = end {
                return (end, bytes);
            }
        }
    }

    fn await_message(&mut self) -> Bytes {
        loop {
            match self.decoder.next().unwrap() {
                Some(Frame::Data(mut run)) => return run.next().unwrap(),
                Some(_) => {}
                None => assert_eq!(self.read(), None),
            }
        }
    }

    fn await_answer(&mut self) {
        while self.unanswered() > 0 {
            assert_eq!(self.read(), None);
        }
    }
}

fn socket(shared: &Shared) -> Arc<Socket> {
    shared.lock().link.as_ref().unwrap().socket.clone()
}

fn is_ready(shared: &Shared, interest: Interest, deadline: Option<Instant>) -> bool {
    let socket = socket(shared);
    let mut fds = [net::poll_fd(&*socket, interest)];
    net::poll(&mut fds, deadline);
    net::readiness(&fds[0]) == interest
}

/// The driver's next step, which the socket is ready for.
fn step(shared: &Arc<Shared>, interest: Interest) {
    assert!(is_ready(shared, interest, sync::after(Duration::from_secs(20))));
    shared.on_ready(interest);
}

/// What the next write would do, if the socket took nothing of it.
fn block(shared: &Arc<Shared>) {
    let mut state = shared.lock();
    let mut write_half = state.take_write_half().expect("something to write");
    let WriteHalf { batch, sealer, .. } = &mut *write_half;
    let all = state.unlocked(|| sealer.as_mut().unwrap().write(batch, |_| Ok(false)));
    assert!(!all.unwrap());
    state.after_write(write_half, Ok(Written::Part));
}

/// Where a message of two records ends, what was written, and what has arrived. The answer
/// to a question was written before.
#[cfg(target_os = "linux")]
fn positions() -> [u64; 3] {
    let (shared, mut peer) = sealed(framed());
    let connection = Connection::new(shared.clone());
    peer.ask(&Frame::Ping(1).to_bytes());
    step(&shared, Interest::READ);
    connection.send([0; 100]).unwrap();
    let (Reach { carried, .. }, written) = all_acknowledged(&shared);
    peer.await_message();
    connection.abort();
    [carried, written, peer.arrived]
}

/// Else the pulse and a close believe that what is under way has arrived.
#[cfg(target_os = "linux")]
#[test]
fn positions_on_a_sealed_link_are_those_of_the_wire() {
    let [carried, written, arrived] = positions();
    assert_eq!([carried, written], [arrived; 2]);
    let [carried, written, arrived] = planted::with(Fault::CountPlain, positions);
    assert!(carried != arrived && written != arrived);
}

#[test]
fn the_driver_answers_what_the_peer_asks() {
    let (shared, mut peer) = sealed(framed());
    let connection = Connection::new(shared.clone());
    peer.ask(&Frame::data(Bytes::from_static(b"hello")).to_bytes());
    step(&shared, Interest::READ);
    peer.await_answer();
    assert_eq!(connection.recv().unwrap().unwrap(), "hello");
    connection.abort();
}

/// A thread that waits may do so for hours.
#[test]
fn a_thread_that_waits_answers_what_the_peer_asks() {
    let (shared, mut peer) = sealed(framed());
    let read_half = read_quietly(&shared);
    let frame = Frame::data(Bytes::from_static(b"hello")).to_bytes();
    peer.ask(&frame[..7]);
    peer.await_answer();
    peer.say(&frame[7..]);
    let (received, connection) = read_half.join().unwrap();
    assert_eq!(received.unwrap().unwrap(), "hello");
    connection.abort();
}

/// A client's last flight may go with its first words, but it may have none.
#[test]
fn what_the_handshake_has_left_is_written_at_once() {
    let (shared, mut peer) = sealed_after(plain(), b"a question");
    assert_eq!(peer.unanswered(), 1);
    peer.await_answer();
    lose(&shared, Cause::Eof);
}

/// The thread that reads cannot do it.
#[test]
fn a_writer_that_is_busy_answers_when_it_is_done() {
    let (shared, _peer) = sealed(framed());
    let connection = Connection::new(shared.clone());
    let (reads, mut once) = (shared.clone(), Some(()));
    logger::listen(move |_| {
        if secure::is_inside() && once.take().is_some() {
            let mut state = reads.lock();
            let read_half = state.link.as_mut().unwrap().read_half.take().unwrap();
            state.after_read(read_half, Ok(Heard { bytes: 1, control: true, end: None }));
            state.settle();
        }
    });
    connection.send(b"hello").unwrap();
    let state = shared.lock();
    let link = state.link.as_ref().unwrap();
    assert!(!link.control_due && link.is_written());
}

/// Before the link was installed, less was enough.
#[test]
fn as_much_may_come_as_does() {
    let (shared, mut peer) = sealed(framed());
    let connection = Connection::new(shared.clone());
    let message = Frame::data(vec![7; 100].into()).to_bytes();
    for _ in 0..300 {
        peer.say(&message);
        let message = connection.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(message.unwrap(), [7; 100][..]);
    }
    connection.abort();
}

/// It asks while nothing can be written: the answer goes as soon as something can.
#[test]
fn a_blocked_writer_answers_when_there_is_room() {
    let (shared, mut peer) = sealed(plain());
    let connection = Connection::new(shared.clone());
    while connection.try_send([b'x'; 50]).is_ok() {}
    assert_eq!(shared.lock().link.as_ref().unwrap().writer, Writer::Blocked);
    peer.ask(b"a line\n");
    step(&shared, Interest::READ);
    assert!(shared.lock().link.as_ref().unwrap().control_due);
    assert_eq!(connection.recv().unwrap().unwrap(), "a line\n");
    while peer.unanswered() > 0 {
        peer.read();
        if is_ready(&shared, Interest::WRITE, Some(sync::now())) {
            shared.on_ready(Interest::WRITE);
        }
    }
    connection.abort();
}

/// Reads, and leaves what follows to others.
fn hear(shared: &Arc<Shared>) {
    let mut state = shared.lock();
    let mut read_half = state.take_covered_read_half().unwrap();
    let heard = state.unlocked(|| read_half.read(Some(None)));
    state.after_read(read_half, heard);
}

/// Else a ping is taken for acknowledged before it is.
#[test]
fn nothing_is_filled_behind_what_is_sealed_and_not_written() {
    let (shared, mut peer) = sealed(framed());
    let connection = Connection::new(shared.clone());
    peer.ask(&Frame::data(Bytes::from_static(b"hello")).to_bytes());
    hear(&shared);
    let mut state = shared.lock();
    state.leave_rest_to_driver();
    assert_eq!(state.link.as_ref().unwrap().writer, Writer::Blocked, "it is not seen");
    state.unblock_writer();
    drop(state);
    block(&shared);
    connection.feed(b"reply").unwrap();
    let mut state = shared.lock();
    state.unblock_writer();
    let write_half = state.take_write_half().expect("the answer is left");
    assert!(write_half.batch.is_empty() && !write_half.is_written());
    state.after_write(write_half, Ok(Written::Part));
    drop(state);
    step(&shared, Interest::WRITE);
    peer.await_answer();
    connection.flush().unwrap();
    assert_eq!(peer.await_message(), "reply");
    connection.abort();
}

/// Else it is said that bytes were written, and the next heartbeat comes too late.
#[test]
fn what_another_write_has_taken_along_is_not_written_again() {
    let (shared, _peer) = sealed(plain());
    let mut state = shared.lock();
    state.link.as_mut().unwrap().control_due = true;
    let mut write_half = state.take_write_half().unwrap();
    assert_eq!(state.unlocked(|| write_half.write()).unwrap(), Written::Nothing);
    state.news = false;
    state.after_write(write_half, Ok(Written::Nothing));
    assert!(!state.news && state.take_write_half().is_none());
}

/// Of a part of a record the peer can make nothing.
#[test]
fn lines_whose_record_was_not_written_whole_are_not_written() {
    let mut amid_record = 0;
    for len in 1..10 {
        let (shared, mut peer) = sealed(plain());
        let connection = Connection::new(shared.clone());
        let mut sent = 0;
        while connection.try_send(vec![b'x'; 9 * len]).is_ok() {
            sent += 1;
        }
        lose(&shared, Cause::Eof);
        let unwritten = connection.stats().unacknowledged;
        let (end, bytes) = peer.read_all();
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!((end, lines + unwritten), (End::Cut, sent), "{len}");
        amid_record += u32::from(peer.channel.opener.is_amid_record());
        connection.abort();
    }
    assert!(amid_record > 0, "this has tested nothing");
}

#[test]
fn a_line_and_the_end_may_come_together() {
    let (shared, mut peer) = sealed(plain());
    let connection = Connection::new(shared.clone());
    let line = peer.channel.sealer.seal_now(b"a line\n");
    peer.stream.write_all(&[line, peer.channel.sealer.farewell()].concat()).unwrap();
    assert_eq!(connection.recv().unwrap().unwrap(), "a line\n");
    assert_eq!(connection.recv().unwrap(), None);
    // The other direction goes on.
    connection.send("a reply").unwrap();
    connection.finish().unwrap();
    assert_eq!(peer.read_all(), (End::InOrder, b"a reply\n".to_vec()));
}

/// Anybody on the path can end a stream.
#[test]
fn a_stream_that_the_peer_has_not_ended_is_a_lost_link() {
    let (shared, mut peer) = sealed(plain());
    let connection = Connection::new(shared.clone());
    peer.say(b"a line\n");
    peer.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(connection.recv().unwrap().unwrap(), "a line\n");
    assert!(matches!(connection.try_recv(), Err(Error::WouldBlock)));
    assert!(!connection.is_connected());
    assert_eq!(peer.read_all().0, End::InOrder);
}

/// Else it takes the end for an attack.
#[test]
fn the_peer_is_told_of_the_end_before_the_link_is_shut_down() {
    for (cause, end) in [
        (Cause::Eof, End::InOrder),
        // Nothing is to queue behind what cannot be sent.
        (Cause::Silent(Duration::ZERO), End::Cut),
    ] {
        let (shared, mut peer) = sealed(plain());
        lose(&shared, cause);
        assert_eq!(peer.read_all().0, end);
    }
    // Behind a record that was not written it would be wrong.
    let (shared, mut peer) = sealed(framed());
    peer.ask(&Frame::Ping(1).to_bytes());
    hear(&shared);
    block(&shared);
    lose(&shared, Cause::Eof);
    assert_eq!(peer.read_all().0, End::Cut);
}

/// The peer is told of it, too.
#[test]
fn a_link_on_which_something_else_is_read_is_lost() {
    let (shared, mut peer) = sealed(framed());
    let connection = Connection::new(shared.clone());
    peer.say(&Frame::data(Bytes::from_static(b"hello")).to_bytes());
    peer.stream.write_all(&[0x17, 3, 3, 0, 20]).unwrap();
    peer.stream.write_all(&[7; 20]).unwrap();
    while connection.is_connected() {
        step(&shared, Interest::READ);
    }
    assert_eq!(connection.recv().unwrap().unwrap(), "hello");
    let Some(Lost { cause: Cause::Protocol(what), .. }) = shared.lock().lost.as_deref().cloned()
    else {
        panic!("{:?}", shared.lock().lost);
    };
    assert_eq!(what, "a forged record");
    let (end, _) = peer.read_all();
    assert_eq!(end, End::Broken(Failure::Protocol("an alert of the peer")));
    connection.abort();
}

/// The end of a stream is written, although it has no bytes of its own.
#[test]
fn a_link_has_not_served_while_the_end_is_not_written() {
    let (shared, mut peer) = sealed(plain());
    let connection = Connection::new(shared.clone());
    peer.end();
    assert_eq!(connection.recv().unwrap(), None);
    let mut state = shared.lock();
    state.protocol.finish();
    drop(state);
    block(&shared);
    let mut state = shared.lock();
    state.conclude();
    assert!(state.protocol.status().parted && state.has_link());
    drop(state);
    step(&shared, Interest::WRITE);
    assert_eq!(peer.read_all(), (End::InOrder, Vec::new()));
}

/// The thread that reads is freed by a close, as if the peer's bytes had ended.
#[test]
fn an_end_that_is_blocked_is_written_although_a_thread_was_reading() {
    let (shared, mut peer) = sealed(plain());
    let connection = Connection::new(shared.clone());
    let read_half = read_quietly(&shared);
    shared.lock().protocol.finish();
    block(&shared);
    connection.close_within(Duration::ZERO).unwrap();
    assert_eq!(read_half.join().unwrap().0.unwrap(), None, "as in clear text");
    let is_written = || shared.lock().has_taken_leave();
    assert!(shared.lock().has_link() && !is_written());
    step(&shared, Interest::WRITE);
    assert!(is_written());
    assert_eq!(peer.read_all(), (End::InOrder, Vec::new()));
}

/// A process that ends when its close has returned would cut the stream.
#[test]
fn a_close_is_not_over_while_the_end_is_not_written() {
    let (shared, mut peer) = sealed(plain());
    let connection = Connection::new(shared.clone());
    shared.lock().protocol.finish();
    block(&shared);
    let mut state = shared.lock();
    state.detach(true);
    state.settle();
    assert!(!shared.lock().has_ended());
    step(&shared, Interest::WRITE);
    connection.close().unwrap();
    assert_eq!(peer.read_all(), (End::InOrder, Vec::new()));
}

/// A layer may log, and the application's logger may use this link, or another sealed one.
#[test]
fn within_a_layer_no_other_is_used() {
    let (shared, mut peer) = sealed(framed());
    let (other, mut others_peer) = sealed(framed());
    let connections = [&shared, &other].map(|shared| Connection::new(shared.clone()));
    let (logs, others) = (connections.clone(), other.clone());
    let mut once = Some(());
    logger::listen(move |_| {
        if !secure::is_inside() || once.take().is_none() {
            return;
        }
        for connection in &logs {
            connection.send(b"it was logged").unwrap();
            assert!(matches!(connection.recv(), Err(Error::WouldBlock)), "it waits for itself");
        }
        lose(&others, Cause::Eof);
    });
    others_peer.say(&Frame::data(Bytes::from_static(b"hello")).to_bytes());
    peer.say(&Frame::Ping(1).to_bytes());
    step(&shared, Interest::READ);
    step(&shared, Interest::WRITE);
    assert_eq!(peer.await_message(), "it was logged");
    assert_eq!(others_peer.read_all().0, End::Cut);
    connections.iter().for_each(Connection::abort);
}
