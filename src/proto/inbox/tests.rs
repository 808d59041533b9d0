use super::*;
use crate::proto::cost::OVERHEAD;
use crate::proto::frame::{Decoder, Frame};
use crate::proto::testing::rounds;

const OWN: Limits = Limits { window: 1000, max_message: 200 };

fn message(len: usize) -> Received {
    Received::Message(vec![0; len].into())
}

fn push(inbox: &mut Inbox, item: Received) -> Result<(), Violation> {
    match item {
        Received::Message(message) => inbox.push(message.into(), OWN),
        Received::End => inbox.push_end(),
    }
}

/// What may be acknowledged, and what became free.
fn consume(inbox: &mut Inbox) -> Option<(u64, usize)> {
    let freed = inbox.consume();
    (freed > 0).then(|| (inbox.consumed().frames, freed))
}

fn take_all(inbox: &mut Inbox) -> usize {
    std::iter::from_fn(|| inbox.take().filter(|item| *item != Received::End)).count()
}

#[test]
fn only_what_was_handed_out_and_returned_from_is_consumed() {
    let mut inbox = Inbox::default();
    for len in [1, 2, 3] {
        push(&mut inbox, message(len)).unwrap();
    }
    assert_eq!(consume(&mut inbox), None);
    assert_eq!(inbox.take(), Some(message(1)));
    assert_eq!(inbox.take(), Some(message(2)));
    assert_eq!(consume(&mut inbox), Some((2, cost(1) + cost(2))));
    assert_eq!(consume(&mut inbox), None);
    assert_eq!((inbox.received().frames, inbox.take()), (3, Some(message(3))));
    assert!(inbox.is_empty() && !inbox.is_at_end());
}

// Bad input: a peer that overruns the window is cut, and memory stays bounded.
#[test]
fn one_message_may_overshoot_the_window_and_no_more() {
    let mut inbox = Inbox::default();
    let most = (0..).take_while(|_| push(&mut inbox, message(200)).is_ok()).count();
    assert_eq!(most, (1000 + cost(200)) / cost(200));
    // What was handed out is not yet free.
    assert_eq!(take_all(&mut inbox), most);
    push(&mut inbox, message(200)).unwrap_err();
    inbox.consume();
    push(&mut inbox, message(200)).unwrap();
    let mut inbox = Inbox::default();
    let empty = (0..).take_while(|_| push(&mut inbox, message(0)).is_ok()).count();
    assert_eq!(empty, (1000 + cost(200)) / cost(0), "empty messages count too");
    // Not a byte more.
    for (rest, fits) in [(1000 - 4 * cost(100), true), (1001 - 4 * cost(100), false)] {
        let mut inbox = Inbox::default();
        (0..4).for_each(|_| push(&mut inbox, message(100)).unwrap());
        push(&mut inbox, message(200 - OVERHEAD)).unwrap();
        assert_eq!(push(&mut inbox, message(rest)).is_ok(), fits);
    }
}

fn run(lens: &[usize]) -> Run {
    let mut decoder = Decoder::default();
    decoder.allow_data(OWN.max_message);
    for len in lens {
        let frame = Frame::data(vec![0; *len].into()).to_bytes();
        assert_eq!(decoder.push(&frame), frame.len());
    }
    let Ok(Some(Frame::Data(run))) = decoder.next() else { panic!("no run of {lens:?}") };
    assert_eq!(run.distance().frames, lens.len() as u64);
    run
}

#[test]
fn a_run_counts_as_its_messages_do() {
    let lens = [10, 0, 20];
    let (mut together, mut apart) = (Inbox::default(), Inbox::default());
    together.push(run(&lens), OWN).unwrap();
    lens.iter().for_each(|len| push(&mut apart, message(*len)).unwrap());
    for _ in 0..4 {
        assert_eq!(together.received().frames, apart.received().frames);
        assert_eq!(together.room_for_new(OWN.window), apart.room_for_new(OWN.window));
        assert_eq!(consume(&mut together), consume(&mut apart));
        assert_eq!(together.take(), apart.take());
    }
    // With a session that is lost in the middle, too.
    for inbox in [&mut together, &mut apart] {
        inbox.push(run(&lens), OWN).unwrap();
        inbox.take();
        inbox.restart();
        assert_eq!((inbox.received().frames, consume(inbox)), (0, None));
        inbox.push(run(&lens), OWN).unwrap();
        assert_eq!((inbox.take(), inbox.take()), (Some(message(0)), Some(message(20))));
        assert_eq!(consume(inbox), None);
        assert_eq!(inbox.take(), Some(message(10)));
        assert_eq!(consume(inbox), Some((1, cost(10))));
    }
}

