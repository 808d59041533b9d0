use super::*;

fn client(line: &str) -> Result<ClientArgs, Stop> {
    ClientArgs::from_line(format!("client {line}").split_whitespace().map(OsString::from))
}

fn server(line: &str) -> Result<ServerArgs, Stop> {
    ServerArgs::from_line(format!("server {line}").split_whitespace().map(OsString::from))
}

#[test]
fn clap_finds_the_definitions_sound() {
    use clap::CommandFactory;
    ClientArgs::command().debug_assert();
    ServerArgs::command().debug_assert();
}

#[test]
fn the_defaults_are_those_of_the_library() {
    let (ours, theirs) = (client("host").unwrap().builder(), Connection::builder());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    let ours = server("").unwrap().builder();
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    let ours = server("--framed-only").unwrap().builder();
    assert_eq!(format!("{ours:?}"), format!("{:?}", theirs.accept_plain(false)));
}

#[test]
fn a_client_takes_hosts_and_a_default_port() {
    let args = client("a b:7 ::1,[::1]:8 -p 9 --no-exit -v").unwrap();
    let hosts: Vec<String> = args.hosts().iter().map(Host::to_string).collect();
    assert_eq!(hosts, ["a:9", "b:7", "[::1]:9", "[::1]:8"]);
    assert_eq!(args.hosts()[3], Host::new("::1", 8).alias_of(&args.hosts()[2]));
    assert!(args.no_exit);
    assert_eq!(args.shared.level(), LevelFilter::Debug);
}

#[test]
fn a_clients_options_reach_the_library() {
    let line = "h --retries forever --backoff exponential --retry-delay 1m --heartbeat 1s \
                --misses 7 --connect-timeout 2s -q";
    let args = client(line).unwrap();
    assert_eq!(args.shared.level(), LevelFilter::Warn);
    let minute = Duration::from_secs(60);
    let wanted = Connection::builder()
        .heartbeat(Heartbeat::every(Duration::from_secs(1)).misses(7))
        .retry(RetryPolicy::exponential(minute, minute).unlimited())
        .connect_timeout(Duration::from_secs(2));
    assert_eq!(format!("{:?}", args.builder()), format!("{wanted:?}"));
    let plain = |line: &str| format!("{:?}", client(line).unwrap().builder());
    let wanted = |plain| format!("{:?}", Connection::builder().plain(plain));
    assert_eq!(plain("h --plain"), wanted(Plain::new()));
    assert_eq!(
        plain("h --plain --lock-step --reply-timeout 1m"),
        wanted(Plain::new().lock_step(true).reply_timeout(minute))
    );
    let off = client("h --heartbeat off --retries 0").unwrap().builder();
    let wanted = Connection::builder()
        .heartbeat(Heartbeat::off())
        .retry(RetryPolicy::fixed(Duration::from_secs(3), 0));
    assert_eq!(format!("{off:?}"), format!("{wanted:?}"));
}

#[test]
fn a_servers_options_reach_the_library() {
    let line = "--bind ::1 --port 0 --chat --resume-within 2m --max-clients 7 --window 64KiB -q";
    let args = server(line).unwrap();
    assert_eq!(args.address(), ("::1", 0));
    assert_eq!(server("").unwrap().address(), ("127.0.0.1", 6666));
    let address = "--bind localhost:7000 -p 7000";
    assert_eq!(server(address).unwrap().address(), ("localhost", 7000));
    assert!(args.chat);
    let wanted = Connection::builder()
        .resume_within(Duration::from_secs(120))
        .max_clients(7)
        .window(65536)
        .max_message(65536);
    assert_eq!(format!("{:?}", args.builder()), format!("{wanted:?}"));
}

/// Nothing of a session may go on in another.
#[test]
fn bytes_have_defaults_of_their_own() {
    let once = || Connection::builder().on_session_lost(SessionLoss::GiveUp);
    let client_once = || once().close_timeout(Duration::MAX);
    let builder = |line: &str| client(line).unwrap().builder();
    let kept = client_once().retry(RetryPolicy::default().while_kept());
    for line in ["h --stdio", "h --listen 0"] {
        assert_eq!(format!("{:?}", builder(line)), format!("{kept:?}"));
    }
    let forever = client_once().retry(RetryPolicy::default().unlimited());
    assert_eq!(format!("{:?}", builder("h --stdio --retries forever")), format!("{forever:?}"));
    let day = once().resume_within(Duration::from_secs(86_400)).accept_plain(false);
    let ours = server("--to localhost:22").unwrap();
    assert_eq!(format!("{:?}", ours.builder()), format!("{day:?}"));
    assert_eq!(ours.to().unwrap().to_string(), "localhost:22");
    assert_eq!(ours.limits(1).0, Level::Info);
    let shorter = server("--to [::1]:22 --resume-within 1m").unwrap();
    let wanted = once().accept_plain(false);
    assert_eq!(format!("{:?}", shorter.builder()), format!("{wanted:?}"));
    assert_eq!(shorter.to().unwrap().to_string(), "[::1]:22");
}

