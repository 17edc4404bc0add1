//! The text of a declaration.

use std::fmt::Write;

use super::events::Event;

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
}

/// The names that every declaration has for itself.
pub(super) fn own_names(contract: &str) -> [String; 5] {
    let own = ["Failure", "ClientToServerEvents", "ServerToClientEvents", "Socket"];
    let [failure, client, server, socket] = own.map(String::from);
    [failure, client, server, socket, format!("{contract}Socket")]
}

/// The whole file.
pub(super) fn file(
    contract: &str,
    docs: &[&str],
    types: &[String],
    client: &[Event],
    server: &[Event],
) -> String {
    let mut text = format!("// Made from the contract `{contract}` of the server. Do not edit.\n");
    text.push_str("import type { Socket } from \"socket.io-client\";\n");
    if client.iter().any(|event| event.answer.is_some()) {
        text.push_str(FAILURE);
    }
    for declaration in types {
        text.push('\n');
        text.push_str(declaration);
    }
    text.push_str(&interface("ClientToServerEvents", client, Sender::Client));
    text.push_str(&interface("ServerToClientEvents", server, Sender::Server));
    text.push('\n');
    text.push_str(&comment("", docs));
    let _ = writeln!(
        text,
        "export type {contract}Socket = Socket<ServerToClientEvents, ClientToServerEvents>;"
    );
    text
}

const FAILURE: &str = "
/** The answer in the place of the declared one when the server refused the event or failed. */
export interface Failure {
  error: string;
  data?: unknown;
}
";

fn interface(name: &str, events: &[Event], sender: Sender) -> String {
    if events.is_empty() {
        return format!("\nexport interface {name} {{}}\n");
    }
    let mut text = format!("\nexport interface {name} {{\n");
    for event in events {
        text.push_str(&comment("  ", event.docs));
        let _ = writeln!(
            text,
            "  {}: ({}) => void;",
            property(event.name),
            parameters(event, sender).join(", ")
        );
    }
    text.push_str("}\n");
    text
}

/// Parameters and the callback of the answer.
fn parameters(event: &Event, sender: Sender) -> Vec<String> {
    // TypeScript lets no parameter follow one that may be missing, unless it may be missing too.
    let may_miss = sender == Sender::Client && (event.answer.is_none() || event.may_go_unanswered);
    let behind =
        event.parameters.iter().rposition(|(_, of)| !is_nullable(of)).map_or(0, |at| at + 1);
    let mut parameters: Vec<String> = event
        .parameters
        .iter()
        .enumerate()
        .map(|(at, (name, of))| {
            let mark = if may_miss && at >= behind { "?" } else { "" };
            format!("{}{mark}: {of}", parameter(name))
        })
        .collect();
    if let Some(answer) = &event.answer {
        let mark = if event.may_go_unanswered { "?" } else { "" };
        let failure = if sender == Sender::Client { " | Failure" } else { "" };
        let mut name = String::from("ack");
        while event.parameters.iter().any(|(other, _)| parameter(other) == name) {
            name.push('_');
        }
        parameters.push(format!("{name}{mark}: (answer: {answer}{failure}) => void"));
    }
    parameters
}

/// Whether `ts-rs` wrote an `Option`.
fn is_nullable(of: &str) -> bool {
    of.ends_with(" | null")
}

fn comment(indent: &str, docs: &[&str]) -> String {
    // `*/` would end it.
    let lines: Vec<String> =
        docs.iter().map(|line| line.trim().replace("*/", "*\u{200b}/")).collect();
    match &lines[..] {
        [] => String::new(),
        [line] => format!("{indent}/** {line} */\n"),
        lines => {
            let mut text = format!("{indent}/**\n");
            for line in lines {
                let _ = writeln!(text, "{}", format!("{indent} * {line}").trim_end());
            }
            let _ = writeln!(text, "{indent} */");
            text
        }
    }
}

/// An event's name as the name of a property.
fn property(name: &str) -> String {
    let mut letters = name.chars();
    let plain = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if plain { name.to_owned() } else { quoted(name) }
}

/// A text in JavaScript: JSON is one, since ES2019 with all its line ends.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The words that name no parameter in a module, unlike in Rust.
const RESERVED: [&str; 31] = [
    "arguments",
    "case",
    "catch",
    "class",
    "debugger",
    "default",
    "delete",
    "eval",
    "export",
    "extends",
    "finally",
    "function",
    "implements",
    "import",
    "instanceof",
    "interface",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "static",
    "switch",
    "this",
    "throw",
    "typeof",
    "var",
    "void",
    "with",
    "yield",
];

/// A parameter's name.
fn parameter(name: &str) -> String {
    // Raw identifiers are keywords of Rust, most of them of JavaScript too.
    match name.strip_prefix("r#") {
        Some(keyword) => format!("{keyword}_"),
        None if RESERVED.contains(&name) => format!("{name}_"),
        None => name.to_owned(),
    }
}
