//! After the handshake.

use rustls::ContentType;

use super::forger::{Forger, KEY_UPDATE, ticket};
use super::*;

const IN_PIECES: Failure = Failure::Protocol("a message of TLS in pieces");

#[test]
#[should_panic(expected = "out of range for slice of length 0")]
fn a_message_in_pieces_is_a_trap_in_rustls() {
    let (mut client, server) = Forger::client();
    let Connection::Server(mut tls) = server.tls.connection else { unreachable!() };
    let mut input = client.forge(ContentType::Handshake, &[KEY_UPDATE, 0]);
    let status = tls.process_tls_records(&mut input);
    assert!(status.discard == 0 && matches!(status.state, Ok(ConnectionState::WriteTraffic(_))));
    // As a writer does.
    let _ = tls.process_tls_records(&mut []);
}

/// A piece of each length, of either side, also behind data in the same read.
#[test]
fn a_message_in_pieces_ends_the_link_and_nothing_panics() {
    let message = [KEY_UPDATE, 0, 0, 1, 1];
    for (forger, with_data) in
        [(Forger::client as fn() -> _, false), (Forger::client, true), (Forger::server, false)]
    {
        for len in 1..message.len() {
            let (mut forger, mut side): (Forger, Side) = forger();
            let mut bytes = Vec::new();
            if with_data {
                bytes.extend(forger.forge(ContentType::ApplicationData, b"data"));
            }
            bytes.extend(forger.forge(ContentType::Handshake, &message[..len]));
            bytes.extend(forger.forge(ContentType::Handshake, &message[len..]));
            // The last record comes only in part.
            bytes.truncate(bytes.len() - 1);
            side.hear(&bytes);
            assert_eq!(side.failure, Some(IN_PIECES), "{len}");
            assert_eq!(side.heard(), if with_data { &b"data"[..] } else { b"" });
            let mut output = Vec::new();
            assert_eq!(side.tls.seal(b"more", &mut output), Err(OUT_OF_TURN));
            assert_eq!(side.tls.end(&mut output), Err(OUT_OF_TURN));
            assert_eq!(output, b"");
        }
    }
}

/// A whole message that comes in two records, both of them in one read, is in order.
#[test]
fn a_message_that_is_whole_after_all_is_heard() {
    let (mut client, mut server) = Forger::client();
    let mut bytes = client.forge(ContentType::Handshake, &[KEY_UPDATE, 0]);
    bytes.extend(client.forge(ContentType::Handshake, &[0, 1, 0]));
    server.hear(&bytes);
    assert_eq!(server.failure, None);
    server.seal(b"nothing panics");
}

#[test]
fn a_new_session_ticket_is_ignored() {
    let (mut server, mut client) = Forger::server();
    for _ in 0..1000 {
        client.hear(&server.forge(ContentType::Handshake, &ticket()));
    }
    client.hear(&server.forge(ContentType::ApplicationData, b"data"));
    assert_eq!((client.failure.take(), client.take_control()), (None, Vec::new()));
    assert_eq!(client.heard(), b"data");
    client.seal(b"nothing panics");
}

#[test]
fn a_record_takes_what_was_predicted_and_opens_to_what_was_sealed() {
    let (mut client, mut server) = pair();
    let most = RECORDS.most;
    let plain: Vec<u8> = (0..most).map(|i| (i * 7 + i / 256) as u8).collect();
    for len in (1..200).chain([1000, 4096, most - 1, most]) {
        let record = client.seal(&plain[..len]);
        assert_eq!(record.len(), RECORDS.on_wire(len), "{len}");
        server.hear(&record);
        assert_eq!(server.heard(), plain[..len], "{len}");
    }
}

/// Less than one record stays, and that is all that stays.
#[test]
fn what_has_come_whole_is_opened_at_once() {
    let (mut client, mut server) = pair();
    let records: Vec<u8> = (0..20).flat_map(|i| client.seal(&[i; 100])).collect();
    for chunk in [1, 7, 122, 123, 1000, records.len()] {
        let (mut client, mut side) = pair();
        let records: Vec<u8> = (0..20).flat_map(|i| client.seal(&[i; 100])).collect();
        for (i, bytes) in records.chunks(chunk).enumerate() {
            side.hear(bytes);
            let come = records.len().min((i + 1) * chunk);
            assert_eq!(side.input.unread().len(), come % 122);
            assert_eq!(side.decoder.unread().len(), come / 122 * 100);
        }
        assert!(side.is_well());
    }
    server.hear(&records);
    assert_eq!(server.heard(), (0..20).flat_map(|i| [i; 100]).collect::<Vec<u8>>());
}

#[test]
fn a_record_that_is_altered_missing_doubled_or_moved_ends_the_link() {
    let alter: [fn(&mut Vec<Vec<u8>>); 5] = [
        |records| records.swap(0, 1),
        |records| drop(records.remove(0)),
        |records| records.insert(1, records[0].clone()),
        |records| records[0].truncate(60),
        |records| records[1].insert(30, 0),
    ];
    for (i, alter) in alter.iter().enumerate() {
        let (mut client, mut server) = pair();
        let mut records: Vec<_> = (0..3).map(|i| client.seal(&[i; 50])).collect();
        alter(&mut records);
        server.hear(&records.concat());
        assert!(matches!(server.failure, Some(Failure::Tls(_))), "{i}: {:?}", server.failure);
        assert!(server.heard().len() <= 50);
    }
}