#[test]
fn many_are_taken_as_one_by_one() {
    for seed in 0..rounds(200) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut both = [Inbox::default(), Inbox::default()];
        for _ in 0..30 {
            let (action, n) = (rng.u8(0..8), rng.usize(2..5));
            let lens: Vec<usize> = (0..n).map(|_| rng.usize(0..3) * 10).collect();
            for inbox in &mut both {
                // Some of these are refused, by both.
                match action {
                    0..=2 => drop(inbox.push(run(&lens), OWN)),
                    3..=4 => drop(push(inbox, message(lens[0]))),
                    5 => inbox.restart(),
                    6 => drop(consume(inbox)),
                    _ => drop(push(inbox, Received::End)),
                }
            }
            let [many, single] = &mut both;
            let (mut taken, most) = (Vec::new(), n * usize::from(rng.bool()));
            let bytes = many.take_many(most, &mut taken);
            for message in &taken {
                assert_eq!(single.take(), Some(Received::Message(message.clone())), "{seed}");
            }
            assert_eq!(bytes, taken.iter().map(|message| message.len() as u64).sum(), "{seed}");
            let end = taken.len() == most || single.is_empty() || single.is_at_end();
            assert!(end && taken.len() <= most, "{seed}");
            assert_eq!(format!("{many:?}"), format!("{single:?}"), "{seed}");
            if action == 6 && many.is_at_end() {
                assert_eq!(many.take(), single.take(), "{seed}");
            }
        }
    }
}

#[test]
fn a_run_that_overshoots_the_window_is_not_taken_in_part() {
    let mut inbox = Inbox::default();
    while push(&mut inbox, message(0)).is_ok() {}
    inbox.take();
    inbox.consume();
    let received = inbox.received().frames;
    inbox.push(run(&[0, 0]), OWN).unwrap_err();
    assert_eq!(inbox.received().frames, received);
    push(&mut inbox, message(0)).unwrap();
}

#[test]
fn nothing_comes_after_the_end() {
    let mut inbox = Inbox::default();
    push(&mut inbox, Received::End).unwrap();
    assert!(inbox.is_at_end() && !inbox.is_over());
    push(&mut inbox, message(0)).unwrap_err();
    push(&mut inbox, Received::End).unwrap_err();
    assert_eq!(inbox.take(), Some(Received::End));
    assert_eq!(consume(&mut inbox), Some((1, cost(0))));
    assert_eq!(inbox.take(), Some(Received::End), "an end is the end");
    assert_eq!(consume(&mut inbox), None);
}

// Trap 24.
#[test]
fn what_an_older_session_left_is_handed_out_and_acknowledges_nothing() {
    let mut inbox = Inbox::default();
    for item in [message(10), message(20), message(30), Received::End] {
        push(&mut inbox, item).unwrap();
    }
    inbox.take();
    let room = inbox.room_for_new(OWN.window);
    inbox.restart();
    assert_eq!(consume(&mut inbox), None, "handed out by the old session");
    assert_eq!((inbox.received().frames, inbox.room(OWN.window)), (0, room + cost(0) as u32));
    push(&mut inbox, message(40)).unwrap();
    assert_eq!((inbox.take(), inbox.take()), (Some(message(20)), Some(message(30))));
    assert_eq!(inbox.room(OWN.window), OWN.window, "before it is asked for more");
    assert_eq!(consume(&mut inbox), None);
    assert_eq!(inbox.take(), Some(message(40)));
    assert_eq!(inbox.take(), None, "an end that nobody has seen is not final");
    assert_eq!(consume(&mut inbox), Some((1, cost(40))));
}

#[test]
fn lost_sessions_never_add_up_to_more_than_a_window() {
    for seed in 0..rounds(200) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut inbox = Inbox::default();
        for _ in 0..20 {
            let room = inbox.room_for_new(OWN.window) as usize;
            inbox.restart();
            let mut outstanding = 0;
            while outstanding < room && rng.u32(..20) > 0 {
                let len = rng.usize(..=200);
                push(&mut inbox, message(len)).unwrap();
                outstanding += cost(len);
            }
            assert!((inbox.received - inbox.handed).cost() <= 1000 + cost(200), "seed {seed}");
            (0..rng.usize(..3)).for_each(|_| drop(inbox.take()));
        }
    }
}

#[test]
fn after_the_end_a_new_session_has_nothing_to_add() {
    let mut inbox = Inbox::default();
    push(&mut inbox, Received::End).unwrap();
    inbox.take();
    inbox.restart();
    for n in 1..100 {
        push(&mut inbox, message(200)).unwrap();
        assert_eq!(consume(&mut inbox), Some((n, cost(200))));
    }
    assert_eq!(inbox.take(), Some(Received::End));
}

fn slot(consumed: u64, after: u64) -> Slot {
    Slot { consumed: Position { frames: consumed, bytes: 0 }, after }
}

fn take(acks: &mut Acks, cursor: u64) -> Option<u64> {
    acks.take(cursor, false, 1000).map(|ack| ack.consumed)
}

fn is_due(acks: &Acks, cursor: u64) -> bool {
    acks.is_due(cursor, || false, 1000)
}

