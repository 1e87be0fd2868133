//! Values and rows on their way to and from either database.

use std::sync::Arc;

use crate::store::failure::Failure;

/// The type of a column or parameter; these three are spelled alike in both databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Int,
    Text,
    Bytes,
}

/// One value on its way to or from the database.
#[derive(Clone, PartialEq)]
pub(in crate::store) enum Value {
    Null(Kind),
    Int(i64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<&str> for Value {
    /// PostgreSQL has no text with NUL in it, and a sender's control id may hold anything.
    fn from(value: &str) -> Self {
        if value.contains('\0') {
            Value::Text(value.replace('\0', "\u{fffd}").into())
        } else {
            Value::Text(value.into())
        }
    }
}

impl From<&Arc<str>> for Value {
    fn from(value: &Arc<str>) -> Self {
        Value::Text(value.clone())
    }
}

impl From<&Arc<[u8]>> for Value {
    fn from(value: &Arc<[u8]>) -> Self {
        Value::Bytes(value.clone())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Value::Bytes(value.into())
    }
}

impl Value {
    pub(in crate::store) fn optional_int(value: Option<i64>) -> Self {
        value.map_or(Value::Null(Kind::Int), Value::Int)
    }

    pub(in crate::store) fn optional_text(value: Option<&str>) -> Self {
        value.map_or(Value::Null(Kind::Text), Value::from)
    }

    pub(in crate::store) fn optional_bytes(value: Option<&Arc<[u8]>>) -> Self {
        value.map_or(Value::Null(Kind::Bytes), Value::from)
    }
}

/// One row of an answer.
pub(in crate::store) struct Row(pub(super) Vec<Value>);

impl Row {
    pub(in crate::store) fn int(&self, at: usize) -> Result<i64, Failure> {
        match &self.0[at] {
            Value::Int(value) => Ok(*value),
            _ => Err(Failure::column(at)),
        }
    }

    pub(in crate::store) fn text(&self, at: usize) -> Result<Arc<str>, Failure> {
        match &self.0[at] {
            Value::Text(value) => Ok(value.clone()),
            _ => Err(Failure::column(at)),
        }
    }

    pub(in crate::store) fn string(&self, at: usize) -> Result<String, Failure> {
        self.text(at).map(|text| text.as_ref().into())
    }

    pub(in crate::store) fn bytes(&self, at: usize) -> Result<Arc<[u8]>, Failure> {
        match &self.0[at] {
            Value::Bytes(value) => Ok(value.clone()),
            _ => Err(Failure::column(at)),
        }
    }

    /// As it came, to be passed on.
    pub(in crate::store) fn value(&self, at: usize) -> Value {
        self.0[at].clone()
    }

    pub(in crate::store) fn is_null(&self, at: usize) -> bool {
        matches!(self.0[at], Value::Null(_))
    }

    /// What `read` finds at `at`, or none for null.
    pub(in crate::store) fn optional<T>(
        &self,
        at: usize,
        read: impl Fn(&Self, usize) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        if self.is_null(at) {
            Ok(None)
        } else {
            read(self, at).map(Some)
        }
    }
}
