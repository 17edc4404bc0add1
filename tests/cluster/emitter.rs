//! What an emitter writes, byte by byte, and what comes of it on real servers.

use std::{collections::HashMap, time::Duration};

use ::redis::{Connection, Value as Answer};
use bytes::Bytes;
use greenroom::{
    RedisEmitError, RedisEmitter, ShardedRedisAdapter, SubscriptionMode, testing::TestServer,
};
use serde_json::{Value, json};

use crate::{
    Driver, client,
    redis::{Redis, classic, until},
    sharded,
};

/// What each operation of the official emitters wrote.
fn vectors(suite: &str) -> HashMap<String, Value> {
    let mut all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let list: Vec<Value> = serde_json::from_value(all["vectors"].take()).unwrap();
    let of_suite = list.into_iter().filter(|v| v["suite"] == suite && v["command"] != "XREAD");
    of_suite.map(|vector| (vector["op"].as_str().unwrap().to_owned(), vector)).collect()
}

/// Does what was done when the vectors were written, and returns the names of it.
async fn all_operations(emitter: &RedisEmitter) -> [&'static str; 7] {
    emitter.emit("news", &("from emitter", 1)).await.unwrap();
    emitter.to("room1").emit("news", &Bytes::from_static(&[1, 2])).await.unwrap();
    emitter.of("custom").emit("news", "x").await.unwrap();
    emitter.within("room1").join("room7").await.unwrap();
    emitter.within("room1").leave(["room7", "room8"]).await.unwrap();
    emitter.within("room1").disconnect(true).await.unwrap();
    emitter.server_side_emit("hello", "from emitter").await.unwrap();
    [
        "emitter-emit-all",
        "emitter-emit-room",
        "emitter-of-custom",
        "emitter-socketsJoin",
        "emitter-socketsLeave",
        "emitter-disconnectSockets",
        "emitter-serverSideEmit",
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn connect(redis: &Redis) -> Connection {
    let connection = ::redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    connection
}

fn text(answer: &Answer) -> String {
    let Answer::BulkString(bytes) = answer else { panic!("{answer:?}") };
    String::from_utf8(bytes.clone()).unwrap()
}

/// A connection that hears what is published.
fn listen(redis: &Redis, command: &str, name: &str) -> Connection {
    let mut connection = connect(redis);
    let mut subscribe = ::redis::cmd(command);
    subscribe.arg(name);
    connection.send_packed_command(&subscribe.get_packed_command()).unwrap();
    connection.recv_response().unwrap();
    connection
}

/// The channel and the payload of the next message.
fn heard(connection: &mut Connection) -> (String, Vec<u8>) {
    let Answer::Array(parts) = connection.recv_response().unwrap() else { panic!("no message") };
    let [.., channel, Answer::BulkString(payload)] = &parts[..] else { panic!("{parts:?}") };
    (text(channel), payload.clone())
}

#[actix_rt::test]
async fn what_it_publishes_is_what_the_official_emitter_publishes() {
    let redis = Redis::start();
    let mut bus = listen(&redis, "PSUBSCRIBE", "*");
    let vectors = vectors("emitter");
    let emitter = RedisEmitter::new(&redis.url()).unwrap();
    let operations = all_operations(&emitter).await;
    assert_eq!(operations.len(), vectors.len() - 1, "all but the one with flags");
    for operation in operations {
        let (channel, payload) = heard(&mut bus);
        let vector = &vectors[operation];
        assert_eq!(vector["channel"], channel, "{operation}");
        assert_eq!(vector["payload_hex"], hex(&payload), "{operation}");
    }
    // The official one writes `compress: true` if that was said; here it is what is always so.
    emitter.to("a").to("b").except("c").volatile().compress(true).emit("news", &()).await.unwrap();
    let (channel, payload) = heard(&mut bus);
    let vector = &vectors["emitter-emit-rooms-except-flags"];
    assert_eq!(vector["channel"], channel);
    let official = vector["payload_hex"].as_str().unwrap();
    let (both, one) = ("82a8766f6c6174696c65c3a8636f6d7072657373c3", "81a8766f6c6174696c65c3");
    assert!(official.contains(both));
    assert_eq!(official.replace(both, one), hex(&payload));
    // Other keys, and flags that say something.
    let other = emitter.clone().key("other").to("a");
    other.compress(false).emit("news", &()).await.unwrap();
    let (channel, payload) = heard(&mut bus);
    assert_eq!(channel, "other#/#a#");
    assert!(hex(&payload).contains("81a8636f6d7072657373c2"), "compress: false");
    other.join("b").await.unwrap();
    assert_eq!(heard(&mut bus).0, "other-request#/#");
}

#[actix_rt::test]
async fn what_it_adds_to_a_stream_is_what_the_official_emitter_adds() {
    let redis = Redis::start();
    let vectors = vectors("streams-emitter");
    let emitter = RedisEmitter::streams(&redis.url()).unwrap().max_len(500);
    let operations = all_operations(&emitter).await;
    let mut range = ::redis::cmd("XRANGE");
    range.arg("socket.io").arg("-").arg("+");
    let entries = range.query(&mut connect(&redis)).unwrap();
    let Answer::Array(entries) = entries else { panic!("{entries:?}") };
    assert_eq!(entries.len(), operations.len());
    for (entry, operation) in entries.iter().zip(operations) {
        let Answer::Array(entry) = entry else { panic!("{entry:?}") };
        let Answer::Array(fields) = &entry[1] else { panic!("{entry:?}") };
        let fields: Vec<_> = fields.iter().map(text).collect();
        let expected = vectors[operation]["fields"].as_object().unwrap().iter();
        let expected: Vec<_> =
            expected.flat_map(|(name, value)| [name, value.as_str().unwrap()]).collect();
        assert_eq!(fields, expected, "{operation}");
    }
    // The stream does not grow without end.
    let capped = emitter.max_len(0);
    capped.emit("news", &()).await.unwrap();
    let length: usize = ::redis::cmd("XLEN").arg("socket.io").query(&mut connect(&redis)).unwrap();
    assert!(length <= 8);
}

#[actix_rt::test]
async fn what_it_publishes_to_sharded_channels_is_a_cluster_message() {
    let redis = Redis::start();
    let mut bus = listen(&redis, "SSUBSCRIBE", "k#/x#");
    let emitter = RedisEmitter::sharded(&redis.url()).unwrap().key("k").of("/x");
    emitter.to("a").volatile().emit("news", &1).await.unwrap();
    emitter.server_side_emit("hello", &1).await.unwrap();
    let mut next = || serde_json::from_slice::<Value>(&heard(&mut bus).1).unwrap();
    let opts = json!({ "rooms": ["a"], "flags": { "volatile": true }, "except": [] });
    let packet = json!({ "type": 2, "data": ["news", 1], "nsp": "/x" });
    let data = json!({ "packet": packet, "opts": opts });
    assert_eq!(next(), json!({ "type": 3, "data": data, "uid": "emitter", "nsp": "/x" }));
    let data = json!({ "packet": ["hello", 1] });
    assert_eq!(next(), json!({ "type": 9, "data": data, "uid": "emitter", "nsp": "/x" }));
}

#[actix_rt::test]
async fn servers_do_what_it_says() {
    let driver = classic();
    does_what_it_says(&driver.start(2).await, RedisEmitter::new(&driver.redis.url()).unwrap())
        .await;
}

#[actix_rt::test]
async fn servers_with_sharded_pub_sub_do_what_it_says_in_every_mode() {
    let redis = Redis::start();
    use SubscriptionMode::{Dynamic, DynamicPrivate, Static};
    for mode in [Static, Dynamic, DynamicPrivate] {
        let adapter = || {
            let adapter = ShardedRedisAdapter::new(&redis.url()).unwrap();
            adapter.subscription_mode(mode).channel_prefix("app")
        };
        let servers = sharded::start(2, adapter).await;
        let emitter = RedisEmitter::sharded(&redis.url()).unwrap().key("app");
        does_what_it_says(&servers, emitter).await;
        does_what_it_says(&servers, RedisEmitter::from(adapter())).await;
        for server in servers {
            server.io().close().await;
        }
    }
}

/// Says all there is to say to two servers.
pub(crate) async fn does_what_it_says(servers: &[TestServer], emitter: RedisEmitter) {
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r", "x"]).await;
    // On a thread with a runtime of its own, and without actors.
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            emitter.emit("all", &(1, Bytes::from_static(b"\0\xff"))).await?;
            emitter.to("r").except("x").emit("room", "é").await?;
            emitter.to("x").join("joined").await?;
            emitter.to("joined").emit("joined", &()).await?;
            emitter.to("joined").leave("r").await?;
            emitter.to("r").emit("left", &()).await?;
            emitter.to("x").disconnect(false).await
        })
    };
    std::thread::spawn(work).join().unwrap().unwrap();
    for client in [&a, &b] {
        let event = client.next_event().await;
        assert_eq!(event.data::<(u64, Bytes)>(), (1, Bytes::from_static(b"\0\xff")));
    }
    let event = a.next_event().await;
    assert_eq!((&*event.name, event.data::<String>()), ("room", "é".to_owned()));
    assert_eq!(a.next_event().await.name, "left");
    assert_eq!(b.next_event().await.name, "joined");
    b.disconnected().await;
    a.disconnect().await;
}

