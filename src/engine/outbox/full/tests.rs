use smallvec::smallvec;

use super::*;
use crate::engine::outbox::{Bounds, Fill, Frames};

fn outbox(packets: usize) -> Outbox {
    Outbox::new(Bounds { bytes: 1 << 20, packets })
}

fn marked(text: &str, mark: Mark) -> Frames {
    smallvec![Frame::text_packet(text).with_mark(mark)]
}

fn keyed(text: &str, key: &str) -> Frames {
    smallvec![Frame::text_packet(text).with_key(key)]
}

/// A packet with attachments.
fn whole(text: &str, attachments: usize, mark: Mark) -> Frames {
    let mut frames = marked(text, mark);
    let part = if mark == Mark::Keep { Mark::Keep } else { Mark::Part };
    frames.extend((0..attachments).map(|_| Frame::binary_message(b"#").with_mark(part)));
    frames
}

/// Puts a packet in as the pipe does.
fn put(outbox: &mut Outbox, frames: Frames) -> Dropped {
    let before = outbox.newest();
    let came = outbox.push(frames, false, true);
    room(outbox, came, before)
}

fn put_own(outbox: &mut Outbox, frames: Frames) -> Dropped {
    let before = outbox.newest();
    let came = outbox.push_own(frames, false, 0, true);
    room(outbox, came, before)
}

fn room(outbox: &mut Outbox, came: Came, before: usize) -> Dropped {
    let fill = outbox.fill_after_push(Fill::Normal);
    if fill > Fill::Lagging { outbox.make_room(came, before) } else { Dropped::default() }
}

/// All that waits; the books must be even afterwards.
fn sent(outbox: &mut Outbox) -> Vec<String> {
    let texts: Vec<_> = std::iter::from_fn(|| outbox.pop())
        .map(|frame| String::from_utf8_lossy(frame.packet()).into_owned())
        .collect();
    assert_eq!(outbox.bytes, 0);
    texts
}

fn numbers(range: impl IntoIterator<Item = u32>) -> Vec<String> {
    range.into_iter().map(|n| n.to_string()).collect()
}

#[test]
fn the_oldest_go_first_and_an_eighth_at_once() {
    let mut outbox = outbox(16);
    for n in 0..16 {
        assert_eq!(put(&mut outbox, marked(&n.to_string(), Mark::DropOldest)).oldest, 0);
    }
    // 17 wait: down to 14.
    assert_eq!(put(&mut outbox, marked("16", Mark::DropOldest)).oldest, 3);
    assert_eq!(sent(&mut outbox), numbers(3..17));
}

#[test]
fn the_newest_do_not_enter() {
    let mut outbox = outbox(10);
    let dropped: u64 =
        (0..15).map(|n| put(&mut outbox, marked(&n.to_string(), Mark::DropNewest)).newest).sum();
    assert_eq!(dropped, 5);
    assert_eq!(sent(&mut outbox), numbers(0..10));
}

#[test]
fn the_newest_make_room_for_what_may_not_be_dropped() {
    let mut outbox = outbox(10);
    for n in 0..10 {
        put(&mut outbox, marked(&n.to_string(), Mark::DropNewest));
    }
    assert_eq!(put(&mut outbox, marked("ack", Mark::Keep)).newest, 2);
    assert_eq!(outbox.fill(), Fill::Normal);
    let mut expected = numbers(0..8);
    expected.push("ack".into());
    assert_eq!(sent(&mut outbox), expected);
}

#[test]
fn of_each_key_the_latest_stays_where_it_came() {
    let mut outbox = outbox(8);
    for n in 0..4 {
        put(&mut outbox, keyed(&format!("a{n}"), "a"));
        put(&mut outbox, keyed(&format!("b{n}"), "b"));
    }
    put(&mut outbox, marked("between", Mark::Keep));
    let after = put(&mut outbox, keyed("a4", "a"));
    // The ninth packet was one too many: six went then, and the tenth fits.
    assert_eq!(after, Dropped::default());
    assert_eq!(sent(&mut outbox), ["a3", "b3", "between", "a4"]);
}

#[test]
fn keys_that_all_differ_are_never_dropped() {
    let mut outbox = outbox(8);
    for n in 0..12 {
        let dropped = put(&mut outbox, keyed(&n.to_string(), &n.to_string()));
        assert_eq!(dropped, Dropped::default());
    }
    assert_eq!(outbox.fill(), Fill::Slow);
    assert_eq!(sent(&mut outbox), numbers(0..12));
}

#[test]
fn a_packet_goes_with_its_attachments_and_no_others_do() {
    let mut outbox = outbox(10);
    put(&mut outbox, whole("keep", 2, Mark::Keep));
    put(&mut outbox, whole("old", 2, Mark::DropOldest));
    put(&mut outbox, whole("keep", 1, Mark::Keep));
    put(&mut outbox, whole("new", 1, Mark::DropNewest));
    // Twelve now: at most nine may stay, which the oldest alone gives.
    let dropped = put(&mut outbox, whole("last", 1, Mark::Keep));
    assert_eq!(dropped, Dropped { oldest: 1, ..Dropped::default() });
    let texts = ["keep", "#", "#", "keep", "#", "new", "#", "last", "#"];
    assert_eq!(sent(&mut outbox), texts);
}

#[test]
fn the_rest_of_a_packet_that_is_being_sent_is_not_dropped() {
    let mut outbox = outbox(4);
    put(&mut outbox, whole("a", 2, Mark::DropOldest));
    assert_eq!(outbox.pop().unwrap().packet(), b"a");
    put(&mut outbox, whole("b", 1, Mark::DropOldest));
    let dropped = put(&mut outbox, marked("c", Mark::DropOldest));
    assert_eq!(dropped.oldest, 1);
    assert_eq!(sent(&mut outbox), ["#", "#", "c"]);
}

