use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// Goes with its files.
pub(in crate::secure) struct Folder(PathBuf);

impl Folder {
    pub(in crate::secure) fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("longlink-files-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(in crate::secure) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file that only its owner may read.
    pub(in crate::secure) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ME: u32 = 1000;
const ROOT: u32 = 0;

/// What is wrong.
pub(in crate::secure) fn text(result: Result<impl Sized>) -> String {
    match result {
        Err(Error::Config(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[test]
fn a_secret_is_its_owners() {
    let mends = |mode, owner, me| {
        let (what, mend) = judge(Holds::Key, mode, owner, me)?;
        Some(format!("{what}: {mend}"))
    };
    for mode in [0o600, 0o400, 0o700, 0o611, 0o000] {
        assert_eq!(mends(mode, ME, ME), None, "{mode:o}");
        assert_eq!(mends(mode, ROOT, ROOT), None, "{mode:o}");
        assert_eq!(mends(mode, ROOT, ME), None, "{mode:o}");
    }
    // Root decides which groups read its files.
    assert_eq!(mends(0o640, ROOT, ME), None);
    assert_eq!(mends(0o440, ROOT, ROOT), None);
    for mode in [0o640, 0o604, 0o644, 0o444] {
        assert_eq!(
            mends(mode, ME, ME).as_deref(),
            Some("others may read it: chmod 600"),
            "{mode:o}"
        );
    }
    assert_eq!(mends(0o644, ROOT, ME).as_deref(), Some("others may read it: chmod 640"));
    assert_eq!(mends(0o644, ROOT, ROOT).as_deref(), Some("others may read it: chmod 600"));
    for mode in [0o620, 0o602, 0o622] {
        assert_eq!(
            mends(mode, ME, ME).as_deref(),
            Some("others may write to it: chmod 600"),
            "{mode:o}"
        );
    }
    assert_eq!(mends(0o660, ROOT, ME).as_deref(), Some("others may write to it: chmod 640"));
    for me in [ME, ROOT] {
        let other = mends(0o600, 1001, me);
        assert_eq!(other, Some(format!("it belongs to another user: chown {me}")));
    }
}

#[test]
fn who_is_trusted_may_be_read_and_not_changed_by_others() {
    for (owner, me) in [(ME, ME), (ROOT, ME), (ROOT, ROOT)] {
        assert_eq!(judge(Holds::Peers, 0o644, owner, me), None);
        for mode in [0o664, 0o646, 0o666, 0o622] {
            let judged = judge(Holds::Peers, mode, owner, me);
            assert_eq!(judged, Some(("others may write to it", "chmod go-w".into())), "{mode:o}");
        }
    }
    assert!(judge(Holds::Peers, 0o644, 1001, ME).is_some());
    assert!(judge(Holds::Peers, 0o644, 1001, ROOT).is_some());
}

#[test]
fn what_mends_a_file_is_a_command_for_it() {
    let folder = Folder::new();
    let path = folder.path("it's a key");
    fs::write(&path, "text").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let error = text(read(&path, Holds::Key));
    let (what, command) = error.split_once("; mend it with: ").unwrap();
    assert_eq!(what, format!("{}: others may read it", path.display()));
    let done = std::process::Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(done.success(), "{command}");
    assert_eq!(read(&path, Holds::Key).unwrap(), "text");
}

#[test]
fn it_is_the_opened_file_that_is_judged() {
    let folder = Folder::new();
    let (open, link) = (folder.path("open"), folder.path("link"));
    fs::write(&open, "text").unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o604)).unwrap();
    symlink(&open, &link).unwrap();
    assert!(text(read(&link, Holds::Key)).contains("others may read it"));
    assert_eq!(read(&link, Holds::Peers).unwrap(), "text");
}

#[test]
fn what_is_no_file_of_text_is_refused_and_not_waited_for() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    let made =
        std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap();
    assert!(made.success());
    for holds in [Holds::Key, Holds::Peers] {
        assert!(text(read(&pipe, holds)).ends_with(": it is no file"));
        assert!(text(read(folder.path("").as_path(), holds)).ends_with(": it is a folder"));
        assert!(text(read(Path::new("/dev/zero"), holds)).ends_with(": it is no file"));
        assert!(text(read(&folder.path("none"), holds)).contains("No such file"));
        let bytes = folder.write("bytes", b"\xFFtext");
        assert!(text(read(&bytes, holds)).ends_with(": it is no text"));

        let most = holds.most() as usize;
        let large = folder.write("large", vec![b'#'; most]);
        assert_eq!(read(&large, holds).unwrap().len(), most);
        let larger = folder.write("larger", vec![b'#'; most + 1]);
        assert!(text(read(&larger, holds)).ends_with(&format!(": it has more than {most} bytes")));
    }
}

#[test]
fn an_odd_name_commands_no_terminal() {
    let error = text(read(Path::new("/none/\x1b[2J\n"), Holds::Key));
    assert!(error.starts_with("/none/\\u{1b}[2J\\n: "), "{error}");
}

#[test]
fn a_new_file_is_its_owners_and_takes_no_others_place() {
    let folder = Folder::new();
    let path = folder.path("new");
    create(&path, "first").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let error = text(create(&path, "second"));
    assert!(error.contains("it exists, and is not overwritten"), "{error}");
    assert_eq!(read(&path, Holds::Key).unwrap(), "first");

    // A link that leads nowhere is a name that is taken.
    let link = folder.path("link");
    symlink(folder.path("elsewhere"), &link).unwrap();
    text(create(&link, "secret"));
    assert!(!folder.path("elsewhere").exists());
}

#[test]
fn a_line_is_added_behind_whole_lines() {
    let folder = Folder::new();
    let path = folder.path("lines");
    for (text, line) in [("", "one"), ("one\n", "two"), ("one\ntwo\n", "three")] {
        let lines = Lines::open(&path, Holds::Peers).unwrap();
        assert_eq!(lines.text, text);
        lines.add(line).unwrap();
    }
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    fs::write(&path, "no end").unwrap();
    Lines::open(&path, Holds::Peers).unwrap().add("four").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "no end\nfour\n");

    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let refused = Lines::open(&path, Holds::Peers).err().map(|e| e.to_string());
    assert!(refused.unwrap().contains("others may write to it"));
}

/// Each line is written by one call.
#[test]
fn lines_that_are_added_at_once_do_not_mix() {
    let folder = Folder::new();
    let path = folder.path("lines");
    std::thread::scope(|scope| {
        for digit in b'0'..b'8' {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..20 {
                    let line = String::from_utf8(vec![digit; 70]).unwrap();
                    Lines::open(path, Holds::Peers).unwrap().add(&line).unwrap();
                }
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 160);
    assert!(
        lines.iter().all(|line| line.len() == 70 && line.bytes().all(|b| b == line.as_bytes()[0]))
    );
}