#[test]
fn any_byte_of_a_record_that_is_flipped_ends_the_link_and_the_peer_is_told() {
    let len = pair().0.seal(b"data").len();
    for at in 0..len {
        let (mut client, mut server) = pair();
        let mut record = client.seal(b"data");
        record[at] ^= 1 << (at % 8);
        server.hear(&record);
        if at == 0 || at == 2 {
            // Outside, neither the type nor the version says anything.
            assert_eq!(server.heard(), b"data");
        } else if server.failure.is_some() {
            assert_eq!(server.heard(), b"");
            let alert = server.take_control();
            client.hear(&alert);
            assert!(matches!(client.failure, Some(Failure::Tls(_))), "{at}: {:?}", client.failure);
            assert_eq!(server.tls.seal(b"more", &mut server.control), Err(OUT_OF_TURN));
        } else {
            // A length that waits for more.
            assert!((3..5).contains(&at), "{at}");
            assert_eq!(server.heard(), b"");
        }
    }
}

#[test]
fn a_cut_at_any_byte_is_no_end() {
    let (mut client, mut server) = pair();
    let record = client.seal(b"data");
    for byte in &record[..record.len() - 1] {
        server.hear(&[*byte]);
        assert!(server.is_well() && !server.ended && server.decoder.unread().is_empty());
    }
}

#[test]
fn each_side_ends_by_itself() {
    for client_first in [true, false] {
        let (client, server) = pair();
        let (mut first, mut second) =
            if client_first { (client, server) } else { (server, client) };
        second.hear(&[first.seal(b"last"), first.end()].concat());
        assert!(second.ended && second.is_well());
        assert_eq!(second.heard(), b"last");
        // The other direction goes on.
        for i in 0..3 {
            first.hear(&second.seal(&[i; 1000]));
            assert_eq!(first.heard(), [i; 1000]);
        }
        first.hear(&second.end());
        assert!(first.ended && first.is_well());
    }
}

#[test]
fn both_sides_may_end_at_once() {
    let (mut client, mut server) = pair();
    let (up, down) = (client.end(), server.end());
    client.hear(&down);
    server.hear(&up);
    assert!(client.ended && server.ended && client.is_well() && server.is_well());
}

#[test]
fn what_follows_an_end_is_thrown_away() {
    let (mut forger, mut server) = Forger::client();
    let end = forger.forge(ContentType::Alert, &[1, 0]);
    let behind = forger.forge(ContentType::ApplicationData, b"data");
    server.hear(&[&end[..], &behind, b"junk"].concat());
    server.hear(&behind);
    assert!(server.ended && server.is_well());
    assert_eq!((server.heard(), server.input.unread()), (Vec::new(), &[][..]));
    // And the other direction goes on.
    server.seal(b"data");
}

/// rustls has a debug assertion against this, which Cargo.toml switches off: a byte on the
/// path must not panic.
#[test]
fn a_broken_record_behind_our_own_end_panics_nowhere() {
    let (mut client, mut server) = pair();
    client.hear(&server.end());
    let mut record = client.seal(b"data");
    record[10] ^= 1;
    server.hear(&record);
    assert_eq!(server.failure, Some(Failure::Tls("cannot decrypt peer's message".into())));
}

fn change_keys(side: &mut Side) {
    fn change<D>(status: UnbufferedStatus<'_, '_, D>) {
        let Ok(ConnectionState::WriteTraffic(writer)) = status.state else { panic!("not open") };
        writer.refresh_traffic_keys().unwrap();
    }
    match &mut side.tls.connection {
        Connection::Client(tls) => change(tls.process_tls_records(&mut [])),
        Connection::Server(tls) => change(tls.process_tls_records(&mut [])),
    }
}

#[test]
fn keys_change_while_data_flows() {
    let (mut client, mut server) = pair();
    for round in 0..100u8 {
        if round % 3 != 1 {
            change_keys(&mut client);
        }
        if round % 3 != 2 {
            change_keys(&mut server);
        }
        let (up, down) = (client.seal(&[round; 300]), server.seal(&[round; 200]));
        server.hear(&up);
        client.hear(&down);
        assert_eq!((server.heard(), client.heard()), (vec![round; 300], vec![round; 200]));
    }
    assert_connected(&mut client, &mut server);
}

