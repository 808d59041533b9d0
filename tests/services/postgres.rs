//! PostgreSQL: pgbench, whose transactions have to add up.

use std::net::SocketAddr;
use std::process::Command;

use crate::folder::Folder;
use crate::port::Reserved;
use crate::service::Service;
use crate::tools::{command, has, is_root, run, start};
use crate::wait::until;
use crate::way::{Way, judge};
use crate::{SOON, ms};

const TOOLS: [&str; 6] = ["setpriv", "initdb", "postgres", "pg_isready", "psql", "pgbench"];

/// As which user it runs if we are root, which it refuses.
const USER: &str = "postgres";

const SETTINGS: [&str; 6] =
    ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"];

struct Postgres {
    service: Service,
    _folder: Folder,
}

impl Postgres {
    /// `None` after what is missing was printed.
    fn start(name: &str) -> Option<Postgres> {
        has(&TOOLS).then(|| {
            let (folder, reserved) = (Folder::new(name), Reserved::new());
            let (home, data) = (folder.make("home"), folder.file("home/data"));
            if is_root() {
                run("chown", &[USER, &home]);
            }
            let mut initdb = as_user(&home);
            initdb.arg(command("initdb").get_program()).args(["-D", &data, "--auth=trust"]);
            let made = initdb.args(["--username=test", "--no-sync"]).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let port = reserved.port();
            let args = [&["-D", &data, "-p", &port], &SETTINGS[..]].concat();
            let service = Service::start_by(as_user(&home), "postgres", &args, reserved, "INT");
            let postgres = Postgres { service, _folder: folder };
            let direct = Way::direct(postgres.addr());
            until("it is ready", || start("pg_isready", &with(&direct, &[])).ends() == 0);
            postgres
        })
    }

    fn addr(&self) -> SocketAddr {
        self.service.addr()
    }

    /// The answer to a query, asked without a tunnel.
    fn asked(&self, query: &str) -> String {
        run("psql", &with(&Way::direct(self.addr()), &["-X", "-A", "-t", "-c", query]))
    }
}

fn as_user(home: &str) -> Command {
    let mut setpriv = Command::new("setpriv");
    if is_root() {
        setpriv.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
    }
    setpriv.current_dir(home);
    setpriv
}

/// These arguments, and where the database is by this way.
fn with(way: &Way, args: &[&str]) -> Vec<String> {
    let (host, port) = (way.host(), way.port());
    let own = ["-h", &host, "-p", &port, "-U", "test", "-d", "postgres"];
    own.iter().chain(args).map(|arg| arg.to_string()).collect()
}

/// What pgbench says of a run, if it ended well.
fn pgbench(way: &Way, args: &[&str]) -> Option<Vec<String>> {
    let mut pgbench = start("pgbench", &with(way, args));
    let done = pgbench.ends_within(4 * SOON) == 0;
    let counted = |line: &&str| line.starts_with("number of ");
    done.then(|| pgbench.out.text().lines().filter(counted).map(String::from).collect())
}

#[test]
#[ignore = "needs postgresql; the gate runs it"]
fn pgbench_ends_with_all_done() {
    let Some(postgres) = Postgres::start("pgbench") else { return };
    // Five statements a transaction, and not more than 200 pieces a second pass on each of four
    // connections: four seconds at least.
    judge(postgres.addr(), Way::listen, ms(5), |way| {
        pgbench(way, &["-i", "-s", "1", "-q"])?;
        let said = pgbench(way, &["-n", "-N", "-c", "4", "-j", "2", "-t", "150"])?;
        let sums = "select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts) \
                    from pgbench_history";
        Some((said, postgres.asked(sums)))
    });
    assert_eq!(postgres.asked("select count(*) from pgbench_history"), "600\n");
}
