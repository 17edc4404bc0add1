//! The log and the sessions, with times made up.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::{sync::Arc, time::Duration};

use serde_json::json;
use smallvec::smallvec;

use super::{
    Audience, Departure, Failure, Moment, Recovery, Returned, Settings, Store, Whereabouts,
};
use crate::{
    config::Config,
    engine::{frame::Frame, outbox::Frames},
    room::{Room, SocketId, Target},
};

fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn store(recovery: Recovery) -> Store {
    Store::new(Arc::new(Settings::new(recovery, &Config::default())))
}

fn id(text: &str) -> SocketId {
    SocketId::from(text)
}

fn frames(text: &str) -> Frames {
    smallvec![Frame::text_packet(text)]
}

fn texts(frames: &Frames) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8(frame.packet().to_vec()).unwrap()).collect()
}

impl Store {
    fn said(&mut self, now: u64, target: Target, text: &str) -> usize {
        self.push(at(now), Audience::Target(target), frames(text), None)
    }

    fn enter(&mut self, who: &str, now: u64, rooms: &[&str]) -> String {
        let rooms: Vec<Room> = [who].iter().chain(rooms).map(|room| Room::from(*room)).collect();
        assert_eq!(texts(&self.admit(&id(who), &rooms, at(now)).unwrap()), [] as [&str; 0]);
        self.pid(&id(who)).unwrap().as_str().to_owned()
    }

    fn leave(&mut self, who: &str, now: u64, heard: u64, rooms: &[&str]) -> usize {
        let rooms = [who].iter().chain(rooms).map(|room| Room::from(*room)).collect();
        let ended = self.depart(&id(who), Departure { now: at(now), heard: at(heard), rooms });
        self.parted(&id(who), Returned::default);
        ended
    }

    /// Comes back and is let in at once, in the rooms it was in.
    fn back(&mut self, who: &str, offset: Option<&str>, now: u64) -> Result<Vec<String>, Failure> {
        self.claim(&id(who), offset, at(now))?;
        let rooms = self.rooms_of_claimed(&id(who)).to_vec();
        Ok(texts(&self.admit(&id(who), &rooms, at(now))?))
    }
}

#[test]
fn an_offset_that_no_log_has_given_fits_nobody() {
    let mut store = store(Recovery::new());
    store.said(0, Target::everyone(), "a");
    let (last, next) = (store.last_offset(), store.next_offset(None));
    let pid = store.enter("ann", 0, &[]);
    store.leave("ann", 1, 0, &[]);
    assert_eq!(store.find(&pid), Some((id("ann"), Whereabouts::Away)));
    assert_eq!(store.back("ann", Some(&last), 2), Ok(vec![]));
    let (epoch, _) = last.split_once('-').unwrap();
    let malformed = [
        String::new(),
        "-".into(),
        "1".into(),
        format!("{epoch}-"),
        format!("{epoch}-+1"),
        format!("{epoch}-1 "),
        format!("{epoch}-99999999999999999999999"),
        format!("+{}-1", &epoch[1..]),
        format!("0{epoch}-1"),
        "ABCDEFAB-1".into(),
        "é-1".into(),
        format!("{}-", another(epoch)),
        format!("{}-99999999999999999999999", another(epoch)),
        next,
    ];
    store.leave("ann", 3, 0, &[]);
    for offset in malformed {
        assert_eq!(store.back("ann", Some(&offset), 4), Err(Failure::Offset), "{offset:?}");
    }
    assert_eq!(store.back("ann", Some(&last), 4), Ok(vec![]));
}

/// The first part of another log's offsets.
fn another(epoch: &str) -> String {
    format!("{:08x}", u32::from_str_radix(epoch, 16).unwrap() ^ 1)
}

#[test]
fn an_offset_of_another_log_is_older_than_the_session() {
    let mut store = store(Recovery::new());
    store.said(0, Target::everyone(), "before");
    let last = store.last_offset();
    let (epoch, _) = last.split_once('-').unwrap();
    store.enter("ann", 0, &[]);
    store.said(1, Target::everyone(), "missed");
    for (cut, number) in [0, 1, 2, 1_000_000].into_iter().enumerate() {
        let cut = 10 * (cut as u64 + 1);
        store.leave("ann", cut, 0, &[]);
        let offset = format!("{}-{number}", another(epoch));
        assert_eq!(store.back("ann", Some(&offset), cut + 1).unwrap(), ["missed"], "{offset}");
    }
}

