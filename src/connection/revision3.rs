//! What differs for clients of Socket.IO 1 and 2, which come with Engine.IO revision 3.
//!
//! They are in `/` from the start, and give what is `auth` today as the query of a namespace's
//! name: `/admin?token=abc`.

use std::sync::LazyLock;

use serde_json::{Map, Value};
use url::Url;

use crate::packet::Packet;

/// What the reference resolves the names of namespaces against: an address whose path they become.
static BASE: LazyLock<Option<Url>> = LazyLock::new(|| Url::parse("https://socket.io").ok());

/// The packet as a client of today would have sent it; `None` if its namespace cannot be the path
/// of an address, which closes the connection.
pub(super) fn translate(mut packet: Packet) -> Option<Packet> {
    let name = packet.namespace();
    if !is_plain(name) {
        let address = BASE.as_ref()?.join(name).ok()?;
        let query = address.query_pairs().map(|(name, value)| (name.into(), Value::from(value)));
        let query: Map<String, Value> = query.collect();
        let path = address.path().into();
        if let Packet::Connect { auth, .. } = &mut packet {
            *auth = serde_json::to_string(&query).ok().map(Into::into);
        }
        set_namespace(&mut packet, path);
    } else if let Packet::Connect { auth, .. } = &mut packet {
        // Their own data is not looked at.
        *auth = None;
    }
    Some(packet)
}

/// Whether the path of an address would be the same text, without a query.
fn is_plain(name: &str) -> bool {
    let plain = |byte: &u8| matches!(byte, b'/' | b'-' | b'_') || byte.is_ascii_alphanumeric();
    name.starts_with('/') && !name.starts_with("//") && name.as_bytes().iter().all(plain)
}

fn set_namespace(packet: &mut Packet, name: bytestring::ByteString) {
    match packet {
        Packet::Connect { namespace, .. }
        | Packet::Disconnect { namespace }
        | Packet::Event { namespace, .. }
        | Packet::Ack { namespace, .. }
        | Packet::ConnectError { namespace, .. } => *namespace = name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(namespace: &str) -> Option<(String, Option<String>)> {
        let auth = Some(r#"{"own":1}"#.into());
        match translate(Packet::Connect { namespace: namespace.into(), auth })? {
            Packet::Connect { namespace, auth } => {
                Some((namespace.to_string(), auth.map(|auth| auth.to_string())))
            }
            other => panic!("{other:?}"),
        }
    }

    fn name(namespace: &str) -> String {
        connect(namespace).unwrap().0
    }

    #[test]
    fn the_query_of_a_name_is_its_auth() {
        let auth = |text: &str| Some(text.to_owned());
        assert_eq!(connect("/admin"), Some(("/admin".into(), None)));
        let parsed = connect("/admin?token=a+b%21&x=1&x=2&y").unwrap();
        assert_eq!(parsed, ("/admin".into(), auth(r#"{"token":"a b!","x":"2","y":""}"#)));
        assert_eq!(connect("/?x=1"), Some(("/".into(), auth(r#"{"x":"1"}"#))));
        assert_eq!(connect("/a.b"), Some(("/a.b".into(), auth("{}"))));
    }

    #[test]
    fn a_name_is_the_path_that_an_address_makes_of_it() {
        // What `new URL(name, "https://socket.io").pathname` gives in Node 20.
        assert_eq!(name("/é b"), "/%C3%A9%20b");
        assert_eq!(name("/a/../b/./c"), "/b/c");
        assert_eq!(name("/a#b?c"), "/a");
        assert_eq!(name("/a\\b"), "/a/b");
        assert_eq!(name("//other.host/x"), "/x");
        assert_eq!(name("/a//b"), "/a//b");
        assert_eq!(connect("//"), None);
        assert_eq!(connect("//["), None);
    }

    #[test]
    fn every_packet_is_for_the_translated_namespace() {
        let packet = translate(Packet::Disconnect { namespace: "/admin?x=1".into() }).unwrap();
        assert_eq!(packet, Packet::Disconnect { namespace: "/admin".into() });
    }
}
