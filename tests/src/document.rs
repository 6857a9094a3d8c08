//! Documents of the repository: their code blocks, commands and links.

use crate::python::in_repository;
use std::path::{Path, PathBuf};

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What stands behind the fence: `sh`, `console`, `python`, …
    pub language: String,
    /// What is inside, with its line ends.
    pub content: String,
    /// Line of the opening fence, from 1.
    pub line: usize,
}

/// A Markdown file.
#[derive(Debug, Clone)]
pub struct Document {
    /// From the repository's root.
    pub path: PathBuf,
    /// As it is.
    pub text: String,
}

impl Document {
    /// Reads a file of the repository.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn read(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let file = in_repository("").join(&path);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { path, text }
    }

    /// All Markdown files in a folder of the repository, by name.
    ///
    /// # Panics
    /// When the folder cannot be read.
    #[must_use]
    pub fn all_in(folder: &str) -> Vec<Self> {
        let entries = std::fs::read_dir(in_repository(folder)).expect("a folder of the repository");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut paths: Vec<PathBuf> = names.map(|name| Path::new(folder).join(name)).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.sort();
        paths.iter().map(Self::read).collect()
    }

    /// Its fenced blocks.
    ///
    /// # Panics
    /// When one is not closed.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open) = (Vec::new(), None::<Block>);
        for (index, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let (language, content) = (language.to_owned(), String::new());
                    open = Some(Block { language, content, line: index + 1 });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => {
                    block.content.push_str(line);
                    block.content.push('\n');
                }
                (None, None) => {}
            }
        }
        assert_eq!(open, None, "{}: a block is not closed", self.path.display());
        blocks
    }

    /// Its blocks of one language.
    #[must_use]
    pub fn blocks_of(&self, language: &str) -> Vec<Block> {
        self.blocks().into_iter().filter(|block| block.language == language).collect()
    }

    /// The commands of the `sh` blocks, one a line, without comments.
    ///
    /// # Panics
    /// When a command goes over several lines.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let blocks = self.blocks_of("sh");
        let lines = blocks.iter().flat_map(|block| block.content.lines());
        let commands = lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        commands
            .inspect(|command| assert!(!command.ends_with('\\'), "one command a line, please: {command}"))
            .map(str::to_owned)
            .collect()
    }

    /// What `console` blocks show behind `$ `.
    #[must_use]
    pub fn shown_commands(&self) -> Vec<String> {
        let blocks = self.blocks_of("console");
        let lines = blocks.iter().flat_map(|block| block.content.lines());
        lines.filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
    }

    /// Targets of links and pictures, as written; not those inside blocks.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let (mut links, mut is_inside) = (Vec::new(), false);
        for line in self.text.lines() {
            if line.starts_with("```") {
                is_inside = !is_inside;
            } else if !is_inside {
                let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
                links.extend(targets.map(|(target, _)| target.to_owned()));
            }
        }
        links
    }

    /// The anchors of its headings, as GitHub makes them.
    #[must_use]
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// Splits as a shell does where only blanks and quotes count.
///
/// # Panics
/// When the command needs more of a shell.
#[must_use]
pub fn words(command: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in command.chars() {
        let word = words.last_mut().expect("there is always one");
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (None, '|' | '>' | '<' | ';' | '&' | '$' | '*' | '`') => panic!("only a shell understands: {command}"),
            (_, c) => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