#[test]
fn an_acknowledgement_waits_for_what_it_must_follow() {
    let now = Instant::now();
    let mut acks = Acks::new(1000);
    acks.record(slot(1, 5), 100, now);
    acks.hurry();
    assert!(!is_due(&acks, 4) && take(&mut acks, 4).is_none());
    assert!(is_due(&acks, 5));
    assert_eq!(acks.covered(4), 0);
    assert_eq!(take(&mut acks, 5), Some(1));
    assert_eq!(take(&mut acks, 9), None, "written once");
    assert_eq!((acks.covered(4), acks.covered(5)), (0, 1));
    // On a new link it is written again, and waits again.
    acks.replay();
    assert!(!is_due(&acks, 4) && is_due(&acks, 5));
    assert_eq!(take(&mut acks, 6), Some(1));
}

// It may be full, and is waited for, if any of it was lost.
#[test]
fn on_a_new_link_the_peer_is_sure_to_know_only_what_the_session_began_with() {
    let mut acks = Acks::new(1000);
    acks.record(slot(1, 5), 100, Instant::now());
    assert_eq!((acks.told().frames, acks.window()), (0, 1000));
    acks.take(5, false, 2000).unwrap();
    assert_eq!((acks.told().frames, acks.window()), (1, 2000));
    acks.replay();
    assert_eq!((acks.told().frames, acks.window()), (0, 1000));
}

// A quarter is worth a frame. On another link the peer has to be told first what it was told
// before, since less would be taken back.
#[test]
fn a_window_that_has_grown_is_announced_with_the_number_that_was_told() {
    let mut acks = Acks::new(400);
    let announced = |acks: &mut Acks, cursor, window| {
        let due = acks.is_due(cursor, || false, 400) || acks.has_grown_to(window);
        let ack = acks.take(cursor, false, window);
        assert_eq!(due, ack.is_some());
        ack.map(|ack| (ack.consumed, ack.window))
    };
    assert_eq!(announced(&mut acks, 0, 499), None);
    assert_eq!(announced(&mut acks, 0, 500), Some((0, 500)));
    assert_eq!(announced(&mut acks, 0, 624), None, "it was told of 500");
    acks.record(slot(7, 5), 400, Instant::now());
    assert_eq!(announced(&mut acks, 4, 625), None, "the place of 7 comes first");
    assert_eq!(announced(&mut acks, 5, 625), Some((7, 625)));
    assert_eq!(announced(&mut acks, 5, 1000), Some((7, 1000)));
    acks.replay();
    assert_eq!(announced(&mut acks, 4, 1000), None);
    assert_eq!(announced(&mut acks, 5, 1000), Some((7, 1000)));
    let mut acks = Acks::new(0);
    assert_eq!(announced(&mut acks, 0, 0), None);
    assert_eq!(announced(&mut acks, 0, 1), Some((0, 1)));
    acks.replay();
    assert_eq!(announced(&mut acks, 0, 1), Some((0, 1)), "it may have been lost");
}

#[test]
fn an_acknowledgement_is_due_by_its_size_or_its_age() {
    let now = Instant::now();
    let mut acks = Acks::new(1000);
    assert_eq!(acks.deadline(), None);
    acks.record(slot(1, 0), 249, now);
    assert!(!is_due(&acks, 0) && acks.is_waiting());
    let due = acks.deadline().unwrap();
    acks.tick(due - Duration::from_millis(1));
    assert!(!is_due(&acks, 0));
    acks.tick(due);
    assert!(is_due(&acks, 0) && !acks.is_waiting());
    assert_eq!(acks.deadline(), None, "a deadline that stays would be spun on");
    assert_eq!(take(&mut acks, 0), Some(1));
    acks.record(slot(2, 0), 249, now);
    assert!(!is_due(&acks, 0));
    acks.record(slot(3, 0), 1, now);
    assert!(is_due(&acks, 0));
    assert_eq!(take(&mut acks, 0), Some(3));
    assert_eq!(acks.deadline(), None);
}

/// Many are recorded and few kept, yet none is starved, and none overtakes.
#[test]
fn the_newest_that_may_be_written_is_never_far_behind() {
    for seed in 0..rounds(500) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let mut acks = Acks::new(1000);
        // All that were recorded: how much was consumed, and behind what.
        let mut recorded = vec![(0, 0)];
        let (mut consumed, mut end, mut cursor, mut told) = (0, 0, 0, 0);
        for _ in 0..100 {
            match rng.u32(..6) {
                0 => end += rng.u64(..5),
                1 => cursor = (cursor + rng.u64(..5)).min(end),
                2 if rng.u32(..4) == 0 => {
                    acks.replay();
                    (cursor, told) = (rng.u64(..=cursor), 0);
                }
                3 => {
                    if let Some(count) = take(&mut acks, cursor) {
                        assert!(recorded.iter().any(|(c, a)| *c == count && *a <= cursor));
                        assert!(count >= told, "seed {seed}: taken back");
                        told = count;
                    }
                }
                _ => {
                    consumed += rng.u64(1..4);
                    recorded.push((consumed, end));
                    acks.record(slot(consumed, end), 1, now);
                }
            }
            assert!(acks.waiting.len() <= 3, "seed {seed}: they add up");
        }
        take(&mut acks, end);
        assert_eq!(acks.covered(end), consumed, "seed {seed}");
    }
}
