//! Values an application attaches to a socket.

use std::{
    cell::Cell,
    sync::{Arc, MutexGuard, TryLockError},
};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, ser::Error as _};
use serde_json::{Map, Value};

use super::{Extras, Socket};

/// The data of one socket: values by name, all with a JSON form, so that other parts of the
/// server (and of a cluster) can read them.
///
/// An application that has a type for it uses [`Socket::set_data`] and [`Socket::data_as`], and need
/// not name values.
///
/// ```no_run
/// use greenroom::prelude::*;
///
/// fn rename(socket: &Socket, name: &str) -> Option<String> {
///     socket.data(|data| {
///         let before = data.get::<String>("name");
///         data.set("name", name).ok()?;
///         before
///     })
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Data(Map<String, Value>);

impl Data {
    /// Sets a value.
    ///
    /// # Errors
    /// If it has no JSON form.
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> serde_json::Result<()> {
        self.0.insert(name.to_owned(), serde_json::to_value(value)?);
        Ok(())
    }

    /// A value, if there is one of that name and type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.0.get(name)?).ok()
    }

    /// Sets a value for each field of a struct (or each entry of a map). Values of other names stay
    /// as they are, so several types may share the data.
    ///
    /// # Errors
    /// If it has no JSON form, or one that is no object.
    pub fn write<T: Serialize + ?Sized>(&mut self, values: &T) -> serde_json::Result<()> {
        match serde_json::to_value(values)? {
            Value::Object(values) => {
                self.0.extend(values);
                Ok(())
            }
            _ => Err(serde_json::Error::custom("data of a socket must be a struct or a map")),
        }
    }

    /// Reads the values as one type, by the names of its fields.
    ///
    /// # Errors
    /// If a value is missing, or of another type.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        T::deserialize(&self.0)
    }

    /// Removes a value.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(crate) fn from_map(values: Map<String, Value>) -> Self {
        Self(values)
    }

    /// All values as one JSON object.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// The values themselves.
    pub fn as_map(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }
}

impl<'de> Deserialize<'de> for Data {
    /// From an object. Servers in JavaScript may put anything else there: that is no data.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Object(values) => Self(values),
            _ => Self::default(),
        })
    }
}

thread_local! {
    /// The socket whose data this thread works on.
    static BUSY_WITH: Cell<usize> = const { Cell::new(0) };
}

/// Puts back what was there before.
struct Entered(usize);

impl Drop for Entered {
    fn drop(&mut self) {
        BUSY_WITH.set(self.0);
    }
}

impl Socket {
    /// Calls `f` with the data of the socket: free to use, readable for the whole server.
    ///
    /// `f` should be short: it runs under a lock.
    ///
    /// # Panics
    /// If `f` calls a method of the same socket that concerns its data or listeners: it would wait
    /// for itself.
    pub fn data<R>(&self, f: impl FnOnce(&mut Data) -> R) -> R {
        let mut extras = self.extras();
        let _entered = Entered(BUSY_WITH.replace(self.address()));
        let data = &mut extras.get_or_insert_default().data;
        #[cfg(feature = "admin")]
        if let Some(tap) = self.home().description.tap() {
            return tap.compare(self, data, f);
        }
        f(data)
    }

    /// What most sockets have not.
    pub(super) fn extras(&self) -> MutexGuard<'_, Option<Box<Extras>>> {
        let locked = match self.0.extras.try_lock() {
            Err(TryLockError::WouldBlock) => {
                assert!(
                    BUSY_WITH.get() != self.address(),
                    "a closure given to `Socket::data` uses data or listeners of the same socket"
                );
                self.0.extras.lock()
            }
            Err(TryLockError::Poisoned(poisoned)) => Err(poisoned),
            Ok(locked) => Ok(locked),
        };
        // What a panic has left half done belongs to the application.
        locked.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// Data with a type.
///
/// ```
/// use greenroom::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// #[serde(default)]
/// struct User {
///     name: String,
///     messages: u32,
/// }
///
/// let chat = Namespace::new("/chat")
///     .on_connect(|socket: Socket| async move {
///         socket.set_data(&User { name: "ann".into(), messages: 0 })
///     })
///     .on("say", |socket: Socket, text: String| async move {
///         let name = socket.update_data(|user: &mut User| {
///             user.messages += 1;
///             user.name.clone()
///         })?;
///         socket.broadcast().emit("said", &(name, text))?;
///         Ok::<_, EventError>(())
///     });
/// # async fn present(io: SocketIo) -> Vec<String> {
/// // From anywhere, also for sockets of other servers of a cluster:
/// let sockets = io.fetch_sockets().await;
/// sockets.iter().filter_map(|socket| Some(socket.data().read::<User>().ok()?.name)).collect()
/// # }
/// ```
impl Socket {
    /// Sets the fields of a struct as data of the socket, see [`Data::write`].
    ///
    /// # Errors
    /// As [`Data::write`].
    pub fn set_data<T: Serialize + ?Sized>(&self, values: &T) -> serde_json::Result<()> {
        // What the type does to become JSON is not done under the lock.
        let mut written = Data::default();
        written.write(values)?;
        self.data(|data| data.0.extend(written.0));
        Ok(())
    }

    /// Reads the data of the socket as one type, see [`Data::read`].
    ///
    /// # Errors
    /// As [`Data::read`].
    pub fn data_as<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        self.data(|data| data.read())
    }

    /// Reads the data as one type, lets `f` change it and writes it back, with nothing in between.
    /// The same holds for `f` as for that of [`Socket::data`].
    ///
    /// # Errors
    /// As [`Data::read`] and [`Data::write`].
    pub fn update_data<T: Serialize + DeserializeOwned, R>(
        &self,
        f: impl FnOnce(&mut T) -> R,
    ) -> serde_json::Result<R> {
        self.data(|data| {
            let mut values = data.read()?;
            let result = f(&mut values);
            data.write(&values)?;
            Ok(result)
        })
    }
}