#[test]
fn what_is_missed_is_what_the_rooms_select_and_no_exception_excludes() {
    let mut store = store(Recovery::new());
    store.enter("ann", 0, &["red"]);
    store.said(1, Target::everyone(), "all");
    store.said(1, Target::room("red"), "red");
    store.said(1, Target::room("blue"), "blue");
    store.said(1, Target::room(["blue", "red"]), "either");
    store.said(1, Target::everyone().except("red"), "not red");
    store.said(1, Target::room("red").except("ann"), "not ann");
    store.said(1, Target::room("ann"), "ann's room");
    store.push(at(1), Audience::Socket(id("ann")), frames("ann"), None);
    store.push(at(1), Audience::Socket(id("bob")), frames("bob"), None);
    store.leave("ann", 2, 0, &["red"]);
    let missed = store.back("ann", None, 3).unwrap();
    assert_eq!(missed, ["all", "red", "either", "ann's room", "ann"]);
}

#[test]
fn a_room_counts_from_when_it_was_joined() {
    let mut store = store(Recovery::new());
    store.enter("ann", 0, &[]);
    store.said(1, Target::room("red"), "before");
    store.said(1, Target::everyone().except("red"), "not excluded yet");
    store.joined(&id("ann"), &"red".into());
    store.said(1, Target::room("red"), "after");
    store.said(1, Target::everyone().except("red"), "excluded");
    store.joined(&id("ann"), &"blue".into());
    store.left(&id("ann"), &"blue".into());
    store.leave("ann", 2, 0, &["red"]);
    assert_eq!(store.back("ann", None, 3).unwrap(), ["not excluded yet", "after"]);
    // Also when the connection breaks again before anything has arrived.
    store.leave("ann", 4, 0, &["red"]);
    assert_eq!(store.back("ann", None, 5).unwrap(), ["not excluded yet", "after"]);
}

#[test]
fn without_offset_everything_since_the_beginning_is_missed() {
    let mut store = store(Recovery::new());
    store.said(0, Target::everyone(), "before");
    let old = store.last_offset();
    store.said(0, Target::everyone(), "before, too");
    store.enter("ann", 0, &[]);
    store.said(1, Target::everyone(), "missed");
    store.leave("ann", 2, 0, &[]);
    assert_eq!(store.back("ann", None, 3).unwrap(), ["missed"]);
    // The official client keeps the offset of the session that it had before.
    store.leave("ann", 4, 0, &[]);
    assert_eq!(store.back("ann", Some(&old), 5).unwrap(), ["missed"]);
}

#[test]
fn what_is_behind_the_offset_comes_again_at_every_return() {
    let mut store = store(Recovery::new());
    store.enter("ann", 0, &[]);
    store.said(1, Target::everyone(), "1");
    let offset = store.last_offset();
    store.said(2, Target::everyone(), "2");
    for cut in 1..4 {
        store.leave("ann", cut * 10, 0, &[]);
        assert_eq!(store.back("ann", Some(&offset), cut * 10 + 1).unwrap(), ["2"]);
    }
    let offset = store.last_offset();
    store.leave("ann", 50, 0, &[]);
    assert_eq!(store.back("ann", Some(&offset), 51), Ok(vec![]));
}

#[test]
fn what_was_sent_before_an_answered_ping_has_arrived_and_need_not_be_kept() {
    let mut store = store(Recovery::new().max_packets(2));
    store.enter("ann", 0, &["quiet"]);
    for n in 0..10 {
        store.said(100 + n, Target::room("noisy"), "not for her");
    }
    // An answer to a ping at 130 proves all that was sent ten seconds before it.
    store.leave("ann", 150, 130, &["quiet"]);
    store.said(151, Target::everyone(), "missed");
    assert_eq!(store.back("ann", None, 180).unwrap(), ["missed"]);
    // A ping from before she was let in proves nothing about what was sent to her then.
    for (left, heard, now) in [(200, 170, 210), (220, 215, 230)] {
        store.leave("ann", left, heard, &["quiet"]);
        assert_eq!(store.back("ann", None, now).unwrap(), ["missed"]);
    }
    store.leave("ann", 240, 235, &["quiet"]);
    for n in 0..2 {
        store.said(241 + n, Target::room("noisy"), "not for her");
    }
    assert_eq!(store.back("ann", None, 250), Err(Failure::Evicted));
}

