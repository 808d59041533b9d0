use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;

use socket2::{Domain, Socket as Socket2, Type};

use super::*;
use crate::Builder;

/// The kernel takes no more than this on the way to a program that does not read, or twice.
const TAKEN: usize = 16 * 1024;

/// A program, and the socket that it is carried from.
fn program() -> (TcpStream, Socket) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket2::SockRef::from(&listener).set_send_buffer_size(TAKEN).unwrap();
    let program = Socket2::new(Domain::IPV4, Type::STREAM, None).unwrap();
    program.set_recv_buffer_size(TAKEN).unwrap();
    program.connect(&listener.local_addr().unwrap().into()).unwrap();
    (program.into(), Socket::new(listener.accept().unwrap().0).unwrap())
}

/// Two programs, and what carries bytes between them, with these settings.
fn carried(builder: &Builder, talk: impl FnOnce(TcpStream, TcpStream)) -> [String; 2] {
    let listener = builder.clone().bind("127.0.0.1:0").unwrap();
    let connection = builder.clone().connect(listener.local_addr()).unwrap();
    let ((program, here), (service, there)) = (program(), program());
    thread::scope(|scope| {
        let near = scope.spawn(|| carry(&connection, &here, "here").1);
        let far = scope.spawn(|| carry(&listener.accept().unwrap(), &there, "there").1);
        talk(program, service);
        [near, far].map(|side| side.join().unwrap())
    })
}

/// A close waits only for so long for a peer that takes nothing.
#[test]
fn a_program_that_pauses_gets_everything_although_the_other_has_ended() {
    let impatient = Connection::builder().close_timeout(Duration::from_millis(20));
    // It fits into the window, so that nothing of it waits to be sent.
    let sent = vec![7; 256 * 1024];
    let told = carried(&impatient, |mut program, mut service| {
        program.shutdown(std::net::Shutdown::Write).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                service.write_all(&sent).unwrap();
                drop(service);
            });
            let mut first = [0; 1];
            program.read_exact(&mut first).unwrap();
            let (_silent, never) = mpsc::channel::<()>();
            let _ = never.recv_timeout(Duration::from_millis(200));
            let mut rest = Vec::new();
            program.read_to_end(&mut rest).unwrap();
            assert_eq!(rest.len() + 1, sent.len());
        });
    });
    for told in told {
        assert!(told.starts_with("both sides have ended"), "{told}");
    }
}

/// FTP and telnet know them.
#[test]
fn urgent_bytes_stay_in_their_place() {
    carried(&Connection::builder(), |mut program, mut service| {
        program.write_all(b"one ").unwrap();
        socket2::SockRef::from(&program).send_out_of_band(b"!").unwrap();
        program.write_all(b" two").unwrap();
        program.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = String::new();
        service.read_to_string(&mut got).unwrap();
        assert_eq!(got, "one ! two");
    });
}

/// Nothing is ever said by it, nor to it.
struct Silent;

impl Local for Silent {
    fn read(&self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn finish(&self) -> io::Result<()> {
        Ok(())
    }

    fn fail_within(&self, time: Duration) -> io::Result<()> {
        thread::park_timeout(time);
        Ok(())
    }
}

struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The other side may have closed before this one has told the program of its end.
#[test]
fn an_end_in_order_is_none_that_breaks_anything() {
    let listener = Connection::builder().bind("127.0.0.1:0").unwrap();
    let connection = Connection::connect(listener.local_addr()).unwrap();
    let other = listener.accept().unwrap();
    let received = AtomicBool::new(false);
    thread::scope(|scope| {
        let up = scope.spawn(|| send_all(&connection, &Silent, &received));
        // A failure is not to wait for that thread.
        let _done = Finally(|| received.store(true, Ordering::SeqCst));
        let closing = scope.spawn(|| {
            other.finish()?;
            assert_eq!(other.recv()?, None);
            other.close()
        });
        while connection.recv().unwrap().is_some() {}
        closing.join().unwrap().unwrap();
        // The thread that sends is still looking.
        while connection.flush().is_ok() {
            thread::yield_now();
        }
        let (_silent, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(2 * LOOK);
        received.store(true, Ordering::SeqCst);
        assert!(up.join().unwrap().is_ok(), "it took the end for a failure");
    });
}

#[test]
fn a_buffer_grows_with_reads_that_fill_it_and_is_small_again_after_a_small_one() {
    let after = |reads: &[usize], most| {
        let first = SMALL_CHUNK.min(most);
        reads.iter().fold(first, |size, &read| chunk_after(read.min(size), size, most))
    };
    assert_eq!(after(&[CHUNK; 3], CHUNK), CHUNK / 2);
    assert_eq!(after(&[CHUNK; 9], CHUNK), CHUNK);
    assert_eq!(after(&[CHUNK, CHUNK, SMALL_CHUNK], CHUNK), 4 * SMALL_CHUNK);
    assert_eq!(after(&[CHUNK, CHUNK, 64], CHUNK), SMALL_CHUNK);
    // A peer may take less.
    assert_eq!(after(&[CHUNK; 9], 40_000), 40_000);
    assert_eq!(after(&[CHUNK, 64], 1000), 1000);
}
