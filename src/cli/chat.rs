//! `server --chat`: an operator answers from standard input.
//!
//! Each client has a thread that prints what it sends and sees its end; one thread reads the
//! operator's lines, and the roster says where they go. No thread blocks while it holds the
//! lock of the clients.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::clients::Clients;
use super::lines::{Line, Lines};
use super::printer::Printer;
use super::roster::Command;
use super::source::{self, Source};
use super::{log, manual, terminal, text, who};
use crate::{Cause, Connection, Error};

/// How long all clients together may take to send their last messages and to end.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a person waits for a client that takes nothing, or for a terminal; a pipe waits for ever.
const PATIENCE: Duration = Duration::from_secs(1);
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Why a session has ended.
const ORDERED: &str = "you ended it (/end)";
const LAST_LINE: &str = "it had finished, and has your last line";
/// Room for the command before the text.
const COMMAND: usize = 32;

/// Prints what a client sends, until its session has ended. Returns why that ended.
pub fn serve(
    clients: &Clients,
    printer: &Printer,
    number: u64,
    connection: &Connection,
) -> crate::Result<&'static str> {
    let converse = || {
        while let Some(message) = connection.recv()? {
            printer.print(number, message);
        }
        if !clients.records.lock().roster.finish(number) {
            let rest = match is_person() {
                true => "your next line to it is the last".to_string(),
                false => format!("it stays until your input ends, or /end {number}"),
            };
            ::log::info!("client-{number}: has sent all it had, {rest}");
        }
        drop(clients.records.wait(|records| records.roster.why_ended(number).is_some()));
        connection.close()
    };
    let served = converse();
    let why = clients.part(number);
    let lost = match served {
        // The account is the last word.
        Err(Error::GaveUp { cause: Cause::Restarting, .. }) => Vec::new(),
        _ => connection.take_unacknowledged(),
    };
    for line in text::named("not acknowledged", &lost) {
        ::log::warn!("client-{number}: {line}");
    }
    match served {
        // With the operator's input.
        Ok(()) | Err(Error::Closed { unacknowledged: 0 }) => Ok(why),
        Err(error) => Err(error),
    }
}

/// Reads the operator's lines until there are no more. Returns whether each line
/// of a file or a pipe was sent; a person was told.
pub fn operate(clients: &Arc<Clients>, max_message: usize) -> bool {
    let prompting = clients.clone();
    let prompter = Box::new(move || prompting.prompt());
    let lines = source::open(max_message.saturating_add(COMMAND), prompter, None);
    let sent = lines.and_then(|mut lines| obey_all(clients, &mut lines, max_message));
    terminal::close();
    let sent = sent.unwrap_or_else(|error| {
        ::log::error!("cannot read standard input: {}", text::system(&error));
        false
    });
    sent || terminal::is_interactive()
}

fn obey_all(clients: &Clients, lines: &mut Lines<Source>, max_message: usize) -> io::Result<bool> {
    let person = is_person();
    let mut sent = true;
    loop {
        let done = match lines.next(|| ())? {
            Line::Text(line) => obey(clients, &line, person),
            Line::TooLong { size, newline } => Err(too_long(size, newline, max_message)),
            Line::End => return Ok(sent),
        };
        if let Err(why) = done {
            ::log::warn!("line {}: {why}", lines.number());
            sent = false;
        }
        // The line may have named a client.
        clients.change(|_| ());
    }
}

/// Whether a person types the answers, and no file or pipe has them.
fn is_person() -> bool {
    io::stdin().is_terminal()
}

/// Does what a line says, or says why not.
fn obey(clients: &Clients, line: &[u8], person: bool) -> Result<(), String> {
    let command = Command::parse(line).map_err(|why| format!("{why}; nothing was sent"))?;
    if !person && !matches!(command, Command::Who | Command::Help) {
        // A file of answers is ready before a client can ask.
        drop(clients.records.wait(|records| records.has_begun()));
    }
    let mut records = clients.records.lock();
    let text = match command {
        Command::End(number) => {
            let connection = records.roster.dismiss(number, ORDERED)?;
            drop(records);
            return connection.finish().map_err(|error| text::error(&error));
        }
        Command::Who => {
            let ask = |connection: &Connection| (connection.peer_addr(), connection.stats());
            log::answer(who::table(&records.roster, ask, super::now()));
            return Ok(());
        }
        Command::Help => {
            log::answer(manual::operators_lines());
            return Ok(());
        }
        Command::Target(number) => return records.roster.aim(number),
        Command::To(number, text) => {
            records.roster.aim(number)?;
            text
        }
        Command::Text(text) => text,
    };
    let (number, connection, last) = records.roster.target()?;
    drop(records);
    let patience = if person { PATIENCE } else { FOREVER };
    connection.send_timeout(text, patience).map_err(|error| match error {
        Error::TooLarge { size, limit } => too_long(size as u64, text.ends_with(b"\n"), limit),
        Error::TimedOut => format!("client-{number} takes nothing now, the line was not sent"),
        error => format!("client-{number}: the line was not sent: {}", text::error(&error)),
    })?;
    // What a file has behind this line is for that client, too.
    if last && person && clients.records.lock().roster.dismiss(number, LAST_LINE).is_ok() {
        let _ = connection.finish();
    }
    Ok(())
}

/// Ends all sessions, waits until the clients have gone and their messages are printed, and says how
/// many have not taken what they were sent. No new clients may come any more. Returns whether
/// everything was printed.
pub fn say_goodbye(clients: &Clients, printer: &Printer) -> bool {
    let all = clients.close();
    let stay =
        |most| clients.records.wait_for(most, |records| records.roster.len() == 0).connections();
    let left = stay(GOODBYE);
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
    stay(Duration::MAX);
    if let Some(word) = untaken(&all) {
        ::log::warn!("{word}");
    }
    printer.finish_all(PATIENCE)
}

/// Says how many clients have not taken all that they were sent, whether they are still
/// there or not.
fn untaken(clients: &[Connection]) -> Option<String> {
    let left = clients.iter().map(|connection| connection.stats().unacknowledged);
    let left: Vec<u64> = left.filter(|messages| *messages > 0).collect();
    if left.is_empty() {
        return None;
    }
    let clients = text::count(left.len() as u64, "client");
    let messages = text::messages(left.iter().sum());
    Some(format!("{clients} did not take all that was sent: {messages} not acknowledged"))
}

fn too_long(size: u64, newline: bool, limit: usize) -> String {
    format!("{}; it was not sent", text::too_long(size, newline, limit))
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
            (client, listener.accept().unwrap())
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
