//! The account: what was sent, and what became of it.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::adversary::Slot;
use crate::journal::Journal;
use crate::plan::{PerThread, SENDERS, Side};
use crate::player::SLOT;
use crate::report::{Ended, Report, Status};
use crate::tally::Tally;

/// Who reports. Of mortal servers there are many, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Client,
    Server,
    Mortal(u64),
}

pub(crate) struct Ledger {
    pub(crate) slots: Vec<Slot>,
    pub(crate) journal: Journal,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    client: Status,
    server: Status,
    /// Of conversations with the server that lives: who has ended them so far.
    halves: HashMap<u64, Ended>,
    /// Messages that the client sent, and that the server sent.
    accounts: [Account; 2],
    conversations: u64,
    /// Of conversations with mortal servers: what was served, and the client's end.
    served: HashMap<u64, Served>,
    ended: Vec<Ended>,
    /// Of those with the server that lives, and of the others.
    sessions_lost: [u64; 2],
    false_deaths: u64,
    deaths: u64,
    wrong: Vec<String>,
}

#[derive(Default)]
struct Served {
    tally: Tally,
    /// What each session has seen.
    sessions: HashMap<(Part, u64), PerThread>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// Not delivered, since the connection was ended before: the sender got them back.
    pub(crate) handed_back: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
    /// Arrived again after a lost session, as announced.
    pub(crate) repeated: u64,
}

/// The account at the end.
pub(crate) struct Balance {
    /// From client to server and back, and the same with the mortal server.
    pub(crate) accounts: [Account; 4],
    pub(crate) conversations: u64,
    pub(crate) sessions_lost: [u64; 2],
    pub(crate) deaths: u64,
    pub(crate) false_deaths: u64,
    pub(crate) wrong: Vec<String>,
}

impl Ledger {
    pub(crate) fn new(slots: Vec<Slot>, journal: Journal) -> Ledger {
        Ledger { slots, journal, books: Mutex::default() }
    }

    /// A player has something to say; `None`: it has ended.
    pub(crate) fn hear(&self, part: Part, report: Option<Report>) {
        let mut books = self.books.lock().unwrap();
        match report {
            Some(Report::Listening(addr)) => {
                let mortal = matches!(part, Part::Mortal(_));
                let slots = self.slots.iter().filter(|slot| slot.is_mortal == mortal);
                slots.for_each(|slot| slot.proxy.retarget(addr));
            }
            Some(Report::Status(status)) => match part {
                Part::Client => books.client = status,
                Part::Server => books.server = status,
                Part::Mortal(_) => {}
            },
            Some(Report::Ended(ended)) => match self.slot(ended.id).is_some_and(|s| s.is_mortal) {
                true => books.ended.push(ended),
                false => books.half(ended),
            },
            Some(Report::Served { id, session, thread, seq }) => {
                books.serve(part, id, session, thread, seq);
            }
            Some(Report::Silent { id }) => {
                books.deaths += 1;
                let side = if part == Part::Client { Side::Client } else { Side::Server };
                // A server does not know the slot before the first message.
                if let Some(slot) = self.slot(id).filter(|slot| !slot.is_excused(side)) {
                    books.false_deaths += 1;
                    let (other, stats) = (side.other().name(), slot.proxy.stats());
                    let text = format!("the {other} is said to be silent, and is not ({stats:?})");
                    books.wrong(id, &text);
                }
            }
            Some(Report::Note { id, text }) => {
                self.journal.write(format_args!("{part:?} {}: {text}", name(id)));
            }
            Some(Report::Wrong { id, text }) => books.wrong(id, &text),
            None if matches!(part, Part::Mortal(_)) => {}
            None => books.wrong(0, &format!("the {part:?} has ended")),
        }
    }

    fn slot(&self, id: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from((id / SLOT).checked_sub(1)?).ok()?)
    }

    pub(crate) fn statuses(&self) -> (Status, Status) {
        let books = self.books.lock().unwrap();
        (books.client, books.server)
    }

    pub(crate) fn wrong(&self, text: &str) {
        self.books.lock().unwrap().wrong(0, text);
    }

    pub(crate) fn is_wrong(&self) -> bool {
        !self.books.lock().unwrap().wrong.is_empty()
    }

    /// Draws the balance: everybody has ended.
    pub(crate) fn balance(&self) -> Balance {
        let mut books = self.books.lock().unwrap();
        // Otherwise they were interrupted.
        if books.wrong.is_empty() {
            // The server has never heard of these.
            for (id, half) in std::mem::take(&mut books.halves) {
                books.settle([half.clone(), Ended::nothing(id, half.side.other())]);
            }
            let unused = books.server.unused;
            if books.sessions_lost[0] > unused {
                let text = format!("{} sessions lost, {unused} unused", books.sessions_lost[0]);
                books.wrong(0, &text);
            }
        }
        let [up, down] = books.accounts;
        let [mortal_up, mortal_down] = books.settle_mortal();
        Balance {
            accounts: [up, down, mortal_up, mortal_down],
            conversations: books.conversations,
            sessions_lost: books.sessions_lost,
            deaths: books.deaths,
            false_deaths: books.false_deaths,
            wrong: books.wrong.clone(),
        }
    }
}

