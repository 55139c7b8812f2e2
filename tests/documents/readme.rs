//! README.md is the door to the documents: short, and with a way to each of them.

use crate::{ROOT, files, read};
use regex::Regex;

#[test]
fn the_readme_has_at_most_1500_words() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= 1_500, "{words} words: what is for one task belongs on its page in docs/");
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = read("README.md");
    let pages = files(&["md"]).into_iter().map(|path| path.strip_prefix(ROOT).unwrap().display().to_string());
    let pages: Vec<_> = pages.filter(|page| page.starts_with("docs/") || !page.contains('/')).collect();
    assert!(pages.len() > 12, "{pages:?}");
    for page in pages.iter().filter(|page| *page != "README.md") {
        assert!(readme.contains(&format!("]({page}")), "README.md does not lead to {page}");
    }
}

#[test]
fn the_first_screen_says_what_it_is_and_shows_one_use() {
    let readme = read("README.md");
    let first = readme.lines().take(25).collect::<Vec<_>>().join("\n");
    assert!(first.contains("mirrors (shadows) live HTTP requests") && first.contains("```yaml\nrules:"), "{first}");
}

#[test]
fn the_readme_has_two_commands_to_begin_with() {
    let readme = read("README.md");
    let block = readme.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let commands: Vec<_> = block.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    assert_eq!(commands, ["make demo", "make test"]);
}

#[test]
fn images_that_documents_name_have_the_version_of_the_plugin() {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let image = Regex::new(r"(?:traffic-mirror|dist/image):([0-9]+\.[0-9]+\.[0-9]+)").unwrap();
    let mut count = 0;
    for path in files(&["md", "yaml"]) {
        for found in image.captures_iter(&read(&path)) {
            assert_eq!(&found[1], VERSION, "{}: {}", path.display(), &found[0]);
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
    assert!(read("CHANGELOG.md").contains(&format!("\n## {VERSION}\n")), "CHANGELOG.md says nothing of {VERSION}");
}
