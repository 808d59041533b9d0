//! What seals the bytes of a link.
//!
//! What one side writes is sealed, piece by piece, into *records*, and opened at the other.
//! A [`Layer`] does both for one link. It is made with the link, by a handshake over it, and
//! ends with it. It stands behind a mutex, since two threads use it: the one that reads
//! has an [`Opener`] in its half of the link, the one that writes a [`Sealer`]. A link in
//! clear text has neither.
//!
//! # What always holds
//!
//! * **I1. Between two reads, an opener holds less than one record.** What came whole is
//!   opened, and in the decoder. So what waits to be read waits in the kernel, where `poll`
//!   sees it.
//! * **I2. A record is sealed once, and is sent or lost with its link.** Only the thread that
//!   holds the write half seals data. It appends the records to that half, and they leave it
//!   only into the kernel. So the order in which the layer is locked is the order of
//!   the records. What an opener has for the peer waits in the layer, and goes out in front
//!   of the next record.
//! * **I3. Positions on a link are those of the wire.** A [`Batch`] knows what sealing will
//!   add, so no position has to be mapped back.
//!
//! # The lock
//!
//! It is a leaf: under it there is no other lock and no system call, and nothing is dropped
//! that the application owns. The layer may log, and a logger may use this crate. So
//! [`is_inside`] tells a thread that it must not read or write a link now.
//!
//! # The order of calls
//!
//! * **A link begins**: [`Security::connect`] or [`Security::accept`]. The first
//!   [`open`](Opener::open) of a client, of nothing, begins the handshake.
//! * **Bytes come**: they are read into [`space`](Opener::space), reported by
//!   [`filled`](Opener::filled), and opened by [`open`](Opener::open), which says whether
//!   there is something to be written now. When no more come, [`at_end`](Opener::at_end)
//!   says what that means.
//! * **Before the link is installed** [`seal_now`](Sealer::seal_now) returns what is to be
//!   written: the handshake, and what is said once it is [over](Channel::is_open).
//! * **When it is installed**, the batch is told of the [`records`](Sealer::records). From
//!   then on [`write`](Sealer::write) writes.
//! * **The link ends** by [`write`](Sealer::write), if the batch ends the stream, or by a
//!   [`farewell`](Sealer::farewell), if nothing waits to be written.
//!
//! [`Batch`]: crate::proto::batch::Batch

use std::cell::Cell;
use std::fmt::Debug;

#[cfg(any(test, fuzzing, feature = "tls"))]
use crate::error::Rejection;
use crate::error::{self, Cause, Error};
#[cfg(feature = "tls")]
use crate::identity::Fingerprint;
use crate::identity::{Peer, Who};
use crate::proto::batch::Records;
use crate::proto::buffer::Buffer;
use crate::proto::frame::Decoder;
use crate::sync::{self, Arc};

#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod certified;
#[cfg(feature = "tls")]
mod chain;
#[cfg(feature = "tls")]
mod config;
#[cfg(feature = "tls")]
mod files;
#[cfg(feature = "tls")]
mod from_files;
#[cfg(all(any(test, fuzzing), feature = "tls", not(shuttle), not(miri)))]
pub(crate) mod fuzzing;
mod halves;
#[cfg(feature = "tls")]
mod keys;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
mod tls;
#[cfg(any(test, fuzzing))]
mod toy;
#[cfg(feature = "tls")]
mod trust;
#[cfg(feature = "tls")]
mod verify;

#[cfg(feature = "tls")]
pub use keys::Identity;
#[cfg(feature = "tls")]
pub use trust::Trust;

pub(crate) use halves::{Channel, Opened, Opener, Sealer};
#[cfg(all(test, feature = "tls", not(shuttle), not(miri)))]
pub(crate) use tls::tests::securities;
#[cfg(all(test, not(shuttle)))]
pub(crate) use toy::pair;

/// How the links of a client or a listener are secured.
#[cfg_attr(
    feature = "tls",
    doc = "
It is TLS 1.3. Both sides prove who they are, by [keys](Security::keys) or by
[certificates](Security::certificates); or the server alone, where that is
[meant](Security::open_server).

A client reads the files that its security was made from again when it begins an attempt, so
that what was mended or renewed counts; by the paths that were given, which are best absolute in a
process that changes its folder. If they are not in order, what was read before goes on
counting, and the log says so once. A listener goes by what was read when its security was made,
until it is given other security.

A link is [made anew](crate::Cause::Aged) after 24 to 29 hours, over which both sides show again
who they are; and before, if a certificate [expires](crate::Cause::Expired). Nothing is lost by
that. Plain text, which is not resumed, goes on until a certificate expires.

# Examples

```no_run
use longlink::{Identity, Security, Trust};

let server = Security::keys(Identity::from_file(\"server.key\")?, Trust::peers_file(\"peers\")?);
let client = Security::invite(\"alice.invite\")?;
# Ok::<(), longlink::Error>(())
```"
)]
#[cfg_attr(not(any(test, feature = "tls")), expect(unreachable_pub, reason = "exported with TLS"))]
#[derive(Debug, Clone)]
pub struct Security {
    mode: Arc<dyn Mode + Send + Sync>,
}

impl Security {
    /// The client's end of a new link to this host, a name or an address.
    pub(crate) fn connect(&self, host: &str) -> Result<Channel, Failure> {
        self.mode.connect(host).map(Channel::new)
    }