#[test]
fn what_a_client_does_decides_what_it_says() {
    let args = |line: &str| client(line).unwrap();
    assert_eq!((args("h").work(), args("h").level()), (ClientWork::Lines, LevelFilter::Info));
    let pipe = (ClientWork::Pipe, LevelFilter::Error);
    for line in ["h --stdio", "h --stdio -q"] {
        assert_eq!((args(line).work(), args(line).level()), pipe);
    }
    assert_eq!(args("h --stdio -v").level(), LevelFilter::Debug);
    for (line, address) in [("7", "127.0.0.1:7"), ("0.0.0.0:7", "0.0.0.0:7"), ("[::]:0", "[::]:0")]
    {
        let args = args(&format!("h --listen {line}"));
        let forward = ClientWork::Forward(address.parse().unwrap());
        assert_eq!((args.work(), args.level()), (forward, LevelFilter::Info));
    }
}

#[test]
fn the_memory_is_the_product_of_the_limits() {
    let limits = server("").unwrap().limits(1024).1;
    assert_eq!(limits, "at most 1024 clients, which can take 5.3 GiB of memory in all");
    let one = server("").unwrap().limits(1).1;
    assert!(one.starts_with("at most 1 client, which"), "{one}");
    let tiny = server("--max-clients 4 --window 1KiB --max-message 1KiB").unwrap();
    assert_eq!(tiny.memory(4), 4 * (8 * 1024 + 256 * 1024) + 24 * 1024 * 1024);
}

#[test]
fn limits_are_told_to_those_who_set_them() {
    let level = |line| server(line).unwrap().limits(1).0;
    assert_eq!(level("--port 0"), Level::Debug);
    for line in ["--max-clients 5", "--window 64KiB", "--max-message 64KiB"] {
        assert_eq!(level(line), Level::Info, "{line}");
    }
}

