//! `client HOST`: sends the lines of standard input, prints what comes back,
//! and stays connected; with `--stdio` or `--listen` it carries bytes.

use longlink::cli::args::{ClientArgs, ClientWork};
use longlink::cli::bytes::{forward, pipe};
use longlink::cli::client::Client;
use longlink::cli::end;

fn main() {
    let args = ClientArgs::read();
    match args.work() {
        ClientWork::Lines => {
            let client = Client::new(&args);
            end::exit_after(client.run(&args), |end| client.conclude(end))
        }
        ClientWork::Pipe => end::exit_after(pipe::run(&args), |never| match never {}),
        ClientWork::Forward(address) => {
            end::exit_after(forward::run(&args, address), |never| match never {})
        }
    }
}
