use rustix::io::Errno;

use super::*;
use crate::net::Interest;

fn is_signalled(driver: &DriverHandle) -> bool {
    let mut fds = [net::poll_fd(&driver.pipe, Interest::READ)];
    net::poll(&mut fds, Some(sync::now()));
    net::readiness(&fds[0]).read
}

/// Else a client without heartbeats never hears of what it is to do.
#[test]
fn a_wake_up_is_not_lost_when_the_system_refuses_it() {
    let handle = Arc::new(DriverHandle::new().unwrap());
    handle.begin_to_wait(None);
    let mut failures = [Errno::NOBUFS, Errno::INTR, Errno::NOMEM].into_iter();
    handle.wake_by(|| match failures.next() {
        Some(failure) => Err(failure.into()),
        None => handle.pipe.signal(),
    });
    assert!(is_signalled(&handle) && failures.next().is_none());
    let mut driver = Driver::new(handle.clone());
    driver.wait::<()>(None, []);
    assert!(handle.pending.load(Ordering::SeqCst) && !is_signalled(&handle));
    assert!(driver.answer().is_empty() && !handle.pending.load(Ordering::SeqCst));
}

#[test]
fn a_full_pipe_is_a_signal_that_was_not_answered() {
    let driver = DriverHandle::new().unwrap();
    driver.begin_to_wait(None);
    driver.wake_by(|| Err(Errno::AGAIN.into()));
    assert!(driver.pending.load(Ordering::SeqCst));
}

/// It looks before it waits.
#[test]
fn a_driver_that_is_awake_is_woken_without_a_signal_and_one_that_waits_by_one() {
    let handle = Arc::new(DriverHandle::new().unwrap());
    let mut driver = Driver::new(handle.clone());
    handle.wake_for(7);
    assert!(!is_signalled(&handle));
    driver.wait::<()>(None, []);
    assert_eq!(driver.answer(), [7]);
    assert_eq!(handle.begin_to_wait(None), None);
    handle.wake_for(8);
    assert!(is_signalled(&handle));
    handle.pipe.drain();
    handle.wake_for(9);
    assert!(!is_signalled(&handle), "once is enough");
    driver.wait::<()>(None, []);
    assert_eq!(driver.answer(), [8, 9]);
}

/// A wake-up is pending before it is signalled, and may be answered in between.
#[test]
fn a_signal_that_comes_behind_its_answer_does_not_spin() {
    let handle = Arc::new(DriverHandle::new().unwrap());
    let mut driver = Driver::new(handle.clone());
    handle.pipe.signal().unwrap();
    let Woken { ready, slept } = driver.wait::<()>(None, []);
    assert!(ready.is_empty() && !slept && driver.answer().is_empty());
    assert!(!is_signalled(&handle), "it is signalled for ever");
}

#[test]
fn a_short_nap_is_none() {
    let mut driver = Driver::new(Arc::new(DriverHandle::new().unwrap()));
    assert!(!driver.has_slept());
    sync::sleep(NAP / 2);
    assert!(!driver.has_slept());
    sync::sleep(Duration::from_secs(3 * 3600));
    assert!(driver.has_slept() && !driver.has_slept());
}
