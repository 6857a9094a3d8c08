//! What README.md tells a newcomer to type works, in the order in which it stands there.
//!
//! Every line of the `sh` blocks is typed as it is. A broker and whatever loops run in the background until the end.

use lumenbus_tests::document::Document;
use lumenbus_tests::session::follow;

#[test]
fn what_the_readme_says_works() {
    let readme = Document::read("README.md");
    let commands = readme.commands();
    for part in
        ["-- demo", "-- broker", "-- publish", "-- subscribe", "-- detect", "cargo test --workspace", "python3 "]
    {
        assert!(commands.iter().any(|command| command.contains(part)), "nobody is shown `{part}`");
    }
    follow(&readme);
}

#[test]
fn the_chinese_readme_has_the_same_blocks_links_and_sections() {
    let (english, chinese) = (Document::read("README.md"), Document::read("README.zh-CN.md"));
    let blocks = |document: &Document| -> Vec<(String, String)> {
        document.blocks().into_iter().map(|block| (block.language, block.content)).collect()
    };
    assert_eq!(blocks(&english), blocks(&chinese));
    let links = |document: &Document| -> Vec<String> {
        // Each leads to the other.
        document.links().into_iter().filter(|link| !link.starts_with("README")).collect()
    };
    assert_eq!(links(&english), links(&chinese));
    let sections = |document: &Document| document.text.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(sections(&english), sections(&chinese));
}
