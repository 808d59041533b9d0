//! An end that a receiver finds behind a message.

use super::*;
use crate::proto::frame::Ack;

/// Else a connection that is over on both sides keeps its link until the driver's next tick.
#[test]
fn a_receiver_that_finds_the_end_of_both_directions_ends_the_connection() {
    let message = Frame::data(Bytes::from_static(b"message")).to_bytes();
    let acknowledged = Frame::Ack(Ack { consumed: 1, window: LIMITS.window }).to_bytes();
    let frames = [acknowledged, message, Frame::Fin.to_bytes()].concat();
    for (protocol, bytes) in [(framed(), &frames[..]), (plain(), b"message\n")] {
        let (shared, mut peer) = carry(protocol, None);
        let connection = Connection::new(shared.clone());
        connection.finish().unwrap();
        peer.write_all(bytes).unwrap();
        let has_come = || {
            let status = shared.lock().protocol.status();
            status.has_next && (status.framed || !status.may_read)
        };
        if !shared.lock().protocol.status().framed {
            peer.shutdown(Shutdown::Write).unwrap();
        }
        while !has_come() {
            shared.lock().read_covered();
        }
        assert!(connection.recv().unwrap().is_some(), "{bytes:?}");
        assert!(!shared.lock().has_ended(), "{bytes:?}");
        assert_eq!(connection.recv().unwrap(), None, "{bytes:?}");
        assert!(shared.lock().has_ended(), "{bytes:?}: that waits for the driver");
    }
}