/// The answer waits for the next record, as RFC 8446, 4.6.3, has it; a record is longer by it.
#[test]
fn a_change_of_keys_is_answered_in_front_of_the_next_record() {
    let (mut forger, mut server) = Forger::client();
    server.hear(&forger.update_keys(true));
    server.hear(&forger.update_keys(true));
    assert!(server.is_well());
    assert_eq!(server.take_control(), b"");
    let plain = RECORDS.on_wire(4);
    assert_eq!(server.seal(b"data").len(), plain + CHANGES / 2);
    assert_eq!(server.seal(b"data").len(), plain);

    // Both its own and an answer.
    server.hear(&forger.update_keys(true));
    change_keys(&mut server);
    assert_eq!(server.seal(b"data").len(), plain + CHANGES);
    server.hear(&forger.forge(ContentType::ApplicationData, b"data"));
    assert_eq!(server.heard(), b"data");
}

#[test]
fn a_flood_of_changes_of_keys_or_of_empty_records_ends_the_link() {
    type Flood = fn(&mut Forger) -> Vec<u8>;
    let floods: [(Flood, &str); 3] = [
        (|forger| forger.update_keys(true), "TooManyKeyUpdateRequests"),
        (|forger| forger.update_keys(false), "TooManyKeyUpdateRequests"),
        (|forger| forger.forge(ContentType::ApplicationData, b""), "TooManyEmptyFragments"),
    ];
    for (flood, why) in floods {
        let (mut forger, mut server) = Forger::client();
        for _ in 0..32 {
            server.hear(&flood(&mut forger));
            assert!(server.is_well());
        }
        server.hear(&flood(&mut forger));
        assert_eq!(server.failure, Some(Failure::Tls(format!("peer misbehaved: {why}").into())));
        assert_eq!(server.take_control(), b"");

        // With data in between there may be any number.
        let (mut forger, mut server) = Forger::client();
        for i in 0..200 {
            server.hear(&flood(&mut forger));
            if i % 20 == 0 {
                server.hear(&forger.forge(ContentType::ApplicationData, b"data"));
            }
        }
        assert!(server.is_well());
    }
}

#[test]
fn what_has_no_place_after_the_handshake_ends_the_link() {
    let client_hello = [1, 0, 0, 4, 3, 3, 0, 0];
    let certificate_request = [13, 0, 0, 3, 0, 0, 0];
    let messages: [(ContentType, &[u8]); 9] = [
        (ContentType::Handshake, &client_hello),
        (ContentType::Handshake, &certificate_request),
        (ContentType::Handshake, &[20, 0, 0, 0]),
        (ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, 2]),
        (ContentType::Handshake, &[KEY_UPDATE, 0, 0, 0]),
        (ContentType::ChangeCipherSpec, &[1]),
        (ContentType::Heartbeat, &[1, 0, 0]),
        (ContentType::Unknown(99), &[0]),
        (ContentType::Alert, &[2]),
    ];
    for (i, (typ, plain)) in messages.into_iter().enumerate() {
        for forger in [Forger::client, Forger::server] {
            let (mut forger, mut side) = forger();
            side.hear(&forger.forge(typ, plain));
            assert!(side.failure.is_some() && !side.ended, "{i}");
        }
    }
}

/// A warning is none in TLS 1.3 (RFC 8446, 6), and no other alert is an end.
#[test]
fn an_alert_that_is_sealed_ends_the_link_in_disorder() {
    for (level, alert) in (1..=2).flat_map(|level| (1..=255).map(move |alert| (level, alert))) {
        // user_canceled announces an end, and is none.
        if (level, alert) != (1, 90) {
            let (mut forger, mut server) = Forger::client();
            server.hear(&forger.forge(ContentType::Alert, &[level, alert]));
            assert!(matches!(server.failure, Some(Failure::Tls(_))), "{level} {alert}");
            assert!(!server.ended);
        }
    }
}

/// It is the server that refuses.
#[test]
fn what_a_server_says_of_keys_is_a_refusal() {
    let refused = |rejection| Some(Failure::Rejected(rejection));
    for alert in 1..=255 {
        let (mut forger, mut client) = Forger::server();
        client.hear(&forger.forge(ContentType::Alert, &[2, alert]));
        match alert {
            116 => assert_eq!(client.failure, refused(Rejection::AuthenticationRequired)),
            42..=44 | 46 | 48 | 49 => {
                assert_eq!(client.failure, refused(Rejection::Untrusted), "{alert}")
            }
            _ => assert!(matches!(client.failure, Some(Failure::Tls(_))), "{alert}"),
        }
    }
}

#[test]
fn a_record_that_is_too_long_ends_the_link() {
    let (mut forger, mut server) = Forger::client();
    server.hear(&forger.forge(ContentType::ApplicationData, &vec![0; 16 * 1024 + 1]));
    assert!(server.failure.is_some() && server.heard().is_empty());
    let (_, mut server) = pair();
    server.hear(&[0x17, 3, 3, 0xFF, 0xFF]);
    assert!(server.failure.is_some());
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_over() {
    let (mut client, mut server) = friends();
    let hello = client.take_control();
    // A piece of the handshake is there: rustls would look for it.
    server.hear(&hello[..100]);
    for side in [&mut client, &mut server] {
        assert_eq!(side.tls.seal(b"data", &mut side.control), Err(OUT_OF_TURN));
        assert_eq!(side.control, b"");
    }
}
