//! What the clients' journals say, against the books.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::PathBuf;

use crate::Result;
use crate::booking::Booking;
use crate::books::{self, Books};
use crate::outbox::Outbox;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub made: usize,
    /// Not booked, although they were acknowledged.
    pub lost: usize,
    /// Not booked, and still in an outbox.
    pub waiting: usize,
    pub doubled: usize,
    pub reordered: usize,
    /// Booked, and not what the client has made.
    pub different: usize,
    /// Accounts that do not have the sum of what was made.
    pub unbalanced: usize,
}

impl Account {
    pub fn of(outboxes: &[(String, PathBuf)], books: &mut dyn Books) -> Result<Account> {
        let mut account = Account::default();
        let mut sums = BTreeMap::new();
        for (name, outbox) in outboxes {
            let outbox = Outbox::open(outbox)?;
            let made = outbox.journal()?;
            for booking in made.values() {
                *sums.entry(booking.account).or_default() += i64::from(booking.amount);
            }
            account.add(
                &made,
                outbox.first()?,
                &books.booked(&books::key(name, outbox.client_id()?))?,
            );
        }
        let balances: BTreeMap<u32, i64> = books.balances()?.into_iter().collect();
        let accounts: HashSet<_> = sums.keys().chain(balances.keys()).collect();
        account.unbalanced = accounts.iter().filter(|id| sums.get(id) != balances.get(id)).count();
        Ok(account)
    }

    /// A client's; from `first` on nothing was acknowledged to it.
    fn add(&mut self, made: &BTreeMap<u64, Booking>, first: u64, booked: &[(u64, Booking)]) {
        let (mut seen, mut highest) = (HashSet::new(), 0);
        for (number, booking) in booked {
            match seen.insert(number) {
                false => self.doubled += 1,
                true => self.reordered += usize::from(*number < highest),
            }
            self.different += usize::from(made.get(number) != Some(booking));
            highest = highest.max(*number);
        }
        let missing = made.keys().filter(|number| !seen.contains(number));
        let (lost, waiting): (Vec<&u64>, Vec<&u64>) = missing.partition(|number| **number < first);
        self.made += made.len();
        self.lost += lost.len();
        self.waiting += waiting.len();
    }

    pub fn is_right(&self) -> bool {
        self.made > 0 && *self == Account { made: self.made, ..Account::default() }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { made, lost, waiting, doubled, reordered, different, unbalanced } = self;
        write!(f, "{made} bookings: {lost} lost, {doubled} doubled, {reordered} reordered")?;
        write!(f, "; {waiting} not delivered, {different} different, {unbalanced} wrong balances")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_counted() {
        let booking = |amount| Booking { account: 1, amount };
        let made = (1..=9).map(|number| (number, booking(number as i32))).collect();
        let booked = [1, 2, 2, 5, 4, 3].map(|number| (number, booking(number as i32)));
        let mut account = Account::default();
        account.add(&made, 8, &[&booked[..], &[(6, booking(7))]].concat());
        let right = Account {
            made: 9,
            lost: 1,
            waiting: 2,
            doubled: 1,
            reordered: 2,
            different: 1,
            unbalanced: 0,
        };
        assert_eq!(account, right);
        assert!(!account.is_right());
    }
}
