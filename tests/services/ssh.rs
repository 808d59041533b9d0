//! OpenSSH: a session in which a command runs, and files that are copied.

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;

use crate::SOON;
use crate::openssh::{Counter, OpenSsh};
use crate::port::Reserved;
use crate::process::Process;
use crate::proxy::{How, Stats};
use crate::service::Service;
use crate::tools::{command, reads, start, start_on, writes};
use crate::transfer::{bulk, noise};
use crate::way::{Way, bulk_pace, judge};

pub(crate) struct Sshd {
    service: Service,
    pub(crate) files: OpenSsh,
}

impl Sshd {
    /// `None` after what is missing was printed.
    pub(crate) fn start(name: &str) -> Option<Sshd> {
        let (files, reserved) = (OpenSsh::new(name)?, Reserved::new());
        let config = files.sshd_config(reserved.addr());
        let service = Service::start("sshd", &["-D", "-e", "-f", &config], reserved, "TERM");
        Some(Sshd { service, files })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.service.addr()
    }

    pub(crate) fn config(&self, way: &Way) -> String {
        self.files.config(way.addr(), way.command())
    }
}

fn count(sshd: &Sshd, way: &Way) -> Counter {
    Counter::start_by(command("ssh"), &sshd.config(way))
}

fn runs_through_twenty_cuts(sshd: &Sshd, way: &Way) {
    const CUTS: usize = 20;
    let mut session = count(sshd, way);
    for cut in 1..=CUTS {
        let how = if cut % 2 == 0 { How::Fin } else { How::Rst };
        assert_eq!(way.proxy().cut(how), 1);
        session.types();
        let back = |stats: &Stats| stats.accepted > cut && stats.live == 1;
        assert!(way.proxy().wait_for(back, SOON));
        // What the old link had brought is there, or nearly.
        session.goes_on(5);
    }
    session.ends_well(&sshd.files);
    assert_eq!(way.proxy().stats().accepted, CUTS + 1);
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_command_runs_through_twenty_cuts() {
    let Some(sshd) = Sshd::start("ssh-cuts") else { return };
    runs_through_twenty_cuts(&sshd, &Way::stdio(sshd.addr()));
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_command_runs_through_twenty_cuts_over_tls() {
    let Some(sshd) = Sshd::start("ssh-tls") else { return };
    runs_through_twenty_cuts(&sshd, &Way::secured_stdio(sshd.addr(), &sshd.files.folder));
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_command_ends_at_the_first_cut_without_us() {
    let Some(sshd) = Sshd::start("ssh-bare") else { return };
    let way = Way::bare(sshd.addr());
    let mut session = count(&sshd, &way);
    assert_eq!(way.proxy().cut(How::Rst), 1);
    assert_eq!(session.ssh.ends(), 255);
}

/// What a command wrote, what it said on its other output, and its exit code.
#[test]
#[ignore = "needs sshd; the gate runs it"]
fn what_a_command_comes_to_is_known() {
    let Some(sshd) = Sshd::start("ssh-code") else { return };
    let ways = [Way::direct(sshd.addr()), Way::stdio(sshd.addr())];
    let verdicts = ways.each_ref().map(|way| {
        let config = sshd.config(way);
        let command = "echo out; echo err >&2; exit 7";
        let mut ssh = start("ssh", &["-q", "-F", &config, "service", command]);
        (ssh.ends(), ssh.out.text(), ssh.err.text())
    });
    assert_eq!(verdicts[0], (7, "out\n".into(), "err\n".into()));
    assert_eq!(verdicts[1], verdicts[0]);
}

/// Runs what copies, and returns whether the copy is the original.
fn copies(mut process: Process, copy: &str, original: &[u8]) -> Option<bool> {
    let code = process.ends_within(10 * SOON);
    let same = fs::read(copy).is_ok_and(|copy| copy == original);
    (code == 0).then_some(same)
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_pipe_carries_bytes_up() {
    let Some(sshd) = Sshd::start("ssh-up") else { return };
    let bytes = noise(1, bulk());
    let (from, to) = (sshd.files.folder.write("from", &bytes), sshd.files.folder.file("to"));
    judge(sshd.addr(), Way::stdio, bulk_pace(), |way| {
        let (config, command) = (sshd.config(way), format!("cat > {to}"));
        let args = ["-F", &config, "service", &command];
        let out = Stdio::piped();
        copies(start_on("ssh", &args, [reads(&from), out]), &to, &bytes)
    });
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_pipe_carries_bytes_down_over_tls() {
    let Some(sshd) = Sshd::start("ssh-down") else { return };
    let bytes = noise(2, bulk());
    let (from, to) = (sshd.files.folder.write("from", &bytes), sshd.files.folder.file("to"));
    judge(
        sshd.addr(),
        |service| Way::secured_stdio(service, &sshd.files.folder),
        bulk_pace(),
        |way| {
            let (config, command) = (sshd.config(way), format!("cat {from}"));
            let args = ["-F", &config, "service", &command];
            let input = Stdio::null();
            copies(start_on("ssh", &args, [input, writes(&to)]), &to, &bytes)
        },
    );
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn scp_copies_both_ways() {
    let Some(sshd) = Sshd::start("scp") else { return };
    let bytes = noise(3, bulk());
    let (from, to) = (sshd.files.folder.write("from", &bytes), sshd.files.folder.file("to"));
    let back = sshd.files.folder.file("back");
    judge(sshd.addr(), Way::stdio, bulk_pace(), |way| {
        let (config, far) = (sshd.config(way), format!("service:{to}"));
        let scp = |from: &str, to: &str| start("scp", &["-q", "-F", &config, from, to]);
        let there = copies(scp(&from, &far), &to, &bytes)?;
        let back = copies(scp(&far, &back), &back, &bytes)?;
        Some(there && back)
    });
}
