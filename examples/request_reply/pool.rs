//! The server's side: a pool of workers for each connection.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use longlink::{Connection, Held};

/// Answers requests until the client has no more. Each reply begins with the number that its
/// request began with.
///
/// A request is acknowledged when it is answered, and not when the next one is received. So if
/// this process is killed, those in the workers' hands are sent again to the next one. The window
/// bounds how many wait in the queue.
pub(crate) fn serve(
    connection: &Connection,
    workers: usize,
    answer: impl Fn(&[u8]) -> Vec<u8> + Sync,
) -> longlink::Result<()> {
    let (queue, requests) = mpsc::channel();
    let requests = Mutex::new(requests);
    thread::scope(|scope| -> longlink::Result<()> {
        for _ in 0..workers {
            scope.spawn(|| work(connection, &requests, &answer));
        }
        while let Some(request) = connection.recv_held()? {
            queue.send(request).expect("it is received below");
        }
        // The workers go on until the queue is empty.
        drop(queue);
        Ok(())
    })?;
    connection.close()
}

fn work(
    connection: &Connection,
    requests: &Mutex<mpsc::Receiver<Held>>,
    answer: impl Fn(&[u8]) -> Vec<u8>,
) -> longlink::Result<()> {
    loop {
        let next = requests.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(request) = next else { return Ok(()) };
        if let Some((number, body)) = request.split_first_chunk::<8>() {
            // An error or a panic on the way drops the request, and with it the connection.
            let reply = [number, &*answer(body)].concat();
            connection.send_bytes(reply)?;
        }
        request.done();
    }
}
