//! Text with sources in braces: `Dr {PV1-7.2}`; `{{` and `}}` stand for the braces themselves.

use crate::mapping::document::Source;

/// Reads a template; `source` reads what stands between braces.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn parse(
    text: &str,
    source: impl Fn(&str) -> Result<Source, String>,
) -> Result<Vec<Source>, String> {
    let (mut parts, mut constant) = (Vec::new(), String::new());
    let mut letters = text.char_indices().peekable();
    let mut asks = false;
    while let Some((at, letter)) = letters.next() {
        match letter {
            '{' | '}' if letters.peek().is_some_and(|(_, next)| *next == letter) => {
                letters.next();
                constant.push(letter);
            }
            '{' => {
                let inside = &text[at + 1..];
                let length = end(inside).ok_or("a { has no }: write {{ for the brace itself")?;
                if !constant.is_empty() {
                    let constant = std::mem::take(&mut constant);
                    parts.push(Source::Constant(constant.into()));
                }
                parts.push(source(inside[..length].trim())?);
                asks = true;
                while letters
                    .next_if(|(next, _)| *next <= at + 1 + length)
                    .is_some()
                {}
            }
            '}' => return Err("a } has no {: write }} for the brace itself".into()),
            letter => constant.push(letter),
        }
    }
    if !constant.is_empty() {
        parts.push(Source::Constant(constant.into()));
    }
    match asks {
        true => Ok(parts),
        false => Err("asks for nothing: write a constant".into()),
    }
}

/// Where the closing brace is; one in a path's quotes is a part of the path.
fn end(inside: &str) -> Option<usize> {
    let mut quoted = false;
    for (at, letter) in inside.char_indices() {
        match letter {
            '\'' => quoted = !quoted,
            '}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}
