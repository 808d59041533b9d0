//! What the conversations of a process share, and what their links go through.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use longlink::{Builder, Cause, Event};

use crate::report::{Report, Status};
use crate::watch::Watch;

/// What the conversations of a process share.
#[derive(Default)]
pub(crate) struct Stage {
    /// What connections and listeners are made with.
    pub(crate) builder: Builder,
    pub(crate) watch: Watch,
    /// Conversations go on, and new ones begin.
    pub(crate) goes_on: AtomicBool,
    /// How many there are.
    pub(crate) open: AtomicU64,
    /// Sessions that ended before they carried a message.
    pub(crate) unused: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) bytes: AtomicU64,
    resumed: AtomicU64,
    replayed: AtomicU64,
    links: Mutex<Vec<Weak<Link>>>,
}

impl Stage {
    pub(crate) fn new(builder: Builder) -> Stage {
        Stage { builder, ..Stage::default() }
    }

    pub(crate) fn status(&self) -> Status {
        let mut status = Status {
            open: self.open.load(Relaxed),
            messages: self.messages.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            resumed: self.resumed.load(Relaxed),
            replayed: self.replayed.load(Relaxed),
            unused: self.unused.load(Relaxed),
            ..Status::default()
        };
        self.links.lock().unwrap().retain(|link| {
            let Some(link) = link.upgrade() else { return false };
            match link.up.load(Relaxed) {
                true => status.links_up += 1,
                false => status.links_down += 1,
            }
            status.unacknowledged += link.unacknowledged.load(Relaxed);
            true
        });
        status
    }
}

/// What a connection's events tell.
pub(crate) struct Link {
    stage: Arc<Stage>,
    /// The conversation; 0 as long as it is not known.
    id: AtomicU64,
    up: AtomicBool,
    pub(crate) unacknowledged: AtomicU64,
    pub(crate) sessions_lost: AtomicU64,
    /// Messages that were said to be sent again in a new session.
    pub(crate) announced: AtomicU64,
}

impl Link {
    pub(crate) fn new(stage: &Arc<Stage>, id: u64) -> Arc<Link> {
        let link = Arc::new(Link {
            stage: stage.clone(),
            id: AtomicU64::new(id),
            up: AtomicBool::new(true),
            unacknowledged: AtomicU64::new(0),
            sessions_lost: AtomicU64::new(0),
            announced: AtomicU64::new(0),
        });
        stage.links.lock().unwrap().push(Arc::downgrade(&link));
        link
    }

    pub(crate) fn is_of(&self, id: u64) {
        self.id.store(id, Relaxed);
    }

    pub(crate) fn saw(&self, event: &Event) {
        let id = self.id.load(Relaxed);
        match event {
            Event::Heartbeat { .. } => return,
            Event::Connected { .. } => self.up.store(true, Relaxed),
            Event::Lost { cause, .. } => {
                self.up.store(false, Relaxed);
                if matches!(cause, Cause::Silent(_)) {
                    Report::Silent { id }.say();
                }
            }
            Event::Resumed { replayed, .. } => {
                self.up.store(true, Relaxed);
                self.stage.resumed.fetch_add(1, Relaxed);
                self.stage.replayed.fetch_add(*replayed, Relaxed);
            }
            Event::SessionLost { unacknowledged, .. } => {
                self.up.store(true, Relaxed);
                self.sessions_lost.fetch_add(1, Relaxed);
                self.announced.fetch_add(*unacknowledged, Relaxed);
            }
            _ => {}
        }
        Report::Note { id, text: event.to_string() }.say();
    }
}
