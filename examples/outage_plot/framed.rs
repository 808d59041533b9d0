//! The client with longlink.

use std::net::SocketAddr;
use std::thread;

use longlink::{Connection, Heartbeat, RetryPolicy};

use crate::Result;
use crate::course::{Course, MISSES, PAUSE, Start};
use crate::tally::Tally;

/// More than the longest outage takes.
const ATTEMPTS: u32 = 40;

pub(crate) fn run(course: &Course, start: Start, addr: SocketAddr) -> Result<Tally> {
    let connection = Connection::builder()
        .heartbeat(Heartbeat::every(course.heartbeat).misses(MISSES))
        .retry(RetryPolicy::fixed(course.retry_delay, ATTEMPTS))
        .on_event(move |_, event| println!("{:6.2}s longlink: {event}", start.time().as_secs_f64()))
        .connect(addr)?;
    let count = course.messages();
    let mut tally = Tally::new("longlink", count);
    thread::scope(|scope| -> Result<()> {
        let sender = scope.spawn(|| -> longlink::Result<Vec<_>> {
            let mut sent = Vec::new();
            for (number, due) in (0..count).zip(0..) {
                start.wait_until(PAUSE * due);
                sent.push(start.time());
                connection.send(number.to_string().as_bytes())?;
            }
            connection.finish()?;
            Ok(sent)
        });
        for message in connection.incoming() {
            tally.arrived(&message?, start.time())?;
        }
        tally.sent = sender.join().map_err(|_| "panicked")??;
        Ok(())
    })?;
    connection.close()?;
    Ok(tally)
}
