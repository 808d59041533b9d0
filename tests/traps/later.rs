//! Peers of other makes: of later versions, which offer and say what is not known here, and such
//! as say no more than they must. Each holds a whole session, on two links.

use std::thread;

use crate::rig::{Log, Side, calm, connect, join, until};
use crate::wire::{
    ACK, CLOSE, DATA, FIN, Hello, PONG, Raw, RawServer, WELCOME, Welcome, ack, frame, longer, ping,
};

/// How a peer speaks.
#[derive(Debug, Clone, Copy)]
enum Make {
    /// It offers nothing, and has no options.
    Sparse,
    /// It offers all features, has options of all lengths that nobody knows, says more in each
    /// frame that may be longer, and much that may be skipped.
    Later,
}

const MAKES: [Make; 2] = [Make::Sparse, Make::Later];

impl Make {
    fn features(self) -> u32 {
        match self {
            Make::Sparse => 0,
            Make::Later => u32::MAX,
        }
    }

    /// Behind HELLO or WELCOME, whose known options are others.
    fn options(self) -> Vec<u8> {
        match self {
            Make::Sparse => Vec::new(),
            Make::Later => (0..80u8)
                .flat_map(|n| [&[n, 0x80, 0, n % 40][..], &vec![n; (n % 40).into()]].concat())
                .collect(),
        }
    }

    /// Frames, as it says them.
    fn says(self, link: &mut Raw, frames: &[Vec<u8>]) {
        for frame in frames {
            match self {
                Make::Sparse => link.send(frame),
                Make::Later => {
                    let more = match frame[0] {
                        ACK | CLOSE => longer(frame, b"and more"),
                        _ => frame.clone(),
                    };
                    let skipped = [0x81, 0x9F, 0xA0, 0xBF].map(skipped_frame);
                    link.send([&skipped.concat()[..], &more, &skipped.concat()].concat());
                }
            }
        }
    }
}

fn skipped_frame(kind: u8) -> Vec<u8> {
    frame(kind, [DATA; 50])
}

fn close(consumed: u64) -> Vec<u8> {
    frame(CLOSE, [&[0][..], &consumed.to_be_bytes()].concat())
}

fn data(message: &str) -> Vec<u8> {
    frame(DATA, message)
}

/// The peer has received nothing, and ours one message. It says the second and its end.
fn goes_on(make: Make, link: &mut Raw, side: &Side) {
    assert_eq!(link.read_kind(DATA), b"one");
    make.says(link, &[ping(7), data("second")]);
    assert_eq!(link.read_kind(PONG), 7u64.to_be_bytes());
    side.takes("second");
    side.send("two").unwrap();
    assert_eq!(link.read_kind(DATA), b"two");
    make.says(link, &[ack(2, 1 << 20), frame(FIN, "")]);
    side.takes_end();
    until("all is acknowledged", || side.stats().unacknowledged == 0);
    side.finish().unwrap();
    link.read_kind(FIN);
    make.says(link, &[ack(3, 1 << 20)]);
    let [_, consumed @ ..] = &link.read_kind(CLOSE)[..] else { panic!("an empty CLOSE") };
    assert_eq!(consumed, 3u64.to_be_bytes());
    make.says(link, &[close(3)]);
    assert_eq!(link.read(), None);
    side.close().unwrap();
}

#[test]
fn a_client_of_another_make_holds_a_whole_session() {
    for make in MAKES {
        let listener = calm().bind("127.0.0.1:0").unwrap();
        let join = |hello: &Hello| {
            let mut link = Raw::connect(listener.local_addr());
            let hello = Hello { features: make.features(), ..*hello };
            link.send(longer(&hello.bytes(), &make.options()));
            let welcome = Welcome::parse(&link.read_kind(WELCOME));
            assert_eq!(welcome.features, 0, "nothing is taken that is not known");
            (link, welcome)
        };
        let hello = Hello::new(1);
        let (mut link, welcome) = join(&hello);
        let side = Side::new(listener.accept().unwrap(), Log::new("server"));
        make.says(&mut link, &[data("first")]);
        side.takes("first");
        side.send("one").unwrap();
        link.end();
        side.says("lost", 1);
        let (mut link, again) = join(&hello.next(&welcome, 0));
        assert_eq!((again.epoch, again.received), (welcome.epoch, 1));
        goes_on(make, &mut link, &side);
    }
}

#[test]
fn a_server_of_another_make_holds_a_whole_session() {
    for make in MAKES {
        let raw = RawServer::new();
        let addr = raw.addr();
        let connecting = thread::spawn(move || connect(calm(), addr));
        let welcome = |received| {
            let (mut link, hello) = raw.accept();
            assert_eq!(hello.features, 0);
            let welcome = Welcome { received, ..Welcome::new(7) };
            link.send(longer(&welcome.bytes(), &make.options()));
            (link, hello)
        };
        let (mut link, _) = welcome(0);
        let side = join(connecting);
        make.says(&mut link, &[data("first")]);
        side.takes("first");
        side.send("one").unwrap();
        link.end();
        let (mut link, hello) = welcome(0);
        assert_eq!((hello.attempt, hello.epoch, hello.received), (2, 7, 1));
        goes_on(make, &mut link, &side);
    }
}
