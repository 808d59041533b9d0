//! rsync, as a service of its own and over ssh.

use std::fs;
use std::path::Path;

use fastrand::Rng;

use crate::SOON;
use crate::folder::Folder;
use crate::port::Reserved;
use crate::service::Service;
use crate::ssh::Sshd;
use crate::tools::{has, is_root, start};
use crate::transfer::{bulk, noise, tree};
use crate::way::{Way, bulk_pace, judge};

/// A folder with files of all sizes, of so many bytes as a transfer has.
fn fill(folder: &str) {
    let (mut rng, mut left, mut file) = (Rng::with_seed(4), bulk(), 0);
    fs::create_dir_all(format!("{folder}/an empty folder")).unwrap();
    fs::write(format!("{folder}/an empty file"), "").unwrap();
    while left > 0 {
        let size = rng.usize(1..=left.clamp(1, bulk() / 10));
        let name = format!("{folder}/{}/{}/file {file}", file % 7, file % 3);
        fs::create_dir_all(Path::new(&name).parent().unwrap()).unwrap();
        fs::write(name, noise(file, size)).unwrap();
        left -= size;
        file += 1;
    }
}

/// Copies a tree, and returns whether the copy is the original.
fn copies(args: &[&str], from: &str, to: &str, original: &str, copy: &str) -> Option<bool> {
    let _ = fs::remove_dir_all(copy);
    let own = ["-a", &format!("{from}/"), &format!("{to}/")];
    let code = start("rsync", &[args, &own].concat()).ends_within(10 * SOON);
    (code == 0).then(|| tree(original.as_ref()) == tree(copy.as_ref()))
}

#[test]
#[ignore = "needs rsync; the gate runs it"]
fn a_daemon_is_sent_a_tree_and_sends_it_back() {
    if !has(&["setpriv", "rsync"]) {
        return;
    }
    let (folder, reserved) = (Folder::new("rsync"), Reserved::new());
    let [from, far, near] = ["from", "files/far", "near"].map(|name| folder.file(name));
    fill(&from);
    let text = format!(
        "address = {}\nport = {}\nuse chroot = no\n[files]\npath = {}\nread only = no\n{}",
        reserved.addr().ip(),
        reserved.port(),
        folder.make("files"),
        if is_root() { "uid = root\ngid = root\n" } else { "" },
    );
    let config = format!("--config={}", folder.write("rsyncd.conf", text));
    let args = ["--daemon", "--no-detach", "--log-file=/dev/stderr", &config];
    let service = Service::start("rsync", &args, reserved, "TERM");
    judge(service.addr(), Way::listen, bulk_pace(), |way| {
        let daemon = format!("rsync://{}/files/far", way.addr());
        let there = copies(&[], &from, &daemon, &from, &far)?;
        let back = copies(&[], &daemon, &near, &from, &near)?;
        Some(there && back)
    });
}

#[test]
#[ignore = "needs rsync and sshd; the gate runs it"]
fn a_tree_is_copied_over_ssh() {
    let Some(sshd) = has(&["rsync"]).then(|| Sshd::start("rsync-ssh")).flatten() else { return };
    let [from, far, near] = ["from", "far", "near"].map(|name| sshd.files.folder.file(name));
    fill(&from);
    let there = format!("service:{far}");
    judge(sshd.addr(), Way::stdio, bulk_pace(), |way| {
        let shell = format!("--rsh=ssh -F {}", sshd.config(way));
        let up = copies(&[&shell], &from, &there, &from, &far)?;
        let down = copies(&[&shell], &there, &near, &from, &near)?;
        Some(up && down)
    });
}
