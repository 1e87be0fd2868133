//! MSH-1 and MSH-2: the characters that split and escape a message.
//!
//! They are read from the header of the same message and nowhere else; nothing in this room assumes `|^~\&`.

use super::{Error, Warning, warning};

/// The delimiters of one message; all are printable ASCII other than letters, digits and the blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiters {
    /// MSH-1.
    pub field: u8,
    /// First character of MSH-2.
    pub component: u8,
    /// Second character of MSH-2; without it fields do not repeat.
    pub repetition: Option<u8>,
    /// Third of four characters; a set of three has none, and then nothing is an escape sequence.
    pub escape: Option<u8>,
    /// Fourth character, or the third of three.
    pub subcomponent: Option<u8>,
    /// Fifth character, declared from 2.7 on (chapter 2.5.5.2): at the end of a value it says that the sender cut it.
    pub truncation: Option<u8>,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self {
            field: b'|',
            component: b'^',
            repetition: Some(b'~'),
            escape: Some(b'\\'),
            subcomponent: Some(b'&'),
            truncation: None,
        }
    }
}

impl Delimiters {
    /// Reads MSH-1 and MSH-2 at the start of `header`, which begins with a segment name of three bytes.
    ///
    /// Accepted are four or five distinct characters, three (`^~&`: no escape character), two or one (the rest is
    /// undefined), and a doubled escape character (`^~\\&`), which is collapsed.
    ///
    /// # Errors
    /// [`Error::BadDelimiters`], its offset counted from the start of `header`.
    pub fn read(header: &[u8]) -> Result<(Self, Option<Warning>), Error> {
        let bad = |offset, reason| Err(Error::BadDelimiters { offset, reason });
        let Some(&field) = header.get(3) else {
            return bad(3, "the line ends before the field separator");
        };
        if !usable(field) {
            return bad(
                3,
                "the field separator is a letter, a digit, a blank or no printable ASCII",
            );
        }
        let rest = &header[4..];
        let end = memchr::memchr3(field, b'\r', b'\n', rest).unwrap_or(rest.len());
        let declared = &rest[..end];
        if let Some(at) = declared.iter().position(|&byte| !usable(byte)) {
            return bad(
                4 + at,
                "an encoding character is a letter, a digit, a blank or no printable ASCII",
            );
        }
        let doubled = matches!(declared, [_, _, a, b, _] | [_, _, a, b, _, _] if a == b);
        let distinct: Vec<u8> = match declared {
            [component, repetition, escape, _, rest @ ..] if doubled => {
                [&[*component, *repetition, *escape], rest].concat()
            }
            _ => declared.to_vec(),
        };
        if let Some(at) = (1..distinct.len()).find(|&at| distinct[..at].contains(&distinct[at])) {
            return bad(4 + at, "an encoding character stands twice");
        }
        let mut delimiters = Self {
            field,
            component: b'^',
            repetition: None,
            escape: None,
            subcomponent: None,
            truncation: None,
        };
        match distinct[..] {
            [] => return bad(4, "the encoding characters are missing"),
            [component] => delimiters.component = component,
            [component, repetition] => {
                delimiters.component = component;
                delimiters.repetition = Some(repetition);
            }
            // `^~\` is a cut-off standard set, not one whose subcomponents are split by backslashes.
            [_, _, b'\\'] => return bad(7, "the subcomponent separator is missing"),
            [component, repetition, subcomponent] => {
                delimiters.component = component;
                delimiters.repetition = Some(repetition);
                delimiters.subcomponent = Some(subcomponent);
            }
            [
                component,
                repetition,
                escape,
                subcomponent,
                ref truncation @ ..,
            ] => {
                if truncation.len() > 1 {
                    return bad(9, "there are more than five encoding characters");
                }
                delimiters.component = component;
                delimiters.repetition = Some(repetition);
                delimiters.escape = Some(escape);
                delimiters.subcomponent = Some(subcomponent);
                delimiters.truncation = truncation.first().copied();
            }
        }
        let warning = match distinct.len() {
            _ if doubled => Some(warning::DOUBLED_ESCAPE),
            1..=3 => Some(warning::SHORT_DELIMITERS),
            _ => None,
        };
        Ok((delimiters, warning.map(|code| Warning { code, offset: 4 })))
    }

    /// The standard set around a given field separator, for an answer to a header whose MSH-2 is unusable.
    pub fn around(field: u8) -> Self {
        let other = |standard| if field == standard { b'|' } else { standard };
        Self {
            field,
            component: other(b'^'),
            repetition: Some(other(b'~')),
            escape: Some(other(b'\\')),
            subcomponent: Some(other(b'&')),
            truncation: None,
        }
    }

    /// MSH-2 as these delimiters are written.
    pub fn encoding_characters(&self) -> Vec<u8> {
        let optional = [
            self.repetition,
            self.escape,
            self.subcomponent,
            self.truncation,
        ];
        std::iter::once(self.component)
            .chain(optional.into_iter().flatten())
            .collect()
    }

    /// Whether `byte` ends an element of this message.
    pub(super) fn splits(&self, byte: u8) -> bool {
        byte == self.field
            || byte == self.component
            || Some(byte) == self.repetition
            || Some(byte) == self.subcomponent
    }
}

/// Whether `byte` may be a delimiter.
pub(super) fn usable(byte: u8) -> bool {
    byte.is_ascii_graphic() && !byte.is_ascii_alphanumeric()
}
