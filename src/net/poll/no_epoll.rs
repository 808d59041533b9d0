//! Where there is no epoll.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::Interest;

#[derive(Debug)]
pub(crate) enum Epoll {}

impl Epoll {
    pub(crate) fn new() -> io::Result<Option<Epoll>> {
        Ok(None)
    }

    pub(crate) fn add(&self, _: u64, _: &impl AsFd, _: Interest) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn remove(&self, _: &impl AsFd) {
        match *self {}
    }

    pub(crate) fn ready(&self) -> Vec<(u64, Interest)> {
        match *self {}
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
