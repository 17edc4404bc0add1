use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use super::{files, prose, read, root};

#[derive(Debug, PartialEq)]
pub(super) struct Link {
    pub(super) line: usize,
    pub(super) target: String,
}

/// The targets of `[..](target)`, outside of code.
pub(super) fn of(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, text) in prose(text) {
        let mut code = false;
        let mut rest = text;
        while let Some(at) = rest.find(['`', ']']) {
            let (found, behind) = (rest.as_bytes()[at], &rest[at + 1..]);
            rest = behind;
            if found == b'`' {
                code = !code;
            } else if !code && let Some(link) = behind.strip_prefix('(') {
                let end = link.find([')', ' ']).unwrap_or(link.len());
                links.push(Link { line, target: link[..end].to_owned() });
                rest = &link[end..];
            }
        }
    }
    links
}

/// What a heading is called in a link: letters, digits, hyphens and underscores of its text.
fn anchor(heading: &str) -> String {
    // Of a link its text.
    let mut text = heading.to_owned();
    while let Some(at) = text.find("](") {
        let end = text[at..].find(')').map_or(text.len(), |end| at + end + 1);
        text.replace_range(at..end, "");
    }
    let kept = text.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor = anchor(heading);
        let count = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// What is wrong with the links of a page.
fn broken(page: &Path) -> Vec<String> {
    let mut broken = Vec::new();
    for Link { line, target } in of(&read(page)) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let path = if file.is_empty() {
            page.to_owned()
        } else {
            normal(&page.parent().unwrap().join(file))
        };
        let there = root().join(&path).exists();
        let known = || {
            path.extension().is_some_and(|e| e == "md") && anchors(&read(&path)).contains(anchor)
        };
        if !there || !(anchor.is_empty() || known()) {
            broken.push(format!("{}:{line}: {target}", page.display()));
        }
    }
    broken
}

#[test]
fn every_link_between_pages_leads_to_a_file_and_a_heading() {
    let mut pages = files("docs", ".md");
    pages.extend(["README.md", "CHANGELOG.md", "SECURITY.md"].map(PathBuf::from));
    pages.extend(
        files("benches", "README.md")
            .into_iter()
            .filter(|page| !page.components().any(|part| part.as_os_str() == "node_modules")),
    );
    let broken: Vec<String> = pages.iter().flat_map(|page| broken(page)).collect();
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn links_are_found_outside_of_code_alone() {
    let text = "[a](b.md) `[c](d.md)` [`e`](f.md#g)\n```\n[h](i.md)\n```\n[j][k] [l](m \"n\")";
    let targets: Vec<String> = of(text).into_iter().map(|link| link.target).collect();
    assert_eq!(targets, ["b.md", "f.md#g", "m"]);
}

#[test]
fn headings_of_one_text_are_told_apart_by_numbers() {
    let text =
        "# One, two: `three`\n## See [this](that.md)\n## A\n## A\n#no heading\n```\n# code\n```";
    let expected = ["one-two-three", "see-this", "a", "a-1"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
}
