//! The way from a client to its service: direct, over links that are cut, and over such links
//! with the two programs at their ends.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::folder::Folder;
use crate::port::Reserved;
use crate::process::{CLIENT, Process, SERVER, Server, Stdout};
use crate::proxy::{How, Proxy};
use crate::transfer::bulk;

/// Between two cuts.
const EVERY: Duration = Duration::from_secs(1);

/// How long a transfer takes at least, in which there are some cuts.
const TRANSFER: Duration = Duration::from_secs(5);

/// The longest piece that a proxy forwards at once.
const PIECE: usize = 16 * 1024;

/// The pause behind each piece with which a transfer takes this time at least.
pub(crate) fn bulk_pace() -> Duration {
    TRANSFER / u32::try_from(bulk() / PIECE).unwrap()
}

#[derive(Default)]
pub(crate) struct Way {
    /// Where the service's client connects to.
    addr: Option<SocketAddr>,
    /// The program between them that it may start instead.
    command: Option<String>,
    client: Option<Process>,
    cutter: Option<Cutter>,
    proxy: Option<Arc<Proxy>>,
    server: Option<Server>,
}

impl Way {
    pub(crate) fn direct(service: SocketAddr) -> Way {
        Way { addr: Some(service), ..Way::default() }
    }

    /// Over a proxy alone, which cuts nothing by itself.
    pub(crate) fn bare(service: SocketAddr) -> Way {
        let proxy = Proxy::to(service);
        Way { addr: Some(proxy.addr()), proxy: Some(Arc::new(proxy)), ..Way::default() }
    }

    /// With a server at the far end of the proxy, and `client --stdio` at the near one.
    pub(crate) fn stdio(service: SocketAddr) -> Way {
        Way::served(service, &[]).with_command("")
    }

    /// The same over TLS, with an invite that is made in this folder.
    pub(crate) fn secured_stdio(service: SocketAddr, folder: &Folder) -> Way {
        let keys = folder.file("keys");
        let made = Process::start(SERVER, &["--keys", &keys, "--invite", "alice"], Stdout::Read);
        assert_eq!({ made }.ends(), 0);
        let way = Way::served(service, &["--keys", &keys]);
        way.with_command(&format!("--invite '{keys}/alice.invite'"))
    }

    /// With a server at the far end of the proxy, and `client --listen` at the near one.
    pub(crate) fn listen(service: SocketAddr) -> Way {
        Way::listen_with(service, &[])
    }

    /// The same with these settings of the server.
    pub(crate) fn listen_with(service: SocketAddr, args: &[&str]) -> Way {
        let way = Way::served(service, args);
        let args = ["--listen", "127.0.0.1:0", &way.addr().to_string()];
        let client = Process::start(CLIENT, &args, Stdout::Read);
        let said = client.says("listening on ");
        let addr = said.split("listening on ").nth(1).and_then(|rest| rest.split(' ').next());
        let addr = addr.and_then(|addr| addr.parse().ok()).unwrap_or_else(|| panic!("{said}"));
        Way { addr: Some(addr), client: Some(client), ..way }
    }

    fn served(service: SocketAddr, args: &[&str]) -> Way {
        let (reserved, service) = (Arc::new(Reserved::new()), service.to_string());
        let args = [&["--to", &service], args].concat();
        let server = Server::start_on(&reserved, &args, Stdout::Read);
        Way { server: Some(server), ..Way::bare(reserved.addr()) }
    }

    fn with_command(self, args: &str) -> Way {
        let command = Some(format!("'{CLIENT}' --stdio {args} {}", self.addr()));
        Way { command, ..self }
    }

    /// From now on it is cut every second.
    pub(crate) fn cut_often(mut self) -> Way {
        self.cutter = Some(Cutter::new(self.proxy().clone()));
        self
    }

    /// It pauses so long behind each piece of at most 16 KiB, in both directions.
    pub(crate) fn paced(self, pause: Duration) -> Way {
        self.proxy().pace(pause);
        self
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr.expect("it leads somewhere")
    }

    pub(crate) fn host(&self) -> String {
        self.addr().ip().to_string()
    }

    pub(crate) fn port(&self) -> String {
        self.addr().port().to_string()
    }

    pub(crate) fn command(&self) -> Option<&str> {
        self.command.as_deref()
    }

    pub(crate) fn proxy(&self) -> &Arc<Proxy> {
        self.proxy.as_ref().expect("it leads over a proxy")
    }

    /// The client that listens, and the server.
    pub(crate) fn programs(&self) -> [&Process; 2] {
        let (client, server) = (self.client.as_ref(), self.server.as_ref());
        [client.expect("there is one"), &server.expect("there is one").process]
    }

    /// How often there was something to cut.
    pub(crate) fn cuts(&self) -> usize {
        self.cutter.as_ref().map_or(0, |cutter| cutter.cuts.load(SeqCst))
    }
}

/// What a service's client comes to has to be through the tunnel what it is without. `None`: it
/// failed, as it has to without a tunnel where there are cuts.
#[track_caller]
pub(crate) fn judge<V: PartialEq + Debug>(
    service: SocketAddr,
    tunnel: impl Fn(SocketAddr) -> Way,
    pace: Duration,
    verdict: impl Fn(&Way) -> Option<V>,
) {
    let right = verdict(&Way::direct(service));
    assert!(right.is_some(), "it fails without cuts");
    let bare = Way::bare(service).paced(pace).cut_often();
    assert_eq!(verdict(&bare), None, "cuts do not matter");
    drop(bare);
    let way = tunnel(service).paced(pace).cut_often();
    assert_eq!(verdict(&way), right, "after {} cuts", way.cuts());
    eprintln!("{} cuts", way.cuts());
    assert!(way.cuts() >= 3, "there were {} cuts", way.cuts());
}

/// Cuts every second, by FIN and by reset in turns.
struct Cutter {
    cuts: Arc<AtomicUsize>,
    /// It ends when this is dropped.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Cutter {
    fn new(proxy: Arc<Proxy>) -> Cutter {
        let (stop, stopped) = mpsc::channel();
        let cuts = Arc::new(AtomicUsize::new(0));
        let ours = cuts.clone();
        let mut hows = [How::Fin, How::Rst].into_iter().cycle();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let cut = hows.next().is_some_and(|how| proxy.cut(how) > 0);
                ours.fetch_add(usize::from(cut), SeqCst);
            }
        });
        Cutter { cuts, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.stop = None;
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))) || thread::panicking(), "the cutter panicked");
    }
}
