//! Services as processes.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

use crate::port::Reserved;
use crate::process::{Process, Stdout};
use crate::tools::command;
use crate::wait::until;

/// A service at a port of its own.
pub(crate) struct Service {
    process: Process,
    signal: &'static str,
    reserved: Reserved,
}

impl Service {
    /// Starts a service, which listens at the port that is reserved, and waits until it does. It
    /// ends well upon the signal.
    pub(crate) fn start(
        tool: &'static str,
        args: &[&str],
        reserved: Reserved,
        signal: &'static str,
    ) -> Service {
        Service::start_by(Command::new("setpriv"), tool, args, reserved, signal)
    }

    /// Starts it by `setpriv` with some arguments.
    pub(crate) fn start_by(
        mut setpriv: Command,
        tool: &'static str,
        args: &[&str],
        reserved: Reserved,
        signal: &'static str,
    ) -> Service {
        // It ends with the test, however that ends.
        setpriv.args(["--pdeathsig", signal]).arg(command(tool).get_program());
        let process = Process::start_by(setpriv, tool, args, Stdout::Read);
        let service = Service { process, signal, reserved };
        until("the service listens", || TcpStream::connect(service.addr()).is_ok());
        service
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.reserved.addr()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.process.signal(self.signal);
        if !thread::panicking() {
            self.process.ends_by();
        }
    }
}
