//! Joins and broadcasts of different servers, mixed as closely as can be.

use greenroom::{SubscriptionMode, testing::TestSocket};

use crate::{Driver, client, redis, secure, sharded, streams, support::handle};

#[actix_rt::test]
async fn over_ordinary_pub_sub() {
    none_is_lost_or_repeated(&redis::classic()).await;
}

#[actix_rt::test]
async fn over_sharded_pub_sub() {
    none_is_lost_or_repeated(&sharded::dynamic()).await;
}

#[actix_rt::test]
async fn over_sharded_pub_sub_with_channels_of_sockets() {
    none_is_lost_or_repeated(&sharded::with(SubscriptionMode::DynamicPrivate)).await;
}

#[actix_rt::test]
async fn over_one_place_of_a_redis_cluster() {
    none_is_lost_or_repeated(&secure::sharded_cluster()).await;
}

#[actix_rt::test]
async fn over_a_stream() {
    none_is_lost_or_repeated(&streams::streams()).await;
}

/// Five thousand joins and as many broadcasts, of which each has to be heard, once and in order.
async fn none_is_lost_or_repeated(driver: &impl Driver) {
    const ROOMS: u64 = 5000;
    const BATCH: u64 = 250;
    let servers = driver.start(2).await;
    let io = servers[0].io();
    let b = client(&servers[1], "b", &["base"]).await;
    let c = client(&servers[1], "c", &[]).await;
    servers[1].io().to("base").local().join_confirmed("base").await.unwrap();
    // Joins by the other server, each followed by a broadcast to the room, and a leave.
    for batch in 0..ROOMS / BATCH {
        for n in batch * BATCH..(batch + 1) * BATCH {
            let room = format!("room {}", n % 700);
            io.to("base").join(&room);
            io.to(&room).emit("n", &n).unwrap();
            if n % 3 > 0 {
                io.to("base").leave(&room);
            }
        }
        // So that no queue has to be longer than it may be, and no stream.
        io.to("base").leave_confirmed("nothing").await.unwrap();
    }
    io.emit("end", &()).unwrap();
    let came = heard(&b).await;
    let wrong = came.iter().zip(0..).position(|(came, sent)| *came != sent);
    assert_eq!((wrong, came.len() as u64), (None, ROOMS), "the first that is lost or repeated");
    assert_eq!(heard(&c).await, [] as [u64; 0]);
    // Joins by the socket's own server, once they are confirmed, with leaves in between.
    let socket = handle(&servers[1], &c).await;
    for n in 0..500 {
        let room = format!("own {}", n % 3);
        socket.join_confirmed(&room).await.unwrap();
        io.to(&room).emit("n", &n).unwrap();
        assert_eq!(c.next_event().await.data::<u64>(), n);
        socket.leave(&room);
    }
    b.expect_silence().await;
    c.expect_silence().await;
    assert_eq!(servers[0].metrics().cluster_messages_dropped, 0);
}

/// What a socket has heard, up to an event `end` that comes last.
async fn heard(socket: &TestSocket) -> Vec<u64> {
    let mut heard = Vec::new();
    loop {
        let event = socket.next_event().await;
        if event.name == "end" {
            return heard;
        }
        heard.push(event.data());
    }
}
