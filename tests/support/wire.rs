//! The wire by hand: peers that keep to the protocol as far as a test wants. Over TLS they
//! say the same.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

#[cfg(feature = "tls")]
pub(crate) mod tls;

/// The patience of every read and write.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const HELLO: u8 = 0xF8;
pub(crate) const WELCOME: u8 = 0x01;
pub(crate) const REJECT: u8 = 0x02;
pub(crate) const DATA: u8 = 0x03;
pub(crate) const FIN: u8 = 0x04;
pub(crate) const ACK: u8 = 0x05;
pub(crate) const PING: u8 = 0x06;
pub(crate) const PONG: u8 = 0x07;
pub(crate) const CLOSE: u8 = 0x08;
/// One of those that are skipped by a peer that does not know it.
#[allow(dead_code, reason = "of use to some tests")]
pub(crate) const GOING_AWAY: u8 = 0x80;

/// The codes of a rejection.
pub(crate) const FULL: u8 = 1;
pub(crate) const SHUTTING_DOWN: u8 = 2;
pub(crate) const VERSION: u8 = 3;
pub(crate) const STALE: u8 = 4;
pub(crate) const ENDED: u8 = 5;
pub(crate) const PROTOCOL: u8 = 6;

pub(crate) fn frame(kind: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let len = u32::try_from(body.len()).unwrap();
    [&[kind][..], &len.to_be_bytes(), body].concat()
}

/// A frame with more behind its body.
#[allow(dead_code, reason = "of use to some tests")]
pub(crate) fn longer(frame: &[u8], more: &[u8]) -> Vec<u8> {
    self::frame(frame[0], [&frame[5..], more].concat())
}

/// A header that promises this much.
pub(crate) fn header(kind: u8, len: u32) -> Vec<u8> {
    [&[kind][..], &len.to_be_bytes()].concat()
}

pub(crate) fn ack(consumed: u64, window: u32) -> Vec<u8> {
    frame(ACK, [&consumed.to_be_bytes()[..], &window.to_be_bytes()].concat())
}

/// The classes of a rejection.
pub(crate) const LATER: u8 = 1;
#[allow(dead_code, reason = "of use to some tests")]
pub(crate) const ELSEWHERE: u8 = 2;
pub(crate) const NEVER: u8 = 3;

/// Of the class that the code has, if it is known.
pub(crate) fn reject(code: u8) -> Vec<u8> {
    let later = [FULL, SHUTTING_DOWN, STALE, PROTOCOL].contains(&code);
    reject_as(code, if later { LATER } else { NEVER }, 0)
}

/// To come back after so many milliseconds, with a text that acts on terminals, and is none.
pub(crate) fn reject_as(code: u8, class: u8, after: u32) -> Vec<u8> {
    let versions = [0, 1, 0, 1];
    let body = [&[code, class][..], &after.to_be_bytes(), &versions, b"no\x1b[2J\xff"];
    frame(REJECT, body.concat())
}

/// In milliseconds.
#[allow(dead_code, reason = "of use to some tests")]
pub(crate) fn going_away(after: u32, spread: u32) -> Vec<u8> {
    frame(GOING_AWAY, [after.to_be_bytes(), spread.to_be_bytes()].concat())
}

pub(crate) fn ping(id: u64) -> Vec<u8> {
    frame(PING, id.to_be_bytes())
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) token: [u8; 16],
    pub(crate) attempt: u64,
    pub(crate) epoch: u64,
    pub(crate) received: u64,
    pub(crate) window: u32,
    pub(crate) max_message: u32,
    /// In milliseconds; 0: no heartbeats.
    pub(crate) interval: u32,
    pub(crate) flags: u8,
    pub(crate) features: u32,
}

impl Hello {
    /// The first of a client that pings once a minute.
    pub(crate) fn new(token: u8) -> Hello {
        Hello {
            version: 1,
            token: [token; 16],
            attempt: 1,
            epoch: 0,
            received: 0,
            window: 1 << 20,
            max_message: 1 << 18,
            interval: 60_000,
            flags: 0,
            features: 0,
        }
    }

