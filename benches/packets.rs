//! The Socket.IO codec: what came is read, what goes out is written. Pure functions, one thread.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use bytes::Bytes;
use bytestring::ByteString;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use greenroom::{
    Args, Payload,
    engine::Message,
    packet::{Decoder, DefaultParser, MsgpackParser, Outgoing, Packet, Parser, ParserLimits},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a chat may say.
#[derive(Deserialize, Serialize)]
struct Line {
    author: String,
    text: String,
    room: String,
    time: u64,
    tags: Vec<String>,
}

fn line() -> Line {
    Line {
        author: "grace".into(),
        text: "an ordinary sentence, with \"quotes\" and an é in it".into(),
        room: "lobby".into(),
        time: 1_700_000_000_000,
        tags: vec!["first".into(), "second".into()],
    }
}

fn text(size: usize) -> String {
    "x".repeat(size)
}

/// Packets of clients, as text.
fn packets() -> [(&'static str, ByteString); 5] {
    let line = serde_json::to_string(&line()).unwrap();
    [
        ("event of 128 B", format!("2/bench,12[\"echo\",\"{}\"]", text(128)).into()),
        ("event of 4 KB", format!("2/bench,12[\"echo\",\"{}\"]", text(4096)).into()),
        ("event with an object", format!("2/chat,[\"say\",{line}]").into()),
        ("ack", "3/bench,12[true]".into()),
        ("connect", "0/bench,{\"token\":\"secret\"}".into()),
    ]
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (name, packet) in packets() {
        let mut decoder = Decoder::new(10);
        group.throughput(Throughput::Bytes(packet.len() as u64));
        group.bench_function(name, |b| b.iter(|| decoder.text(black_box(packet.clone())).unwrap()));
    }
    let head: ByteString = "51-/bench,12[\"echo\",{\"_placeholder\":true,\"num\":0}]".into();
    let attachment = Bytes::from(text(128));
    let mut decoder = Decoder::new(10);
    group.bench_function("event with an attachment of 128 B", |b| {
        b.iter(|| {
            decoder.text(black_box(head.clone())).unwrap();
            decoder.binary(black_box(attachment.clone())).unwrap()
        });
    });
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let small = text(128);
    group.bench_function("body of a text of 128 B", |b| {
        b.iter(|| Payload::event("msg", black_box(&small)).unwrap());
    });
    let line = line();
    group.bench_function("body of an object", |b| {
        b.iter(|| Payload::event("said", black_box(&line)).unwrap());
    });
    let attachment = Bytes::from(text(128));
    group.bench_function("body of an attachment of 128 B", |b| {
        b.iter(|| Payload::event("msg", black_box(&attachment)).unwrap());
    });
    // what comes before the body
    let payload = Payload::event("msg", &small).unwrap();
    let packet = Outgoing::Event { namespace: "/bench", id: None, payload: &payload };
    group.bench_function("packet of a ready body of 128 B", |b| {
        b.iter(|| {
            let mut out = Vec::with_capacity(256);
            packet.write(&mut out);
            out
        });
    });
    group.finish();
}

fn args(c: &mut Criterion) {
    let mut group = c.benchmark_group("args");
    let parsed = |text: &str| match Decoder::new(10).text(text.into()).unwrap() {
        Some(Packet::Event { event, .. }) => event.args,
        other => panic!("{other:?}"),
    };
    let object = parsed(&packets()[2].1);
    group.bench_function("one object, typed", |b| {
        b.iter(|| black_box(&object).parse::<Line>().unwrap());
    });
    group.bench_function("one object, as a tree", |b| {
        b.iter(|| black_box(&object).parse::<Value>().unwrap());
    });
    let several = parsed("2[\"join\",\"lobby\",7,{\"a\":[1,2,3]}]");
    group.bench_function("a tuple of three", |b| {
        b.iter(|| black_box(&several).parse::<(String, u64, Value)>().unwrap());
    });
    group.bench_function("passed on as they came", |b| {
        b.iter(|| Payload::ack(&black_box(&several).take(2)).unwrap());
    });
    group.bench_function("built by hand", |b| {
        b.iter_batched(
            Args::new,
            |mut args| {
                args.push("lobby").unwrap().push(&7).unwrap();
                args
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn msgpack(c: &mut Criterion) {
    let mut group = c.benchmark_group("msgpack");
    for (name, payload) in [
        ("text of 128 B", Payload::event("msg", &text(128)).unwrap()),
        ("object", Payload::event("said", &line()).unwrap()),
        ("binary of 128 B", Payload::event("msg", &Bytes::from(text(128))).unwrap()),
    ] {
        let packet = Outgoing::Event { namespace: "/bench", id: Some(12), payload: &payload };
        group.bench_function(format!("encode, {name}"), |b| {
            b.iter(|| MsgpackParser.encode(black_box(&packet)).unwrap());
        });
        let message: Message = MsgpackParser.encode(&packet).unwrap().remove(0);
        let mut decoder = MsgpackParser.decoder(ParserLimits::default());
        group.bench_function(format!("decode, {name}"), |b| {
            b.iter(|| decoder.decode(black_box(message.clone())).unwrap());
        });
        // the same by the default parser, to compare
        group.bench_function(format!("encode as JSON, {name}"), |b| {
            b.iter(|| DefaultParser.encode(black_box(&packet)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, decode, encode, args, msgpack);
criterion_main!(benches);
