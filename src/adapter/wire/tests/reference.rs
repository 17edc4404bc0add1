//! The forms against captured traffic of real servers: what they wrote is read, and written again as
//! they wrote it.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::Value;

use super::{
    super::{
        classic::{self, Channel},
        envelope,
    },
    MAX, bytes, vectors,
};
use crate::adapter::message::Uid;

/// Whether we say the same in other bytes: dates become text, rooms that are numbers become text,
/// and flags that say nothing are left out.
fn is_said_otherwise(vector: &Value) -> bool {
    let text = vector["decoded"].to_string();
    let words = ["$date", "expectSingleResponse", "\"compress\":true", "[42]"];
    words.iter().any(|word| text.contains(word))
}

fn is_classic(vector: &Value) -> bool {
    let suite = vector["suite"].as_str();
    matches!(suite, Some("classic" | "classic-specific-response" | "emitter"))
        && vector["payload_hex"].is_string()
}

/// A whole one, not one of which a part is elsewhere.
fn is_cluster_message(vector: &Value) -> bool {
    let suite = vector["suite"].as_str().unwrap();
    ["sharded", "streams", "postgres"].iter().any(|name| suite.starts_with(name))
        && matches!(vector["command"].as_str(), Some("PUBLISH" | "SPUBLISH" | "NOTIFY"))
        && vector["payload_hex"].is_string()
        && vector["attachment"].is_null()
}

fn is_entry(vector: &Value) -> bool {
    vector["fields"].is_object()
}

#[test]
fn all_that_the_reference_has_sent_is_read_and_written_here() {
    let is_tried = |v: &Value| is_classic(v) || is_cluster_message(v) || is_entry(v);
    let has_bytes =
        |v: &Value| v["payload_hex"].is_string() || is_entry(v) || !v["attachment"].is_null();
    let all = vectors();
    let others: Vec<_> = all
        .iter()
        .filter(|v| has_bytes(v) && !is_tried(v))
        .map(|v| v["id"].as_str().unwrap())
        .collect();
    // A session (`recovery`), and what the engine that is none of ours keeps in a table.
    let session = "streams-recovery/transport-lost/1";
    assert_eq!(others, [session, "postgres/emit-room-binary/1", "postgres/emit-over-threshold/1"]);
}

#[test]
fn classic_messages_are_those_of_the_reference() {
    let (mut same, mut all) = (0, 0);
    for vector in vectors() {
        if !is_classic(&vector) {
            continue;
        }
        let suite = vector["suite"].as_str().unwrap();
        let payload = bytes(vector["payload_hex"].as_str().unwrap());
        let (id, channel) = (&vector["id"], vector["channel"].as_str().unwrap());
        let key = channel.split('#').next().unwrap();
        let namespace = channel.split('#').nth(1).unwrap();
        let parse = |payload: &Bytes| match key.rsplit_once('-') {
            Some((_, "request")) => classic::parse_request(payload, namespace, MAX),
            Some((_, "response")) => classic::parse_response(payload, namespace, MAX),
            _ => classic::parse_broadcast(payload, MAX),
        };
        let read = parse(&payload).unwrap_or_else(|error| panic!("{id}: {error:?}"));
        assert_eq!(read.namespace, namespace, "{id}");
        // Neither answers nor what emitters ask for say of whom they are.
        let unnamed = if suite == "emitter" { "emitter" } else { "" };
        let uid = read.uid.clone().unwrap_or_else(|| Uid::from(unnamed));
        let (to, written) = classic::write(&read.message, &uid, namespace).unwrap();
        match &to {
            Channel::Broadcast(None) => assert_eq!(channel.matches('#').count(), 2, "{id}"),
            Channel::Broadcast(Some(room)) => {
                assert!(channel.ends_with(&format!("#{room}#")), "{id}");
            }
            Channel::Request => assert!(key.ends_with("-request"), "{id}"),
            Channel::Response => assert!(key.ends_with("-response"), "{id}"),
        }
        let written = Bytes::from(written);
        assert_eq!(parse(&written).unwrap(), read, "{id}");
        all += 1;
        if !is_said_otherwise(&vector) {
            assert_eq!(written, payload, "{id}: {:?}", String::from_utf8_lossy(&written));
            same += 1;
        }
    }
    assert_eq!((all, same), (67, 60));
}

#[test]
fn cluster_messages_are_those_of_the_reference() {
    let (mut same, mut all) = (0, 0);
    for vector in vectors() {
        if !is_cluster_message(&vector) {
            continue;
        }
        let suite = vector["suite"].as_str().unwrap();
        let payload = bytes(vector["payload_hex"].as_str().unwrap());
        let id = &vector["id"];
        let read = envelope::parse(&payload, MAX).unwrap_or_else(|e| panic!("{id}: {e:?}"));
        let uid = read.uid.clone().unwrap();
        let document = envelope::write(&read.message, &uid, &read.namespace).unwrap();
        // Streams publish msgpack only.
        let written = match suite.starts_with("streams") {
            true => document.to_msgpack(),
            false => envelope::mixed(&document),
        };
        let written = Bytes::from(written);
        assert_eq!(envelope::parse(&written, MAX).unwrap(), read, "{id}");
        all += 1;
        if !is_said_otherwise(&vector) {
            assert_eq!(written, payload, "{id}: {:?}", String::from_utf8_lossy(&written));
            same += 1;
        }
    }
    assert_eq!((all, same), (86, 80));
}

#[test]
fn entries_of_a_stream_are_those_of_the_reference() {
    let (mut same, mut all) = (0, 0);
    for vector in vectors() {
        let Some(fields) = vector["fields"].as_object() else { continue };
        let (id, field) = (&vector["id"], |name: &str| fields[name].as_str().unwrap());
        let kind = field("type").parse().unwrap();
        let text = field("data");
        let data = match text.starts_with('{') {
            true => Bytes::from(text.to_owned()),
            false => BASE64_STANDARD.decode(text).unwrap().into(),
        };
        let read = envelope::parse_data_only(kind, Some(&data), MAX).unwrap();
        assert_eq!(envelope::kind(&read), Some(kind), "{id}");
        let uid = Uid::from(field("uid"));
        let document = envelope::write_data_only(&read, &uid, field("nsp")).unwrap();
        let written = Bytes::from(envelope::mixed(&document));
        assert_eq!(envelope::parse_data_only(kind, Some(&written), MAX).unwrap(), read, "{id}");
        all += 1;
        if !is_said_otherwise(&vector) {
            assert_eq!(written, data, "{id}: {:?}", String::from_utf8_lossy(&written));
            same += 1;
        }
    }
    assert_eq!((all, same), (32, 28));
}
