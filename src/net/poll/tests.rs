use super::*;
use crate::net::Pipe;

fn pipes<const N: usize>() -> [Pipe; N] {
    std::array::from_fn(|_| Pipe::new().unwrap())
}

/// A process may lower its own limit, below what it has open. Else it hears of nothing.
#[test]
fn more_sockets_than_the_system_polls_at_once_are_polled_in_pieces() {
    let pipes = pipes::<7>();
    for limit in 0..8 {
        for ready in [None, Some(0), Some(3), Some(6)] {
            if let Some(at) = ready {
                pipes[at].signal().unwrap();
            }
            let mut fds: Vec<_> = pipes.iter().map(|pipe| poll_fd(pipe, Interest::READ)).collect();
            let mut interrupted = false;
            poll_by(&mut fds, Some(BREATH), &mut |fds, timeout| match fds.len() > limit {
                true => Err(Errno::INVAL),
                false if !std::mem::replace(&mut interrupted, true) => Err(Errno::INTR),
                false => rustix::event::poll(fds, timeout),
            });
            let found: Vec<usize> = (0..7).filter(|at| readiness(&fds[*at]).read).collect();
            let interrupted = limit >= 7 && interrupted;
            let seen = ready.filter(|_| limit > 0 && !interrupted);
            assert_eq!(found, Vec::from_iter(seen), "{limit}");
            pipes.iter().for_each(Pipe::drain);
        }
    }
}
