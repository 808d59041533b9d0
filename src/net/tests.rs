use super::*;

/// The time until the first question and between two, how many there are, and the
/// patience.
#[cfg(target_os = "linux")]
fn watched(socket: &Socket) -> (Option<(Duration, Duration, u32)>, Option<Duration>) {
    let inner = &socket.inner;
    let patience = inner.tcp_user_timeout().unwrap().filter(|time| !time.is_zero());
    let asks = inner.keepalive().unwrap().then(|| {
        let (time, interval) = (inner.tcp_keepalive_time(), inner.tcp_keepalive_interval());
        (time.unwrap(), interval.unwrap(), inner.tcp_keepalive_retries().unwrap())
    });
    (asks, patience)
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_watches_as_it_was_told_last() {
    let secs = Duration::from_secs;
    let day = secs(24 * 3600);
    let socket = Socket::spare().unwrap();
    socket.keep_alive().unwrap();
    assert_eq!(watched(&socket), (Some((secs(10), secs(10), 2)), None));
    for (asks, gives_up, questions) in [(300, 720, 1), (10, 30, 2), (2, 3000, 127), (10, 7, 1)] {
        let (asks, gives_up) = (secs(asks), secs(gives_up));
        socket.watch(Watch { asks: Some(asks), gives_up, resends: secs(10) }).unwrap();
        assert_eq!(watched(&socket), (Some((asks, asks, questions)), Some(gives_up)));
    }
    let longest = Watch { asks: Some(day * 2), gives_up: day * 1001, resends: day };
    socket.watch(longest).unwrap();
    let asks = Some((LONGEST_QUESTION, LONGEST_QUESTION, 127));
    assert_eq!(watched(&socket), (asks, Some(LONGEST_PATIENCE)));
    socket.watch(Watch { asks: None, gives_up: secs(900), resends: day }).unwrap();
    assert_eq!(watched(&socket), (None, Some(secs(900))));
    socket.shutdown(Shutdown::Both);
    assert_eq!(watched(&socket), (None, None));
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_sends_again_as_soon_as_it_was_told_if_it_can_be_told() {
    let socket = Socket::spare().unwrap();
    let Ok(120_000) = getsockopt(&socket, TcpRtoMax) else { return };
    for (resends, millis) in [(0, 1_000), (10, 10_000), (100_000, 120_000)] {
        let resends = Duration::from_secs(resends);
        socket.watch(Watch { resends, ..Watch::ALONE }).unwrap();
        assert_eq!(getsockopt(&socket, TcpRtoMax), Ok(millis));
    }
}

/// It cannot be made to ring here: that takes a machine that sleeps.
#[cfg(target_os = "linux")]
#[test]
fn there_is_an_alarm_and_it_does_not_ring_without_cause() {
    let alarm = Alarm::new().expect("an alarm");
    let mut fds = [poll_fd(&alarm, Interest::READ)];
    poll(&mut fds, Some(now()));
    assert!(!readiness(&fds[0]).read);
    alarm.answer();
}

// Trap 17.
#[test]
fn a_socket_that_met_itself_is_refused() {
    let itself = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    itself.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = itself.local_addr().unwrap();
    itself.connect(&addr).unwrap();
    let refused = Socket::from(itself).connected().unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}
