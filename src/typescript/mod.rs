//! TypeScript declarations of a [`contract!`](crate::contract), for users of `socket.io-client`
//! (feature `typescript`).
//!
//! The types of parameters and answers derive [`TS`], with the crate `ts-rs` (version 12) among the
//! dependencies of the application:
//!
//! ```
//! use greenroom::{contract, typescript};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, typescript::TS)]
//! #[ts(crate = "greenroom::typescript::ts_rs")] // not needed with `ts-rs` in Cargo.toml
//! struct Order { dish: String, count: u32 }
//!
//! contract! {
//!     /// The kitchen.
//!     struct Kitchen;
//!     client {
//!         /// Gives the number of the order.
//!         "order" => PlaceOrder(order: Order) -> u64;
//!     }
//!     server {
//!         "ready" => Ready(number: u64);
//!     }
//! }
//!
//! let text = typescript::declaration::<Kitchen>()?;
//! assert!(text.contains("export type Order = { dish: string, count: number, };"));
//! assert!(text.contains("order: (order: Order, ack: (answer: number | Failure) => void) => void;"));
//! # Ok::<(), typescript::TypeScriptError>(())
//! ```

mod events;
mod text;
mod types;

#[cfg(test)]
mod tests;

use std::{fs, io, path::Path};

pub use ts_rs::{self, TS};

pub use self::events::{Answer, Describe, DescribeParameters};
use self::{events::Description, types::Types};
use crate::typed::Contract;

/// Why there is no declaration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypeScriptError {
    /// Two different types go by one name, or a type by one that every declaration has.
    #[error("two types are named {name:?}: give one another name by #[ts(rename = \"..\")]")]
    Clash {
        /// The name.
        name: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file says something else than the contract.
    #[error("{path} is not what the contract says: write it again")]
    Outdated {
        /// The file.
        path: String,
    },
}

/// The declaration of a contract: the types of its parameters and answers, the interfaces
/// `ClientToServerEvents` and `ServerToClientEvents`, and the type of its sockets, named after the
/// contract: `KitchenSocket` for `Kitchen`.
///
/// Integers of 64 and 128 bits are `number`, as JSON has no other: JavaScript rounds them beyond
/// 2⁵³.
///
/// # Errors
/// If two different types go by one name.
pub fn declaration<C: Contract>() -> Result<String, TypeScriptError>
where
    C::Client: Describe,
    C::Server: Describe,
{
    let config = ts_rs::Config::new().with_large_int("number");
    let mut description = Description::new(Types::new(&config));
    C::Client::describe(&mut description);
    let client = description.take_events();
    C::Server::describe(&mut description);
    let server = description.take_events();
    let types = description.types.finish(C::NAME)?;
    Ok(text::file(C::NAME, C::DOCS, &types, &client, &server))
}

/// Writes the [`declaration`] of a contract to a file, unless it says that already: what watches the
/// file is not woken for nothing. Gives whether it was written.
///
/// # Errors
/// If there is no declaration, or the file cannot be written.
pub fn write<C: Contract>(path: impl AsRef<Path>) -> Result<bool, TypeScriptError>
where
    C::Client: Describe,
    C::Server: Describe,
{
    match check::<C>(&path) {
        Ok(()) => return Ok(false),
        Err(TypeScriptError::Outdated { .. } | TypeScriptError::File { .. }) => {}
        Err(error) => return Err(error),
    }
    let path = path.as_ref();
    fs::write(path, declaration::<C>()?).map_err(|source| failed(path, source))?;
    Ok(true)
}

/// Whether a file is the [`declaration`] of a contract, apart from the ends of its lines. For a test
/// of a file that is kept with the client's sources:
///
/// ```no_run
/// # greenroom::contract! { struct Chat; client {} server {} }
/// #[test]
/// # fn _doc() {}
/// fn the_client_knows_the_contract() {
///     greenroom::typescript::check::<Chat>("web/src/chat.d.ts").unwrap();
/// }
/// ```
///
/// # Errors
/// If it says something else, cannot be read, or there is no declaration.
pub fn check<C: Contract>(path: impl AsRef<Path>) -> Result<(), TypeScriptError>
where
    C::Client: Describe,
    C::Server: Describe,
{
    let path = path.as_ref();
    let wanted = declaration::<C>()?;
    let found = fs::read_to_string(path).map_err(|source| failed(path, source))?;
    if found.lines().eq(wanted.lines()) {
        return Ok(());
    }
    Err(TypeScriptError::Outdated { path: path.display().to_string() })
}

fn failed(path: &Path, source: io::Error) -> TypeScriptError {
    TypeScriptError::File { path: path.display().to_string(), source }
}
