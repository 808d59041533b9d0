//! A folder in which the programs are run, with the files that they make there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::port::Reserved;
use crate::process::{CLIENT, Process, SERVER, Server, Stdout};

/// Loses and regains a link in no time.
pub(crate) const QUICK: [&str; 4] = ["--retry-delay", "50ms", "--retries", "200"];

/// Where the programs are run. It is removed in the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let name = format!("secured-{name}-{}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    /// With a key for alice, who has her invite.
    pub(crate) fn with_alice(name: &str) -> Folder {
        let folder = Folder::new(name);
        folder.invite("alice");
        folder
    }

    pub(crate) fn start(&self, program: &'static str, args: &[&str]) -> Process {
        let mut command = Command::new(program);
        command.current_dir(&self.0);
        Process::start_by(command, program, args, Stdout::Read)
    }

    /// What a program prints that ends at once, and well.
    #[track_caller]
    pub(crate) fn prints(&self, program: &'static str, args: &[&str]) -> String {
        let mut process = self.start(program, args);
        assert_eq!(process.ends(), 0, "{args:?}");
        assert_eq!(process.err.text(), "", "{args:?}");
        process.out.text()
    }

    /// What is wrong with a call, which ends with this code.
    #[track_caller]
    pub(crate) fn refuses(&self, program: &'static str, args: &[&str], code: i32) -> String {
        let mut process = self.start(program, args);
        assert_eq!(process.ends(), code, "{args:?}");
        assert_eq!(process.out.text(), "", "{args:?}");
        let said = process.err.text();
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        said
    }

    pub(crate) fn invite(&self, name: &str) {
        self.prints(SERVER, &["--keys", "keys", "--invite", name]);
        let file = format!("{name}.invite");
        fs::rename(self.0.join("keys").join(&file), self.0.join(&file)).unwrap();
    }

    pub(crate) fn serve(&self, args: &[&str]) -> Server {
        self.serve_at(&Arc::new(Reserved::new()), args)
    }

    pub(crate) fn serve_at(&self, reserved: &Arc<Reserved>, args: &[&str]) -> Server {
        self.start_server(reserved, &[&["--keys", "keys"], args].concat())
    }

    /// A server with these files.
    pub(crate) fn serve_by(&self, args: &[&str]) -> Server {
        self.start_server(&Arc::new(Reserved::new()), args)
    }

    fn start_server(&self, reserved: &Arc<Reserved>, args: &[&str]) -> Server {
        let port = reserved.port();
        let args = [&["--port", &port], args].concat();
        let process = self.start(SERVER, &args);
        process.says(&format!("listening on 127.0.0.1:{port}"));
        Server::running(process, reserved)
    }

    /// Starts a client of this server. It is patient with a machine that does much else.
    pub(crate) fn client(&self, server: &Server, args: &[&str]) -> Process {
        let own = ["127.0.0.1", "--port", &server.port, "--connect-timeout", "25s"];
        let args = [args, &own].concat();
        self.start(CLIENT, &args)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.file(name)).unwrap().permissions().mode() & 0o777
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.file(name), Permissions::from_mode(mode)).unwrap();
    }

    /// The secret parts of a file.
    pub(crate) fn secrets(&self, name: &str) -> Vec<String> {
        let text = self.read(name);
        let (_, body) = text.split_once("-----BEGIN PRIVATE KEY-----\n").unwrap();
        let lines: Vec<_> =
            body.lines().take_while(|line| !line.starts_with('-')).map(String::from).collect();
        assert!(lines.iter().all(|line| line.len() > 40), "{name}");
        lines
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn talk(client: &mut Process) {
    client.send("hello\n");
    client.prints("hello");
}
