#![allow(dead_code, reason = "types for their declarations only")]

use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    SocketId, contract,
    typed::{Binary, Contract},
};

#[derive(Deserialize, Serialize, TS)]
struct Colour {
    red: u8,
    name: Option<String>,
}

#[derive(Deserialize, Serialize, TS)]
struct Page<T> {
    items: Vec<T>,
    total: u64,
}

/// What a stroke looks like.
#[derive(Deserialize, Serialize, TS)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Stroke {
    Line { colour: Colour, points: Vec<(f64, f64)> },
    StampOf { image: Binary },
}

contract! {
    /// A board.
    /// Of strokes.
    struct Board;

    client {
        /// Draws */ something.
        "draw" => Draw(stroke: Stroke) -> u64;
        "undo" => Undo();
        "list of all" => List(from: u32, most: Option<u32>) -> Page<Colour> | ();
        "name" => Name(r#type: String, new: bool, name: Option<String>);
        "find" => Find(ack: Option<String>) -> Vec<Page<SocketId>>;
        "move" => Move(at: (f64, f64));
    }
    server {
        "drawn" => Drawn(by: SocketId, stroke: Stroke);
        "tell" => Tell(line: Option<String>) -> Option<String>;
    }
}

const BOARD: &str = r#"// Made from the contract `Board` of the server. Do not edit.
import type { Socket } from "socket.io-client";

/** The answer in the place of the declared one when the server refused the event or failed. */
export interface Failure {
  error: string;
  data?: unknown;
}

/** Bytes. Browsers receive an `ArrayBuffer`, Node.js a `Buffer`. */
export type Binary = ArrayBuffer | Uint8Array;

export type Colour = { red: number, name: string | null, };

export type Page<T> = { items: Array<T>, total: number, };

/**
 * What a stroke looks like.
 */
export type Stroke = { "kind": "line", colour: Colour, points: Array<[number, number]>, } | { "kind": "stampOf", image: Binary, };

export interface ClientToServerEvents {
  /** Draws *_/ something. */
  draw: (stroke: Stroke, ack: (answer: number | Failure) => void) => void;
  undo: () => void;
  "list of all": (from: number, most?: number | null, ack?: (answer: Page<Colour> | Failure) => void) => void;
  name: (type_: string, new_: boolean, name?: string | null) => void;
  find: (ack: string | null, ack_: (answer: Array<Page<string>> | Failure) => void) => void;
  move: (at: [number, number]) => void;
}

export interface ServerToClientEvents {
  drawn: (by: string, stroke: Stroke) => void;
  tell: (line: string | null, ack: (answer: string | null) => void) => void;
}

/**
 * A board.
 * Of strokes.
 */
export type BoardSocket = Socket<ServerToClientEvents, ClientToServerEvents>;
"#;

#[test]
fn a_contract_becomes_a_declaration() {
    let text = declaration::<Board>().unwrap().replace('\u{200b}', "_");
    for (made, wanted) in text.lines().zip(BOARD.lines()) {
        assert_eq!(made, wanted);
    }
    assert_eq!(text, BOARD);
}

mod other {
    #[derive(serde::Deserialize, serde::Serialize, ts_rs::TS)]
    pub(super) struct Colour(String);
}

#[test]
fn two_types_of_one_name_are_refused() {
    contract! {
        struct Twice;
        client { "a" => A(one: Colour, other: other::Colour); }
        server {}
    }
    let clash = declaration::<Twice>().unwrap_err();
    assert!(matches!(clash, TypeScriptError::Clash { name } if name == "Colour"));
}

#[test]
fn a_type_does_not_take_a_name_that_every_declaration_has() {
    #[derive(Deserialize, Serialize, TS)]
    struct Failure;
    contract! {
        struct Own;
        client {}
        server { "failed" => Failed(why: Failure); }
    }
    assert!(matches!(declaration::<Own>(), Err(TypeScriptError::Clash { .. })));
}

#[test]
fn a_file_is_written_when_it_is_not_up_to_date() {
    let path = std::env::temp_dir().join(format!("greenroom-{}.d.ts", std::process::id()));
    assert!(matches!(check::<Board>(&path), Err(TypeScriptError::File { .. })));
    assert!(write::<Board>(&path).unwrap());
    assert!(!write::<Board>(&path).unwrap());
    check::<Board>(&path).unwrap();
    std::fs::write(&path, "another").unwrap();
    assert!(matches!(check::<Board>(&path), Err(TypeScriptError::Outdated { .. })));
    assert!(write::<Board>(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(write::<Board>(path.join("in it")), Err(TypeScriptError::File { .. })));
}

#[test]
fn a_contract_knows_its_events() {
    use crate::typed::EventNames;
    type Client = <Board as Contract>::Client;
    assert_eq!(Client::names(), ["draw", "undo", "list of all", "name", "find", "move"]);
}
