//! What is carried, and how it ends, over links that are cut in the middle of it.

use std::thread;

use proxy::Direction::{self, Down, Up};

use super::*;

/// Says everything, and that this is all, while the link is cut in the middle. The other side
/// hears that.
#[track_caller]
fn says_all(tunnel: &Tunnel, direction: Direction, [program, service]: &[TcpStream; 2], how: How) {
    let (mut from, to) = if direction == Up { (program, service) } else { (service, program) };
    let all = pattern(1 << 20);
    tunnel.proxy.cut_after(direction, 1 << 19, how);
    thread::scope(|scope| {
        scope.spawn(|| {
            from.write_all(&all).unwrap();
            finish(from);
        });
        let (got, end) = rest(to);
        assert!(got == all, "not what was sent");
        end.unwrap();
    });
}

#[test]
fn each_way_ends_by_itself_through_cuts() {
    for (first, second) in [(Up, Down), (Down, Up)] {
        let tunnel = Tunnel::new();
        let pair = tunnel.open();
        passes("the service speaks first", [&pair[1], &pair[0]]);
        tunnel.proxy.cut(How::Rst);
        says_all(&tunnel, first, &pair, How::Fin);
        tunnel.proxy.cut(How::Fin);
        says_all(&tunnel, second, &pair, How::Rst);
        tunnel.client.says("client-1: closed: both sides have ended; 1 MiB sent, 1 MiB received");
        assert!(tunnel.proxy.stats().cut >= 3);
    }
}

/// The other side hears it when the link is back.
#[test]
fn a_reset_right_after_a_cut_is_one() {
    let tunnel = Tunnel::new();
    for how in [How::Fin, How::Rst] {
        for direction in [Up, Down] {
            let [program, service] = tunnel.open();
            passes("before", [&program, &service]);
            tunnel.proxy.cut(how);
            let (first, other) =
                if direction == Up { (program, service) } else { (service, program) };
            reset(first);
            is_reset(&other);
        }
    }
}
