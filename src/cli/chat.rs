//! `server --chat`: an operator answers from standard input.
//!
//! Each client has a thread that prints what it sends and sees its end; the
//! operator's lines are read by one thread and go where the [`Roster`] says.
//! Its lock is never held while something blocks.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::lines::Line;
use super::monitor::Monitor;
use super::printer::Printer;
use super::roster::{Command, Roster};
use super::source::Source;
use super::terminal::Prompt;
use super::who::{self, Row};
use super::{keyboard, log, manual, terminal, text};
use crate::{Connection, Error, Event};

/// How long all clients together may take to send their last messages and to end.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a person waits for a client that takes nothing; a pipe waits for ever.
const PATIENCE: Duration = Duration::from_secs(1);
/// Why a session has ended.
const LEFT: &str = "it left";
const ORDERED: &str = "you ended it (/end)";
const LAST_LINE: &str = "it had finished, and has your last line";
const INPUT_ENDED: &str = "your input has ended";
/// Room for the command before the text.
const COMMAND: usize = 32;
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The operator's side of all conversations.
pub struct Chat {
    room: Monitor<Room>,
    printer: Printer,
    interactive: bool,
}

#[derive(Default)]
struct Room {
    roster: Roster<Arc<Connection>>,
    /// A client has been there.
    begun: bool,
    /// The operator has left; a client that still comes must leave as well.
    closing: bool,
}

impl Room {
    fn connections(&self) -> Vec<Arc<Connection>> {
        self.roster.clients().map(|(_, connection, _)| connection).collect()
    }
}

/// A client's place in the room, until it is dropped: then the client is gone.
pub struct Seat {
    chat: Arc<Chat>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut room = self.chat.room.lock();
        room.roster.leave(self.number);
        self.chat.room.notify();
        self.chat.show_prompt(&room);
    }
}

impl Chat {
    /// A room without clients.
    pub fn new(printer: Printer) -> Chat {
        let interactive = terminal::is_interactive();
        let chat = Chat { room: Monitor::default(), printer, interactive };
        chat.show_prompt(&chat.room.lock());
        chat
    }

    fn show_prompt(&self, room: &Room) {
        if terminal::can_edit() {
            keyboard::wake();
        } else if self.interactive {
            log::show_prompt(&room.roster.prompt());
        }
    }

    fn prompt(&self) -> Prompt {
        let text = self.room.lock().roster.prompt();
        let colour = if terminal::has_colours() { "\x1b[36m" } else { "" };
        Prompt { text, colour, ..Prompt::default() }
    }

    /// For [`Connection::on_event`]: notices a client that is gone for good.
    pub fn note(&self, number: u64, event: &Event) {
        if let Event::GaveUp { .. } | Event::Closed { .. } = event {
            self.part(number);
        }
    }

