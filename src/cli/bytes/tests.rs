use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::*;
use crate::Listener;

/// A program, and the socket that it is carried from.
fn program() -> (TcpStream, Socket) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let program = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (program, Socket::new(listener.accept().unwrap().0).unwrap())
}

/// Two programs, and what carries bytes between them, with these settings.
fn carried(
    builder: &crate::Builder,
    talk: impl FnOnce(&Listener, TcpStream, TcpStream),
) -> [String; 2] {
    let listener = builder.clone().bind("127.0.0.1:0").unwrap();
    let connection = builder.clone().connect(listener.local_addr()).unwrap();
    let ((program, here), (service, there)) = (program(), program());
    thread::scope(|scope| {
        let near = scope.spawn(|| carry(&connection, &here));
        let far = scope.spawn(|| carry(&listener.accept().unwrap(), &there));
        talk(&listener, program, service);
        [near, far].map(|side| side.join().unwrap())
    })
}

/// A close waits only for so long for a peer that takes nothing.
#[test]
fn a_program_that_pauses_gets_everything_although_the_other_has_ended() {
    let impatient = Connection::builder().close_timeout(Duration::from_millis(20));
    let sent = vec![7; 8 << 20];
    let told = carried(&impatient, |_, mut program, mut service| {
        program.shutdown(std::net::Shutdown::Write).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                service.write_all(&sent).unwrap();
                drop(service);
            });
            let mut first = [0; 1];
            program.read_exact(&mut first).unwrap();
            thread::park_timeout(Duration::from_millis(200));
            let mut rest = Vec::new();
            program.read_to_end(&mut rest).unwrap();
            assert_eq!(rest.len() + 1, sent.len());
        });
    });
    for told in told {
        assert!(told.starts_with("both sides have ended"), "{told}");
    }
}

/// FTP and telnet know them.
#[test]
fn urgent_bytes_stay_in_their_place() {
    carried(&Connection::builder(), |_, mut program, mut service| {
        program.write_all(b"one ").unwrap();
        socket2::SockRef::from(&program).send_out_of_band(b"!").unwrap();
        program.write_all(b" two").unwrap();
        program.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = String::new();
        service.read_to_string(&mut got).unwrap();
        assert_eq!(got, "one ! two");
    });
}
