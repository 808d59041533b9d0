//! How many sockets may be open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a server holds besides its clients' sockets: the standard streams, the
/// port, the spare, wake-up pipes.
const OWN: u64 = 16;
/// Peers that have not introduced themselves; see
/// [`Builder::max_clients`](crate::Builder::max_clients).
const SILENT: u64 = 256;

/// Raises the limit of open descriptors, as far as it is allowed, to what so
/// many clients need. If fewer can be served, returns how many, and the limit.
pub fn allow(clients: u32) -> Option<(u64, u64)> {
    let needed = u64::from(clients) + OWN;
    let wanted = needed + SILENT;
    let mut limit = getrlimit(Resource::Nofile);
    if let Some(current) = limit.current
        && current < wanted
    {
        let most = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let raised = Rlimit { current: Some(most), ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let current = limit.current.filter(|current| *current < needed)?;
    Some((current.saturating_sub(OWN), current))
}
