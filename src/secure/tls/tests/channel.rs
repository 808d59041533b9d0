//! Behind the face that a link knows.

use std::fs;
use std::io::ErrorKind;

use super::*;
use crate::identity::{Credential, Who};
use crate::proto::batch::Batch;
use crate::proto::buffer::SMALL_BUFFER;
use crate::secure::files::tests::Folder;
use crate::secure::halves::tests::{pair_of, shake_hands, strangers_of, talk_over};
use crate::secure::{Channel, End, Identity, Security, Trust};

/// A client's and the server's, which know each other.
pub(crate) fn securities() -> [Security; 2] {
    let folder = Folder::new();
    let [key, peers, invite] =
        ["server.key", "peers", "alice.invite"].map(|name| folder.path(name));
    let server = Identity::create(&key).unwrap();
    server.invite("alice", &peers, &invite).unwrap();
    let trust = Trust::peers_file(&peers).unwrap();
    let client = Security::invite(&invite).unwrap();
    fs::remove_file(invite).unwrap();
    [client, Security::keys(server, trust)]
}

#[test]
fn an_invite_lets_its_owner_in() {
    let [client, server] = securities();
    let [client_side, server_side] = pair_of(&client, &server);
    let alice = PeerIdentity::Named("alice".into());
    assert_eq!(server_side.channel.who().identity(), Some(alice));
    assert!(matches!(client_side.channel.who().identity(), Some(PeerIdentity::Key(_))));
}

/// Of each side, what is to be read next fits. When all is said, nothing more is reserved
/// than for a link in clear text.
#[test]
fn a_flight_of_the_handshake_is_one_read() {
    let [client, server] = securities();
    let mut sides = [client.connect("server").unwrap(), server.accept().unwrap()];
    let mut none = Decoder::default();
    sides[0].opener.open(&mut none);
    for [from, to] in [[0, 1], [1, 0], [0, 1]] {
        let flight = sides[from].sealer.seal_now(&[]);
        let opener = &mut sides[to].opener;
        assert_eq!(opener.space(&mut none).put(&flight), flight.len());
        opener.filled(flight.len());
        assert_eq!(opener.open(&mut none).end, None);
    }
    for side in &mut sides {
        assert!(side.is_open());
        side.opener.space(&mut none);
        assert_eq!((side.opener.memory(), none.memory()), (SMALL_BUFFER, 0));
    }
}

/// No space would read as the end of the stream.
#[test]
fn there_is_space_for_as_many_pieces_of_a_message_as_a_handshake_may_have() {
    let [_, server] = securities();
    let mut opener = server.accept().unwrap().opener;
    let message = [&[1, 0, 0xFF, 0][..], &[0; 3000]].concat();
    let records: Vec<u8> = message.iter().flat_map(|byte| [22, 3, 3, 0, 1, *byte]).collect();
    let (mut none, mut heard, mut end) = (Decoder::default(), 0, None);
    while end.is_none() {
        let n = opener.space(&mut none).put(&records[heard..]);
        assert!(n > 0, "behind {heard} bytes");
        opener.filled(n);
        heard += n;
        end = opener.open(&mut none).end;
    }
    let too_much = Failure::Protocol("too much before the hello");
    assert_eq!((end, heard), (Some(End::Broken(too_much)), 16 * 1024));
}

/// By the key that was shown, and the name that it had then.
#[test]
fn a_peer_is_trusted_as_long_as_its_key_has_its_name() {
    let [client, server] = securities();
    let [client_side, server_side] = pair_of(&client, &server);
    let alice = server_side.channel.who();
    let Who::Peer(peer) = &alice else { panic!("{alice:?}") };
    let Credential::Key(key) = peer.credential else { panic!("{peer:?}") };
    let trusts = |trust: &str, who: &Who| {
        let folder = Folder::new();
        let own = Identity::create(folder.path("key")).unwrap();
        let trust = Trust::peers_file(folder.write("peers", trust)).unwrap();
        Security::keys(own, trust).trusts(who)
    };
    let others = format!("bob {}\n", Fingerprint([7; 32]));
    assert!(trusts(&format!("{others}alice {key}\n"), &alice));
    assert!(!trusts(&format!("{others}alice {}\n", Fingerprint([8; 32])), &alice));
    assert!(!trusts(&format!("alicia {key}\n"), &alice));
    assert!(!trusts(&others, &alice));
    for who in [Who::Clear, Who::Anonymous, client_side.channel.who()] {
        assert!(!trusts(&format!("alice {key}\n"), &who), "{who:?}");
    }
}

#[test]
fn whatever_the_pieces_are_all_arrives() {
    let [client, server] = securities();
    (0..200).for_each(|seed| talk_over(&client, &server, seed));
}

/// It is open, and seals nothing any more.
#[derive(Debug)]
struct Exhausted;

impl Layer for Exhausted {
    fn open(&mut self, _: &mut Buffer, _: &mut Vec<u8>, _: &mut Decoder) -> Result<bool, Failure> {
        Ok(false)
    }

    fn seal(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), Failure> {
        Err(Failure::Tls("exhausted".into()))
    }

    fn end(&mut self, _: &mut Vec<u8>) -> Result<(), Failure> {
        panic!("it is asked for more");
    }

    fn records(&self) -> Records {
        RECORDS
    }

    fn is_open(&self) -> bool {
        true
    }

    fn speaks_longlink(&self) -> bool {
        true
    }

    fn peer(&self) -> Option<Arc<Peer>> {
        None
    }
}

#[test]
fn a_link_whose_layer_seals_nothing_more_ends_and_no_byte_of_its_batch_is_lost() {
    let mut channel = Channel::new(Box::new(Exhausted));
    let mut batch = Batch::default();
    batch.records = Some(RECORDS);
    batch.push("data".into());
    batch.end_stream();
    let error = channel.sealer.write(&mut batch, |_| panic!("nothing is sealed")).unwrap_err();
    // Not a broken pipe, which waits for its reader.
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Other, "TLS: exhausted".into()));
    assert_eq!((batch.len(), channel.sealer.unsent()), (4, 0));
    assert_eq!(channel.sealer.farewell(), b"");
    let end = channel.opener.open(&mut Decoder::default()).end;
    assert_eq!(end, Some(End::Broken(Failure::Tls("exhausted".into()))));
}

#[test]
fn a_stranger_hears_it_from_the_server_itself() {
    let folder = Folder::new();
    let new = |name| Identity::create(folder.path(name)).unwrap();
    let (server, client, known) = (new("server"), new("client"), new("known"));
    let trusts = Trust::fingerprint(server.fingerprint());
    let lets_in = Trust::fingerprint(known.fingerprint());
    let (shown, server) = (client.fingerprint(), Security::keys(server, lets_in));
    let mut sides = strangers_of(&Security::keys(client, trusts), &server);
    let untrusted = Failure::Untrusted { shown: Box::new(shown), expected: [].into() };
    assert_eq!(shake_hands(&mut sides), Some(End::Broken(untrusted)));
    let [client, server] = &mut sides;
    assert!(client.channel.is_open() && !server.channel.is_open());
    let words = server.channel.sealer.farewell();
    server.put(&words);
    let refused = Failure::Rejected(Rejection::Untrusted);
    assert_eq!(client.read_all(server), Some(End::Broken(refused)));
}