    /// The next one, to resume.
    pub(crate) fn next(self, welcome: &Welcome, received: u64) -> Hello {
        Hello { attempt: self.attempt + 1, epoch: welcome.epoch, received, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = b"LLNK".to_vec();
        body.extend(self.version.to_be_bytes());
        body.extend(self.token);
        body.extend(self.attempt.to_be_bytes());
        body.extend(self.epoch.to_be_bytes());
        body.extend(self.received.to_be_bytes());
        body.extend(self.window.to_be_bytes());
        body.extend(self.max_message.to_be_bytes());
        body.extend(self.interval.to_be_bytes());
        body.push(self.flags);
        body.extend(self.features.to_be_bytes());
        frame(HELLO, body)
    }

    fn parse(body: &[u8]) -> Hello {
        let mut body = Fields(body);
        assert_eq!(body.take(), *b"LLNK");
        Hello {
            version: u16::from_be_bytes(body.take()),
            token: body.take(),
            attempt: u64::from_be_bytes(body.take()),
            epoch: u64::from_be_bytes(body.take()),
            received: u64::from_be_bytes(body.take()),
            window: u32::from_be_bytes(body.take()),
            max_message: u32::from_be_bytes(body.take()),
            interval: u32::from_be_bytes(body.take()),
            flags: u8::from_be_bytes(body.take()),
            features: u32::from_be_bytes(body.take()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Welcome {
    pub(crate) version: u16,
    pub(crate) epoch: u64,
    pub(crate) received: u64,
    pub(crate) window: u32,
    pub(crate) max_message: u32,
    pub(crate) interval: u32,
    pub(crate) resume_within: u32,
    pub(crate) features: u32,
}

impl Welcome {
    pub(crate) fn new(epoch: u64) -> Welcome {
        let (window, max_message) = (1 << 20, 1 << 18);
        Welcome {
            version: 1,
            epoch,
            received: 0,
            window,
            max_message,
            interval: 75_000,
            resume_within: 60_000,
            features: 0,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend(self.epoch.to_be_bytes());
        body.extend(self.received.to_be_bytes());
        body.extend(self.window.to_be_bytes());
        body.extend(self.max_message.to_be_bytes());
        body.extend(self.interval.to_be_bytes());
        body.extend(self.resume_within.to_be_bytes());
        body.extend(self.features.to_be_bytes());
        frame(WELCOME, body)
    }

    pub(crate) fn parse(body: &[u8]) -> Welcome {
        let mut body = Fields(body);
        Welcome {
            version: u16::from_be_bytes(body.take()),
            epoch: u64::from_be_bytes(body.take()),
            received: u64::from_be_bytes(body.take()),
            window: u32::from_be_bytes(body.take()),
            max_message: u32::from_be_bytes(body.take()),
            interval: u32::from_be_bytes(body.take()),
            resume_within: u32::from_be_bytes(body.take()),
            features: u32::from_be_bytes(body.take()),
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        *field
    }
}

/// One end of a link.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<Arc<tls::Tls>>,
}

impl Raw {
    /// In clear text.
    fn new(socket: TcpStream) -> Raw {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Raw {
            socket,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// A client's end. TLS begins with the first bytes that it sends.
    pub(crate) fn over(socket: TcpStream) -> Raw {
        #[cfg(feature = "tls")]
        if let Some(party) = tls::party() {
            return Raw::secured(socket, party);
        }
        Raw::new(socket)
    }

    /// The end of a client with this key.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(socket: TcpStream, party: &tls::Party) -> Raw {
        Raw { tls: Some(Arc::new(tls::Tls::connect(party))), ..Raw::new(socket) }
    }

    /// Changes the keys of TLS so many times, if the peer still listens.
    #[cfg(feature = "tls")]
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn change_keys(&mut self, times: usize) {
        if let Some(tls) = &self.tls {
            let _ = tls.change_keys(&self.socket, times);
        }
    }

    /// Its records are made by hand from now on. All that came was read, and nothing was sent.
    #[cfg(feature = "tls")]
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn by_hand(self) -> tls::ByHand {
        let tls = self.tls.and_then(Arc::into_inner).expect("an end of TLS");
        tls::ByHand::new(self.socket, tls)
    }

    pub(crate) fn connect(addr: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(addr).unwrap())
    }

    /// Another handle of the same end: one thread reads, and one writes.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn try_clone(&self) -> io::Result<Raw> {
        Ok(Raw {
            socket: self.socket.try_clone()?,
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
        })
    }

    /// Says hello, and is welcomed, or rejected with a code.
    #[track_caller]
    pub(crate) fn greet(addr: SocketAddr, hello: &Hello) -> Result<(Raw, Welcome), u8> {
        Raw::connect(addr).greets(hello)
    }

    #[track_caller]
    pub(crate) fn greets(mut self, hello: &Hello) -> Result<(Raw, Welcome), u8> {
        self.send(hello.bytes());
        match self.read() {
            Some((WELCOME, body)) => Ok((self, Welcome::parse(&body))),
            Some((REJECT, body)) => Err(body[0]),
            other => panic!("no answer to a hello: {other:?}"),
        }
    }

    /// Says hello, and is welcomed.
    #[track_caller]
    pub(crate) fn join(addr: SocketAddr, hello: &Hello) -> (Raw, Welcome) {
        Raw::greet(addr, hello).unwrap_or_else(|code| panic!("rejected: {code}"))
    }

    /// Says hello, and is rejected with a code.
    #[track_caller]
    pub(crate) fn rejected(addr: SocketAddr, hello: &Hello) -> u8 {
        match Raw::greet(addr, hello) {
            Ok((_, welcome)) => panic!("not rejected: {welcome:?}"),
            Err(code) => code,
        }
    }

    #[allow(dead_code, reason = "of use to some tests")]
    /// Closing it from now on is a reset, which leaves its port free at once.
    pub(crate) fn end_with_reset(self) -> Raw {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
        self
    }

    /// Writes, if the peer still listens.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.write_all(bytes.as_ref());
    }

    /// The next frame that may not be skipped; `None` when the link has ended.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match self.read_any() {
                Some((0x80..=0xBF, _)) => {}
                frame => return frame,
            }
        }
    }

    /// The next frame.
    #[track_caller]
    pub(crate) fn read_any(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        if let Err(e) = self.read_exact(&mut header) {
            let timeout = matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            assert!(!timeout, "nothing comes");
            return None;
        }
        let [kind, len @ ..] = header;
        let mut body = vec![0; u32::from_be_bytes(len) as usize];
        self.read_exact(&mut body).ok()?;
        Some((kind, body))
    }

    /// The body of the next frame of this kind.
    #[track_caller]
    pub(crate) fn read_kind(&mut self, wanted: u8) -> Vec<u8> {
        loop {
            match self.read() {
                Some((kind, body)) if kind == wanted => return body,
                Some(_) => {}
                None => panic!("the link ended before a frame {wanted:#x}"),
            }
        }
    }

    /// Waits until the other side has ended the link. Returns the kinds of
    /// frames that came before.
    #[track_caller]
    pub(crate) fn read_end(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.read()).map(|(kind, _)| kind).collect()
    }

