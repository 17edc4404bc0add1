use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn publication(kind: Kind, size: usize) -> Command {
    let mut command = redis::cmd("XADD");
    command.arg("stream").arg("field").arg("value");
    Command::Publish(Publication { kind, key: "key".into(), command, size }, Since::now())
}

fn message(size: usize) -> Command {
    publication(Kind::Message, size)
}

fn open(now: Instant) -> Queue {
    let mut queue = Queue::new(60 * SECOND);
    queue.hold(now);
    queue.open(now);
    queue
}

fn take(queue: &mut Queue) -> Vec<usize> {
    let mut taken = VecDeque::new();
    queue.take(100, &mut taken);
    taken.iter().map(|waiting| waiting.command.size()).collect()
}

fn push(queue: &mut Queue, command: Command, patience: Patience, now: Instant) -> bool {
    queue.push(command, patience, || now).is_ok()
}

#[test]
fn what_is_given_before_during_and_after_an_absence_keeps_its_order() {
    let now = Instant::now();
    let mut queue = open(now);
    for n in 1..=3 {
        assert!(push(&mut queue, message(n), Patience::Kept, now));
    }
    let mut taken = VecDeque::new();
    queue.take(2, &mut taken);
    assert_eq!(taken.len(), 2);
    taken.pop_front();
    queue.put_back(&mut taken, now);
    assert_eq!(queue.leave(now), Lost::default());
    assert!(push(&mut queue, message(4), Patience::Kept, now));
    assert_eq!(take(&mut queue), [0; 0], "Redis is away");
    queue.hold(now + SECOND);
    assert_eq!(take(&mut queue), [0; 0], "others are away");
    assert!(push(&mut queue, message(5), Patience::Kept, now + SECOND));
    queue.open(now + 2 * SECOND);
    assert!(push(&mut queue, message(6), Patience::Kept, now + 2 * SECOND));
    assert_eq!(take(&mut queue), [2, 3, 4, 5, 6]);
}

#[test]
fn entries_of_a_stream_do_not_wait_for_those_who_listen() {
    let now = Instant::now();
    let mut queue = Queue::new(60 * SECOND);
    for n in [10, 11, 12, 13] {
        let kind = if n % 2 == 0 { Kind::Entry } else { Kind::Message };
        assert!(push(&mut queue, publication(kind, n), Patience::Kept, now));
    }
    queue.hold(now);
    assert_eq!(take(&mut queue), [10, 12]);
    assert!(push(&mut queue, publication(Kind::Entry, 14), Patience::Kept, now));
    assert_eq!(take(&mut queue), [14]);
    // Gone again: what was held is still before what comes.
    queue.leave(now);
    assert!(push(&mut queue, message(15), Patience::Kept, now));
    queue.hold(now);
    assert_eq!(take(&mut queue), [0; 0]);
    queue.open(now);
    assert_eq!(take(&mut queue), [11, 13, 15]);
}

#[test]
fn volatile_ones_do_not_wait_and_others_as_long_as_they_are_of_use() {
    let now = Instant::now();
    let mut queue = open(now);
    for patience in [
        Patience::None,
        Patience::Kept,
        Patience::Brief,
        Patience::Until(now + 3 * SECOND),
        Patience::Until(now + 600 * SECOND),
    ] {
        assert!(push(&mut queue, message(1), patience, now));
    }
    assert_eq!(queue.leave(now), Lost { expired: 0, volatile: 1 });
    assert!(!push(&mut queue, message(1), Patience::None, now));
    assert_eq!(queue.len(), 4);
    assert_eq!(queue.hold(now + 3 * SECOND), Lost { expired: 1, volatile: 0 });
    assert_eq!(queue.leave(now + 4 * SECOND), Lost::default());
    assert_eq!(queue.hold(now + 5 * SECOND), Lost { expired: 1, volatile: 0 });
    assert_eq!(queue.open(now + 59 * SECOND), Lost::default());
    // Nothing waits longer because Redis was there in between, or because somebody would wait.
    assert_eq!(queue.leave(now + 60 * SECOND), Lost { expired: 2, volatile: 0 });
    assert_eq!((queue.len(), queue.bytes), (0, 0));
}

#[test]
fn number_and_bytes_are_bounded_and_old_ones_make_room() {
    let now = Instant::now();
    let mut queue = Queue::new(60 * SECOND);
    for _ in 0..MAX_WAITING {
        assert!(push(&mut queue, message(1), Patience::Kept, now));
    }
    assert!(!push(&mut queue, message(1), Patience::Kept, now));
    assert_eq!(queue.expire(now + 59 * SECOND), Lost::default());
    let later = now + 60 * SECOND;
    assert_eq!(queue.expire(later), Lost { expired: MAX_WAITING as u64, volatile: 0 });
    assert!(push(&mut queue, message(MAX_BYTES), Patience::Kept, later));
    assert!(!push(&mut queue, message(1), Patience::Kept, later));
    queue.hold(later);
    queue.open(later);
    assert_eq!(take(&mut queue), [MAX_BYTES]);
    assert!(!push(&mut queue, message(1), Patience::Kept, later), "it is under way still");
    queue.release(MAX_BYTES);
    assert!(push(&mut queue, message(1), Patience::Kept, later));
}

#[test]
fn with_no_time_nothing_waits() {
    let now = Instant::now();
    let mut queue = Queue::new(Duration::ZERO);
    assert!(!push(&mut queue, message(1), Patience::Kept, now));
    queue.hold(now);
    queue.open(now);
    assert!(push(&mut queue, message(1), Patience::Kept, now));
    assert_eq!(queue.leave(now), Lost { expired: 1, volatile: 0 });
}

#[test]
fn an_entry_that_had_to_wait_says_so_once() {
    let now = Instant::now();
    let mut queue = open(now);
    assert!(push(&mut queue, publication(Kind::Entry, 1), Patience::Kept, now));
    queue.leave(now);
    queue.leave(now);
    assert!(push(&mut queue, publication(Kind::Entry, 2), Patience::Kept, now));
    queue.hold(now);
    queue.open(now);
    assert!(push(&mut queue, publication(Kind::Entry, 3), Patience::Kept, now));
    let mut taken = VecDeque::new();
    queue.take(3, &mut taken);
    let late = |waiting: &Waiting| match &waiting.command {
        Command::Publish(publication, _) => {
            let args = publication.command.args_iter();
            args.filter(|arg| *arg == redis::Arg::Simple(LATE.as_bytes())).count()
        }
        _ => 0,
    };
    assert_eq!(taken.iter().map(late).collect::<Vec<_>>(), [1, 1, 0]);
}
