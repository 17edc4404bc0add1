use smallvec::smallvec;

use super::*;

fn outbox(bytes: usize, packets: usize) -> Outbox {
    Outbox::new(Bounds { bytes, packets, grace: Duration::from_secs(1) })
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
    outbox.push_own(frames("a"), false, true);
    assert_eq!(sent(&mut outbox), ["a"]);
}

#[test]
fn own_frames_wait_behind_an_operation_in_flight() {
    let mut outbox = outbox(1000, 10);
    let first = outbox.begin();
    outbox.push_own(frames("own"), false, true);
    outbox.push(frames("broadcast"), false, true);
    outbox.confirm(first, true);
    assert_eq!(sent(&mut outbox), ["broadcast", "own"]);
}

#[test]
fn a_frame_held_between_two_operations_leaves_between_them() {
    let mut outbox = outbox(1000, 10);
    let first = outbox.begin();
    outbox.push_own(frames("2"), false, true);
    let second = outbox.begin();
    outbox.push_own(frames("4"), false, true);
    outbox.push(frames("1"), false, true);
    outbox.confirm(first, true);
    outbox.push(frames("3"), false, true);
    outbox.confirm(second, true);
    assert_eq!(sent(&mut outbox), ["1", "2", "3", "4"]);
}

#[test]
fn confirmations_that_overtake_each_other_release_nothing_early() {
    let mut outbox = outbox(1000, 10);
    let (one, two) = (outbox.begin(), outbox.begin());
    outbox.push_own(frames("own"), false, true);
    outbox.confirm(two, true);
    assert!(outbox.is_empty());
    outbox.confirm(one, true);
    assert_eq!(sent(&mut outbox), ["own"]);
}

#[test]
fn a_volatile_packet_never_waits() {
    let mut outbox = outbox(1000, 10);
    outbox.push(frames("v0"), true, true);
    outbox.push(frames("v1"), true, true);
    outbox.push(frames("end"), false, true);
    assert_eq!(sent(&mut outbox), ["v0", "end"]);
    outbox.push(frames("v2"), true, false);
    assert!(outbox.is_empty());
    assert_eq!(outbox.dropped_volatile, 2);
}

#[test]
fn one_packet_of_any_size_is_normal_and_more_are_not() {
    let mut outbox = outbox(100, 10);
    outbox.push(frames(&"x".repeat(1000)), false, true);
    assert_eq!(outbox.fill(), Fill::Normal);
    outbox.push(frames("y"), false, true);
    assert_eq!(outbox.fill(), Fill::Full);
    outbox.pop();
    assert_eq!(outbox.fill(), Fill::Normal);
}

#[test]
fn many_tiny_packets_are_bounded_by_count() {
    let mut outbox = outbox(1 << 20, 4);
    for _ in 0..5 {
        outbox.push(frames("x"), false, true);
    }
    assert_eq!(outbox.fill(), Fill::Slow);
    assert_eq!(outbox.clear(), 5);
    assert_eq!(outbox.fill(), Fill::Normal);
}

#[test]
fn held_packets_count_too() {
    let mut outbox = outbox(1 << 20, 4);
    let operation = outbox.begin();
    for _ in 0..13 {
        outbox.push_own(frames("x"), false, true);
    }
    assert_eq!(outbox.fill(), Fill::Full);
    outbox.confirm(operation, true);
    assert_eq!(sent(&mut outbox).len(), 13);
    assert_eq!(outbox.bytes, 0);
}
