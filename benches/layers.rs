//! WebSocket frames and the tables of room actors, through the feature `internals`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use greenroom::{
    Room,
    internals::{FrameReader, RoomTable, binary_frame, text_frame},
};

/// A client's frame.
fn masked(payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x81];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        longer => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(longer).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frames");
    for size in [32, 128, 4096, 60_000] {
        let (text, frame) = ("x".repeat(size), masked(&vec![b'x'; size]));
        group.throughput(Throughput::Bytes(size as u64));
        let mut reader = FrameReader::new(1_000_000);
        group.bench_function(format!("read {size} B"), |b| {
            b.iter(|| {
                reader.feed(black_box(&frame), |payload| {
                    black_box(payload);
                })
            });
        });
        group.bench_function(format!("write {size} B of text"), |b| {
            b.iter(|| text_frame(black_box(&text)));
        });
    }
    // what a client sent in one burst
    let burst: Vec<u8> = (0..16).flat_map(|_| masked(&[b'x'; 128])).collect();
    let mut reader = FrameReader::new(1_000_000);
    group.throughput(Throughput::Elements(16));
    group.bench_function("read 16 × 128 B at once", |b| {
        b.iter(|| {
            reader.feed(black_box(&burst), |payload| {
                black_box(payload);
            })
        });
    });
    let mut bytewise = FrameReader::new(1_000_000);
    let frame = masked(&[b'x'; 128]);
    group.throughput(Throughput::Elements(1));
    group.bench_function("read 128 B byte by byte", |b| {
        b.iter(|| {
            for byte in &frame {
                bytewise.feed(std::slice::from_ref(black_box(byte)), |payload| {
                    black_box(payload);
                });
            }
        });
    });
    let data = [7; 128];
    group.bench_function("write 128 B of binary", |b| b.iter(|| binary_frame(black_box(&data))));
    group.finish();
}

fn name(room: usize) -> Room {
    format!("room-{room}").into()
}

/// Ten members in each of so many rooms.
fn table(rooms: usize) -> RoomTable {
    let mut table = RoomTable::new();
    for key in 0..1000 {
        table.admit(key);
    }
    for room in 0..rooms {
        for member in 0..10 {
            table.enter(((room * 7 + member * 101) % 1000) as u64, name(room));
        }
    }
    table
}

fn rooms(c: &mut Criterion) {
    let system = actix::System::new();
    let mut group = c.benchmark_group("rooms");
    for count in [1, 1000, 100_000] {
        let mut table = system.block_on(async { table(count) });
        let wanted: Vec<Room> = (0..64).map(|i| name(i * 997 % count)).collect();
        let mut next = wanted.iter().cycle();
        group.bench_function(format!("10 members of one of {count}"), |b| {
            b.iter(|| table.count(std::slice::from_ref(next.next().unwrap()), &[]));
        });
        let extra = name(count);
        group.bench_function(format!("join and leave one of {count}"), |b| {
            b.iter(|| {
                table.enter(3, black_box(extra.clone()));
                table.exit(3, black_box(&extra));
            });
        });
    }
    let table = system.block_on(async { table(1000) });
    let some = [name(1), name(2), name(3)];
    group.bench_function("union of three", |b| b.iter(|| table.count(black_box(&some), &[])));
    let except = [name(2)];
    group.bench_function("one without another", |b| {
        b.iter(|| table.count(black_box(&some[..1]), black_box(&except)));
    });
    group.throughput(Throughput::Elements(1000));
    group.bench_function("everyone of 1,000", |b| b.iter(|| table.count(&[], &[])));
    group.finish();
}

criterion_group!(benches, frames, rooms);
criterion_main!(benches);
