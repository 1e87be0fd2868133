//! One Rust file as the rules look at it: code without comments, texts and tests.
//!
//! It knows just enough of Rust's tokens for that. Start at [`Source::read`].

use std::fmt;
use std::path::Path;

use ligature_tests::workspace_root;

/// A file of the host; its tests are blank.
pub(super) struct Source {
    /// From `host/src`.
    path: String,
    /// As long as the file, with blanks for comments, texts and tests.
    code: String,
    /// Texts outside tests and where they stand.
    literals: Vec<(usize, String)>,
}

impl Source {
    pub(super) fn read(path: &Path) -> Self {
        let folder = workspace_root().join("host/src");
        let path_in_host = path
            .strip_prefix(folder)
            .unwrap_or(path)
            .display()
            .to_string();
        Self::new(path_in_host, &super::read(path))
    }

    fn new(path: String, text: &str) -> Self {
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        let (mut code, mut literals) = scan(if is_test { "" } else { text });
        let whole = String::from_utf8_lossy(&code).into_owned();
        for (start, end) in test_items(&whole) {
            blank(&mut code[start..end]);
            literals.retain(|(at, _)| !(start..end).contains(at));
        }
        Self {
            path,
            code: String::from_utf8_lossy(&code).into_owned(),
            literals,
        }
    }

    pub(super) fn in_host(&self) -> &str {
        &self.path
    }

    /// The first part of the path, without an ending.
    pub(super) fn room(&self) -> String {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The rooms named in paths from the crate's root, `crate::x` or enough times `super::`, and their lines.
    pub(super) fn uses_of_the_crate(&self) -> Vec<(usize, String)> {
        let depth = self.path.split('/').count();
        let mut uses = Vec::new();
        for root in ["crate::".to_owned(), "super::".repeat(depth)] {
            for (at, _) in self.code.match_indices(&root) {
                let before = &self.code[..at];
                if before.ends_with(is_word)
                    || (root.starts_with("super") && before.ends_with("super::"))
                {
                    continue;
                }
                let names = first_names(&self.code[at + root.len()..]);
                // From the root, `super` leads nowhere; a nested module would be meant.
                let names = names
                    .into_iter()
                    .filter(|name| name != "super" && name != "self");
                uses.extend(names.map(|name| (self.line(at), name)));
            }
        }
        uses
    }

    /// Lines with a path that begins with `name`.
    pub(super) fn lines_with_path(&self, name: &str) -> Vec<usize> {
        let leads = |at: &usize| {
            let after = &self.code[at + name.len()..];
            let before = self.code[..*at].trim_end();
            after.starts_with("::")
                || before.ends_with("use") && after.trim_start().starts_with([';', ' '])
        };
        let is_first = |at: &usize| !self.code[..*at].ends_with("::");
        self.words(name)
            .into_iter()
            .filter(leads)
            .filter(is_first)
            .map(|at| self.line(at))
            .collect()
    }

    pub(super) fn lines_with_word(&self, word: &str) -> Vec<usize> {
        self.words(word)
            .into_iter()
            .map(|at| self.line(at))
            .collect()
    }

    pub(super) fn literals(&self) -> Vec<(usize, String)> {
        let literals = self.literals.iter();
        literals
            .map(|(at, text)| (self.line(*at), text.clone()))
            .collect()
    }

    fn words(&self, word: &str) -> Vec<usize> {
        let hits = self.code.match_indices(word).map(|(at, _)| at);
        let alone = |at: &usize| {
            !self.code[..*at].ends_with(is_word)
                && !self.code[at + word.len()..].starts_with(is_word)
        };
        hits.filter(alone).collect()
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host/src/{}", self.path)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The names that a path, or a group of paths in braces, begins with.
fn first_names(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![rest.chars().take_while(|c| is_word(*c)).collect()];
    };
    let mut names = vec![String::new()];
    let (mut depth, mut in_name) = (0, true);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(String::new());
                in_name = true;
            }
            c if depth == 0 && in_name && is_word(c) => {
                names.last_mut().into_iter().for_each(|name| name.push(c))
            }
            c if c.is_whitespace() => {}
            _ => in_name = false,
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Blanks comments and texts, and collects the texts.
fn scan(text: &str) -> (Vec<u8>, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut literals = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let raw = raw_hashes(&text[..at], rest);
        let length = match rest {
            [b'/', b'/', ..] => rest
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len()),
            [b'/', b'*', ..] => find(rest, b"*/", 2),
            _ if let Some(hashes) = raw => {
                let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
                find(rest, &end, hashes + 2)
            }
            [b'"', ..] => quoted(rest),
            // A lifetime has no closing quote after one character.
            [b'\'', b'\\', ..] => find(rest, b"'", 3),
            [b'\'', _, b'\'', ..] => 3,
            _ => 0,
        };
        if length == 0 {
            at += 1;
            while !text.is_char_boundary(at) {
                at += 1;
            }
            continue;
        }
        if rest[0] == b'"' || raw.is_some() {
            let literal = String::from_utf8_lossy(&rest[..length]);
            literals.push((at, literal.trim_matches(['r', '#', '"']).to_owned()));
        }
        blank(&mut code[at..at + length]);
        at += length;
    }
    (code, literals)
}

/// How many `#` a raw text that begins here has.
fn raw_hashes(before: &str, rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'r') || before.ends_with(is_word) && !before.ends_with('b') {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    (rest.get(1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length up to and with `end`, looked for from `from` on.
fn find(rest: &[u8], end: &[u8], from: usize) -> usize {
    let mut windows = rest.get(from..).unwrap_or_default().windows(end.len());
    windows
        .position(|window| window == end)
        .map_or(rest.len(), |position| from + position + end.len())
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

/// Where items under `#[cfg(test)]` stand.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let item = &code[start..];
        let mut depth = 0;
        let end = item.char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && ['}', ';'].contains(c)
        });
        items.push((start, end.map_or(code.len(), |(at, _)| start + at + 1)));
    }
    items
}

#[test]
fn comments_texts_and_tests_are_no_code() {
    let text = r##"
//! crate::comment
use crate::one; /* crate::two */
use crate::{three, four::{five, six}, seven::Eight};
const TEXT: &str = "crate::nine";
const RAW: &str = r#"select "crate::ten""#;
fn quote<'a>(c: char) -> bool { c == '"' && c != '\'' && super::super::eleven::twelve(c) }
#[cfg(test)]
mod tests { use crate::thirteen; const T: &str = "delete from x"; }
#[cfg(test)]
mod more;
async fn last() { sqlx::query(); my_sqlx::query(); other::sqlx::query() }
"##;
    let source = Source::new("room/file.rs".to_owned(), text);
    let names: Vec<String> = source
        .uses_of_the_crate()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["one", "three", "four", "seven", "eleven"]);
    let literals: Vec<String> = source
        .literals()
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(
        literals,
        ["crate::nine", "select \"crate::ten\"".trim_end_matches('"')]
    );
    assert_eq!(source.lines_with_path("sqlx"), [12]);
    assert_eq!(source.lines_with_word("async"), [12]);
    assert_eq!(source.room(), "room");
    assert!(
        Source::new("room/tests.rs".to_owned(), text)
            .literals()
            .is_empty()
    );
}
