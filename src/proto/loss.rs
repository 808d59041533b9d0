//! [`SessionLoss`]: what is done when the server no longer knows a client's session.

/// What is done when the server no longer knows a client's session: it was restarted, or
/// the session has expired. Either side may [want no other](crate::Builder::on_session_lost).
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
    /// The client begins a new session with what was not acknowledged, at any of its hosts.
    /// Messages may arrive twice; [`Event::SessionLost`](crate::Event::SessionLost) says so.
    /// A listener takes such clients.
    #[default]
    SendAgain,
    /// The client asks for the old session only, and only the server that has it. When that
    /// server no longer knows it, the connection is over, with
    /// [`Error::SessionLost`](crate::Error::SessionLost). No message arrives twice.
    ///
    /// A listener begins no session with a client that comes from another one, whatever that
    /// client wants.
    GiveUp,
}
