use smallvec::smallvec;

use super::*;

fn outbox(bytes: usize, packets: usize) -> Outbox {
    Outbox::new(Bounds { bytes, packets })
}

fn frames(text: &str) -> Frames {
    smallvec![Frame::text_packet(text)]
}

fn sent(outbox: &mut Outbox) -> Vec<String> {
    std::iter::from_fn(|| outbox.pop())
        .map(|f| String::from_utf8_lossy(f.packet()).into_owned())
        .collect()
}

#[test]
fn own_frames_pass_at_once_when_nothing_is_in_flight() {
    let mut outbox = outbox(1000, 10);
    outbox.push_own(frames("a"), false, 0, true);
    assert_eq!(sent(&mut outbox), ["a"]);
}

#[test]
fn own_frames_wait_behind_an_operation_in_flight() {
    let mut outbox = outbox(1000, 10);
    let first = outbox.begin(0);
    outbox.push_own(frames("own"), false, 0, true);
    outbox.push(frames("broadcast"), false, true);
    outbox.confirm(first);
    assert!(outbox.release(true).is_empty());
    assert_eq!(sent(&mut outbox), ["broadcast", "own"]);
}

#[test]
fn a_frame_held_between_two_operations_leaves_between_them() {
    let mut outbox = outbox(1000, 10);
    let first = outbox.begin(0);
    outbox.push_own(frames("2"), false, 0, true);
    let second = outbox.begin(0);
    outbox.push_own(frames("4"), false, 0, true);
    outbox.push(frames("1"), false, true);
    outbox.confirm(first);
    assert!(outbox.release(true).is_empty());
    outbox.push(frames("3"), false, true);
    outbox.confirm(second);
    assert!(outbox.release(true).is_empty());
    assert_eq!(sent(&mut outbox), ["1", "2", "3", "4"]);
}

#[test]
fn confirmations_that_overtake_each_other_release_nothing_early() {
    let mut outbox = outbox(1000, 10);
    let (one, two) = (outbox.begin(0), outbox.begin(0));
    outbox.push_own(frames("own"), false, 0, true);
    outbox.confirm(two);
    assert!(outbox.release(true).is_empty());
    assert!(outbox.is_empty());
    outbox.confirm(one);
    assert!(outbox.release(true).is_empty());
    assert_eq!(sent(&mut outbox), ["own"]);
}

#[test]
fn a_volatile_packet_never_waits() {
    let mut outbox = outbox(1000, 10);
    outbox.push(frames("v0"), true, true);
    outbox.push(frames("v1"), true, false);
    outbox.push(frames("end"), false, true);
    assert_eq!(sent(&mut outbox), ["v0", "end"]);
    outbox.push(frames("v2"), true, false);
    assert!(outbox.is_empty());
    assert_eq!(outbox.take_dropped(), 2);
}

#[test]
fn a_volatile_packet_waits_for_its_own_server_and_not_for_its_client() {
    let mut outbox = outbox(1000, 10);
    let one = outbox.begin(0);
    outbox.push_own(frames("v0"), true, 0, false);
    outbox.push_own(frames("v1"), true, 0, true);
    // What is behind another packet comes when its client is busy with that one.
    outbox.push_own(frames("v2"), true, 0, true);
    assert_eq!(outbox.take_dropped(), 2);
    outbox.confirm(one);
    assert!(outbox.release(true).is_empty());
    assert_eq!(sent(&mut outbox), ["v1"]);
    let two = outbox.begin(0);
    outbox.push_own(frames("v3"), true, 0, true);
    outbox.confirm(two);
    assert!(outbox.release(false).is_empty());
    assert!(outbox.is_empty());
    assert_eq!((outbox.take_dropped(), outbox.bytes), (1, 0));
}

#[test]
fn one_packet_of_any_size_is_normal_and_more_are_not() {
    let mut outbox = outbox(100, 10);
    outbox.push(frames(&"x".repeat(1000)), false, true);
    assert_eq!(outbox.fill_after_pop(Fill::Normal), Fill::Normal);
    outbox.push(frames("y"), false, true);
    assert_eq!(outbox.fill_after_pop(Fill::Normal), Fill::Full);
    outbox.pop();
    assert_eq!(outbox.fill_after_pop(Fill::Normal), Fill::Normal);
}

#[test]
fn many_tiny_packets_are_bounded_by_count() {
    let mut outbox = outbox(1 << 20, 4);
    for _ in 0..5 {
        outbox.push(frames("x"), false, true);
    }
    assert_eq!(outbox.fill_after_pop(Fill::Normal), Fill::Slow);
    assert_eq!(outbox.clear(true).0, 5);
    assert_eq!(outbox.fill_after_pop(Fill::Normal), Fill::Normal);
}

