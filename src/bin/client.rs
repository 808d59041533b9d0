//! `client HOST`: sends the lines of standard input, prints what comes back,
//! and stays connected.

use longlink::cli::args::ClientArgs;
use longlink::cli::client::Client;
use longlink::cli::end;

fn main() {
    let args = ClientArgs::read();
    let client = Client::new(&args);
    end::exit_after(client.run(&args), |end| client.conclude(end))
}
