//! A logger that panics. It is one for the whole process, so this is one with one test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use log::{LevelFilter, Log, Metadata, Record};
use longlink::{Connection, Event};

struct Panics;

static ASKED: AtomicUsize = AtomicUsize::new(0);
static TOLD: AtomicUsize = AtomicUsize::new(0);

impl Log for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        ASKED.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn log(&self, record: &Record<'_>) {
        assert!(record.target().starts_with("longlink"));
        TOLD.fetch_add(1, Ordering::SeqCst);
        resume_unwind(Box::new("a logger panics"));
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_that_panics_does_no_harm() {
    log::set_logger(&Panics).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let listener = Connection::builder()
        .on_event(|_, event| {
            if let Event::Closed { .. } = event {
                resume_unwind(Box::new("a callback panics"));
            }
        })
        .bind("127.0.0.1:0")
        .unwrap();
    for round in 1..4 {
        let told = TOLD.load(Ordering::SeqCst);
        // It is dropped, and the log says why.
        let mut stranger = TcpStream::connect(listener.local_addr()).unwrap();
        stranger.write_all(&[0; 64]).unwrap();
        let _ = stranger.read(&mut [0]);
        // One that is welcome, and whose end the callback does not stand.
        let client = Connection::connect(listener.local_addr()).unwrap();
        client.send("hello").unwrap();
        let server = listener.accept().unwrap();
        assert_eq!(server.recv().unwrap().unwrap(), "hello", "{round}");
        client.abort();
        server.recv().unwrap_err();
        assert!(TOLD.load(Ordering::SeqCst) >= told + 2, "{round}");
    }
}
