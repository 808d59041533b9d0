//! What programs of other people are compiled against: that this compiles is the test. The whole
//! of it is listed in public_api.txt, which api/src/main.rs makes and the gate compares.

// An arm for variants to come is reachable only while an enum is `non_exhaustive`.
#![deny(unreachable_patterns)]

use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::io::{self, BufRead, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::{Deref, Range};
use std::result::Result as StdResult;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longlink::{
    Accepted, Builder, Bytes, Cause, Connection, Error, Event, Fingerprint, Heartbeat, Held, Host,
    Incoming, Listener, ParseFingerprintError, PeerIdentity, Plain, Protocol, Rejection, Result,
    RetryPolicy, SessionLoss, Stats, Stream, StreamReader, StreamWriter, Taken, ToHosts,
    WeakConnection,
};

#[cfg(feature = "tls")]
#[test]
fn signatures_of_security() {
    use longlink::{Identity, Security, Trust};

    let _: fn(&'static str) -> Result<Identity> = Identity::from_file;
    let _: fn(&'static str) -> Result<Identity> = Identity::create;
    let _: fn(&Identity) -> Fingerprint = Identity::fingerprint;
    let _: fn(&Identity, &str, &'static str, String) -> Result<()> = Identity::invite;
    let _: fn(&'static str) -> Result<Trust> = Trust::peers_file;
    let _: fn(Fingerprint) -> Trust = Trust::fingerprint;
    let _: fn(Trust, Trust) -> Trust = Trust::or;
    let _: fn(&Trust) -> String = Trust::to_string;
    let _: fn(&'static str) -> Result<Trust> = Trust::ca_file;
    let _: fn(Trust, &'static str) -> Result<Trust> = Trust::client_names;
    #[cfg(feature = "system-roots")]
    let _: fn() -> Result<Trust> = Trust::system_roots;
    let _: fn(Identity, Trust) -> Security = Security::keys;
    let _: fn(&'static str) -> Result<Security> = Security::invite;
    let _: fn(&'static str, String, Trust) -> Result<Security> = Security::certificates;
    let _: fn(Trust) -> Result<Security> = Security::anonymous_client;
    let _: fn(&'static str, String) -> Result<Security> = Security::open_server;
    let _: fn(&Security) -> Option<Fingerprint> = Security::fingerprint;
    let _: fn(Builder, Security) -> Builder = Builder::security;
    let _: fn(&Listener, Security) -> Result<()> = Listener::reload;
}

#[test]
fn signatures() {
    type Callback = fn(&Connection, Event);
    type Numbered = (u64, Bytes);

    let _: fn(&'static str) -> Result<Connection> = Connection::connect;
    let _: fn() -> Builder = Connection::builder;
    let _: fn(&Connection, &'static [u8]) -> Result<()> = Connection::send;
    let _: fn(&Connection, &'static str) -> Result<()> = Connection::send;
    let _: fn(&Connection, String) -> Result<()> = Connection::send;
    let _: fn(&Connection, [u8; 4]) -> Result<()> = Connection::send;
    let _: fn(&Connection, Bytes) -> Result<()> = Connection::send_bytes;
    let _: fn(&Connection, Vec<u8>) -> Result<()> = Connection::send_bytes;
    let _: fn(&Connection, &'static str) -> Result<()> = Connection::send_bytes;
    let _: fn(&Connection, Vec<u8>) -> Result<()> = Connection::try_send;
    let _: fn(&Connection, &'static str, Duration) -> Result<()> = Connection::send_timeout;
    let _: fn(&Connection, Bytes) -> Result<()> = Connection::feed;
    let _: fn(&Connection, String) -> Result<()> = Connection::feed_bytes;
    let _: fn(&Connection, &[Bytes]) -> Result<()> = Connection::feed_many;
    let _: fn(&Connection, &[Bytes]) -> Result<Taken> = Connection::feed_some;
    let _: fn(&Connection) -> Result<()> = Connection::flush;
    let _: fn(&Connection, Duration) -> Result<()> = Connection::sync;
    let _: fn(&Connection) -> Result<()> = Connection::finish;
    let _: fn(&Connection) -> Result<Option<Bytes>> = Connection::recv;
    let _: fn(&Connection, Duration) -> Result<Option<Bytes>> = Connection::recv_timeout;
    let _: fn(&Connection) -> Result<Option<Bytes>> = Connection::try_recv;
    let _: fn(&Connection, &mut Vec<Bytes>, usize) -> Result<usize> = Connection::recv_many;
    let _: fn(&Connection) -> Result<Option<Held>> = Connection::recv_held;
    let _: fn(Held) = Held::done;
    let _: fn(&Held) -> u64 = Held::number;
    let _: fn(&Held) -> &Bytes = <Held as Deref>::deref;
    let _: fn(&Connection, Vec<u8>) -> Result<u64> = Connection::send_numbered;
    let _: fn(&Connection) -> u64 = Connection::acknowledged_number;
    let _: fn(&Connection) -> Result<Option<Numbered>> = Connection::recv_numbered;
    let _: fn(&Connection, &mut Vec<Bytes>, usize) -> Result<Range<u64>> =
        Connection::recv_many_numbered;
    let _: fn(&Connection) -> Option<[u8; 16]> = Connection::client_id;
    let _: for<'a> fn(&'a Connection) -> Incoming<'a> = Connection::incoming;
    let _: for<'a> fn(&'a Connection) -> Stream<'a> = Connection::stream;
    let _: fn(Stream<'static>) -> (StreamReader<'static>, StreamWriter<'static>) = Stream::split;
    let _: fn(&Connection) -> Result<()> = Connection::close;
    let _: fn(&Connection) = Connection::abort;
    let _: fn(&Connection, Duration) = Connection::abort_within;
    let _: fn(&Connection) -> Vec<Bytes> = Connection::take_unacknowledged;
    let _: fn(&Connection) -> SocketAddr = Connection::peer_addr;
    let _: fn(&Connection) -> Option<PeerIdentity> = Connection::peer_identity;
    let _: fn(&Connection) -> bool = Connection::is_connected;
    let _: fn(&Connection) -> Protocol = Connection::protocol;
    let _: fn(&Connection) -> usize = Connection::max_message;
    let _: fn(&Connection) -> Stats = Connection::stats;
    let _: fn(&Connection, Callback) = Connection::on_event;

    let _: fn(&Connection) -> WeakConnection = Connection::downgrade;
    let _: fn(&WeakConnection) -> Option<Connection> = WeakConnection::upgrade;

    let _: fn(&'static str) -> Result<Listener> = Listener::bind;
    let _: fn(&Listener) -> Result<Connection> = Listener::accept;
    let _: for<'a> fn(&'a Listener) -> Accepted<'a> = Listener::incoming;
    let _: fn(&Listener) -> SocketAddr = Listener::local_addr;
    let _: fn(&Listener) = Listener::close;
    let _: fn(&Listener, Duration) -> Result<()> = Listener::drain;
    let _: fn(&Listener, Duration) = Listener::restart;

    let _: fn(Builder, Heartbeat) -> Builder = Builder::heartbeat;
    let _: fn(Builder, RetryPolicy) -> Builder = Builder::retry;
    let _: fn(Builder, Duration) -> Builder = Builder::connect_timeout;
    let _: fn(Builder, Duration) -> Builder = Builder::close_timeout;
    let _: fn(Builder, Duration) -> Builder = Builder::resume_within;
    let _: fn(Builder, SessionLoss) -> Builder = Builder::on_session_lost;
    let _: fn(Builder, [u8; 16]) -> Builder = Builder::client_id;
    let _: fn(Builder, u64) -> Builder = Builder::first_number;
    let _: fn(Builder, usize) -> Builder = Builder::window;
    let _: fn(Builder, usize) -> Builder = Builder::max_message;
    let _: fn(Builder, usize) -> Builder = Builder::max_clients;
    let _: fn(Builder, Plain) -> Builder = Builder::plain;
    let _: fn(Builder, bool) -> Builder = Builder::accept_plain;
    let _: fn(Builder, Callback) -> Builder = Builder::on_event;
    let _: fn(Builder, &'static str) -> Result<Connection> = Builder::connect;
    let _: fn(Builder, &'static str) -> Result<Listener> = Builder::bind;
    let _: fn(Builder, TcpListener) -> Result<Listener> = Builder::listen;

    let _: fn(Duration) -> Heartbeat = Heartbeat::every;
    let _: fn() -> Heartbeat = Heartbeat::off;
    let _: fn(Heartbeat, u32) -> Heartbeat = Heartbeat::misses;

    let _: fn(Duration, u32) -> RetryPolicy = RetryPolicy::fixed;
    let _: fn(Duration, Duration) -> RetryPolicy = RetryPolicy::exponential;
    let _: fn() -> RetryPolicy = RetryPolicy::never;
    let _: fn(RetryPolicy, u32) -> RetryPolicy = RetryPolicy::attempts;
    let _: fn(RetryPolicy) -> RetryPolicy = RetryPolicy::unlimited;
    let _: fn(RetryPolicy) -> RetryPolicy = RetryPolicy::while_kept;
    let _: fn(RetryPolicy, f64) -> RetryPolicy = RetryPolicy::jitter;

    let _: fn() -> Plain = Plain::new;
    let _: fn(Plain, Duration) -> Plain = Plain::reply_timeout;
    let _: fn(Plain, bool) -> Plain = Plain::lock_step;

    let _: fn(&'static str, u16) -> Host = Host::new;
    let _: fn(&Host) -> Result<Vec<Host>> = <Host as ToHosts>::to_hosts;

    let _: fn(&str) -> StdResult<Fingerprint, ParseFingerprintError> = str::parse;

    let _: fn(&Error) -> bool = Error::is_final;
    let _: fn(&Error) -> Option<u64> = Error::unacknowledged;
    let _: fn(io::Error) -> Error = Error::from;
    let _: fn(Rejection) -> bool = Rejection::is_retryable;
}

/// rustdoc lists the methods of a type in the order of the modules that they stand in.
#[test]
fn the_page_of_a_connection_begins_with_what_most_programs_need() {
    fn begins(source: &str, with: &str, names: &[&str]) {
        let lines = source.lines().filter_map(|line| line.trim_start().strip_prefix(with));
        let names_of = lines.map(|line| line.split([';', '(']).next().unwrap());
        assert_eq!(names_of.take(names.len()).collect::<Vec<_>>(), names);
    }
    begins(include_str!("../src/lib.rs"), "mod ", &["listener", "connection"]);
    begins(include_str!("../src/connection.rs"), "mod ", &["basics"]);
    let basics = include_str!("../src/connection/basics.rs");
    begins(basics, "pub fn ", &["connect", "send", "recv", "close"]);
    let listener = include_str!("../src/listener.rs");
    begins(listener, "pub fn ", &["bind", "accept", "incoming", "close"]);
}

#[test]
fn traits() {
    fn value<T: Debug + Clone + Send + Sync + Unpin + 'static>() {}
    fn small<T: Debug + Copy + PartialEq + Send + Sync + 'static>() {}
    fn shown<T: Display>() {}
    fn default<T: Default>() {}
    fn error<T: StdError>() {}
    fn equal<T: Eq + Hash>() {}
    fn messages<T: Iterator<Item = Result<Bytes>> + Debug>() {}
    fn connections<T: Iterator<Item = Result<Connection>> + Debug>() {}
    fn hosts<T: ToHosts + ?Sized>() {}
    fn reads<T: BufRead + Debug + Send + Sync>() {}
    fn writes<T: Write + Debug + Send + Sync>() {}
    fn handed<T: Debug + Send + Sync + Unpin + 'static>() {}

    handed::<Held>();
    value::<Builder>();
    value::<Error>();
    value::<Cause>();
    value::<Connection>();
    value::<WeakConnection>();
    value::<Event>();
    value::<Host>();
    value::<PeerIdentity>();
    small::<Fingerprint>();
    small::<Heartbeat>();
    small::<ParseFingerprintError>();
    small::<Plain>();
    small::<Protocol>();
    small::<Rejection>();
    small::<RetryPolicy>();
    small::<SessionLoss>();
    small::<Stats>();
    small::<Taken>();
    shown::<Cause>();
    shown::<Error>();
    shown::<Event>();
    shown::<Fingerprint>();
    shown::<Host>();
    shown::<Rejection>();
    default::<Builder>();
    default::<Heartbeat>();
    default::<Plain>();
    default::<RetryPolicy>();
    default::<SessionLoss>();
    default::<Stats>();
    error::<Cause>();
    error::<Error>();
    error::<ParseFingerprintError>();
    equal::<Fingerprint>();
    equal::<Host>();
    equal::<PeerIdentity>();
    equal::<Protocol>();
    messages::<Incoming<'_>>();
    connections::<Accepted<'_>>();
    reads::<Stream<'_>>();
    reads::<StreamReader<'_>>();
    writes::<Stream<'_>>();
    writes::<StreamWriter<'_>>();
    hosts::<str>();
    hosts::<String>();
    hosts::<SocketAddr>();
    hosts::<(&str, u16)>();
    hosts::<(String, u16)>();
    hosts::<(IpAddr, u16)>();
    hosts::<[Host]>();
    hosts::<[Host; 2]>();
    hosts::<Vec<Host>>();
    hosts::<&str>();
}

#[test]
fn variants_can_be_added() {
    fn has<T>(_: T) {}
    let _ = |error: Error| match error {
        Error::TimedOut | Error::WouldBlock | Error::Finished => {}
        Error::TooLarge { size, limit, .. } => has::<[usize; 2]>([size, limit]),
        Error::Config(text) => has::<String>(text),
        Error::Io(error) => has::<Arc<io::Error>>(error),
        Error::GaveUp { unacknowledged, cause, .. } => has::<(u64, Cause)>((unacknowledged, cause)),
        Error::Refused { code, text, unacknowledged, .. } => {
            has::<(u32, Box<str>, u64)>((code, text, unacknowledged));
        }
        Error::SessionLost { unacknowledged, .. }
        | Error::PeerClosed { unacknowledged, .. }
        | Error::Closed { unacknowledged, .. } => {
            let _: u64 = unacknowledged;
        }
        _ => {}
    };
    let _ = |cause: Cause| match cause {
        Cause::Io(error) => has::<Arc<io::Error>>(error),
        Cause::Eof | Cause::Restarting | Cause::Replaced | Cause::NotLonglink | Cause::NotTls => {}
        Cause::Revoked | Cause::Aged | Cause::Expired => {}
        Cause::Silent(time) | Cause::ConnectTimeout(time) | Cause::WelcomeTimeout(time) => {
            has::<Duration>(time)
        }
        Cause::Resolve { host, error, .. } => has::<(String, Arc<io::Error>)>((host, error)),
        Cause::Protocol(text) => has::<&'static str>(text),
        Cause::Untrusted { shown, expected, .. } => {
            has::<(Box<Fingerprint>, Arc<[Fingerprint]>)>((shown, expected));
        }
        Cause::Tls(text) => has::<Arc<str>>(text),
        Cause::Rejected(rejection) => has::<Rejection>(rejection),
        Cause::TooLarge { size, limit, .. } => has::<[usize; 2]>([size, limit]),
        _ => {}
    };
    let _ = |rejection: Rejection| match rejection {
        Rejection::Full
        | Rejection::ShuttingDown
        | Rejection::Version
        | Rejection::Stale
        | Rejection::Ended
        | Rejection::Protocol
        | Rejection::AuthenticationRequired
        | Rejection::TlsRequired
        | Rejection::Untrusted => {}
        Rejection::Other { code, retryable, .. } => has::<(u8, bool)>((code, retryable)),
        _ => {}
    };
    let _ = |loss: SessionLoss| match loss {
        SessionLoss::SendAgain | SessionLoss::GiveUp => {}
        _ => {}
    };
    let _ = |identity: PeerIdentity| match identity {
        PeerIdentity::Named(name) | PeerIdentity::Certified(name) => has::<String>(name),
        PeerIdentity::Key(fingerprint) => has::<Fingerprint>(fingerprint),
        _ => {}
    };
    let _ = |protocol: Protocol| match protocol {
        Protocol::Framed | Protocol::Plain => {}
        _ => {}
    };
    let _ = |event: Event| match event {
        Event::Connected { peer, .. } => has::<SocketAddr>(peer),
        Event::Lost { cause, .. } => has::<Cause>(cause),
        Event::Retrying { attempt, of, after, .. } => {
            has::<(u32, Option<u32>, Duration)>((attempt, of, after));
        }
        Event::Failed { host, cause, .. } => has::<(Host, Cause)>((host, cause)),
        Event::Resumed { replayed, after, .. } => has::<(u64, Duration)>((replayed, after)),
        Event::SessionLost { unacknowledged, after, .. } => {
            has::<(u64, Duration)>((unacknowledged, after));
        }
        Event::Reconnected { waiting, after, .. } => has::<(u64, Duration)>((waiting, after)),
        Event::Unanswered { messages, forgotten, .. } => {
            has::<(Vec<Bytes>, u64)>((messages, forgotten));
        }
        Event::Heartbeat { id, round_trip, .. } => has::<(u64, Duration)>((id, round_trip)),
        Event::GaveUp { attempts, unacknowledged, cause, .. } => {
            has::<(u32, u64, Cause)>((attempts, unacknowledged, cause));
        }
        Event::Closed { unacknowledged, .. } => has::<u64>(unacknowledged),
        _ => {}
    };
    let _ = |stats: Stats| {
        let Stats {
            messages_sent,
            bytes_sent,
            messages_received,
            bytes_received,
            replayed,
            unanswered,
            reconnects,
            sessions_lost,
            last_round_trip,
            unacknowledged,
            unacknowledged_bytes,
            connected_since,
            lost_since,
            last_heard,
            ..
        } = stats;
        has::<[u64; 10]>([
            messages_sent,
            bytes_sent,
            messages_received,
            bytes_received,
            replayed,
            unanswered,
            reconnects,
            sessions_lost,
            unacknowledged,
            unacknowledged_bytes,
        ]);
        has::<Option<Duration>>(last_round_trip);
        has::<[Option<Instant>; 3]>([connected_since, lost_since, last_heard]);
    };
}
