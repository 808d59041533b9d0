//! What is typed, and what is waited for.

use std::time::Duration;

use crate::film::{Camera, Film};
use crate::port::Reserved;
use crate::programs::{self, Result};
use crate::screen::Look;
use crate::typist::Typist;
use crate::window::Window;

/// The windows and their rows, from the top.
pub(crate) const WINDOWS: [(&str, u16); 2] = [("client", 11), ("server", 9)];
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// The lines that are typed, as parts.
const GREETING: &str = "hello";
/// The server dies between the two.
const CUT: [&str; 2] = ["is anybody ", "there?"];

const LOOK: Duration = Duration::from_millis(1300);
const HASTE: u32 = 20;

pub(crate) fn play(quick: bool) -> Result<Film> {
    let programs = programs::build()?;
    // The server's also while it is dead.
    let reserved = Reserved::new();
    let port = reserved.port();
    let typist = Typist::new(if quick { HASTE } else { 1 });
    let camera = Camera::new();
    let open = |number| Window::open(number, &programs, &camera, typist.clone());
    let (mut client, mut server) = (open(CLIENT)?, open(SERVER)?);
    let start_server = format!("server --port {port}");
    let look = || typist.pause(LOOK);

    say(&mut server, &start_server)?;
    server.wait_for("listening on", 1)?;
    say(&mut client, &format!("client 127.0.0.1:{port}"))?;
    client.wait_for("connected to", 1)?;
    server.wait_for("connected from", 1)?;
    client.wait_for("up>", 1)?;
    camera.caption(Look::PLAIN, "A client and a server that echoes");
    camera.begin();
    look();
    say(&mut client, GREETING)?;
    client.wait_for(&reply(GREETING), 1)?;
    look();

    let [begin, end] = CUT;
    client.type_in(begin)?;
    server.kill_program()?;
    camera.caption(Look::RED, "kill -9: the server dies in the middle of a line");
    camera.frame(SERVER, Look::RED);
    client.wait_for("lost:", 1)?;
    server.wait_for_prompt()?;
    look();
    camera.caption(Look::RED, "What is typed meanwhile is kept");
    say(&mut client, end)?;
    look();

    camera.caption(Look::PLAIN, "The server is started again");
    say(&mut server, &start_server)?;
    server.wait_for("listening on", 2)?;
    camera.frame(SERVER, Look::PLAIN);
    client.wait_for("new session", 1)?;
    let lines = [GREETING, &CUT.concat()];
    for line in lines {
        client.wait_for(&reply(line), 1)?;
    }
    camera.caption(Look::GREEN, "The line comes back: nothing is lost");
    camera.frame(CLIENT, Look::GREEN);
    client.wait_for("up>", 2)?;
    let film = camera.stop();

    say(&mut client, "exit")?;
    client.wait_for_prompt()?;
    for line in lines {
        match client.count(&reply(line)) {
            1 => {}
            times => return Err(format!("{line:?} came back {times} times").into()),
        }
    }
    drop((client, server));
    Ok(film)
}

fn say(window: &mut Window, line: &str) -> Result<()> {
    window.type_in(line)?;
    window.type_in("\r")
}

/// As the client shows it on a terminal.
fn reply(line: &str) -> String {
    format!("server> {line}")
}