impl Books {
    fn wrong(&mut self, id: u64, text: &str) {
        self.wrong.push(if id == 0 { text.into() } else { format!("{}: {text}", name(id)) });
    }

    /// One side has ended a conversation.
    fn half(&mut self, half: Ended) {
        match self.halves.remove(&half.id) {
            None => drop(self.halves.insert(half.id, half)),
            Some(other) => self.settle([half, other]),
        }
    }

    /// Both sides have.
    fn settle(&mut self, halves: [Ended; 2]) {
        self.conversations += 1;
        for (receiver, sender) in [(0, 1), (1, 0)] {
            let (receiver, sender) = (&halves[receiver], &halves[sender]);
            self.sessions_lost[0] += sender.sessions_lost;
            let account = Account::of(sender, receiver.delivered, receiver);
            self.check(sender.id, sender.side, &account);
            self.accounts[sender.side as usize].add(&account);
        }
    }

    /// A mortal server answers a message.
    fn serve(&mut self, part: Part, id: u64, session: u64, thread: usize, seq: u64) {
        let Served { tally, sessions } = self.served.entry(id).or_default();
        let seen = sessions.entry((part, session)).or_default();
        // Whatever one session has left out would have been acknowledged unseen.
        let skipped = seen[thread] > 0 && seq > seen[thread];
        tally.count(thread, seq, seen);
        tally.reordered += u64::from(skipped);
    }

    fn settle_mortal(&mut self) -> [Account; 2] {
        let mut accounts = [Account::default(); 2];
        for ended in std::mem::take(&mut self.ended) {
            self.conversations += 1;
            self.sessions_lost[1] += ended.sessions_lost;
            let Served { tally, .. } = self.served.remove(&ended.id).unwrap_or_default();
            let served = Ended {
                missing: tally.missing(),
                doubled: tally.doubled,
                reordered: tally.reordered,
                ..Ended::nothing(ended.id, Side::Server)
            };
            let requests = Account::of(&ended, tally.delivered(), &served);
            // Each request has a reply.
            let replies = Account::of(&ended, ended.delivered, &ended);
            for (side, account) in Side::BOTH.into_iter().zip([requests, replies]) {
                let account = account.repeating(ended.announced);
                self.check(ended.id, side, &account);
                accounts[side as usize].add(&account);
            }
        }
        accounts
    }

    fn check(&mut self, id: u64, from: Side, account: &Account) {
        if !account.is_fine() {
            self.wrong(id, &format!("sent by the {}: {account:?}", from.name()));
        }
    }
}

impl Account {
    /// Of what one side sent, so much was delivered, and the receiver noticed this.
    fn of(sender: &Ended, delivered: PerThread, receiver: &Ended) -> Account {
        let mut account = Account {
            lost: receiver.missing,
            doubled: receiver.doubled,
            reordered: receiver.reordered,
            corrupted: receiver.corrupted,
            ..Account::default()
        };
        let mut lost = 0;
        for thread in 0..SENDERS {
            let (sent, delivered) = (sender.sent[thread], delivered[thread]);
            let kept = sent - sender.handed_back[thread];
            account.sent += sent;
            account.delivered += delivered;
            account.handed_back += sent.saturating_sub(delivered.max(kept));
            lost += kept.saturating_sub(delivered);
            // Its send failed, so it was not to be taken.
            account.corrupted += delivered.saturating_sub(sent);
        }
        account.lost = account.lost.max(lost);
        account
    }

    /// So many may have been repeated.
    fn repeating(self, announced: u64) -> Account {
        let repeated = self.doubled.min(announced);
        Account { repeated, doubled: self.doubled - repeated, ..self }
    }

    fn add(&mut self, other: &Account) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.handed_back += other.handed_back;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.repeated += other.repeated;
    }

    pub(crate) fn is_fine(&self) -> bool {
        (self.lost, self.doubled, self.reordered, self.corrupted) == (0, 0, 0, 0)
    }
}

impl Ended {
    fn nothing(id: u64, side: Side) -> Ended {
        Ended {
            id,
            side,
            sent: PerThread::default(),
            handed_back: PerThread::default(),
            delivered: PerThread::default(),
            missing: 0,
            doubled: 0,
            reordered: 0,
            corrupted: 0,
            sessions_lost: 0,
            announced: 0,
        }
    }
}

/// Conversation 3 of slot 2 is 2.3.
fn name(id: u64) -> String {
    format!("{}.{}", id / SLOT, id % SLOT)
}
