//! Other text of the same shape.
//!
//! What replaces a leaf comes from a hash of the leaf and of the whole message: nobody can undo it who does not have the
//! message already.

use jiff::ToSpan;
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};

use super::Harm;
use crate::hl7::escape::Sequence;
use crate::hl7::message::find;
use crate::hl7::value::DateTime;

/// Days by which dates go back, at least: a year that stands alone changes, too.
const DAYS: i32 = 400;

/// What a leaf is replaced by.
pub(super) enum Replace {
    /// By other text, the same for the same leaf.
    Seeded {
        seed: [u8; 32],
        /// By which every date of the message goes back.
        days: i32,
        hours: u8,
    },
    /// By `x`, `X` and `9`.
    Masked,
}

impl Replace {
    pub(super) fn seeded(message: &[u8]) -> Self {
        let seed: [u8; 32] = Sha256::digest(message).into();
        Self::Seeded {
            seed,
            days: DAYS + i32::from(u16::from_le_bytes([seed[0], seed[1]]) % 3_600),
            hours: 1 + seed[2] % 23,
        }
    }

    /// Writes what stands in the place of `leaf`.
    pub(super) fn leaf(&self, leaf: &str, harm: Harm, escape: Option<u8>, out: &mut String) {
        if let Self::Seeded { days, hours, .. } = self {
            let moved = match harm {
                Harm::Date => moved_date(leaf, *days),
                Harm::Time => moved_time(leaf, *hours),
                Harm::None | Harm::Text => None,
            };
            if let Some(moved) = moved {
                out.push_str(&moved);
                return;
            }
        }
        let mut letters = Letters::new(self, leaf);
        let Some(escape) = escape else {
            out.extend(leaf.chars().map(|letter| letters.instead_of(letter)));
            return;
        };
        let mut rest = leaf;
        while let Some(open) = find(escape, rest) {
            out.extend(
                rest[..open]
                    .chars()
                    .map(|letter| letters.instead_of(letter)),
            );
            out.push(char::from(escape));
            rest = &rest[open + 1..];
            let Some(close) = find(escape, rest) else {
                break;
            };
            let body = &rest[..close];
            match Sequence::of(body) {
                Sequence::Delimiter(_) | Sequence::LineBreak => out.push_str(body),
                Sequence::Kept if !body.starts_with('Z') => out.push_str(body),
                Sequence::Kept => {
                    out.push('Z');
                    out.extend(body[1..].chars().map(|letter| letters.instead_of(letter)));
                }
                Sequence::Hex(digits) => {
                    out.push('X');
                    letters.hex(digits, out);
                }
                // Data between two escape characters, which must not become a sequence.
                Sequence::BadHex | Sequence::Unknown => {
                    out.extend(body.chars().map(|letter| letters.of_no_sequence(letter)));
                    // The second one may open a sequence itself.
                    rest = &rest[close..];
                    continue;
                }
            }
            out.push(char::from(escape));
            rest = &rest[close + 1..];
        }
        out.extend(rest.chars().map(|letter| letters.instead_of(letter)));
    }
}

/// The same precision, time of day and offset, `days` earlier; `None` for what is no date.
fn moved_date(leaf: &str, days: i32) -> Option<String> {
    let written = DateTime::parse(leaf)?;
    let blanks = leaf.len() - leaf.trim_start_matches(' ').len();
    let (year, month, day) = (written.year, written.month, written.day);
    let date = Date::new(
        i16::try_from(year).ok()?,
        month.unwrap_or(1) as i8,
        day.unwrap_or(1) as i8,
    )
    .ok()?;
    let moved = date.checked_sub(days.days()).ok()?;
    if moved.year() < 1 {
        return None;
    }
    let digits = 4 + 2 * usize::from(month.is_some()) + 2 * usize::from(day.is_some());
    let text = format!("{:04}{:02}{:02}", moved.year(), moved.month(), moved.day());
    Some(format!(
        "{}{}{}",
        &leaf[..blanks],
        &text[..digits],
        &leaf[blanks + digits..]
    ))
}

/// Another hour; `None` for what is no TM.
fn moved_time(leaf: &str, hours: u8) -> Option<String> {
    let hour: u8 = leaf.get(..2)?.parse().ok()?;
    let rest = &leaf[2..];
    let is_time = hour < 24
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".+-".contains(&byte));
    is_time.then(|| format!("{:02}{rest}", (hour + hours) % 24))
}

