//! The names that sockets and rooms go by.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::engine::handshake::{SessionId, random_socket_id};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<&String> for $name {
            fn from(text: &String) -> Self {
                Self(text.as_str().into())
            }
        }

        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

name! {
    /// The public id of one client in one namespace: 20 characters, random, the same on both
    /// sides. It is not the (secret) id of the Engine.IO session; only clients of Socket.IO 1 and 2
    /// know no other, so there it is made of that id.
    SocketId
}

name! {
    /// The name of a set of sockets. A room exists as long as it has members.
    ///
    /// Every socket is in a room named by its own id, so wherever a room is asked for, a
    /// [`SocketId`] will do.
    Room
}

impl SocketId {
    /// The id of a client of Socket.IO 1 or 2, which makes the same one on its side: in `/` that of
    /// its session.
    pub(crate) fn of_session(sid: &SessionId, namespace: &str) -> Self {
        match namespace {
            "/" => Self::from(sid.as_str()),
            _ => Self::from(format!("{namespace}#{}", sid.as_str())),
        }
    }

    pub(crate) fn random() -> Self {
        Self::from(random_socket_id())
    }
}

impl From<SocketId> for Room {
    fn from(id: SocketId) -> Self {
        Self(id.0)
    }
}

impl From<&SocketId> for Room {
    fn from(id: &SocketId) -> Self {
        Self(Arc::clone(&id.0))
    }
}

/// One room or several: what the methods that take rooms accept.
///
/// ```
/// use greenroom::prelude::*;
///
/// fn sit_down(socket: &Socket, table: Room, neighbour: &SocketId, topics: Vec<String>) {
///     socket.join("seated");
///     socket.join(["red", "blue"]);
///     socket.join(topics);
///     socket.join(&table);
///     let _ = socket.to(vec![table, neighbour.into()]).emit("hello", &());
/// }
/// ```
pub trait IntoRooms {
    /// The rooms, in order.
    fn into_rooms(self) -> impl Iterator<Item = Room>;
}

macro_rules! one_room {
    ($($type:ty),*) => {$(
        impl IntoRooms for $type {
            fn into_rooms(self) -> impl Iterator<Item = Room> {
                std::iter::once(Room::from(self))
            }
        }
    )*};
}

one_room!(&str, String, &String, Room, &Room, SocketId, &SocketId);

impl<T: Into<Room>> IntoRooms for Vec<T> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<T: Into<Room>, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<'a, T> IntoRooms for &'a [T]
where
    Room: From<&'a T>,
{
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.iter().map(Room::from)
    }
}
