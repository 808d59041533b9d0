//! Clients or servers that give up with a session: no second one comes into being.

use std::sync::Arc;
use std::thread;

use longlink::{
    Builder, Bytes, Cause, Error, Event, Host, Listener, Rejection, RetryPolicy, SessionLoss,
    ToHosts,
};

use crate::proxy::{How, Proxy};
use crate::rig::{Log, Rig, SOON, Side, at_once, calm, connect, join, ms, until};
use crate::wire::{ENDED, FULL, RawServer, STALE, VERSION, Welcome, reject};

fn faithful() -> Builder {
    calm().on_session_lost(SessionLoss::GiveUp)
}

/// A server that knows nothing takes the place of the old one.
fn restart(rig: &Rig) -> Listener {
    restart_as(rig, calm())
}

fn restart_as(rig: &Rig, builder: Builder) -> Listener {
    let other = builder.bind("127.0.0.1:0").unwrap();
    rig.proxy.retarget(other.local_addr());
    rig.proxy.cut(How::Fin);
    other
}

#[track_caller]
fn assert_lost<T: std::fmt::Debug>(result: Result<T, Error>, count: u64) {
    match result {
        Err(Error::SessionLost { unacknowledged, .. }) => assert_eq!(unacknowledged, count),
        other => panic!("{other:?}"),
    }
}

/// The last event is the end, and there was no new session.
#[track_caller]
fn assert_ended(side: &Side, count: u64) {
    side.says("gave up", 1);
    let events = side.log.events();
    let Some(Event::GaveUp { unacknowledged, cause, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert!(matches!(cause, Cause::Rejected(Rejection::Ended)), "{cause:?}");
    assert_eq!(*unacknowledged, count);
    assert!(!events.iter().any(|event| matches!(event, Event::SessionLost { .. })), "{events:?}");
    assert_eq!(side.stats().sessions_lost, 0);
}

#[test]
fn a_restarted_server_ends_it_and_what_was_not_acknowledged_is_given_back() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair_with(faithful());
    for number in 1..=5u8 {
        client.send([number]).unwrap();
    }
    server.takes([1]);
    server.takes([2]);
    until("the first is acknowledged", || client.stats().unacknowledged == 4);
    server.send(b"unread").unwrap();
    client.hears_all();
    let other = restart(&rig);
    client.takes(b"unread");
    assert_lost(client.recv_timeout(SOON), 4);
    assert_lost(client.send(b"more"), 4);
    assert_ended(&client, 4);
    let left = [2, 3, 4, 5].map(|number| Bytes::from(vec![number]));
    assert_eq!(client.take_unacknowledged(), left);
    // The next client of the new server is its first.
    let next = connect(calm(), other.local_addr());
    next.send(b"the first").unwrap();
    Side::new(other.accept().unwrap(), Log::new("server")).takes(b"the first");
}

#[test]
fn every_call_that_waits_returns_that_the_session_is_lost() {
    at_once(["recv", "sync", "send", "close", "close all"], |call| {
        let rig = Rig::new(calm());
        let (client, server) = rig.warm_pair_with(faithful().window(1000));
        let client = Arc::new(client);
        let mut count = 0;
        if call != "close all" {
            client.send(b"nobody takes this").unwrap();
            count += 1;
        }
        while call == "send" && client.try_send([0; 100]).is_ok() {
            count += 1;
        }
        let waiting = thread::spawn({
            let client = client.clone();
            move || match call {
                "recv" => client.recv().map(drop),
                "sync" => client.sync(SOON),
                "send" => client.send([0; 100]),
                _ => client.close(),
            }
        });
        if call.starts_with("close") {
            // One that is too large is none in any case.
            let closes = || matches!(client.try_send([0; 10_000]), Err(Error::Finished));
            until("the close is under way", closes);
        }
        let _other = restart(&rig);
        assert_lost(join(waiting), count);
        assert_eq!(client.take_unacknowledged().len() as u64, count, "{call}");
        assert_ended(&client, count);
        drop(server);
    });
}

/// A client comes back when its session has expired, and there is no other for it.
#[track_caller]
fn assert_expiry_ends_it(servers: Builder, clients: Builder) {
    let rig = Rig::new(servers.resume_within(ms(50)));
    let (client, server) = rig.warm_pair_with(clients);
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Rst);
    client.send(b"too late").unwrap();
    server.says("gave up", 1);
    rig.proxy.refuse(false);
    assert_lost(client.recv_timeout(SOON), 1);
    assert_ended(&client, 1);
    assert_eq!(client.take_unacknowledged(), ["too late"]);
}

#[test]
fn a_session_that_has_expired_ends_it() {
    assert_expiry_ends_it(calm(), faithful());
}

#[test]
fn while_its_server_does_not_answer_no_other_is_asked_and_the_session_goes_on() {
    let (rig, other) = (Rig::new(calm()), RawServer::new());
    let client = connect(faithful(), [rig.proxy.addr(), other.addr()]);
    let server = rig.accept();
    client.send(b"before").unwrap();
    server.takes(b"before");
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Fin);
    client.says("attempt 5 ", 1);
    assert!(!other.is_waited_for());
    client.send(b"meanwhile").unwrap();
    rig.proxy.refuse(false);
    client.says("resumed", 1);
    server.takes(b"meanwhile");
    server.send(b"answer").unwrap();
    client.takes(b"answer");
    client.send(b"and so on").unwrap();
    server.takes(b"and so on");
    assert!(matches!(server.try_recv(), Err(Error::WouldBlock)));
    client.sync(SOON).unwrap();
    assert_eq!(client.stats().sessions_lost, 0);
}

