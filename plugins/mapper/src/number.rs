//! Decimal numbers of up to 28 digits, in which nothing is rounded unless a step says so.

use std::cmp::Ordering;

/// Most digits of a number, so that a product of two still fits.
const MAX_DIGITS: u32 = 28;

/// A decimal number: `digits` divided by ten to the power of `scale`.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    digits: i128,
    scale: u32,
}

impl Number {
    /// Reads `-12.50`, `+7`, `.5`; none for anything else and for more than 28 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, text) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mut digits, mut scale, mut point, mut any) = (0_i128, 0, false, false);
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    digits = digits.checked_mul(10)? + i128::from(byte - b'0');
                    scale += u32::from(point);
                }
                b'.' if !point => point = true,
                _ => return None,
            }
            if scale > MAX_DIGITS {
                return None;
            }
        }
        let digits = if negative { -digits } else { digits };
        any.then_some(Self { digits, scale })?.within()
    }

    /// A whole number.
    pub fn whole(number: i64) -> Self {
        Self {
            digits: number.into(),
            scale: 0,
        }
    }

    /// The whole number that it is, if it is one and small enough.
    pub fn as_integer(self) -> Option<i64> {
        (self.scale == 0)
            .then(|| i64::try_from(self.digits).ok())
            .flatten()
    }

    fn within(self) -> Option<Self> {
        (self.digits.unsigned_abs() < 10_u128.pow(MAX_DIGITS)).then_some(self)
    }

    fn scaled(self, scale: u32) -> Option<i128> {
        let factor = 10_i128.checked_pow(scale.checked_sub(self.scale)?)?;
        self.digits.checked_mul(factor)
    }

    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        Some((self.scaled(scale)?, other.scaled(scale)?, scale))
    }

    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        let (a, b, scale) = self.aligned(other)?;
        let digits = a.checked_add(b)?;
        Self { digits, scale }.within()
    }

    pub(crate) fn minus(self, other: Self) -> Option<Self> {
        let digits = -other.digits;
        self.plus(Self { digits, ..other })
    }

    pub(crate) fn times(self, other: Self) -> Option<Self> {
        let digits = self.digits.checked_mul(other.digits)?;
        let scale = self.scale + other.scale;
        Self { digits, scale }.within()
    }

    /// The quotient with so many decimals, rounded half away from zero.
    pub(crate) fn over(self, other: Self, places: u32) -> Option<Self> {
        let up = (places + 1 + other.scale).checked_sub(self.scale);
        let (above, below) = match up {
            Some(up) => (
                self.digits.checked_mul(10_i128.checked_pow(up)?)?,
                other.digits,
            ),
            None => {
                let down = self.scale - (places + 1 + other.scale);
                let factor = 10_i128.checked_pow(down)?;
                (self.digits, other.digits.checked_mul(factor)?)
            }
        };
        let digits = above.checked_div(below)?;
        let scale = places + 1;
        Self { digits, scale }.rounded(places)
    }

    /// With so many decimals, rounded half away from zero.
    pub(crate) fn rounded(self, places: u32) -> Option<Self> {
        let digits = match self.scale.checked_sub(places) {
            None | Some(0) => self.scaled(places)?,
            Some(drop) => {
                let unit = 10_i128.checked_pow(drop)?;
                let half = unit / 2;
                match self.digits < 0 {
                    true => (self.digits - half) / unit,
                    false => (self.digits + half) / unit,
                }
            }
        };
        let scale = places;
        Self { digits, scale }.within()
    }

    /// Written with a decimal point and groups of three, `group` between them.
    pub(crate) fn written(self, point: &str, group: &str) -> String {
        let digits = self.digits.unsigned_abs().to_string();
        let scale = self.scale as usize;
        let digits = match digits.len() > scale {
            true => digits,
            false => "0".repeat(scale + 1 - digits.len()) + &digits,
        };
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let mut out = String::with_capacity(digits.len() + 8);
        if self.digits < 0 {
            out.push('-');
        }
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at) % 3 == 0 {
                out.push_str(group);
            }
            out.push(digit);
        }
        if !fraction.is_empty() {
            out.push_str(point);
            out.push_str(fraction);
        }
        out
    }

    /// `-12.50`
    pub fn text(self) -> String {
        self.written(".", "")
    }

    pub(crate) fn against(self, other: Self) -> Ordering {
        match self.aligned(other) {
            Some((a, b, _)) => a.cmp(&b),
            // Too far apart to be written alike: what is left of the point decides.
            None => self.whole_part().cmp(&other.whole_part()),
        }
    }

    fn whole_part(self) -> i128 {
        self.digits / 10_i128.checked_pow(self.scale).unwrap_or(i128::MAX)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.against(*other) == Ordering::Equal
    }
}

impl Eq for Number {}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn numbers_are_read_and_written() {
        for (text, written) in [
            ("007", "7"),
            (" -12.50 ", "-12.50"),
            ("+.5", "0.5"),
            ("5.", "5"),
            ("-0.05", "-0.05"),
            (
                "9999999999999999999999999999",
                "9999999999999999999999999999",
            ),
        ] {
            assert_eq!(number(text).text(), written);
        }
        for text in [
            "",
            ".",
            "-",
            "1e3",
            "1,5",
            "--1",
            "1.2.3",
            "10000000000000000000000000000",
        ] {
            assert!(Number::parse(text).is_none(), "{text}");
        }
        assert_eq!(number("-1234567.5").written(",", "."), "-1.234.567,5");
    }

    #[test]
    fn arithmetic_is_decimal() {
        let text = |number: Option<Number>| number.map(Number::text);
        assert_eq!(
            text(number("0.1").plus(number("0.2"))).as_deref(),
            Some("0.3")
        );
        assert_eq!(
            text(number("1").minus(number("0.01"))).as_deref(),
            Some("0.99")
        );
        assert_eq!(
            text(number("2.5").times(number("-4"))).as_deref(),
            Some("-10.0")
        );
        assert_eq!(
            text(number("1").over(number("3"), 2)).as_deref(),
            Some("0.33")
        );
        assert_eq!(
            text(number("2").over(number("-3"), 2)).as_deref(),
            Some("-0.67")
        );
        assert_eq!(
            text(number("180.34").over(number("2.54"), 0)).as_deref(),
            Some("71")
        );
        assert!(number("1").over(number("0"), 2).is_none());
        assert_eq!(text(number("-2.5").rounded(0)).as_deref(), Some("-3"));
        assert_eq!(text(number("2").rounded(2)).as_deref(), Some("2.00"));
        let most = number("9999999999999999999999999999");
        assert!(most.times(most).is_none() && most.plus(number("1")).is_none());
        assert!(number("1.50") == number("1.5") && number("2") != number("2.01"));
    }
}
