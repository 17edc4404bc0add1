//! Imports point down: reads `src` and fails where a layer names one above it, and where a pure
//! file names actix or a clock.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// From the bottom to the top.
const LAYERS: [&str; 10] = [
    "engine",
    "packet",
    "room",
    "adapter",
    "socket",
    "namespace",
    "connection",
    "server",
    "admin",
    "testing",
];

/// What every layer may name.
const FREE: [&str; 2] = ["config", "metrics"];

/// Files and folders that know no actor and no clock.
const PURE: [&str; 18] = [
    "packet/",
    "engine/dialect",
    "engine/packet",
    "engine/payload",
    "engine/session",
    "engine/outbox",
    "engine/transport/frame",
    "engine/cors",
    "engine/admission",
    "engine/proxies",
    "engine/compression",
    "engine/transport/deflate",
    "adapter/recovery/",
    "adapter/wire/",
    "adapter/message",
    "adapter/link/expectation",
    "adapter/link/members",
    "admin/commands",
];

/// Words that a pure file does not use.
const IMPURE: [&str; 7] =
    ["actix", "actix_web", "actix_http", "actix_web_actors", "tokio", "Instant", "SystemTime"];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == module)
}

// ---- reading source --------------------------------------------------------------------------

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Mark(char),
}

impl Token {
    fn is(&self, mark: char) -> bool {
        *self == Self::Mark(mark)
    }

    fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            Self::Mark(_) => None,
        }
    }
}

/// The words and marks of Rust source, without comments and literals.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal(rest) {
            length
        } else if word > 0 {
            tokens.push(Token::Word(rest[..word].to_owned()));
            word
        } else {
            if !next.is_whitespace() {
                tokens.push(Token::Mark(next));
            }
            next.len_utf8()
        };
        rest = &rest[skipped..];
    }
    tokens
}

/// The length of the text or character that `source` begins with.
fn literal(source: &str) -> Option<usize> {
    let raw = source.trim_start_matches('b');
    if let Some(hashed) = raw.strip_prefix('r') {
        let hashes = hashed.len() - hashed.trim_start_matches('#').len();
        if hashed[hashes..].starts_with('"') {
            let start = source.len() - hashed.len() + hashes + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            return Some(
                source[start..].find(&end).map_or(source.len(), |at| start + at + end.len()),
            );
        }
    }
    if raw.starts_with('"') && source.len() - raw.len() < 2 {
        let start = source.len() - raw.len() + 1;
        let mut escaped = false;
        let end = source[start..].find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        return Some(end.map_or(source.len(), |end| start + end + 1));
    }
    // A character, and not a lifetime.
    let quoted = source.strip_prefix('\'')?;
    let first = quoted.chars().next()?;
    if first == '\\' {
        return Some(2 + quoted[2..].find('\'')? + 2);
    }
    quoted[first.len_utf8()..].starts_with('\'').then(|| 1 + first.len_utf8() + 1)
}

/// The names that a path goes on with behind `::`: one, or all of a group in braces.
fn branches(tokens: &[Token]) -> Vec<&str> {
    match tokens {
        [Token::Word(word), ..] => vec![word],
        [Token::Mark('{'), rest @ ..] => {
            let mut names = Vec::new();
            let (mut depth, mut begins) = (1, true);
            for token in rest {
                match token {
                    Token::Mark('{') => depth += 1,
                    Token::Mark('}') => depth -= 1,
                    Token::Word(word) if depth == 1 && begins => names.push(&**word),
                    _ => {}
                }
                begins = token.is(',') || token.is('{');
                if depth == 0 {
                    break;
                }
            }
            names
        }
        _ => Vec::new(),
    }
}

/// The names that `tokens` use right below the root of the crate. `depth` is how many modules the
/// file is below it.
fn names_of_the_crate(tokens: &[Token], depth: usize) -> Vec<&str> {
    let mut names = Vec::new();
    let path = |at: usize| tokens[at..].iter().take(2).all(|token| token.is(':'));
    let mut at = 0;
    while at < tokens.len() {
        let mut supers = 0;
        while tokens.get(at).and_then(Token::word) == Some("super") && path(at + 1) {
            supers += 1;
            at += 3;
        }
        if supers > 0 {
            if supers == depth {
                names.extend(branches(&tokens[at..]));
            }
            continue;
        }
        if tokens[at].word() == Some("crate") && path(at + 1) {
            names.extend(branches(&tokens[at + 3..]));
        }
        at += 1;
    }
    names
}

// ---- the rules -------------------------------------------------------------------------------

/// What `lib.rs` exports, by the layer it comes from.
fn exports(lib: &str) -> BTreeMap<String, usize> {
    let tokens = tokens(lib);
    let mut exports = BTreeMap::new();
    let mut current = None;
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        let Some(word) = token.word() else { continue };
        if next.is(':') {
            current = layer(word).or(current);
        } else if let Some(layer) = current
            && word.starts_with(char::is_uppercase)
        {
            exports.insert(word.to_owned(), layer);
        }
    }
    exports
}

