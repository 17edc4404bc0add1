//! A handshake as other servers of a cluster see it: the reference's object of nine fields.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct};
use serde_json::Value;

use super::Handshake;
use crate::engine::{Headers, Request, Transport};

/// Milliseconds since 1970 at which no year has more than four digits.
const LAST_MOMENT: u64 = 253_402_300_799_000;

impl Serialize for Handshake {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = &self.request;
        let address = request.address.map(|address| address.ip().to_string());
        let query: BTreeMap<_, _> =
            request.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut form = serializer.serialize_struct("Handshake", 9)?;
        form.serialize_field("headers", &headers(&request.headers))?;
        form.serialize_field("time", &javascript_date(request.issued()))?;
        form.serialize_field("address", &address.unwrap_or_default())?;
        form.serialize_field("xdomain", &request.cross_origin())?;
        form.serialize_field("secure", &request.secure)?;
        form.serialize_field("issued", &request.issued())?;
        form.serialize_field("url", &request.url)?;
        form.serialize_field("query", &query)?;
        form.serialize_field("auth", &self.auth)?;
        form.end()
    }
}

/// Headers of one name become one, as Node.js joins them.
fn headers(headers: &Headers) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers.iter() {
        let separator = if name.eq_ignore_ascii_case("cookie") { "; " } else { ", " };
        joined
            .entry(name.to_ascii_lowercase())
            .and_modify(|all| {
                all.push_str(separator);
                all.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    joined
}

/// `Tue Jul 21 2026 12:34:56 GMT+0000 (Coordinated Universal Time)`.
fn javascript_date(issued: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(issued.min(LAST_MOMENT));
    // "Tue, 21 Jul 2026 12:34:56 GMT", every part of fixed width
    let date = httpdate::fmt_http_date(time);
    let part = |range| date.get(range).unwrap_or_default();
    let (weekday, day, month, rest) = (part(0..3), part(5..7), part(8..11), part(12..25));
    format!("{weekday} {month} {day} {rest} GMT+0000 (Coordinated Universal Time)")
}

/// What other servers send, as far as it is of use; what is missing or of another type is left
/// empty, so that one odd socket does not spoil the answer for all.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    headers: Value,
    address: Value,
    secure: Value,
    issued: Value,
    url: Value,
    query: Value,
    auth: Value,
}

impl<'de> Deserialize<'de> for Handshake {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let headers = pairs(&form.headers);
        let query = pairs(&form.query);
        let transport = query.iter().find(|(name, _)| name == "transport");
        let transport = transport.and_then(|(_, name)| name.parse().ok());
        let issued = form.issued.as_f64().unwrap_or_default().clamp(0.0, LAST_MOMENT as f64);
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Ok(Self {
            request: Arc::new(Request {
                headers: Headers::collect(pairs),
                url: text(&form.url),
                query,
                address: address(&text(&form.address)),
                secure: form.secure.as_bool().unwrap_or_default(),
                time: SystemTime::UNIX_EPOCH + Duration::from_millis(issued as u64),
                transport: transport.unwrap_or(Transport::Polling),
            }),
            auth: form.auth,
        })
    }
}

/// The reference gives no port.
fn address(text: &str) -> Option<SocketAddr> {
    let ip = text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
    ip.or_else(|| text.parse().ok())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // Node.js gives what came several times as a list.
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn pairs(object: &Value) -> Vec<(String, String)> {
    let entries = object.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), self::text(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_form_is_that_of_the_reference() {
        let form = json!({
            "headers": { "cookie": "a=1; b=2", "host": "x", "origin": "http://y" },
            "time": "Tue Jul 21 2026 12:34:56 GMT+0000 (Coordinated Universal Time)",
            "address": "127.0.0.1", "xdomain": true, "secure": false, "issued": 1_784_637_296_789_u64,
            "url": "/socket.io/?EIO=4&transport=websocket",
            "query": { "EIO": "4", "transport": "websocket" }, "auth": { "token": 7 },
        });
        let handshake: Handshake = serde_json::from_value(form.clone()).unwrap();
        assert_eq!(handshake.request.query("EIO"), Some("4"));
        assert_eq!(handshake.request.transport, Transport::WebSocket);
        assert_eq!(handshake.request.headers.get("Host").as_deref(), Some("x"));
        assert!(handshake.request.cross_origin());
        assert_eq!(handshake.auth, json!({ "token": 7 }));
        assert_eq!(serde_json::to_value(&handshake).unwrap(), form);
    }

    #[test]
    fn headers_of_one_name_become_one() {
        let twice =
            [("Accept", &b"a"[..]), ("cookie", b"a=1"), ("accept", b"b"), ("cookie", b"b=2")];
        let joined = headers(&Headers::collect(twice.into_iter()));
        assert_eq!(joined["accept"], "a, b");
        assert_eq!(joined["cookie"], "a=1; b=2");
    }

    #[test]
    fn whatever_another_server_sends_becomes_a_handshake() {
        for form in [
            json!({}),
            json!({ "headers": 7, "query": [1], "issued": -1e300, "address": {}, "url": null }),
            json!({ "headers": { "set-cookie": ["a", "b"] }, "issued": 1e300, "secure": "yes" }),
            json!({ "address": "::ffff:10.0.0.1", "auth": "text" }),
        ] {
            let handshake: Handshake = serde_json::from_value(form).unwrap();
            serde_json::to_value(&handshake).unwrap();
        }
        assert_eq!(address("10.0.0.1:80").map(|a| a.port()), Some(80));
    }
}