    /// Nothing more goes to a client. Returns why.
    fn part(&self, number: u64) -> &'static str {
        let mut room = self.room.lock();
        let _ = room.roster.end(number, LEFT);
        self.room.notify();
        self.show_prompt(&room);
        room.roster.why_ended(number).unwrap_or(LEFT)
    }

    /// A client comes, and stays until its seat is dropped.
    pub fn join(self: &Arc<Chat>, number: u64, connection: Arc<Connection>) -> Seat {
        let mut room = self.room.lock();
        room.roster.join(number, connection);
        room.begun = true;
        self.room.notify();
        let late = room.closing.then(|| room.roster.end(number, INPUT_ENDED).ok()).flatten();
        self.show_prompt(&room);
        drop(room);
        if let Some(connection) = late {
            let _ = connection.finish();
        }
        Seat { chat: self.clone(), number }
    }

    /// Prints what a client sends, and sees it out. Returns why it ended.
    pub fn serve(&self, number: u64, connection: &Connection) -> crate::Result<&'static str> {
        let served = self.converse(number, connection);
        let why = self.part(number);
        // With the operator's input.
        let served = match served {
            Err(Error::Closed { unacknowledged: 0 }) => Ok(why),
            served => served,
        };
        let lost = connection.take_unacknowledged();
        for line in text::named("not acknowledged", &lost) {
            ::log::warn!("client-{number}: {line}");
        }
        served
    }

    fn converse(&self, number: u64, connection: &Connection) -> crate::Result<&'static str> {
        while let Some(message) = connection.recv()? {
            self.printer.print(number, message);
        }
        if !self.room.lock().roster.finish(number) {
            ::log::info!("client-{number}: has sent all it had, your next line to it is the last");
        }
        let room = self.room.wait(|room| room.roster.why_ended(number).is_some());
        let why = room.roster.why_ended(number).unwrap_or(LEFT);
        drop(room);
        connection.close().map(|()| why)
    }

    /// Reads the operator's lines until there are no more. Returns whether each line
    /// of a file or a pipe was sent; a person was told.
    pub fn operate(self: &Arc<Chat>, max_message: usize) -> bool {
        let chat = self.clone();
        let prompter = Box::new(move || chat.prompt());
        let source = Source::open(max_message.saturating_add(COMMAND), prompter, None);
        let sent = match source {
            Ok(source) => self.obey_all(source, max_message),
            Err(error) => {
                ::log::error!("cannot read: {}", text::system(&error));
                false
            }
        };
        sent || self.interactive
    }

    fn obey_all(&self, mut source: Source, max_message: usize) -> bool {
        let patience = if io::stdin().is_terminal() { PATIENCE } else { FOREVER };
        let mut sent = true;
        loop {
            let done = match source.next(|| ()) {
                Ok(Line::Text(line)) => self.obey(line, patience),
                Ok(Line::TooLong { size }) => Err(too_long(size, max_message)),
                Ok(Line::End) => break,
                Err(error) => {
                    ::log::error!("cannot read standard input: {}", text::system(&error));
                    sent = false;
                    break;
                }
            };
            if let Err(why) = done {
                ::log::warn!("line {}: {why}", source.number());
                sent = false;
            }
            // The line may have named a client.
            self.show_prompt(&self.room.lock());
        }
        source.close();
        if self.interactive {
            log::show_prompt("");
        }
        sent
    }

    /// Does what a line says, or says why not.
    fn obey(&self, line: &[u8], patience: Duration) -> Result<(), String> {
        let command = Command::parse(line);
        if patience == FOREVER && command.is_for_a_client() {
            // A file of answers is ready before a client can ask.
            drop(self.room.wait(|room| room.begun));
        }
        let text = match command {
            Command::Wrong(why) => return Err(format!("{why}; nothing was sent")),
            Command::End(number) => {
                let connection = self.end(number, ORDERED)?;
                return connection.finish().map_err(|error| text::error(&error));
            }
            Command::Who => {
                log::answer(self.who());
                return Ok(());
            }
            Command::Help => {
                log::answer(manual::operators_lines());
                return Ok(());
            }
            Command::Target(number) => return self.room.lock().roster.aim(number),
            Command::To(number, text) => {
                self.room.lock().roster.aim(number)?;
                text
            }
            Command::Text(text) => text,
        };
        let (number, connection, last) = self.room.lock().roster.target()?;
        connection.send_timeout(text, patience).map_err(|error| match error {
            Error::TooLarge { size, limit } => too_long(size as u64, limit),
            Error::TimedOut => format!("client-{number} takes nothing now, the line was not sent"),
            error => format!("client-{number}: the line was not sent: {}", text::error(&error)),
        })?;
        if last && let Ok(connection) = self.end(number, LAST_LINE) {
            let _ = connection.finish();
        }
        Ok(())
    }

    fn who(&self) -> String {
        let clients: Vec<_> = self.room.lock().roster.clients().collect();
        let row = |(number, connection, standing): &(u64, Arc<Connection>, _)| Row {
            number: *number,
            standing: *standing,
            address: connection.peer_addr(),
            stats: connection.stats(),
        };
        who::table(&clients.iter().map(row).collect::<Vec<_>>(), super::now())
    }

    fn end(&self, number: u64, why: &'static str) -> Result<Arc<Connection>, String> {
        let connection = self.room.lock().roster.dismiss(number, why)?;
        self.room.notify();
        Ok(connection)
    }

    /// Lets all clients go, waits until they have, and says how many have not taken
    /// what they were sent. No new ones may come any more.
    pub fn say_goodbye(&self) {
        let mut room = self.room.lock();
        room.closing = true;
        let all = room.connections();
        let live = room.roster.end_all(INPUT_ENDED);
        drop(room);
        for connection in live {
            let _ = connection.finish();
        }
        self.room.notify();
        let left = self.room.wait_for(GOODBYE, |room| room.roster.is_empty()).connections();
        if !left.is_empty() {
            let clients = text::count(left.len() as u64, "client");
            ::log::info!("waiting for {clients} (Ctrl-C leaves)");
        }
        // Each takes as long as a close may take: through an outage, and on a slow path.
        thread::scope(|scope| {
            for connection in &left {
                let closing = thread::Builder::new().name("goodbye".into());
                if closing.spawn_scoped(scope, || connection.close()).is_err() {
                    connection.abort();
                }
            }
        });
        drop(self.room.wait(|room| room.roster.is_empty()));
        if let Some(word) = untaken(&all) {
            ::log::warn!("{word}");
        }
        self.printer.finish(PATIENCE);
    }
}

/// Says how many clients have not taken all that they were sent, whether they are still
/// there or not.
fn untaken(clients: &[Arc<Connection>]) -> Option<String> {
    let left = clients.iter().map(|connection| connection.stats().unacknowledged);
    let left: Vec<u64> = left.filter(|messages| *messages > 0).collect();
    if left.is_empty() {
        return None;
    }
    let clients = text::count(left.len() as u64, "client");
    let messages = text::messages(left.iter().sum());
    Some(format!("{clients} did not take all that was sent: {messages} not acknowledged"))
}

fn too_long(size: u64, limit: usize) -> String {
    let size = text::count(size, "byte");
    format!("has {size}, the limit is {limit}; it was not sent")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Listener;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn the_final_word_is_about_what_was_taken_and_not_about_who_is_there() {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let pair = || {
            let client = Connection::connect(listener.local_addr()).unwrap();
            (client, Arc::new(listener.accept().unwrap()))
        };
        let [(taking, one), (leaving, two)] = [pair(), pair()];
        let clients = [one, two];
        for connection in &clients {
            connection.send(b"hello").unwrap();
            connection.finish().unwrap();
        }
        let word = |clients: &str, messages: &str| {
            Some(format!("{clients} did not take all that was sent: {messages} not acknowledged"))
        };
        assert_eq!(untaken(&clients), word("2 clients", "2 messages"));
        // It stays, and says nothing more.
        assert_eq!(taking.recv().unwrap().as_deref(), Some(&b"hello"[..]));
        assert_eq!(taking.recv().unwrap(), None);
        clients[0].sync(SOON).unwrap();
        leaving.abort();
        while clients[1].recv().is_ok() {}
        assert_eq!(untaken(&clients), word("1 client", "1 message"));
        assert_eq!(untaken(&clients[..1]), None);
    }
}