#[test]
fn too_many_events_displace_the_oldest() {
    let mut store = store(Recovery::new().max_packets(3));
    store.enter("ann", 0, &[]);
    store.enter("bob", 0, &[]);
    assert_eq!(store.said(1, Target::everyone(), "1"), 0);
    let offset = store.last_offset();
    store.leave("ann", 1, 0, &[]);
    store.leave("bob", 1, 0, &[]);
    for (n, displaced) in [(2, 0), (3, 0), (4, 1)] {
        assert_eq!(store.said(2, Target::everyone(), &n.to_string()), displaced);
    }
    assert_eq!(store.log().len(), 3);
    // The first one is gone: who got it misses nothing, who did not cannot be helped.
    assert_eq!(store.back("bob", Some(&offset), 3).unwrap(), ["2", "3", "4"]);
    assert_eq!(store.back("ann", None, 3), Err(Failure::Evicted));
}

#[test]
fn too_many_bytes_displace_the_oldest_and_the_count_of_bytes_is_right() {
    let mut store = store(Recovery::new().max_bytes(10_000));
    for n in 0..100 {
        store.said(n, Target::room("a room"), &"x".repeat(1 + n as usize * 7));
        assert!(store.log().bytes() <= 10_000);
    }
    assert!(store.log().len() > 5);
    // One that is too large by itself is not kept either.
    assert!(store.said(100, Target::everyone(), &"x".repeat(10_001)) > 5);
    assert_eq!((store.log().len(), store.log().bytes()), (0, 0));
    store.said(101, Target::everyone(), "x");
    assert!(store.sweep(at(101)));
    assert!(!store.sweep(at(1000)), "nothing is left");
    assert_eq!(store.log().bytes(), 0);
}

#[test]
fn a_client_may_miss_as_much_as_may_wait_for_one_that_is_there() {
    let config = Config { max_outbox_packets: 3, max_outbox_bytes: 100, ..Config::default() };
    let mut store = Store::new(Arc::new(Settings::new(Recovery::new(), &config)));
    let mut who = 0..;
    let mut missing = |events: &[&str]| {
        let name = who.next().unwrap().to_string();
        store.enter(&name, 0, &[]);
        store.leave(&name, 0, 0, &[]);
        for event in events {
            store.push(at(1), Audience::Socket(id(&name)), frames(event), None);
        }
        store.back(&name, None, 2).map(|missed| missed.len())
    };
    assert_eq!(missing(&["1", "2", "3"]), Ok(3));
    assert_eq!(missing(&["1", "2", "3", "4"]), Err(Failure::Evicted));
    assert_eq!(missing(&[&"x".repeat(90)]), Ok(1));
    assert_eq!(missing(&[&"x".repeat(90), &"x".repeat(90)]), Err(Failure::Evicted));
}

#[test]
fn a_session_expires_and_is_forgotten_later() {
    let recovery = Recovery::new().max_disconnection_duration(at(10));
    let mut store = store(recovery);
    let ann = store.enter("ann", 0, &[]);
    let bob = store.enter("bob", 0, &[]);
    store.leave("ann", 5, 0, &[]);
    assert_eq!(store.back("ann", None, 15), Ok(vec![]));
    store.leave("ann", 20, 0, &[]);
    assert_eq!(store.back("ann", None, 31), Err(Failure::Expired));
    assert!(store.find(&ann).is_none());
    store.leave("bob", 20, 0, &[]);
    assert!(store.sweep(at(35)));
    assert!(store.find(&bob).is_some());
    assert!(!store.sweep(at(36)));
    assert!(store.find(&bob).is_none());
    assert!(!store.has_absent());
}

#[test]
fn too_many_sessions_end_the_one_that_is_away_longest() {
    let mut store = store(Recovery::new().max_sessions(2));
    for (n, name) in ["ann", "bob", "cat", "dan"].into_iter().enumerate() {
        store.enter(name, 0, &[]);
        assert_eq!(store.leave(name, 1 + n as u64, 0, &[]), usize::from(n >= 2));
    }
    assert!(!store.knows(&id("ann")) && !store.knows(&id("bob")));
    // One that is claimed does not count; when it is given back it is as old as before.
    store.claim(&id("cat"), None, at(10)).unwrap();
    store.enter("eve", 10, &[]);
    assert_eq!(store.leave("eve", 11, 0, &[]), 0);
    assert_eq!(store.release(&id("cat")), 1);
    assert!(!store.knows(&id("cat")));
    assert!(store.knows(&id("dan")) && store.knows(&id("eve")));
}

