//! How many sockets may be open.

/// What a server holds besides its clients' sockets: the standard streams, the
/// port, the spare, wake-up pipes.
const OWN: u64 = 16;
/// Peers that have not introduced themselves; see
/// [`Builder::max_clients`](crate::Builder::max_clients).
const SILENT: u64 = 256;

/// Raises the limit of open descriptors, as far as it is allowed, to what so
/// many clients need, of which each takes so many. If fewer can be served, returns how many, at
/// least one, and the limit.
pub fn allow(clients: u32, each: u64) -> Option<(u64, u64)> {
    let needed = u64::from(clients) * each + OWN;
    let raised = rlimit::increase_nofile_limit(needed + SILENT);
    let limit =
        raised.or_else(|_| rlimit::getrlimit(rlimit::Resource::NOFILE).map(|is| is.0)).ok()?;
    (limit < needed).then(|| ((limit.saturating_sub(OWN) / each).max(1), limit))
}
