//! [`SessionLoss`]: what a client does when the server no longer knows its session.

/// What a client does when the server no longer knows its session: it was restarted, or
/// the session has expired.
///
/// # Examples
///
/// ```
/// use longlink::SessionLoss;
///
/// assert_eq!(SessionLoss::default(), SessionLoss::SendAgain);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SessionLoss {
    /// Begins a new session with what was not acknowledged, at any of its hosts. Messages may
    /// arrive twice; [`Event::SessionLost`](crate::Event::SessionLost) says so.
    #[default]
    SendAgain,
    /// Asks for the old session only, and only the server that has it. When that server no
    /// longer knows it, the connection is over, with
    /// [`Error::SessionLost`](crate::Error::SessionLost). No message arrives twice.
    GiveUp,
}