    /// The server's.
    pub(crate) fn accept(&self) -> Result<Channel, Failure> {
        self.mode.accept().map(Channel::new)
    }

    /// A client reads the files of this again, if there are any, and if they have changed. If
    /// they are not in order now, the error says so, once, and it stays as it is. Blocks as
    /// long as reading takes.
    pub(crate) fn read_again(&self) -> Result<(), String> {
        self.mode.read_again()
    }

    /// Whether a client can have it, also for `text`.
    pub(crate) fn check_client(&self, text: bool) -> error::Result<()> {
        self.mode.can_connect().map_err(|why| Error::Config(why.into()))?;
        match text && !self.takes_text() {
            true => Err(Error::Config("plain text is not spoken with keys".into())),
            false => Ok(()),
        }
    }

    /// Whether a listener can have it.
    pub(crate) fn check_listener(&self) -> error::Result<()> {
        self.mode.can_accept().map_err(|why| Error::Config(why.into()))
    }

    /// Whether plain text may be spoken inside.
    pub(crate) fn takes_text(&self) -> bool {
        self.mode.takes_text()
    }

    /// Whether a peer that has been let in as this would be let in by this, too. What time it is
    /// does not matter: what ends when a peer expires is its link alone.
    pub(crate) fn trusts(&self, who: &Who) -> bool {
        match who {
            Who::Clear => false,
            Who::Anonymous => self.mode.trusts(None),
            Who::Peer(peer) => self.mode.trusts(Some(peer)),
        }
    }

    /// Whether the other is a clone of this.
    pub(crate) fn is(&self, other: &Security) -> bool {
        Arc::ptr_eq(&self.mode, &other.mode)
    }
}

/// What is known of how links are secured, before there is one.
trait Mode: Debug {
    fn connect(&self, host: &str) -> Result<Box<dyn Layer + Send>, Failure>;
    fn accept(&self) -> Result<Box<dyn Layer + Send>, Failure>;
    fn read_again(&self) -> Result<(), String>;
    fn can_connect(&self) -> Result<(), &'static str>;
    fn can_accept(&self) -> Result<(), &'static str>;
    fn takes_text(&self) -> bool;
    /// Of this side's key.
    #[cfg(feature = "tls")]
    fn fingerprint(&self) -> Option<Fingerprint>;

    /// Whether a client that shows this credential while it counts is let in, as this identity;
    /// or one that shows nothing.
    fn trusts(&self, peer: Option<&Peer>) -> bool;
}

/// The state of one link.
trait Layer: Debug {
    /// Opens all whole records of `input` to `to`. What the peer has to be told is appended
    /// to `control`, sealed. Returns whether the peer has ended its bytes.
    ///
    /// After a failure nothing is asked any more. The peer may be told of it, too.
    fn open(
        &mut self,
        input: &mut Buffer,
        control: &mut Vec<u8>,
        to: &mut Decoder,
    ) -> Result<bool, Failure>;

    /// Appends one record with these bytes to `output`; they are not more than fit.
    fn seal(&mut self, plain: &[u8], output: &mut Vec<u8>) -> Result<(), Failure>;

    /// Appends the record that ends our bytes.
    fn end(&mut self, output: &mut Vec<u8>) -> Result<(), Failure>;

    fn records(&self) -> Records;

    /// Whether the handshake is over.
    fn is_open(&self) -> bool;

    /// Whether both sides say that they speak longlink. It is false until the handshake is
    /// over, and if the peer is another program, with which no frames are exchanged.
    fn speaks_longlink(&self) -> bool;

    /// Who the peer is, and by what, if it has shown that.
    fn peer(&self) -> Option<Arc<Peer>>;
}

/// Why no frames are exchanged.
pub(crate) const NOT_LONGLINK: Failure =
    Failure::Protocol("the peer does not say that it speaks longlink/1");

/// Why a link is broken, or was never made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The peer, or somebody on the path, broke the rules.
    Protocol(&'static str),
    /// The server has said so itself.
    #[cfg(any(test, fuzzing, feature = "tls"))]
    Rejected(Rejection),
    /// The peer answers, and what it says is no record.
    #[cfg(feature = "tls")]
    NotTls,
    /// The peer has shown a key that this side does not trust.
    #[cfg(feature = "tls")]
    Untrusted { shown: Box<Fingerprint>, expected: Arc<[Fingerprint]> },
    /// What TLS says of it.
    #[cfg(feature = "tls")]
    Tls(Arc<str>),
}

impl From<Failure> for Cause {
    fn from(failure: Failure) -> Cause {
        match failure {
            Failure::Protocol(what) => Cause::Protocol(what),
            #[cfg(any(test, fuzzing, feature = "tls"))]
            Failure::Rejected(rejection) => Cause::Rejected(rejection),
            #[cfg(feature = "tls")]
            Failure::NotTls => Cause::NotTls,
            #[cfg(feature = "tls")]
            Failure::Untrusted { shown, expected } => Cause::Untrusted { shown, expected },
            #[cfg(feature = "tls")]
            Failure::Tls(what) => Cause::Tls(what),
        }
    }
}

/// How the bytes of a peer end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer has ended them.
    InOrder,
    /// Somebody has: the link is lost.
    Cut,
    Broken(Failure),
}

sync::thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has a layer locked at the moment: it runs the application's logger,
/// then, and must not use a link.
pub(crate) fn is_inside() -> bool {
    INSIDE.with(Cell::get)
}
