//! Records the two programs in two terminals, as an animated SVG: lines are
//! typed into `client` while `server` is killed with SIGKILL and started again.
//!
//!     cargo run --release --example recording -- examples/recording/session.svg
//!
//! Nothing is made up: each window is a pseudo-terminal with a shell in it, into
//! which everything is typed that is seen; the next thing is typed when the
//! screen shows what it waits for. The film begins when both programs are connected; afterwards,
//! times in which nothing changes are cut to a second and a half. The exit code is 1 if a line that
//! was typed did not come back, or came back twice.
//!
//! It takes Linux, `bash` and `setsid`.

mod draw;
mod film;
#[path = "../support/picture.rs"]
mod picture;
#[path = "../../tests/support/port.rs"]
mod port;
#[path = "../support/programs.rs"]
#[allow(dead_code, reason = "here a shell starts them")]
mod programs;
mod screen;
mod story;
#[path = "../support/svg.rs"]
mod svg;
mod typist;
mod window;

use std::process::ExitCode;

use picture::Order;
use programs::Result;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recording: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let order = Order::read()?;
    let film = story::play(order.quick)?;
    order.deliver(&draw::draw(&film))
}
