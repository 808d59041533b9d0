//! What was sent, and what came back.

use std::fmt::Write;
use std::time::Duration;

use crate::Result;
use crate::course::Outage;

pub(crate) struct Tally {
    pub(crate) name: &'static str,
    /// When each message was handed over.
    pub(crate) sent: Vec<Duration>,
    /// When it came back first.
    pub(crate) back: Vec<Option<Duration>>,
    /// When it came back once more.
    pub(crate) doubled: Vec<Duration>,
}

impl Tally {
    pub(crate) fn new(name: &'static str, count: usize) -> Tally {
        Tally {
            name,
            sent: Vec::with_capacity(count),
            back: vec![None; count],
            doubled: Vec::new(),
        }
    }

    pub(crate) fn arrived(&mut self, message: &[u8], time: Duration) -> Result<()> {
        let number: usize = str::from_utf8(message)?.parse()?;
        match self.back.get_mut(number).ok_or("a message that was never sent")? {
            Some(_) => self.doubled.push(time),
            back => *back = Some(time),
        }
        Ok(())
    }

    pub(crate) fn lost(&self) -> usize {
        self.back.iter().filter(|back| back.is_none()).count()
    }

    /// What each outage has cost: of the messages that were sent nearer to it
    /// than to another, how many are lost.
    pub(crate) fn lost_in(&self, outages: &[Outage]) -> Vec<usize> {
        let mut lost = vec![0; outages.len()];
        for sent in self.missing() {
            let distance = |(_, outage): &(usize, &Outage)| {
                outage.begin.saturating_sub(sent) + sent.saturating_sub(outage.end)
            };
            if let Some((nearest, _)) = outages.iter().enumerate().min_by_key(distance) {
                lost[nearest] += 1;
            }
        }
        lost
    }

    /// When those were sent that never came back.
    pub(crate) fn missing(&self) -> impl Iterator<Item = Duration> {
        let missing = self.sent.iter().zip(&self.back).filter(|(_, back)| back.is_none());
        missing.map(|(sent, _)| *sent)
    }
}

pub(crate) fn table(outages: &[Outage], tallies: &[Tally]) -> String {
    let mut table = String::from("\n                               ");
    tallies.iter().for_each(|tally| _ = write!(table, "{:>11}", tally.name));
    let mut row = |name: &str, figure: &dyn Fn(&Tally) -> usize| {
        let _ = write!(table, "\n{name:<31}");
        tallies.iter().for_each(|tally| _ = write!(table, "{:>11}", figure(tally)));
    };
    row("sent", &|tally| tally.sent.len());
    row("lost", &|tally| tally.lost());
    for (number, outage) in outages.iter().enumerate() {
        row(&format!("  {}", outage.name), &|tally| tally.lost_in(outages)[number]);
    }
    row("doubled", &|tally| tally.doubled.len());
    table
}