#[test]
fn what_is_held_is_dropped_like_the_rest() {
    let mut outbox = outbox(8);
    let operation = outbox.begin(0);
    let mut dropped = 0;
    for n in 0..40 {
        dropped += put_own(&mut outbox, whole(&n.to_string(), 1, Mark::DropOldest)).oldest;
    }
    assert!(outbox.held.len() <= 8);
    assert_eq!(dropped, 40 - outbox.held.len() as u64);
    for n in 0..10 {
        put_own(&mut outbox, marked(&n.to_string(), Mark::DropNewest));
    }
    assert!(outbox.held.len() <= 8);
    outbox.confirm(operation);
    assert!(outbox.release(true).is_empty());
    let texts = sent(&mut outbox);
    assert!(texts.contains(&"39".to_owned()) && !texts.contains(&"0#".to_owned()), "{texts:?}");
}

#[test]
fn where_nothing_may_be_dropped_nothing_more_of_the_droppable_is_taken() {
    let mut outbox = outbox(8);
    for n in 0..9 {
        put(&mut outbox, marked(&n.to_string(), Mark::Keep));
    }
    for mark in [Mark::DropOldest, Mark::DropNewest] {
        for _ in 0..100 {
            let dropped = put(&mut outbox, marked("x", mark));
            assert_eq!(dropped.oldest + dropped.newest, 1);
        }
    }
    assert_eq!(sent(&mut outbox), numbers(0..9));
}

#[test]
fn a_flood_that_finds_nothing_to_drop_looks_once_for_each_eighth() {
    let mut outbox = outbox(800);
    for _ in 0..801 {
        put(&mut outbox, marked("x", Mark::Keep));
    }
    let looked = outbox.hopeless;
    for _ in 0..98 {
        put(&mut outbox, marked("x", Mark::Keep));
        assert_eq!(outbox.hopeless, looked);
    }
    put(&mut outbox, marked("x", Mark::Keep));
    put(&mut outbox, marked("x", Mark::Keep));
    assert_eq!(outbox.hopeless, looked + 1);
}

#[test]
fn a_large_packet_that_waits_alone_stays_normal_when_the_next_is_dropped() {
    let mut outbox = Outbox::new(Bounds { bytes: 1000, packets: 10 });
    put(&mut outbox, marked(&"x".repeat(100_000), Mark::Keep));
    for mark in [Mark::DropNewest, Mark::DropOldest] {
        put(&mut outbox, marked("y", mark));
        assert_eq!(outbox.fill(), Fill::Normal, "{mark:?}");
    }
    assert_eq!(sent(&mut outbox).len(), 1);
}

#[test]
fn a_slow_client_has_caught_up_when_half_is_left() {
    let mut outbox = outbox(10);
    for n in 0..11 {
        put(&mut outbox, marked(&n.to_string(), Mark::DropOldest));
    }
    let mut fill = outbox.fill_after_push(Fill::Lagging);
    assert_eq!((fill, outbox.queue.len()), (Fill::Lagging, 9));
    for left in (5..9).rev() {
        outbox.pop();
        fill = outbox.fill_after_pop(fill);
        assert_eq!(fill, if left > 5 { Fill::Lagging } else { Fill::Normal }, "{left}");
    }
    // Above half again, but it never was above the bounds since.
    put(&mut outbox, marked("x", Mark::Keep));
    assert_eq!(outbox.fill_after_push(fill), Fill::Normal);
}

/// Whatever comes and goes: nothing but what may be dropped is missing, all else is in order, no
/// packet is split, and it stays within the bounds as long as enough may be dropped.
#[test]
fn random_traffic_keeps_the_promises() {
    let mut seed = 12_345_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..200 {
        let mut outbox = Outbox::new(Bounds { bytes: 4000, packets: 1 + random(40) as usize });
        let (mut put_in, mut got, mut dropped) = (Vec::new(), Vec::new(), 0);
        for n in 0..300_u64 {
            let attachments = random(4) as usize;
            let (mark, letter) = [
                (Mark::DropOldest, 'o'),
                (Mark::DropNewest, 'n'),
                (Mark::KeepLatest, 'l'),
                (Mark::Keep, 'k'),
            ][random(if round % 2 == 0 { 4 } else { 2 }) as usize];
            let text = format!("{letter}{n:03}{attachments}");
            let mut frames = whole(&text, attachments, mark);
            if mark == Mark::KeepLatest {
                frames[0] = Frame::text_packet(&text).with_key(&random(3).to_string());
            }
            put_in.push(text);
            let one = put(&mut outbox, frames);
            dropped += one.oldest + one.newest + one.superseded;
            if round % 2 == 1 {
                assert!(outbox.fill() <= Fill::Normal);
            }
            for _ in 0..random(3) {
                got.extend(outbox.pop().map(|f| String::from_utf8_lossy(f.packet()).into_owned()));
            }
        }
        got.extend(sent(&mut outbox));
        let mut frames = got.into_iter().peekable();
        let mut heads = Vec::new();
        while let Some(head) = frames.next() {
            let attachments: usize = head[4..].parse().expect("a head, and not an attachment");
            for _ in 0..attachments {
                assert_eq!(frames.next().as_deref(), Some("#"), "behind {head}");
            }
            heads.push(head);
        }
        assert_eq!(heads.len() as u64 + dropped, put_in.len() as u64);
        let mut rest = heads.iter().peekable();
        for text in &put_in {
            let came = rest.next_if(|head| *head == text).is_some();
            assert!(came || !text.starts_with('k'), "{text} is missing");
        }
        assert!(rest.next().is_none(), "out of order");
    }
}