/// What is wrong with a file; `path` is relative to `src`.
fn violations(path: &str, source: &str, exports: &BTreeMap<String, usize>) -> Vec<String> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let steps: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    let depth = steps.iter().filter(|step| **step != "mod").count();
    if let Some(own) = layer(steps[0]) {
        for name in names_of_the_crate(&tokens, depth) {
            match layer(name).or_else(|| exports.get(name).copied()) {
                Some(other) if other > own => {
                    found.push(format!("{path}: {} names {name}, which is above it", LAYERS[own]));
                }
                Some(_) => {}
                None if FREE.contains(&name) => {}
                None => found.push(format!("{path}: {name} is in no layer")),
            }
        }
    }
    // Tests may look at a clock.
    let tests = path.ends_with("/tests.rs") || path.contains("/tests/");
    if !tests && PURE.iter().any(|pure| path.starts_with(pure)) {
        let impure = tokens.iter().filter_map(Token::word).filter(|word| IMPURE.contains(word));
        found.extend(impure.map(|word| format!("{path}: not pure, names {word}")));
    }
    found
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn imports_point_down_and_pure_files_are_pure() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let exports = exports(&fs::read_to_string(src.join("lib.rs")).unwrap());
    assert!(exports.len() > 40, "lib.rs was read: {exports:?}");
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut found = Vec::new();
    for file in &all {
        let path = file.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        found.extend(violations(&path, &fs::read_to_string(file).unwrap(), &exports));
    }
    for pure in PURE {
        let known =
            |file: &PathBuf| file.strip_prefix(&src).unwrap().to_str().unwrap().starts_with(pure);
        assert!(all.iter().any(known), "{pure} is gone");
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_planted_violation_is_found() {
    let exports = exports("pub use crate::{ packet::{Args, Payload}, socket::{Ack, Socket}, };");
    let wrong = [
        ("engine/pipe/mod.rs", "use crate::packet::Args;"),
        ("engine/link.rs", "use crate::{config::Config, room::{Join, Leave}};"),
        ("engine/mod.rs", "fn f() -> super::socket::Socket { todo() }"),
        ("engine/pipe/client_side.rs", "use super::super::super::server;"),
        ("engine/pipe/mod.rs", "use super::super::{metrics, server::SocketIo};"),
        ("room/mod.rs", "fn f(socket: crate::Socket) {}"),
        (
            "socket/emit.rs",
            "use crate::{\n    engine::{self, Transport},\n    namespace::Namespace,\n};",
        ),
        ("connection/inbound.rs", "type Io = crate::server::SocketIo; // crate::packet"),
        ("server/mod.rs", "const A: &str = \"//\"; use crate::testing::TestServer;"),
        ("room/messages.rs", "use crate::unheard_of::Thing;"),
        ("packet/mod.rs", "use actix::prelude::*;"),
        ("packet/args.rs", "let now = std::time::Instant::now();"),
        ("engine/outbox.rs", "let _ = '\"'; tokio::spawn(async {});"),
        ("engine/transport/frame/decoder.rs", "use actix_http::ws;"),
    ];
    for (path, source) in wrong {
        assert_eq!(violations(path, source, &exports).len(), 1, "{path}: {source}");
    }
    let right = [
        (
            "engine/pipe/mod.rs",
            "use super::{outbox, session}; use crate::{config::Config, metrics};",
        ),
        ("engine/pipe/client_side.rs", "use super::super::packet::Packet; use super::Pipe;"),
        (
            "room/mod.rs",
            "/// See [`Socket`](crate::Socket).\nuse crate::{engine::pipe::Pipe, packet::Args};",
        ),
        ("socket/mod.rs", "use crate::{room::{Room, server}, Args}; /* crate::server */"),
        ("room/mod.rs", "const A: &str = r#\"\" crate::server::SocketIo \"#;"),
        ("testing/mod.rs", "use crate::{engine, server::SocketIo, Socket};"),
        ("lib.rs", "pub use crate::{server::SocketIo, socket::Socket};"),
        ("engine/session.rs", "use std::time::Duration; // no tokio::time"),
        ("engine/session/tests.rs", "let now = std::time::Instant::now();"),
        ("engine/link.rs", "use actix::prelude::*; use tokio::time::Instant;"),
        (
            "socket/current.rs",
            "impl<'a> F<'a> { fn f(c: char) -> bool { c == 'a' || c == '\\'' } }",
        ),
    ];
    for (path, source) in right {
        assert_eq!(violations(path, source, &exports), [] as [&str; 0], "{path}: {source}");
    }
}
