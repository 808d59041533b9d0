//! One end of a sealed link, to which somebody on the path, or the peer, says anything.

use std::io;

use crate::proto::batch::Batch;
use crate::proto::buffer::LARGE_BUFFER;
use crate::proto::frame::Decoder;
use crate::proto::testing::choices::Choices;
use crate::secure::{Channel, End, Opened, Security};
use crate::sync::Arc;

/// A record is not larger than this, and a buffer is a power of two.
const MOST: usize = 32 * 1024;

struct Reader {
    channel: Channel,
    decoder: Decoder,
    got: Vec<u8>,
    end: Option<End>,
}

pub(super) fn run(bytes: &[u8]) {
    let mut choices = Choices::of(bytes);
    // How much of the handshake nobody disturbs.
    let flights = choices.usize(..=3);
    let (mut reader, mut peer) = acquaintances(flights);
    if flights == 3 && choices.bool() {
        std::mem::swap(&mut reader, &mut peer);
    }
    // What an honest peer has said.
    let mut said = Vec::new();
    let (mut disturbed, mut forged) = (false, false);
    let mut last = Vec::new();
    for turn in 0.. {
        if choices.are_over() || reader.end.is_some() {
            break;
        }
        let mut stream = match choices.u8(..8) {
            0 => last.clone(),
            1 => {
                let [kind, high, low] = [(); 3].map(|()| choices.u8(..));
                forged = true;
                vec![kind, 3, 3, high, low]
            }
            2 => {
                forged = true;
                let len = choices.usize(..100);
                choices.take(len).to_vec()
            }
            _ => {
                let len = if peer.channel.is_open() { choices.usize(..300) } else { 0 };
                let plain: Vec<u8> = (said.len()..said.len() + len).map(|at| at as u8).collect();
                said.extend(&plain);
                peer.channel.sealer.seal_now(&plain)
            }
        };
        let honest = stream.clone();
        match choices.u8(..8) {
            _ if stream.is_empty() => {}
            0 => {
                let at = choices.usize(..stream.len());
                stream[at] ^= choices.u8(..).max(1);
            }
            1 => stream.truncate(choices.usize(..stream.len())),
            _ => {}
        }
        // Of an honest peer nothing comes twice, and everything as it was.
        disturbed |= forged || stream != honest || (stream == last && !last.is_empty());
        last = honest;
        reader.hear(&stream, &mut choices);
        assert!(forged || said.starts_with(&reader.got), "what nobody has said");
        assert!(disturbed || reader.got == said, "it waits where nobody sees it");
        assert!(disturbed || reader.end.is_none(), "{:?} of an honest peer", reader.end);
        // Sooner or later the reader is answered.
        if choices.u8(..4) > 0 || turn % 16 == 0 {
            let answers = reader.channel.sealer.seal_now(&[]);
            peer.hear(&answers, &mut choices);
        }
    }
    reader.leave();
}

/// A server and a client, behind so many flights of the handshake. The first of the two hears
/// the next.
fn acquaintances(flights: usize) -> (Reader, Reader) {
    let security = |name, trusts| Security::toy(name, &[trusts], Arc::default());
    let (server, client) = (security("server", "client"), security("client", "server"));
    let mut all = Choices::of(&[]);
    let (mut reader, mut peer) =
        (Reader::new(server.accept()), Reader::new(client.connect("server")));
    peer.open();
    for _ in 0..flights {
        let flight = peer.channel.sealer.seal_now(&[]);
        reader.hear(&flight, &mut all);
        assert_eq!(reader.end, None, "a flight of the handshake");
        std::mem::swap(&mut reader, &mut peer);
    }
    (reader, peer)
}

impl Reader {
    fn new<E>(channel: Result<Channel, E>) -> Reader {
        let Ok(channel) = channel else { panic!("there is no way to seal") };
        Reader { channel, decoder: Decoder::default(), got: Vec::new(), end: None }
    }

    /// In pieces.
    fn hear(&mut self, mut stream: &[u8], choices: &mut Choices) {
        while !stream.is_empty() && self.end.is_none() {
            let piece = choices.piece(stream);
            let n = self.channel.opener.space(&mut self.decoder).put(piece);
            assert!(n > 0, "no space reads as the end of a stream");
            self.channel.opener.filled(n);
            stream = &stream[n..];
            self.open();
        }
    }

    fn open(&mut self) {
        let Opened { end, .. } = self.channel.opener.open(&mut self.decoder);
        self.got.extend_from_slice(self.decoder.take_all());
        self.end = end;
        let memory = [self.channel.opener.memory(), self.decoder.memory()];
        assert!(memory[0] <= MOST && memory[1] <= LARGE_BUFFER, "{memory:?} bytes reserved");
    }

    /// However it has ended.
    fn leave(mut self) {
        let at_end = self.channel.opener.at_end();
        assert_eq!(at_end == End::InOrder, self.end == Some(End::InOrder));
        if let Some(End::Broken(_)) = self.end {
            let before = self.end.clone();
            self.open();
            assert_eq!(self.end, before, "it goes on");
            let result = self.channel.sealer.write(&mut Batch::default(), |_| Ok(true));
            assert_eq!(result.map_err(|e| e.kind()), Err(io::ErrorKind::BrokenPipe));
        }
        let words = self.channel.sealer.farewell();
        assert!(words.len() < 20_000, "{} bytes", words.len());
    }
}
