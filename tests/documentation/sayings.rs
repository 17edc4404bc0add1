//! docs/troubleshooting.md explains each line of the log and each text of an error.
//!
//! They are found in the source by what they are given to: the macros of `tracing`, `#[error(..)]`, panics of the
//! builder, refusals of clients and events.

use std::collections::BTreeMap;

use super::{files, prose, read};

const PAGE: &str = "docs/troubleshooting.md";

const LOG: [&str; 5] = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];

/// What a person reads in the end.
const ERRORS: [&str; 11] = [
    "#[error(",
    "ConnectError::new(",
    "EventError::new(",
    "inbound::refuse(",
    "refuse(link,",
    "refuse_excess(",
    "DecodeError::Parser(",
    "hooks::no_id(",
    "Error::custom(",
    "panic!(",
    "assert!(",
];

/// Panics of tests and what the compiler says are read where they happen; those for tests alone never happen.
const UNEXPLAINED: [&str; 6] = [
    "both sides keep the event name",
    "src/testing/",
    "for a test",
    "the link was told to die",
    "several ids, for tests",
    "{missing}",
];

/// A file without its comments and unit tests.
fn code(path: &str) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// From behind an opening parenthesis to its closing one.
fn arguments(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// The string literals in a piece of code, their escapes resolved, what is filled in as `…`.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // A character, such as '"'; of a lifetime nothing is passed over that matters.
            '\'' if chars.peek() == Some(&'"') => {
                chars.next();
            }
            '"' => {
                let mut literal = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => match chars.next() {
                            Some('\n') => {
                                while chars.peek().is_some_and(|c| c.is_whitespace()) {
                                    chars.next();
                                }
                            }
                            Some(other) => literal.push(other),
                            None => {}
                        },
                        '{' => {
                            literal.push('…');
                            while chars.next().is_some_and(|c| c != '}') {}
                        }
                        '`' => {}
                        c => literal.push(c),
                    }
                }
                found.push(literal);
            }
            _ => {}
        }
    }
    found
}

/// Texts and where they are, of all that is given to one of `doors`.
fn said_to(doors: &[&str]) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    for path in files("src", ".rs") {
        let path = path.to_str().unwrap();
        let tests = path.ends_with("/tests.rs") || path.contains("/tests/");
        if tests || path.starts_with("src/fuzzing") || path.starts_with("src/models") {
            continue;
        }
        let code = code(path);
        for door in doors {
            for (at, _) in code.match_indices(door) {
                let before = code[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"') {
                    continue;
                }
                let opened = at + door.find('(').unwrap() + 1;
                let texts = literals(arguments(&code[opened..]));
                let text = if LOG.contains(door) { texts.last() } else { texts.first() };
                // Words, not names of values.
                let Some(text) = text.filter(|text| text.chars().any(char::is_alphabetic)) else {
                    continue;
                };
                if UNEXPLAINED.iter().any(|part| text.contains(part) || path.contains(part)) {
                    continue;
                }
                said.insert(text.clone(), path.to_owned());
            }
        }
    }
    said
}

/// What stands in code spans of a page, backticks inside of them aside.
fn explained() -> Vec<String> {
    let page = read(PAGE);
    let spans = |line: &str| -> Vec<String> {
        line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    prose(&page).into_iter().flat_map(|(_, line)| spans(line)).collect()
}

#[test]
fn every_line_of_the_log_and_every_text_of_an_error_is_explained() {
    let explained = explained();
    let mut said = said_to(&LOG);
    assert!(said.len() > 80, "the source was not read: {said:?}");
    said.extend(said_to(&ERRORS));
    let unknown: Vec<String> = said
        .iter()
        .filter(|(text, _)| !explained.contains(text))
        .map(|(text, path)| format!("{path}: {text:?}"))
        .collect();
    assert!(unknown.is_empty(), "not in {PAGE} as `…`:\n{}", unknown.join("\n"));
}

/// The first cells of the tables of a part of the page.
fn first_cells(part: &str) -> Vec<String> {
    let page = read(PAGE);
    let (_, from) = page.split_once(&format!("\n## {part}\n")).unwrap();
    let part = from.split("\n## ").next().unwrap();
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn no_line_of_the_log_is_explained_that_there_is_not() {
    let said = said_to(&LOG);
    let listed = first_cells("Lines of the log");
    assert!(listed.len() > 80, "the page was not read: {listed:?}");
    let stale: Vec<&String> = listed.iter().filter(|line| !said.contains_key(*line)).collect();
    assert!(stale.is_empty(), "in {PAGE}, and nowhere in src: {stale:#?}");
}

#[test]
fn texts_are_read_as_a_person_reads_them() {
    let code = r#"debug!(name = "x", %error, "too {many:?} \
                  \"things\"") "#;
    assert_eq!(literals(arguments(&code[7..])), ["x", "too … \"things\""]);
}
