use std::collections::BTreeSet;

use super::{files, links, read};

#[test]
fn every_page_is_in_the_book_once() {
    let summary = read("docs/SUMMARY.md");
    // Titles without a page have no target.
    let links = links::of(&summary).into_iter().filter(|link| !link.target.is_empty());
    let listed: Vec<String> = links.map(|link| format!("docs/{}", link.target)).collect();
    let once: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(listed.len(), once.len(), "a page is listed twice in docs/SUMMARY.md");
    let pages: Vec<String> = files("docs", ".md")
        .into_iter()
        .map(|page| page.to_str().unwrap().to_owned())
        .filter(|page| page != "docs/SUMMARY.md")
        .collect();
    let missing: Vec<&String> = pages.iter().filter(|page| !once.contains(page)).collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
}
