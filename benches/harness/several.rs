//! Several connections of one process at once, with a thread each.

use std::net::{TcpListener, TcpStream};
use std::thread;

use longlink::{Connection, Listener};

use super::Result;
use super::ages::{Ages, Messages};
use super::ends::{End, How, Kind, Longlink, NO_AGES, Raw};

const CONNECTIONS: u64 = 8;

pub(crate) const EIGHT_RAW: Kind = Kind {
    name: "raw, 8 connections",
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        Ok((address, Box::new(move || several(|| Raw::new(listener.accept()?.0)))))
    },
    connect: |address| several(|| Raw::new(TcpStream::connect(address)?)),
};

pub(crate) const EIGHT_LONGLINK: Kind = Kind {
    name: "longlink, 8 connections",
    listen: || {
        let listener = Listener::bind("127.0.0.1:0")?;
        let address = listener.local_addr();
        Ok((address, Box::new(move || several(|| Ok(Longlink(listener.accept()?))))))
    },
    connect: |address| several(|| Ok(Longlink(Connection::connect(address)?))),
};

fn several<E: End + Send + 'static>(end: impl Fn() -> Result<E>) -> Result<Box<dyn End>> {
    let ends = (0..CONNECTIONS).map(|_| end()).collect::<Result<Vec<E>>>()?;
    Ok(Box::new(Several(ends)))
}

struct Several<E>(Vec<E>);

impl<E: End + Send> Several<E> {
    fn each(&mut self, work: impl Fn(&mut E) -> Result<()> + Sync) -> Result<()> {
        // An error need not be one that may go from thread to thread.
        let work = |end: &mut E| work(end).map_err(|error| error.to_string());
        thread::scope(|scope| {
            let threads: Vec<_> = self.0.iter_mut().map(|end| scope.spawn(|| work(end))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })?;
        Ok(())
    }
}

impl<E: End + Send> End for Several<E> {
    fn stream(&mut self, how: How, messages: &mut Messages, count: u64) -> Result<()> {
        let message = messages.same().ok_or(NO_AGES)?;
        let messages = || Messages::Same(message.clone());
        self.each(|end| end.stream(how, &mut messages(), count / CONNECTIONS))
    }

    fn drain(&mut self, how: How, size: usize, count: u64, _: &mut Ages) -> Result<()> {
        self.each(|end| end.drain(how, size, count / CONNECTIONS, &mut Ages::unwanted()))
    }
}
