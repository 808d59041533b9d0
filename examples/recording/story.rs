//! What is typed, and what is waited for.

use std::time::Duration;

use crate::film::{Camera, Film};
use crate::port::Reserved;
use crate::programs::{self, Result};
use crate::typist::Typist;
use crate::window::Window;

/// The windows and their rows, from the top.
pub(crate) const WINDOWS: [(&str, u16); 2] = [("client", 18), ("server", 15)];

/// The lines that are typed, as parts.
const GREETING: &str = "hello";
const PROMISE: &str = "one connection, for all that we have to say";
/// The server dies between the two.
const CUT: [&str; 2] = ["is anybody ", "there?"];
const UNHEARD: &str = "nobody has to wait for the server";

const LOOK: Duration = Duration::from_millis(900);
const HASTE: u32 = 20;

pub(crate) fn play(quick: bool) -> Result<Film> {
    let programs = programs::build()?;
    // The server's also while it is dead.
    let reserved = Reserved::new();
    let port = reserved.port();
    let typist = Typist::new(if quick { HASTE } else { 1 });
    let camera = Camera::new();
    let open = |number| Window::open(number, &programs, &camera, typist.clone());
    let (mut client, mut server) = (open(0)?, open(1)?);
    let start_server = format!("server --port {port}");
    let look = || typist.pause(LOOK);

    camera.caption("Two terminals: a server that echoes, and a client");
    look();
    say(&mut server, &start_server)?;
    server.wait_for("listening on", 1)?;
    look();
    say(&mut client, &format!("client 127.0.0.1:{port}"))?;
    client.wait_for("connected to", 1)?;
    look();
    for line in [GREETING, PROMISE] {
        say(&mut client, line)?;
        client.wait_for(&reply(line), 1)?;
        look();
    }

    let [begin, end] = CUT;
    client.type_in(begin)?;
    let pid = server.kill_program()?;
    camera.caption(&format!("kill -9 {pid}, from elsewhere, in the middle of a line"));
    client.wait_for("lost:", 1)?;
    server.wait_for_prompt()?;
    look();
    camera.caption("The client connects again by itself; what is typed meanwhile is kept");
    say(&mut client, end)?;
    say(&mut client, UNHEARD)?;
    look();

    camera.caption("The server is started again, and knows nothing of the past");
    say(&mut server, &start_server)?;
    server.wait_for("listening on", 2)?;
    client.wait_for("new session", 1)?;
    let lines = [GREETING, PROMISE, &CUT.concat(), UNHEARD];
    for line in lines {
        client.wait_for(&reply(line), 1)?;
    }
    look();
    say(&mut client, "exit")?;
    client.wait_for_prompt()?;
    for line in lines {
        match client.count(&reply(line)) {
            1 => {}
            times => return Err(format!("{line:?} came back {times} times").into()),
        }
    }
    camera.caption("Four lines were typed and four came back: nothing was lost");
    drop((client, server));
    Ok(camera.stop())
}

fn say(window: &mut Window, line: &str) -> Result<()> {
    window.type_in(line)?;
    window.type_in("\r")
}

/// As the client shows it on a terminal.
fn reply(line: &str) -> String {
    format!("server> {line}")
}
