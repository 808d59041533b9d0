//! What is booked.

use std::fmt;
use std::str::FromStr;

/// An amount on an account. As text, on the wire and in a terminal: `7 350`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booking {
    pub account: u32,
    pub amount: i32,
}

impl fmt::Display for Booking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.account, self.amount)
    }
}

impl FromStr for Booking {
    type Err = String;

    fn from_str(text: &str) -> Result<Booking, String> {
        let parse = || {
            let (account, amount) = text.trim().split_once(' ')?;
            Some(Booking { account: account.parse().ok()?, amount: amount.parse().ok()? })
        };
        parse().ok_or_else(|| format!("{text:?} is not an account and an amount"))
    }
}
