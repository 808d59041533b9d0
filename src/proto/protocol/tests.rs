use super::*;
use crate::proto::buffer::SMALL_BUFFER;
use crate::proto::close::Close;
use crate::proto::frame::Frame;
use crate::proto::handshake::Limits;
use crate::proto::heartbeat::Heartbeat;
use crate::sync;

#[test]
fn what_follows_a_close_is_not_decoded() {
    let limits = Limits { window: 10_000, max_message: 10_000 };
    let garbage = [
        vec![0xFF; 100],
        Frame::data(vec![0; 100].into()).to_bytes().into(),
        vec![3, 0, 0, 0x20, 0, 1],
        vec![8, 0, 0, 0, 9],
    ];
    for behind in garbage {
        let now = sync::now();
        let hello = Session::client(limits, Heartbeat::off(), now).next_hello();
        let mut protocol =
            Protocol::Framed(Session::server(&hello, 1, limits, Heartbeat::off(), now));
        let mut decoder = Decoder::default();
        decoder.allow_data(limits.max_message);
        let close = Frame::Close(Close { code: CloseCode::Aborted, consumed: 0 });
        decoder.push(&[&close.to_bytes()[..], &behind].concat());
        assert_eq!(protocol.hear(1, &mut decoder, now), Ok(Some(Seen::Closed)));
        for _ in 0..100 {
            assert_eq!(protocol.hear(1, &mut decoder, now), Ok(None));
            decoder.push(&behind);
        }
        assert!(decoder.memory() <= 2 * SMALL_BUFFER, "{} bytes", decoder.memory());
    }
}
