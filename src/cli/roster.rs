//! What the operator says, which clients there are, and to which of them the next line
//! goes. Pure.

use std::collections::BTreeMap;

use super::text;

/// What a line of the operator says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// Text for the client that is the target.
    Text(&'a [u8]),
    /// `@N text`: text for client N, which is the target from now on.
    To(u64, &'a [u8]),
    /// `@N`: client N is the target from now on.
    Target(u64),
    /// `/end N`: client N is told that nothing more will come.
    End(u64),
    /// `/who`: the clients are listed.
    Who,
    /// `/help`: the commands are.
    Help,
}

impl Command<'_> {
    /// Reads a line, which may have a newline. Of one that begins like a command and is none
    /// it says why.
    pub(super) fn parse(line: &[u8]) -> Result<Command<'_>, String> {
        match line {
            [b'@', b'@', ..] | [b'/', b'/', ..] => Ok(Command::Text(&line[1..])),
            [b'@', rest @ ..] => Command::named(rest),
            [b'/', rest @ ..] => Command::ordered(rest),
            _ => Ok(Command::Text(line)),
        }
    }

    /// What follows an `@`.
    fn named(rest: &[u8]) -> Result<Command<'_>, String> {
        let (name, text) = first_word(rest);
        let right = "after @ comes the number of a client: @2 text (@@ sends an @)";
        let number = number(name).ok_or(right)?;
        Ok(match text {
            b"" | b"\n" => Command::Target(number),
            text => Command::To(number, text),
        })
    }

    /// What follows a `/`.
    fn ordered<'a>(rest: &[u8]) -> Result<Command<'a>, String> {
        let (word, argument) = first_word(rest);
        match (word.trim_ascii(), argument.trim_ascii()) {
            (b"end", argument) => {
                let right = "after /end comes the number of a client: /end 2";
                Ok(Command::End(number(argument).ok_or(right)?))
            }
            (b"who", b"") => Ok(Command::Who),
            (b"help", b"") => Ok(Command::Help),
            (b"who" | b"help", _) => Err("nothing comes after /who and /help".to_string()),
            (word, _) => {
                // Of what may be a path or a page, the beginning will do.
                let word = text::escaped(&word[..word.len().min(20)]);
                let help = format!("/help lists them, //{word} sends it as text");
                Err(format!("/{word} is no command ({help})"))
            }
        }
    }
}

