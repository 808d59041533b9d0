//! Faults planted in the crate, to see that the simulation, or another test, catches them.

use std::cell::Cell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Acknowledges what was received and not yet consumed.
    AckOnReceipt,
    /// Acknowledges before the replies are written.
    AckOvertakes,
    /// The same, but only if the window holds them back.
    AckOvertakesHeld,
    /// Begins a replay one frame too early, or too late.
    ReplayEarly,
    ReplayLate,
    /// Resumes from what was acknowledged, as if nothing more had been received.
    CounterReset,
    /// Still acknowledges the lost session's messages to the new one.
    AcksSurviveRestart,
    /// Accepts frames of an older generation's link.
    StaleHeard,
    /// Begins another session, although it is to give up with the first.
    AnotherSession,
    /// Begins another session with a client that has had one, although it is to begin none.
    BeginsAnother,
    /// Tells a client that comes back of an end, and not that it was refused.
    ForgetsRefusal,
    /// Acknowledges what is held, as soon as it is handed out.
    AckPassesHeld,
    /// Counts what was held when the session was lost in the new one.
    LateDoneCounts,
    /// Gives the room away that the lost session's messages take while they are held.
    HeldForgotten,
    /// Goes on writing behind the words that the server goes away.
    WritesOn,
    /// Counts a client's messages from 1 in each session.
    NumbersBeginAgain,
    /// Says for ever the number that the client began with.
    FirstNumberStays,
    /// Takes the number from a hello that resumes a session which the client knows.
    NumberOfAnyHello,
    /// Keeps the number of the hello that created a session, although the client never heard
    /// of it and says another one now.
    NumberOfFirstHello,
    /// Finds a session by its token alone, whoever asks for it.
    ByToken,
    /// Opens one record of those that came, and leaves the others.
    OneRecord,
    /// Seals again what was not sent.
    SealAgain,
    /// Takes a record that was sent in part for one that was sent.
    ForgetRest,
    /// Never writes what the reader has brought forth.
    ForgetControl,
    /// Seals data before it takes what the reader has brought forth.
    SealBeforeTaking,
    /// Counts bytes as they were before they were sealed.
    CountPlain,
}

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Whether this crate is to make this mistake.
pub(crate) fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Where a replay begins that is to begin at `position`.
pub(in crate::proto) fn misplaced(position: u64, acked: u64, sent: u64) -> u64 {
    match PLANTED.get() {
        Some(Fault::ReplayEarly) => acked.max(position.saturating_sub(1)),
        Some(Fault::ReplayLate) => sent.min(position + 1),
        Some(Fault::CounterReset) => acked,
        _ => position,
    }
}

/// Runs `f` with a fault planted on this thread.
pub(crate) fn with<T>(fault: Fault, f: impl FnOnce() -> T) -> T {
    PLANTED.set(Some(fault));
    let result = f();
    PLANTED.set(None);
    result
}
