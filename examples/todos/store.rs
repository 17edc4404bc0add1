//! The list itself: an actor, so that one change comes after the other.

use std::collections::BTreeMap;

use actix::prelude::*;
use greenroom::{prelude::*, typed::Binary};

use super::contract::{Changes, Filter, Todo};

const LONGEST_TITLE: usize = 100;
const LARGEST_PICTURE: usize = 64 * 1024;
const MOST: usize = 1000;

#[derive(Default)]
pub(crate) struct Store {
    last: u32,
    todos: BTreeMap<u32, Todo>,
    pictures: BTreeMap<u32, Binary>,
}

/// What listeners ask the store to do.
#[derive(Message)]
#[rtype(result = "Result<Todo, EventError>")]
pub(crate) enum Change {
    Create(String),
    Update(u32, Changes),
    Attach(u32, String, Binary),
    Delete(u32),
}

#[derive(Message)]
#[rtype(result = "Vec<Todo>")]
pub(crate) struct Find(pub(crate) Option<Filter>);

#[derive(Message)]
#[rtype(result = "Result<(Todo, Option<Binary>), EventError>")]
pub(crate) struct Get(pub(crate) u32);

impl Actor for Store {
    type Context = Context<Self>;
}

impl Store {
    fn find(&mut self, id: u32) -> Result<&mut Todo, EventError> {
        self.todos.get_mut(&id).ok_or_else(|| wrong("id", "there is no such thing to do"))
    }
}

/// What the client reads of a field that is wrong.
fn wrong(field: &str, why: &str) -> EventError {
    EventError::new(format!("{field}: {why}")).data(&serde_json::json!({ "field": field }))
}

fn checked(title: &str) -> Result<String, EventError> {
    let title = title.trim();
    match title.chars().count() {
        0 => Err(wrong("title", "it is empty")),
        1..=LONGEST_TITLE => Ok(title.to_owned()),
        _ => Err(wrong("title", "it has more than 100 characters")),
    }
}

impl Handler<Change> for Store {
    type Result = Result<Todo, EventError>;

    fn handle(&mut self, change: Change, _: &mut Context<Self>) -> Self::Result {
        match change {
            Change::Create(title) => {
                let title = checked(&title)?;
                if self.todos.len() >= MOST {
                    return Err(EventError::new("there is enough to do"));
                }
                self.last += 1;
                let todo = Todo { id: self.last, title, done: false, picture: None };
                self.todos.insert(todo.id, todo.clone());
                Ok(todo)
            }
            Change::Update(id, changes) => {
                let title = changes.title.as_deref().map(checked).transpose()?;
                let todo = self.find(id)?;
                todo.title = title.unwrap_or_else(|| todo.title.clone());
                todo.done = changes.done.unwrap_or(todo.done);
                Ok(todo.clone())
            }
            Change::Attach(id, name, content) => {
                if content.len() > LARGEST_PICTURE || !content.starts_with(b"\x89PNG") {
                    return Err(wrong("content", "it is no PNG of at most 64 kB"));
                }
                let todo = self.find(id)?;
                todo.picture = Some(name.chars().take(LONGEST_TITLE).collect());
                let todo = todo.clone();
                self.pictures.insert(id, content);
                Ok(todo)
            }
            Change::Delete(id) => {
                self.find(id)?;
                self.pictures.remove(&id);
                self.todos.remove(&id).ok_or_else(|| EventError::new("it is gone"))
            }
        }
    }
}

impl Handler<Find> for Store {
    type Result = MessageResult<Find>;

    fn handle(&mut self, Find(filter): Find, _: &mut Context<Self>) -> Self::Result {
        let wanted = |todo: &&Todo| match filter {
            None => true,
            Some(Filter::Open) => !todo.done,
            Some(Filter::Done) => todo.done,
        };
        MessageResult(self.todos.values().filter(wanted).cloned().collect())
    }
}

impl Handler<Get> for Store {
    type Result = Result<(Todo, Option<Binary>), EventError>;

    fn handle(&mut self, Get(id): Get, _: &mut Context<Self>) -> Self::Result {
        Ok((self.find(id)?.clone(), self.pictures.get(&id).cloned()))
    }
}