/// The word at the beginning of a line, without its newline, and what stands behind the
/// blank after it.
fn first_word(line: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = line.splitn(2, |&byte| byte == b' ');
    let word = parts.next().unwrap_or_default();
    (word.strip_suffix(b"\n").unwrap_or(word), parts.next().unwrap_or_default())
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// So many clients to choose from are named in the prompt.
const CHOICE: usize = 4;

/// The clients, and the operator's target among them.
#[derive(Debug)]
pub(super) struct Roster<C> {
    clients: BTreeMap<u64, Client<C>>,
    /// The client to which a line without a name goes; to none, if it has left. `None`: until
    /// the operator names one, or one comes and is alone.
    target: Option<u64>,
}

/// How the operator stands with a client.
#[derive(Debug)]
pub(super) struct Client<C> {
    /// The way to it.
    pub(super) connection: C,
    /// It has sent all it had; the next line to it is the last.
    pub(super) finished: bool,
    /// Why nothing more goes to it.
    pub(super) ended: Option<&'static str>,
}

impl<C> Default for Roster<C> {
    fn default() -> Roster<C> {
        Roster { clients: BTreeMap::new(), target: None }
    }
}

impl<C: Clone> Roster<C> {
    /// A client comes. It is the target if it is alone, and the target has not just left.
    pub(super) fn join(&mut self, number: u64, connection: C) {
        self.clients.insert(number, Client { connection, finished: false, ended: None });
        if self.target.is_none() {
            self.choose();
        }
    }

    /// A client is gone. Returns the way there was to it.
    pub(super) fn remove(&mut self, number: u64) -> Option<C> {
        Some(self.clients.remove(&number)?.connection)
    }

    /// A client has sent all it had. Returns whether it knows already that
    /// nothing more comes from here.
    pub(super) fn finish(&mut self, number: u64) -> bool {
        self.clients.get_mut(&number).is_none_or(|client| {
            client.finished = true;
            client.ended.is_some()
        })
    }

    /// Why nothing more goes to this client, if that is so.
    pub(super) fn why_ended(&self, number: u64) -> Option<&'static str> {
        self.clients.get(&number).map_or(Some(""), |client| client.ended)
    }

    /// Ends the way to this client, and keeps the reason. Returns the way, for the client to
    /// be told so, or what is wrong.
    pub(super) fn end(&mut self, number: u64, why: &'static str) -> Result<C, String> {
        match self.clients.get_mut(&number) {
            Some(client) if client.ended.is_none() => {
                client.ended = Some(why);
                Ok(client.connection.clone())
            }
            _ => Err(self.no_such(number)),
        }
    }

    /// As [`end`](Roster::end), where the operator asked for it, and need not be told that
    /// the next line would go to no client.
    pub(super) fn dismiss(&mut self, number: u64, why: &'static str) -> Result<C, String> {
        let connection = self.end(number, why)?;
        if self.open().next().is_none() {
            self.target = None;
        }
        Ok(connection)
    }

    /// Ends the ways to all clients.
    pub(super) fn end_all(&mut self, why: &'static str) {
        self.target = None;
        for client in self.clients.values_mut() {
            client.ended.get_or_insert(why);
        }
    }

    /// All clients, by number.
    pub(super) fn clients(&self) -> impl Iterator<Item = (u64, &Client<C>)> {
        self.clients.iter().map(|(&number, client)| (number, client))
    }

    /// How many clients there are.
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Makes a client the target.
    pub(super) fn aim(&mut self, number: u64) -> Result<(), String> {
        if !self.is_open(number) {
            return Err(self.no_such(number));
        }
        self.target = Some(number);
        Ok(())
    }

    /// Whether a line without a name goes to this client.
    pub(super) fn is_target(&self, number: u64) -> bool {
        self.target == Some(number) && self.is_open(number)
    }

    /// The client to which a line goes now: its number, the way to it, and whether
    /// this line is its last. Or why the line goes to none.
    pub(super) fn target(&mut self) -> Result<(u64, C, bool), String> {
        let why = match self.target {
            Some(number) if self.is_open(number) => {
                let client = &self.clients[&number];
                return Ok((number, client.connection.clone(), client.finished));
            }
            Some(number) => format!("client-{number} has left"),
            None if self.open().next().is_none() => {
                return Err("nobody is connected, the line was not sent".to_string());
            }
            None => "several clients are connected".to_string(),
        };
        let list = self.list();
        self.target = None;
        // The operator has been told, so the only one there is can be meant now.
        self.choose();
        Err(format!("{why}, the line was not sent; {list}"))
    }

    /// What the operator sees before the line being typed.
    pub(super) fn prompt(&self) -> String {
        if let Some(number) = self.target.filter(|&number| self.is_open(number)) {
            return format!("to client-{number}> ");
        }
        let open: Vec<_> =
            self.open().take(CHOICE + 1).map(|number| format!("@{number}")).collect();
        match &open[..] {
            [] => "to nobody> ".to_string(),
            [one] => format!("to {one}?> "),
            [rest @ .., last] if rest.len() < CHOICE => {
                format!("to {} or {last}?> ", rest.join(", "))
            }
            _ => "to @N?> ".to_string(),
        }
    }

    fn is_open(&self, number: u64) -> bool {
        self.why_ended(number).is_none()
    }

    fn open(&self) -> impl Iterator<Item = u64> {
        self.clients().filter(|(_, client)| client.ended.is_none()).map(|(number, _)| number)
    }

    fn choose(&mut self) {
        if let [number] = self.open().take(2).collect::<Vec<_>>()[..] {
            self.target = Some(number);
        }
    }

    fn no_such(&self, number: u64) -> String {
        format!("there is no client {number}, nothing was sent; {}", self.list())
    }

    fn list(&self) -> String {
        let names: String = self.open().map(|number| format!(" @{number}")).collect();
        match names.is_empty() {
            true => "no client is connected".to_string(),
            false => format!("connected:{names}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[u8]) -> Command<'_> {
        Command::parse(line).unwrap()
    }

    #[test]
    fn lines_and_commands() {
        use Command::{End, Help, Target, Text, To, Who};
        assert_eq!(parse(b"hello\n"), Text(b"hello\n"));
        assert_eq!(parse(b"\n"), Text(b"\n"));
        assert_eq!(parse(b"hello"), Text(b"hello"));
        assert_eq!(parse(b"@2 hello\n"), To(2, b"hello\n"));
        assert_eq!(parse(b"@2  two\xff"), To(2, b" two\xff"));
        assert_eq!(parse(b"@2 @3 x\n"), To(2, b"@3 x\n"));
        assert_eq!(parse(b"@2 /end 2\n"), To(2, b"/end 2\n"));
        assert_eq!(parse(b"@2\n"), Target(2));
        assert_eq!(parse(b"@2 \n"), Target(2));
        assert_eq!(parse(b"/end 2\n"), End(2));
        assert_eq!(parse(b"/end  2 \n"), End(2));
        assert_eq!(parse(b"/who\n"), Who);
        assert_eq!(parse(b"/who \r\n"), Who);
        assert_eq!(parse(b"/help"), Help);
    }

    #[test]
    fn what_begins_like_a_command_can_be_sent() {
        use Command::{Text, To};
        assert_eq!(parse(b"@@home\n"), Text(b"@home\n"));
        assert_eq!(parse(b"//x\n"), Text(b"/x\n"));
        assert_eq!(parse(b"//who\n"), Text(b"/who\n"));
        assert_eq!(parse(b"///"), Text(b"//"));
        assert_eq!(parse(b"@@"), Text(b"@"));
        assert_eq!(parse(b" /who\n"), Text(b" /who\n"));
        assert_eq!(parse(b"@2 @@x\n"), To(2, b"@@x\n"));
    }

    #[test]
    fn a_mistyped_command_is_refused_and_says_how_to_send_it() {
        let why = |line: &[u8]| Command::parse(line).unwrap_err();
        assert_eq!(
            why(b"/ned 2\n"),
            "/ned is no command (/help lists them, //ned sends it as text)"
        );
        assert!(why(b"@home\n").contains("@@"));
        assert!(why(b"/\n").starts_with("/ is no command"));
        assert!(why(&[&b"/"[..], &[b'x'; 9000]].concat()).len() < 200);
        for wrong in [
            &b"@\n"[..],
            b"@x hi\n",
            b"@ 2 hi\n",
            b"@2hi\n",
            b"@+2 hi\n",
            b"@-1 x\n",
            b"@99999999999999999999 x\n",
            b"/end\n",
            b"/end all\n",
            b"/end 1 2\n",
            b"/ending\n",
            b"/who 2\n",
            b"/help me\n",
            b"/usr/bin/env\n",
            b"/\xff\n",
        ] {
            why(wrong);
        }
    }

    fn roster(numbers: &[u64]) -> Roster<char> {
        let mut roster = Roster::default();
        for &number in numbers {
            roster.join(number, char::from(b'a' + number as u8));
        }
        roster
    }

    #[test]
    fn the_first_to_come_is_the_target_and_stays_it() {
        let mut roster = roster(&[1, 2]);
        assert_eq!(roster.prompt(), "to client-1> ");
        assert_eq!(roster.target(), Ok((1, 'b', false)));
        roster.aim(2).unwrap();
        roster.join(3, 'd');
        roster.remove(1);
        assert_eq!(roster.target(), Ok((2, 'c', false)));
    }

    #[test]
    fn a_line_for_a_client_that_left_goes_to_no_other() {
        let mut roster = roster(&[1]);
        roster.remove(1);
        roster.join(2, 'c');
        assert_eq!(roster.prompt(), "to @2?> ");
        let why = roster.target().unwrap_err();
        assert_eq!(why, "client-1 has left, the line was not sent; connected: @2");
        // The operator knows now, and the prompt shows the only one there is.
        assert_eq!(roster.prompt(), "to client-2> ");
        assert_eq!(roster.target(), Ok((2, 'c', false)));
    }

    #[test]
    fn among_several_one_must_be_named() {
        let mut roster = roster(&[1, 2, 3]);
        roster.remove(1);
        assert!(roster.target().unwrap_err().contains("client-1 has left"));
        assert!(roster.target().unwrap_err().contains("several clients"));
        assert!(roster.aim(7).unwrap_err().contains("no client 7"));
        roster.aim(3).unwrap();
        assert_eq!(roster.target(), Ok((3, 'd', false)));
    }

    #[test]
    fn the_prompt_says_which_clients_can_be_named() {
        let mut roster = roster(&[1, 2]);
        roster.remove(1);
        assert_eq!(roster.prompt(), "to @2?> ");
        roster.join(3, 'd');
        roster.join(4, 'e');
        assert_eq!(roster.prompt(), "to @2, @3 or @4?> ");
        roster.join(5, 'f');
        assert_eq!(roster.prompt(), "to @2, @3, @4 or @5?> ");
        roster.join(6, 'g');
        assert_eq!(roster.prompt(), "to @N?> ");
        for number in 2..=6 {
            roster.remove(number);
        }
        assert_eq!(roster.prompt(), "to nobody> ");
    }

    #[test]
    fn no_client_is_there() {
        let mut roster = roster(&[]);
        assert_eq!(roster.target().unwrap_err(), "nobody is connected, the line was not sent");
        roster.join(1, 'b');
        assert_eq!(roster.target(), Ok((1, 'b', false)));
    }

    #[test]
    fn an_ended_client_gets_nothing_more() {
        let mut roster = roster(&[1, 2]);
        assert_eq!(roster.end(1, "why"), Ok('b'));
        assert!(roster.end(1, "again").is_err());
        assert_eq!((roster.why_ended(1), roster.why_ended(2)), (Some("why"), None));
        assert!(roster.aim(1).is_err());
        assert!(roster.target().unwrap_err().contains("client-1 has left"));
        assert!(roster.finish(1));
        roster.end_all("all");
        assert_eq!((roster.why_ended(1), roster.why_ended(2)), (Some("why"), Some("all")));
        assert_eq!(roster.len(), 2);
        roster.remove(1);
        roster.remove(2);
        assert_eq!(roster.len(), 0);
    }

    #[test]
    fn a_client_that_comes_after_the_operators_end_is_the_target() {
        let mut roster = roster(&[1]);
        assert_eq!(roster.dismiss(1, "why"), Ok('b'));
        roster.join(2, 'c');
        assert_eq!(roster.prompt(), "to client-2> ");
        // One who is here already must be named.
        roster.join(3, 'd');
        roster.dismiss(2, "why").unwrap();
        assert_eq!(roster.prompt(), "to @3?> ");
        roster.dismiss(3, "why").unwrap();
        roster.join(4, 'e');
        assert_eq!(roster.prompt(), "to client-4> ");
    }

    #[test]
    fn a_client_that_has_finished_gets_a_last_line() {
        let mut roster = roster(&[1]);
        assert!(!roster.finish(1));
        assert_eq!(roster.target(), Ok((1, 'b', true)));
    }
}