#[test]
fn what_comes_when_far_too_much_waits_is_refused_and_the_client_is_lost() {
    let mut outbox = outbox(1 << 20, 4);
    for _ in 0..25 {
        assert_eq!(outbox.push(frames("x"), false, true), Came::Queue);
        outbox.stop_overflow();
    }
    assert_eq!(outbox.push(frames("y"), false, true), Came::Refused(1));
    assert_eq!(outbox.push_clone(&frames("y"), false, true), Came::Refused(1));
    assert_eq!(outbox.push_own(frames("y"), false, 0, true), Came::Refused(1));
    // Also when it has been read: something is missing.
    assert_eq!(sent(&mut outbox).len(), 25);
    assert_eq!(outbox.fill_after_pop(Fill::Full), Fill::Full);
    outbox.seal();
    assert_eq!(outbox.push(frames("z"), false, true), Came::Nowhere);
}

#[test]
fn held_packets_count_too() {
    let mut outbox = outbox(1 << 20, 4);
    let operation = outbox.begin(0);
    for _ in 0..13 {
        outbox.push_own(frames("x"), false, 0, true);
    }
    assert_eq!(outbox.fill_after_pop(Fill::Normal), Fill::Full);
    outbox.confirm(operation);
    assert!(outbox.release(true).is_empty());
    assert_eq!(sent(&mut outbox).len(), 13);
    assert_eq!(outbox.bytes, 0);
}

/// Notes in `log` that it was started.
fn note(log: &std::sync::Arc<std::sync::Mutex<Vec<u8>>>, n: u8) -> Start {
    let log = std::sync::Arc::clone(log);
    Box::new(move || log.lock().expect("nobody panics here").push(n))
}

#[test]
fn an_operation_waits_for_those_on_another_way_and_what_follows_waits_behind_it() {
    let mut outbox = outbox(1 << 20, 10);
    let log = std::sync::Arc::default();
    let first = outbox.begin(1);
    assert!(!outbox.must_wait(1, None));
    let second = outbox.begin(2);
    assert!(outbox.must_wait(2, Some(second)));
    outbox.hold(2, Some(second), note(&log, 2));
    outbox.push_own(frames("3"), false, 0, true);
    // Even on the first way nothing may pass what is held already.
    assert!(outbox.must_wait(1, None));
    outbox.hold(1, None, note(&log, 4));
    outbox.confirm(first);
    let starts = outbox.release(true);
    assert_eq!(starts.len(), 1);
    starts.into_iter().for_each(|start| start());
    // While they are being started nothing may pass them.
    assert!(outbox.must_wait(1, None));
    outbox.started();
    assert!(outbox.is_empty());
    outbox.confirm(second);
    let starts = outbox.release(true);
    assert_eq!(sent(&mut outbox), ["3"]);
    starts.into_iter().for_each(|start| start());
    assert_eq!(*log.lock().unwrap(), [2, 4]);
    assert_eq!(outbox.bytes, 0);
}

#[test]
fn what_is_held_of_a_socket_that_is_gone_is_dropped() {
    let mut outbox = outbox(1 << 20, 10);
    let operation = outbox.begin(0);
    outbox.push_own(frames("gone"), false, 1, true);
    outbox.push_own(frames("stays"), false, 2, true);
    outbox.drop_held(1);
    outbox.confirm(operation);
    assert!(outbox.release(true).is_empty());
    assert_eq!(sent(&mut outbox), ["stays"]);
    assert_eq!(outbox.bytes, 0);
}

#[test]
fn a_burst_may_be_larger_than_what_a_client_may_leave_unread() {
    let mut outbox = outbox(1 << 20, 8);
    for _ in 0..24 {
        outbox.push(frames("x"), false, true);
    }
    assert_eq!(outbox.fill_after_push(Fill::Normal), Fill::Slow);
    outbox.push(frames("x"), false, true);
    assert_eq!(outbox.fill_after_push(Fill::Slow), Fill::Full);
    for _ in 0..11 {
        outbox.pop();
    }
    // Fourteen are seven quarters of eight.
    outbox.notice(Fill::Slow);
    assert_eq!(outbox.fill_after_pop(Fill::Slow), Fill::Slow);
    outbox.push(frames("x"), false, true);
    assert_eq!(outbox.fill_after_push(Fill::Slow), Fill::Full);
    outbox.notice(Fill::Normal);
    assert_eq!(outbox.fill_after_push(Fill::Normal), Fill::Slow);
}

#[test]
fn so_many_operations_may_be_on_their_way() {
    let mut outbox = outbox(1000, 10);
    let first = outbox.begin(0);
    for _ in 1..1023 {
        outbox.begin(0);
    }
    assert!(!outbox.is_crowded());
    outbox.begin(0);
    assert!(outbox.is_crowded(), "1,024 are");
    outbox.confirm(first);
    assert!(!outbox.is_crowded());
}
