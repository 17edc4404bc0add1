//! Values an application attaches to a socket.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// The data of one socket: values by name, all with a JSON form, so that other parts of the
/// server (and of a cluster) can read them.
#[derive(Clone, Debug, Default, PartialEq)]
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