    /// Whether the other side has ended the link; does not wait.
    pub(crate) fn has_ended(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let ended = self.ends_now();
        self.socket.set_nonblocking(false).unwrap();
        ended
    }

    fn ends_now(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.has_ended(&self.socket);
        }
        match self.socket.peek(&mut [0]) {
            Ok(n) => n == 0,
            Err(e) => e.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Over TLS, too, it ends as a link does that is cut.
    pub(crate) fn end(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.read(&self.socket, buffer);
        }
        self.socket.read(buffer)
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.write_all(&self.socket, bytes).map(|()| bytes.len());
        }
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The other end of a client.
pub(crate) struct RawServer {
    listener: TcpListener,
    #[cfg(feature = "tls")]
    party: Option<tls::Party>,
}

impl RawServer {
    pub(crate) fn new() -> RawServer {
        RawServer {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            #[cfg(feature = "tls")]
            party: tls::party().cloned(),
        }
    }

    /// One with this key.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(party: &tls::Party) -> RawServer {
        RawServer { party: Some(party.clone()), ..RawServer::new() }
    }

    /// Whatever the others do.
    #[cfg(feature = "tls")]
    pub(crate) fn in_clear() -> RawServer {
        RawServer { party: None, ..RawServer::new() }
    }

    /// One that takes in little.
    pub(crate) fn narrow() -> RawServer {
        let server = RawServer::new();
        SockRef::from(&server.listener).set_recv_buffer_size(4096).unwrap();
        server
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn take(&self) -> Raw {
        let raw = Raw::new(self.listener.accept().unwrap().0);
        #[cfg(feature = "tls")]
        if let Some(party) = &self.party {
            return Raw { tls: Some(Arc::new(tls::Tls::accept(party))), ..raw };
        }
        raw
    }

    /// Whether a client has connected; does not wait.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept().is_ok();
        self.listener.set_nonblocking(false).unwrap();
        accepted
    }

    /// A client that is made by `connect`, and what it is connected to.
    #[track_caller]
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn meet<T: Send>(&self, connect: impl FnOnce(SocketAddr) -> T + Send) -> (Raw, T) {
        std::thread::scope(|scope| {
            let connecting = scope.spawn(|| connect(self.addr()));
            let raw = self.take();
            #[cfg(feature = "tls")]
            if let Some(tls) = &raw.tls {
                tls.shake_hands(&raw.socket).unwrap();
            }
            (raw, connecting.join().unwrap())
        })
    }

    /// The next client and its hello.
    #[track_caller]
    pub(crate) fn accept(&self) -> (Raw, Hello) {
        let mut raw = self.take();
        let body = raw.read_kind(HELLO);
        (raw, Hello::parse(&body))
    }

    /// The next client, welcomed.
    #[track_caller]
    pub(crate) fn welcome(&self, welcome: &Welcome) -> (Raw, Hello) {
        let (mut raw, hello) = self.accept();
        raw.send(welcome.bytes());
        (raw, hello)
    }
}