/// Letters and digits one after another; every one differs from what it stands for.
struct Letters {
    /// `None` masks.
    seed: Option<[u8; 32]>,
    block: [u8; 32],
    used: usize,
    blocks: u32,
}

impl Letters {
    fn new(replace: &Replace, leaf: &str) -> Self {
        let seed = match replace {
            Replace::Masked => None,
            Replace::Seeded { seed, .. } => {
                let hash = Sha256::new()
                    .chain_update(seed)
                    .chain_update(leaf.as_bytes());
                Some(hash.finalize().into())
            }
        };
        Self {
            seed,
            block: [0; 32],
            used: 32,
            blocks: 0,
        }
    }

    /// A number from 1 to `most`; none when masking.
    fn number(&mut self, most: u8) -> Option<u8> {
        let seed = self.seed?;
        if self.used == self.block.len() {
            let hash = Sha256::new()
                .chain_update(seed)
                .chain_update(self.blocks.to_le_bytes());
            self.block = hash.finalize().into();
            self.blocks += 1;
            self.used = 0;
        }
        self.used += 1;
        Some(1 + self.block[self.used - 1] % most)
    }

    fn instead_of(&mut self, letter: char) -> char {
        match letter {
            'a'..='z' => self.turned(letter, 'a', 26, 'x'),
            'A'..='Z' => self.turned(letter, 'A', 26, 'X'),
            '0'..='9' => self.turned(letter, '0', 10, '9'),
            _ if letter.is_ascii() => letter,
            _ => self.foreign(letter),
        }
    }

    /// The letter a few places on in a circle of `count` letters from `first`.
    fn turned(&mut self, letter: char, first: char, count: u8, mask: char) -> char {
        let at = (u32::from(letter) - u32::from(first)) as u8;
        match self.number(count - 1) {
            Some(places) => char::from(first as u8 + (at + places) % count),
            None => mask,
        }
    }

    /// Another letter of the same script, in as many bytes and in the character sets that have this one.
    fn foreign(&mut self, letter: char) -> char {
        /// Scripts that clinics write, each a choice that all their character sets hold.
        const SCRIPTS: [(char, char, &str); 9] = [
            ('ß', 'ÿ', "àáâãäåèéêëìíîïòóôõöùúûü"),
            ('À', 'Þ', "ÀÁÂÃÄÅÈÉÊËÌÍÎÏÒÓÔÕÖÙÚÛÜ"),
            ('Ā', 'ſ', "ĄąĆćĘęŁłŃńŚśŹźŻż"),
            ('Α', 'ώ', "αβγδεζηθικλμνοπρσ"),
            ('А', 'я', "абвгдежзиклмнопрст"),
            ('א', 'ת', "אבגדהוזחטיכלמ"),
            ('ぁ', 'ヿ', "あいうえおかきくけこアイウエオカキ"),
            ('一', '鿿', "一二三四五六七八九十人大小中上下山川日月"),
            ('가', '힣', "가나다라마바사아자차카타파하"),
        ];
        let Some((.., choice)) = SCRIPTS
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&letter))
        else {
            return match letter.is_alphanumeric() {
                true => self.instead_of('n'),
                false => letter,
            };
        };
        let Some(number) = self.number(u8::MAX) else {
            return 'x';
        };
        // Each choice has more than one, so that there is another.
        let others = || choice.chars().filter(|other| *other != letter);
        let count = others().count();
        others().nth(usize::from(number) % count).unwrap_or('x')
    }

    /// Data between two escape characters: `Y` and `W` begin no sequence.
    fn of_no_sequence(&mut self, letter: char) -> char {
        match letter {
            'Y' => 'W',
            'y' => 'w',
            'a'..='z' => 'y',
            'A'..='Z' => 'Y',
            other => self.instead_of(other),
        }
    }

    /// Characters written as pairs of hexadecimal digits; control characters stay.
    fn hex(&mut self, digits: &str, out: &mut String) {
        for at in (0..digits.len()).step_by(2) {
            let pair = &digits[at..at + 2];
            let byte = u8::from_str_radix(pair, 16).unwrap_or_default();
            let instead = match byte {
                0..0x80 => self.instead_of(char::from(byte)),
                _ => self.instead_of('n'),
            };
            match u32::from(instead) == u32::from(byte) {
                true => out.push_str(pair),
                false => out.push_str(&format!("{:02X}", instead as u32 & 0xff)),
            }
        }
    }
}