#[test]
fn a_claimed_session_is_given_back_with_all_it_had() {
    let mut store = store(Recovery::new());
    store.enter("ann", 0, &["red", "blue"]);
    let rooms = ["ann", "red", "blue"].map(Room::from).to_vec();
    store.depart(&id("ann"), Departure { now: at(1), heard: at(0), rooms: rooms.clone() });
    let data = json!({ "name": "Ann" }).as_object().unwrap().clone();
    let left = Returned { data, expires: true };
    store.parted(&id("ann"), || left.clone());
    for now in [2, 3] {
        assert_eq!(store.claim(&id("ann"), None, at(now)).unwrap(), left);
        assert_eq!(store.rooms_of_claimed(&id("ann")), rooms);
        store.release(&id("ann"));
        assert!(store.rooms_of_claimed(&id("ann")).is_empty());
    }
    assert_eq!(store.claim(&id("ann"), None, at(122)), Err(Failure::Expired));
}

#[test]
fn secrets_are_long_never_the_same_and_not_shown() {
    let mut store = store(Recovery::new());
    let (ann, bob) = (store.enter("ann", 0, &[]), store.enter("bob", 0, &[]));
    assert_ne!(ann, bob);
    assert_eq!(ann.len(), 24, "144 bits");
    let shown = format!("{store:?}");
    assert!(!shown.contains(&ann) && shown.contains("Pid(..)"), "{shown}");
}

#[test]
fn times_beyond_all_measure_are_no_error() {
    let (ping_interval, ping_timeout) = (Duration::MAX, Duration::MAX);
    let config = Config { ping_interval, ping_timeout, ..Config::default() };
    let recovery = Recovery::new().max_disconnection_duration(Duration::MAX);
    let mut store = Store::new(Arc::new(Settings::new(recovery, &config)));
    store.enter("ann", 0, &[]);
    store.said(1, Target::everyone(), "missed");
    store.leave("ann", 2, 1, &[]);
    assert!(store.sweep(at(1 << 40)));
    assert_eq!(store.back("ann", None, 1 << 40).unwrap(), ["missed"]);
}

#[test]
fn with_names_of_the_engine_an_offset_is_found_by_name_and_what_has_none_is_counted_on() {
    let mut store = store(Recovery::new().max_packets(3));
    store.take_names();
    let given = |text: &str| Some(text.parse::<super::Offset>().unwrap());
    let say = |store: &mut Store, text: &str, name: Option<super::Offset>| {
        store.push(at(1), Audience::Target(Target::everyone()), frames(text), name)
    };
    let pid = store.enter("ann", 0, &[]);
    assert_eq!(store.next_offset(given("5-1")), "5-1");
    say(&mut store, "a", given("5-1"));
    // Not in the stream: its own server finds it, others take up the stream behind 5-1.
    assert_eq!(store.next_offset(None), "5-4294967297");
    say(&mut store, "b", None);
    say(&mut store, "c", given("5-2"));
    assert_eq!(store.last_offset(), "5-2");
    store.leave("ann", 1, 0, &[]);
    assert_eq!(store.find(&pid).unwrap().0, id("ann"));
    for (offset, missed) in [
        (Some("5-1"), Ok(vec!["b", "c"])),
        (Some("5-4294967297"), Ok(vec!["c"])),
        (Some("5-2"), Ok(vec![])),
        // Of a time before this log: all of it was missed.
        (Some("4-7"), Ok(vec!["a", "b", "c"])),
        (Some("6-0"), Err(Failure::Offset)),
        (Some("5"), Err(Failure::Offset)),
        (Some("00000000-1-1"), Err(Failure::Offset)),
    ] {
        let missed = missed.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(store.back("ann", offset, 2), missed, "{offset:?}");
        if missed.is_ok() {
            store.leave("ann", 2, 0, &[]);
        }
    }
    // The first one is displaced: who got it still misses nothing else, who did not does.
    say(&mut store, "d", given("7-0"));
    assert_eq!(store.back("ann", Some("4-7"), 2), Err(Failure::Evicted));
    assert_eq!(store.back("ann", Some("5-1"), 2), Ok(vec!["b".into(), "c".into(), "d".into()]));
}
