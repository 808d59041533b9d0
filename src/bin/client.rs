//! `client HOST`: sends the lines of standard input, prints what comes back,
//! and stays connected.

use std::process::ExitCode;

use longlink::cli::args::ClientArgs;
use longlink::cli::client::Client;
use longlink::cli::end;

fn main() -> ExitCode {
    let args = match ClientArgs::read() {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    let client = Client::new(&args);
    end::exit_after(client.run(&args), |end| client.conclude(end))
}