#[test]
fn what_is_wrong_is_said_on_one_line() {
    let with_server =
        |more: &str| format!("host --server sha256:{} {more}", "0123456789abcdef".repeat(4));
    let of_client = [
        ("", "not provided: <HOST[:PORT]>"),
        ("host --port 0", "'--port <PORT>': a port is a number from 1 to 65535"),
        ("host --port", "'--port <PORT>'"),
        ("host:99999", "from 1 to 65535"),
        ("http://host", "HOST or HOST:PORT"),
        ("127.0.0.1 6666", "did you mean 127.0.0.1:6666?"),
        ("::1:19000", "did you mean [::1]:19000?"),
        ("host -p 0", "a port is a number from 1 to 65535"),
        (
            "host --heartbeat 10",
            "'--heartbeat <DURATION>': time unit needed, for example 10sec or 10ms",
        ),
        ("host --heartbeat 1ms", "from 100ms to 24h, or off"),
        ("host --retries many", "or forever"),
        ("host --retry-delay 0s", "at least 1ms"),
        ("host --connect-timeout soon", "expected number at 0"),
        ("host --misses 0", "'--misses <N>': a number from 1 to 1000"),
        ("host --retries -1", "'--retries <N>': a number of attempts such as 5, or forever"),
        ("host --backoff slow", "[possible values: fixed, exponential]"),
        ("host --heartbeats 3s", "(a similar argument exists: '--heartbeat')"),
        ("host -q -v", "cannot be used with"),
        ("host --lock-step", "--plain"),
        ("host --reply-timeout 1s", "--plain"),
        ("host --frobnicate", "'--frobnicate'"),
        (
            "host --key k",
            "not provided: <--server <FINGERPRINT>|--cert <FILE>> (an invite goes to --invite)",
        ),
        (&with_server(""), "not provided: --key <FILE>"),
        ("host --key k --server sha256:1", "a fingerprint is sha256: and 64 hexadecimal digits"),
        ("host --invite i --key k", "'--invite <FILE>' cannot be used with"),
        (&with_server("--invite i"), "cannot be used with '--invite <FILE>'"),
        ("host --invite i --plain", "cannot be used with '--plain'"),
        (&with_server("--key k --plain"), "cannot be used with '--plain'"),
        ("--new-key k host", "'--new-key <FILE>' cannot be used with"),
        ("--invite i", "not provided: <HOST[:PORT]>"),
        ("host --tls --cert c", "not provided: --key <FILE>"),
        ("host --cert c --key k", "not provided: --tls"),
        ("host --ca c", "not provided: --tls"),
        ("host --tls --plain", "cannot be used with '--plain'"),
        ("host --tls --invite i", "cannot be used with"),
        (&with_server("--key k --tls"), "cannot be used with '--tls'"),
        ("h --stdio --plain", "cannot be used with '--plain'"),
        ("h --stdio --lock-step", "cannot be used with '--lock-step'"),
        ("h --listen 7 --reply-timeout 1s", "cannot be used with '--reply-timeout <DURATION>'"),
        ("h --stdio --no-exit", "cannot be used with '--no-exit'"),
        ("h --stdio --listen 7", "cannot be used with '--listen <[ADDR:]PORT>'"),
        ("h --listen 7 --plain", "cannot be used with '--plain'"),
        ("h --listen localhost:7", "localhost is a name; it takes an address, as in 127.0.0.1:7"),
        ("h --listen ::1:7", "PORT or ADDR:PORT"),
        ("h --listen 65536", "PORT or ADDR:PORT"),
        ("h --listen nowhere", "PORT or ADDR:PORT"),
        ("h --max-connections 7", "not provided: --listen <[ADDR:]PORT>"),
    ];
    for (line, wanted) in of_client {
        match client(line) {
            Err(Stop::Usage(said)) => {
                assert!(said.contains(wanted), "{line}: {said}");
                assert!(!said.contains('\n') && !said.starts_with("error"), "{said}");
                assert!(!said.contains("to pass"), "{said}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    let of_server = [
        ("--port 65536", "or 0 for any free one"),
        ("--bind a@b", "HOST or HOST:PORT"),
        ("--bind 7000", "did you mean --port 7000?"),
        ("--bind ::1:7000", "did you mean [::1]:7000?"),
        ("--bind 127.0.0.1:1 --port 2", "--port 2 is not the port of --bind"),
        ("--window 1GB", "such as 65536, 256KiB or 1MiB"),
        ("--window 1KiB --max-message 2KiB", "--max-message (2 KiB)"),
        ("--max-clients 0", "a number from 1 to 1000000"),
        ("--max-clients 1000001", "a number from 1 to 1000000"),
        ("--invite alice", "not provided: --keys <DIR>"),
        ("--keys k --invite a/b", "a name consists of A-Z a-z 0-9 . _ -"),
        ("--keys k --invite .a", "begins with none of . _ -"),
        ("--keys k --open", "cannot be used with '--open'"),
        ("--keys k --cert c --key k", "cannot be used with '--cert <FILE>'"),
        ("--cert c", "not provided: --key <FILE>"),
        ("--key k", "not provided: --cert <FILE>"),
        ("--client-ca c", "--cert <FILE>"),
        ("--cert c --key k --client-names n", "not provided: --client-ca <FILE>"),
        ("--cert c --key k --client-ca c --open", "cannot be used with '--open'"),
        ("--to localhost", "the service needs a port, as in 127.0.0.1:22"),
        ("--to localhost:0", "a port is a number from 1 to 65535"),
        ("--to 127.0.0.1:22 --chat", "cannot be used with '--chat'"),
        ("127.0.0.1", "'127.0.0.1' found (an address goes to --bind)"),
        ("--frobnicate", "'--frobnicate' found"),
    ];
    for (line, wanted) in of_server {
        match server(line) {
            Err(Stop::Usage(said)) => assert!(said.contains(wanted), "{line}: {said}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn help_is_not_an_error() {
    let printed = |stop: Option<Stop>| match stop {
        Some(Stop::Print(text)) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(printed(client("--help").err()).contains("--retries"));
    assert!(printed(server("-h").err()).contains("--chat"));
    assert!(printed(server("--version").err()).starts_with("server "));
    assert!(printed(client("--man").err()).starts_with(".ie"));
    assert!(printed(client("--completions zsh").err()).starts_with("#compdef client"));
}
