//! The HL7 message being mapped.

use crate::bindings::inbound::ligature::mapping::hl7;
use crate::{AccessError, Content, Date, DateTime, Malformed, Refusal, dtm};

/// The HL7 message being mapped; only granted paths can be read.
///
/// The methods with the names of the contract ([`get`](Self::get), [`get_all`](Self::get_all), …) answer what the
/// host answers. The others are made of them for the usual cases and refuse the message where it does not fit, so
/// that a mapping can use `?` throughout.
pub struct Message<'a>(Inner<'a>);

enum Inner<'a> {
    Host(&'a hl7::Message),
    #[cfg(not(target_family = "wasm"))]
    StandIn(&'a crate::testing::StandIn),
}

/// Calls the same method on whoever answers.
macro_rules! ask {
    ($inner:expr, $name:ident($($argument:expr),*)) => {
        match $inner {
            Inner::Host(message) => message.$name($($argument),*),
            #[cfg(not(target_family = "wasm"))]
            Inner::StandIn(message) => message.$name($($argument),*),
        }
    };
}

#[cfg(not(target_family = "wasm"))]
impl<'a> From<&'a crate::testing::StandIn> for Message<'a> {
    fn from(message: &'a crate::testing::StandIn) -> Self {
        Self(Inner::StandIn(message))
    }
}

impl<'a> Message<'a> {
    pub(crate) fn host(message: &'a hl7::Message) -> Self {
        Self(Inner::Host(message))
    }

    /// The decoded first leaf at `path`, for example `PID-3[2].1`, `PID-3[.5='MR'].1` or `OBX[3]-5`.
    ///
    /// # Errors
    ///
    /// The path is not granted, or is not a path.
    pub fn get(&self, path: &str) -> Result<Content, AccessError> {
        ask!(self.0, get(path))
    }

    /// Many paths in one crossing; answers in the order asked. Much cheaper than many [`get`](Self::get)s.
    ///
    /// # Errors
    ///
    /// A path is not granted, or is not a path.
    pub fn get_all(&self, paths: &[&str]) -> Result<Vec<Content>, AccessError> {
        ask!(self.0, get_all(paths))
    }

    /// Every hit of each path, in message order.
    ///
    /// # Errors
    ///
    /// A path is not granted, or is not a path.
    pub fn hits(&self, paths: &[&str]) -> Result<Vec<Vec<Content>>, AccessError> {
        ask!(self.0, hits(paths))
    }

    /// The undecoded text of the element; none if absent.
    ///
    /// # Errors
    ///
    /// The path is not granted, or is not a path.
    pub fn raw(&self, path: &str) -> Result<Option<String>, AccessError> {
        ask!(self.0, raw(path))
    }

    /// How many segments (`OBX`) or repetitions (`PID-3`) there are.
    ///
    /// # Errors
    ///
    /// The path is not granted, or is not a path.
    pub fn count(&self, path: &str) -> Result<u32, AccessError> {
        ask!(self.0, count(path))
    }

    /// Granted segment names in message order, for groups (RGS, AIS).
    pub fn segments(&self) -> Vec<String> {
        ask!(self.0, segments())
    }

    /// The text at `path`; none when absent or null.
    ///
    /// # Errors
    ///
    /// The path is not granted, or is not a path.
    pub fn text(&self, path: &str) -> Result<Option<String>, Refusal> {
        Ok(match self.get(path)? {
            Content::Text(text) => Some(text),
            Content::Absent | Content::Null => None,
        })
    }

    /// The text at `path`.
    ///
    /// # Errors
    ///
    /// Also refuses when there is none.
    pub fn required(&self, path: &str) -> Result<String, Refusal> {
        self.text(path)?
            .ok_or_else(|| Refusal::Missing(path.into()))
    }

    /// The text of the first of `paths` that has one.
    ///
    /// # Errors
    ///
    /// A path is not granted, or is not a path.
    pub fn first_of(&self, paths: &[&str]) -> Result<Option<String>, Refusal> {
        let mut contents = self.get_all(paths)?.into_iter();
        Ok(contents.find_map(|content| match content {
            Content::Text(text) => Some(text),
            Content::Absent | Content::Null => None,
        }))
    }

    /// The date at `path`, from `YYYYMMDD` or anything finer, which is cut to its day.
    ///
    /// # Errors
    ///
    /// Also refuses what is no date.
    pub fn date(&self, path: &str) -> Result<Option<Date>, Refusal> {
        self.parsed(path, "a date, YYYYMMDD", |text| dtm::date(text, false))
    }

    /// The date and time at `path`, from `YYYYMMDD[HH[MM[SS[.S…]]]][+|-ZZZZ]`.
    ///
    /// # Errors
    ///
    /// Also refuses what is no date and time.
    pub fn date_time(&self, path: &str) -> Result<Option<DateTime>, Refusal> {
        self.parsed(
            path,
            "a date and time, YYYYMMDDHHMMSS[+ZZZZ]",
            dtm::date_time,
        )
    }

    fn parsed<T>(
        &self,
        path: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(path)? else {
            return Ok(None);
        };
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(Refusal::Malformed(Malformed {
                path: path.into(),
                expected: expected.into(),
            })),
        }
    }
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        Refusal::Other(match error {
            AccessError::NotGranted(what) => what + " is not granted",
            AccessError::BadPath(path) => path + " is not a path",
            AccessError::UnknownName(name) => name + " is not known",
        })
    }
}