#[actix_rt::test]
async fn what_could_not_be_sent_is_an_error_and_the_next_is_sent_when_redis_is_back() {
    let mut redis = Redis::start();
    let emitter = RedisEmitter::new(&redis.url()).unwrap();
    emitter.emit("e", &1).await.unwrap();
    redis.kill();
    // Whether it was noticed before or not.
    assert!(emitter.emit("e", &2).await.is_err());
    let away = emitter.emit("e", &3).await.unwrap_err();
    assert!(matches!(away, RedisEmitError::Unreachable(_)), "{away:?}");
    assert!(redis.resume());
    emitter.emit("e", &4).await.unwrap();
    // A connection that was closed meanwhile is none of the caller's business.
    until("a broken connection is noticed before the next is sent", async || {
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        for _ in 0..1000 {
            // Its end is noticed when the thread has nothing else to do, and on a busy machine later.
            tokio::task::yield_now().await;
        }
        emitter.emit("e", &5).await.is_ok()
    })
    .await;
    // Somebody who may not publish.
    redis.command(&["ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*", "+@all", "-publish"]);
    let url = redis.url().replace("redis://", "redis://reader:secret@");
    let refused = RedisEmitter::new(&url).unwrap().emit("e", &6).await.unwrap_err();
    assert!(matches!(refused, RedisEmitError::Refused(_)), "{refused:?}");
}

#[actix_rt::test]
async fn what_no_server_takes_is_refused_before_it_is_sent() {
    let emitter = RedisEmitter::new("redis://127.0.0.1:1").unwrap();
    for error in [
        emitter.emit("disconnect", &()).await.unwrap_err(),
        emitter.server_side_emit("connection", &()).await.unwrap_err(),
        emitter.emit("e", &HashMap::from([((1, 2), 3)])).await.unwrap_err(),
    ] {
        assert!(matches!(error, RedisEmitError::Encode(_)), "{error:?}");
    }
    assert!(RedisEmitter::new("nowhere").is_err());
    assert!(!format!("{:?}", RedisEmitter::new("redis://:secret@h").unwrap()).contains("secret"));
}
