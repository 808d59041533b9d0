//! What the documentation promises, in situations in which it was once not kept.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use longlink::{Connection, Listener};

const LONG: Duration = Duration::from_secs(10);

/// Fails, instead of hanging, if `body` does not come to its end.
fn within<T: Send + 'static>(time: Duration, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(body()));
    result.recv_timeout(time).expect("it ends, and in time")
}

#[test]
fn a_connect_timeout_beyond_the_clocks_end_is_none() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let builder = Connection::builder().connect_timeout(Duration::MAX);
    within(LONG, move || builder.connect(addr)).unwrap();
}
