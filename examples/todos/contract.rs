//! What clients and server say to each other. `todos --types FILE` writes it as TypeScript.

use greenroom::{contract, typed::Binary};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// One thing to do.
#[derive(Clone, Debug, Serialize, TS)]
pub(crate) struct Todo {
    pub(crate) id: u32,
    pub(crate) title: String,
    pub(crate) done: bool,
    /// The name of the picture, if there is one.
    pub(crate) picture: Option<String>,
}

/// What changes; what is left out stays.
#[derive(Debug, Deserialize, TS)]
#[ts(optional_fields)]
pub(crate) struct Changes {
    pub(crate) title: Option<String>,
    pub(crate) done: Option<bool>,
}

/// Which ones to list.
#[derive(Clone, Copy, Debug, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Filter {
    Open,
    Done,
}

contract! {
    /// A list of things to do, the same one for everybody.
    pub(crate) struct Todos;

    client {
        /// All of them, or some.
        "list" => List(filter: Option<Filter>) -> Vec<Todo> | ();
        /// Makes one of a title of 1 to 100 characters.
        "create" => Create(title: String) -> Todo;
        "update" => Update(id: u32, changes: Changes) -> Todo;
        /// Asks the client that sent it whether it is sure, if the thing is not done yet. The answer
        /// is whether it was deleted.
        "delete" => Delete(id: u32) -> bool;
        /// Adds a PNG of at most 64 kB.
        "attach" => Attach(id: u32, name: String, content: Binary) -> Todo;
        "picture" => Picture(id: u32) -> Binary;
        /// Shows the others that somebody is writing.
        "writing" => Writing(title: String);
    }
    server {
        /// Somebody made or changed one.
        "changed" => Changed(todo: Todo);
        "deleted" => Deleted(id: u32);
        "somebody writes" => SomebodyWrites(title: String);
        "sure?" => Sure(title: String) -> bool;
    }
}
