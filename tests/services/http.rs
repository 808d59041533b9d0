//! nginx, and curl: what is fetched and what is stored.

use std::fs;

use crate::SOON;
use crate::folder::Folder;
use crate::port::Reserved;
use crate::service::Service;
use crate::tools::{has, is_root, start};
use crate::transfer::{bulk, noise};
use crate::way::{Way, bulk_pace, judge};

const TOOLS: [&str; 3] = ["setpriv", "nginx", "curl"];

#[test]
#[ignore = "needs nginx; the gate runs it"]
fn curl_stores_and_fetches() {
    if !has(&TOOLS) {
        return;
    }
    let (folder, reserved) = (Folder::new("http"), Reserved::new());
    let bytes = noise(5, bulk());
    let (from, near) = (folder.write("from", &bytes), folder.file("near"));
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", folder.file(kind)));
    let text = format!(
        "daemon off;\npid {};\n{}events {{}}\nhttp {{\naccess_log off;\n{}\
         client_max_body_size 0;\nserver {{\nlisten {};\nroot {};\n\
         location / {{ dav_methods PUT; }}\n}}\n}}\n",
        folder.file("pid"),
        if is_root() { "user root;\n" } else { "" },
        temporary.concat(),
        reserved.addr(),
        folder.make("files"),
    );
    let config = folder.write("nginx.conf", text);
    let args = ["-c", &config, "-e", "stderr"];
    let service = Service::start("nginx", &args, reserved, "TERM");
    judge(service.addr(), Way::listen, bulk_pace(), |way| {
        let url = format!("http://{}/far", way.addr());
        let curl = |args: &[&str]| {
            let own = ["-q", "-sS", "--fail", "--noproxy", "*", "-w", "%{http_code} "];
            let mut curl = start("curl", &[&own, args, &[&url]].concat());
            (curl.ends_within(10 * SOON) == 0).then(|| curl.out.text())
        };
        let stored = curl(&["-T", &from])?;
        let there = fs::read(folder.file("files/far")).unwrap() == bytes;
        let fetched = curl(&["-o", &near])?;
        let back = fs::read(&near).unwrap() == bytes;
        // It is stored anew each time.
        fs::remove_file(folder.file("files/far")).unwrap();
        Some((stored, there, fetched, back))
    });
}