#[test]
fn another_path_to_its_server_is_asked() {
    let rig = Rig::new(calm());
    let second = Proxy::to(rig.listener.local_addr());
    let host = |proxy: &Proxy| -> Host { proxy.addr().to_hosts().unwrap().remove(0) };
    let hosts = [host(&rig.proxy), host(&second).alias_of(&host(&rig.proxy))];
    let client = connect(faithful(), hosts);
    let server = rig.accept();
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Rst);
    client.says("resumed", 1);
    assert_eq!(client.peer_addr(), second.addr());
    server.send(b"here").unwrap();
    client.takes(b"here");
}

#[test]
fn a_client_says_from_its_first_welcome_on_that_it_wants_no_other_session() {
    let (home, other) = (RawServer::new(), RawServer::new());
    let hosts = [home.addr(), other.addr()];
    let connecting = thread::spawn(move || connect(faithful(), hosts));
    // The answer is lost, and any host may make the first session.
    let (link, hello) = home.accept();
    assert_eq!((hello.epoch, hello.flags), (0, 0));
    link.end();
    let (link, hello) = other.accept();
    assert_eq!((hello.epoch, hello.flags), (0, 0));
    link.end();
    let (mut link, hello) = home.welcome(&Welcome::new(7));
    assert_eq!((hello.epoch, hello.flags), (0, 0));
    let client = join(connecting);
    client.send(b"lost").unwrap();
    link.read();
    link.end();
    // Its other rejections are as ever.
    for code in [FULL, STALE] {
        let (mut link, hello) = home.accept();
        assert_eq!((hello.epoch, hello.flags), (7, 1));
        link.send(reject(code));
    }
    // A server that begins another all the same is left without a word.
    let (mut link, hello) = home.welcome(&Welcome::new(8));
    assert_eq!((hello.epoch, hello.flags), (7, 1));
    assert_eq!(link.read_end(), []);
    assert_lost(client.recv_timeout(SOON), 1);
    assert_ended(&client, 1);
    assert!(!home.is_waited_for() && !other.is_waited_for());
}

#[test]
fn a_server_that_says_that_the_session_has_ended_is_believed() {
    let home = RawServer::new();
    let addr = home.addr();
    let connecting = thread::spawn(move || connect(faithful(), addr));
    let (link, _) = home.welcome(&Welcome::new(7));
    let client = join(connecting);
    link.end();
    home.accept().0.send(reject(ENDED));
    assert_lost(client.recv_timeout(SOON), 0);
    assert_ended(&client, 0);
}

#[test]
fn a_last_word_of_its_server_is_the_last_although_there_are_others() {
    let (home, other) = (RawServer::new(), RawServer::new());
    let hosts = [home.addr(), other.addr()];
    let connecting = thread::spawn(move || connect(faithful(), hosts));
    let (link, _) = home.welcome(&Welcome::new(7));
    let client = join(connecting);
    link.end();
    home.accept().0.send(reject(VERSION));
    let error = client.recv_timeout(SOON).unwrap_err();
    let Error::GaveUp { cause: Cause::Rejected(Rejection::Version), .. } = error else {
        panic!("{error:?}");
    };
    assert!(!other.is_waited_for());
}

#[test]
fn a_server_that_wants_no_second_session_begins_none_whatever_its_clients_want() {
    at_once([SessionLoss::SendAgain, SessionLoss::GiveUp], |loss| {
        let rig = Rig::new(calm());
        let (client, server) = rig.warm_pair_with(calm().on_session_lost(loss));
        client.send(b"given back").unwrap();
        server.takes(b"given back");
        client.send(b"as well").unwrap();
        let other = restart_as(&rig, faithful());
        assert_lost(client.recv_timeout(SOON), 2);
        assert_ended(&client, 2);
        assert_eq!(client.take_unacknowledged(), ["given back", "as well"]);
        // The next client of the new server is its first.
        let next = connect(calm(), other.local_addr());
        next.send(b"the first").unwrap();
        Side::new(other.accept().unwrap(), Log::new("server")).takes(b"the first");
    });
}

#[test]
fn a_server_that_has_given_a_session_up_says_so_to_a_client_that_wants_another() {
    assert_expiry_ends_it(faithful(), calm());
}

#[test]
fn a_server_that_wants_no_second_session_lets_a_client_go_on_with_its_own_or_elsewhere() {
    for theirs_goes_on in [true, false] {
        let rig = Rig::new(calm());
        let other = if theirs_goes_on { faithful() } else { calm() };
        let other = other.bind("127.0.0.1:0").unwrap();
        let client = connect(calm(), [rig.proxy.addr(), other.local_addr()]);
        let server = rig.accept();
        client.send(b"taken").unwrap();
        server.takes(b"taken");
        if theirs_goes_on {
            rig.proxy.refuse(true);
            rig.proxy.cut(How::Fin);
            client.says("the session has ended", 1);
            rig.proxy.refuse(false);
            client.says("resumed", 1);
            client.send(b"more").unwrap();
            server.takes(b"more");
            assert_eq!(client.stats().sessions_lost, 0);
        } else {
            let _restarted = restart_as(&rig, faithful());
            client.says("new session", 1);
            Side::new(other.accept().unwrap(), Log::new("other")).takes(b"taken");
        }
    }
}

#[test]
fn a_client_that_had_no_session_does_not_believe_that_it_has_ended() {
    let server = RawServer::new();
    let addr = server.addr();
    let never = calm().retry(RetryPolicy::never());
    let connecting = thread::spawn(move || never.connect(addr).unwrap_err());
    server.accept().0.send(reject(ENDED));
    let error = join(connecting);
    assert!(matches!(error, Error::GaveUp { cause: Cause::Protocol(_), .. }), "{error:?}");
}
