//! What the beginning and the end of a connection cost the driver.

use super::*;

/// Else the driver of each end takes the core from the thread that closes, and the one in the
/// middle finds nothing to do.
#[test]
fn a_close_on_a_busy_link_wakes_the_driver_once() {
    for sealed in WAYS {
        let [near, far] = ends(sealed);
        std::thread::scope(|scope| {
            let echo = scope.spawn(|| {
                let request = far.connection.recv().unwrap().unwrap();
                far.connection.send(&request).unwrap();
                assert_eq!(far.connection.recv().unwrap(), None);
                counters::take();
                far.connection.close().unwrap();
                counters::take().calls
            });
            near.connection.send(b"request").unwrap();
            near.connection.recv().unwrap().unwrap();
            counters::take();
            near.connection.close().unwrap();
            assert_eq!([counters::take().calls, echo.join().unwrap()], [1; 2], "sealed: {sealed}");
        });
    }
}

/// Else it is woken by each message that another thread reads.
#[test]
fn a_new_link_is_left_to_the_application_until_the_first_tick() {
    let [near, _far] = ends(false);
    let checkup = near.shared.check_up(None);
    assert!(checkup.poll.is_none());
    net::poll(&mut [], checkup.deadline);
    let (_, interest) = near.shared.check_up(checkup.deadline).poll.expect("no thread reads");
    assert_eq!(interest, Interest::READ);
}

/// Else it begins to look for an answer at its next tick.
#[test]
fn an_end_at_once_wakes_the_driver_although_it_ticks() {
    for sealed in WAYS {
        let [near, _far] = ends(sealed);
        near.connection.abort();
        assert_eq!(near.driver.answer(), [near.shared.id()], "sealed: {sealed}");
    }
}
