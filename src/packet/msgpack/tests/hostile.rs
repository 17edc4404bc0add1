//! Bytes that nobody would send in good faith.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::packet::{ArgsError, DecodeError::TooDeep, DecodeError::Unreadable};

fn deep(level: &str, levels: usize) -> Result<Args, DecodeError> {
    let mut bytes = hex(level).repeat(levels);
    bytes.push(0xc0);
    try_args(1, &bytes)
}

#[test]
fn depth_costs_no_stack() {
    for level in ["91", "81 a161", "dd 00000001", "df 00000001 a161"] {
        let args = deep(level, 2048).unwrap();
        assert!(matches!(args.parse::<Value>(), Err(ArgsError::Invalid { .. })), "{level}");
        assert!(args.to_json()[0].is_string());
        assert_eq!(sent(&args), [hex(level).repeat(2048), vec![0xc0]].concat());
        let mut nested = Args::new();
        nested.push(&(&args, 1)).unwrap();
        assert_eq!(sent(&nested).len(), sent(&args).len() + 3);
        for levels in [2049, 10_000, 150_000] {
            assert_eq!(deep(level, levels), Err(TooDeep), "{level}");
        }
        // Where nobody looks it does no harm.
        let mut packet = hex("84 a474797065 02 a36e7370 a12f a464617461 91a178 a178");
        packet.extend(hex(level).repeat(100_000));
        packet.push(1);
        assert!(read(packet).is_ok(), "{level}");
    }
    // Text that was built here may nest as deeply as it likes.
    let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let args = Args::from_checked(text.into(), 1);
    assert_eq!(sent(&args), [vec![0x91; 99_999], vec![0x90]].concat());
}

#[test]
fn claimed_lengths_cost_nothing() {
    let heads = ["dd ffffffff", "df ffffffff", "db ffffffff", "c6 ffffffff", "c9 ffffffff 00"];
    for head in heads {
        for behind in ["", "c0", "c0c0c0c0c0c0c0c0"] {
            let bytes = hex(&format!("{head} {behind}"));
            assert_eq!(try_args(1, &bytes), Err(Unreadable), "{head} {behind}");
            assert!(read(bytes.clone()).is_err());
            assert_eq!(read([hex("df ffffffff"), bytes].concat()), Err(Unreadable));
        }
        let many = hex(head).repeat(100_000);
        assert_eq!(try_args(1, &many), Err(Unreadable), "{head}");
    }
    // Each could be kept by itself.
    let nested = hex("dc ffff").repeat(30_000);
    assert!(matches!(try_args(1, &nested), Err(Unreadable | TooDeep)));
    let mut packet = event_of(0, &[]);
    let end = packet.len();
    packet[end - 6..end - 2].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(read(packet), Err(Unreadable));
}

#[test]
fn whatever_is_repeated_takes_linear_time_and_memory() {
    let started = Instant::now();
    for value in [
        "c0",
        "c400",
        "d40000",
        "90",
        "80",
        "a0",
        "cb7ff8000000000000",
        "a1ff",
        "81a1ffa1ff",
        "81c000",
        "81a95f5f70726f746f5f5f00",
        "d700000000e8d4a51005",
        "ff",
        "cb3fb999999999999a",
        "a100",
    ] {
        let value = hex(value);
        let count = 300_000 / value.len();
        let args = try_args(count, &value.repeat(count)).unwrap();
        assert_eq!(args.len(), count);
        assert!(args.raw_json().len() < 6_000_000);
        let passed_on = sent(&args);
        assert!(passed_on.len() < 1_200_000, "{}", passed_on.len());
        assert_eq!(args.skip(count / 2).take(7).len(), 7);
        assert_eq!(sent(&args.skip(1)).len(), passed_on.len() * (count - 1) / count);
    }
    // Headers that need more room, in one another.
    let text =
        format!("{}{}", "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,".repeat(30_000), "0]".repeat(30_000));
    let bytes = sent(&Args::from_checked(text.into(), 1));
    assert_eq!(bytes.len(), 30_000 * 19);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn many_arguments_inside_of_one_take_linear_time() {
    let started = Instant::now();
    let count = 30_000;
    for array in ["91 c400", "92 01 d40000", "91 91 c0"] {
        let bytes = [hex("dc 7530"), hex(array).repeat(count)].concat();
        let lists: Vec<Args> = try_args(1, &bytes).unwrap().parse().unwrap();
        assert_eq!(lists.len(), count);
        assert!(lists.iter().all(|list| [hex(array)[0]; 1] == [0x90 | list.len() as u8]));
        assert_eq!(
            sent(&vec![&lists[0], &lists[count - 1]]),
            [&[0x92][..], &hex(array), &hex(array)].concat()
        );
        assert_eq!(shown(&sent(&lists)), shown(&bytes));
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_cut_packet_is_refused_wherever_it_ends() {
    let payload =
        Payload::event("x", &(1000, "text", Bytes::from_static(&[1, 2]), 0.5, [[(); 20]]));
    let packet = Outgoing::Event { namespace: "/a", id: Some(70_000), payload: &payload.unwrap() };
    let bytes = written(&packet);
    assert!(read(bytes.clone()).is_ok());
    for end in 0..bytes.len() {
        assert!(read(bytes[..end].to_vec()).is_err(), "{end}");
    }
}

#[test]
fn text_that_claims_to_be_binary_is_text() {
    let place = "82 ac5f706c616365686f6c646572 c3 a36e756d 00";
    let args = args(3, &format!("c40101 {place} {place}"));
    assert_eq!(args.attachments().len(), 1);
    let (one, two, _): (Bytes, Value, Value) = args.parse().unwrap();
    assert_eq!((&one[..], two), (&[1][..], serde_json::json!({ "num": 0 })));
    assert!(args.parse::<(Bytes, Bytes)>().is_err());
    assert_eq!(shown(&sent(&args)), shown(&hex(&format!("c40101 {place} {place}"))));
}
