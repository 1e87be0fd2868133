//! Values of the interpreter's types as Rust expressions, by what serde knows of them.
//!
//! Texts are written `"…".into()`, which serves for borrowed and for owned ones; what stands in a box is listed in [`BOXED`].

use std::fmt::{self, Write as _};

use serde::ser::{self, Serialize};

/// Variants whose content stands in a box, which serde does not show.
const BOXED: [(&str, &str); 3] = [("Source", "Part"), ("Source", "Each"), ("Condition", "Not")];

/// Something that no type of the interpreter has.
#[derive(Debug)]
pub(super) struct Unexpected(String);

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unexpected {}

impl ser::Error for Unexpected {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

/// The expression that gives a value again.
pub(super) fn expression(value: &impl Serialize) -> Result<String, Unexpected> {
    let mut rust = Rust {
        text: String::new(),
        depth: 1,
    };
    value.serialize(&mut rust)?;
    Ok(rust.text)
}

/// Rust on its way.
struct Rust {
    text: String,
    depth: usize,
}

impl Rust {
    fn line(&mut self) {
        self.text.push('\n');
        for _ in 0..self.depth {
            self.text.push_str("    ");
        }
    }

    /// Begins something whose members stand on lines of their own.
    fn open(&mut self, with: &str, end: &'static str) -> Members<'_> {
        self.text.push_str(with);
        self.depth += 1;
        Members {
            rust: self,
            is_empty: true,
            end,
        }
    }

    fn number(&mut self, number: impl fmt::Display) -> Result<(), Unexpected> {
        write!(self.text, "{number}").map_err(ser::Error::custom)
    }
}

/// Members of a struct, a list, a tuple.
struct Members<'a> {
    rust: &'a mut Rust,
    is_empty: bool,
    end: &'static str,
}

impl Members<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Unexpected> {
        self.is_empty = false;
        self.rust.line();
        if !name.is_empty() {
            self.rust.text.push_str(name);
            self.rust.text.push_str(": ");
        }
        value.serialize(&mut *self.rust)?;
        self.rust.text.push(',');
        Ok(())
    }

    fn close(self) -> Result<(), Unexpected> {
        self.rust.depth -= 1;
        if !self.is_empty {
            self.rust.line();
        }
        self.rust.text.push_str(self.end);
        Ok(())
    }
}

macro_rules! numbers {
    ($($method:ident $kind:ty)*) => {
        $(fn $method(self, number: $kind) -> Result<(), Unexpected> {
            self.number(number)
        })*
    };
}

impl<'a> ser::Serializer for &'a mut Rust {
    type Ok = ();
    type Error = Unexpected;
    type SerializeSeq = Members<'a>;
    type SerializeTuple = Members<'a>;
    type SerializeTupleStruct = Members<'a>;
    type SerializeTupleVariant = Members<'a>;
    type SerializeMap = ser::Impossible<(), Unexpected>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Members<'a>;

    numbers! {
        serialize_bool bool
        serialize_i8 i8
        serialize_i16 i16
        serialize_i32 i32
        serialize_i64 i64
        serialize_u8 u8
        serialize_u16 u16
        serialize_u32 u32
        serialize_u64 u64
        serialize_f32 f32
        serialize_f64 f64
    }

    fn serialize_char(self, letter: char) -> Result<(), Unexpected> {
        self.number(format_args!("{letter:?}"))
    }

    fn serialize_str(self, text: &str) -> Result<(), Unexpected> {
        self.number(format_args!("{text:?}.into()"))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unexpected> {
        Err(Unexpected("bytes".into()))
    }

    fn serialize_none(self) -> Result<(), Unexpected> {
        self.number("None")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unexpected> {
        self.text.push_str("Some(");
        value.serialize(&mut *self)?;
        self.number(")")
    }

    fn serialize_unit(self) -> Result<(), Unexpected> {
        self.number("()")
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Unexpected> {
        self.number(name)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Unexpected> {
        self.number(format_args!("{name}::{variant}"))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unexpected> {
        self.number(format_args!("{name}("))?;
        value.serialize(&mut *self)?;
        self.number(")")
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unexpected> {
        let boxed = BOXED.contains(&(name, variant));
        let (begin, end) = match boxed {
            true => ("(Box::new(", "))"),
            false => ("(", ")"),
        };
        self.number(format_args!("{name}::{variant}{begin}"))?;
        value.serialize(&mut *self)?;
        self.number(end)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'a>, Unexpected> {
        Ok(self.open("vec![", "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Members<'a>, Unexpected> {
        Ok(self.open("(", ")"))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Members<'a>, Unexpected> {
        Ok(self.open(&format!("{name}("), ")"))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'a>, Unexpected> {
        Ok(self.open(&format!("{name}::{variant}("), ")"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unexpected> {
        Err(Unexpected("a map".into()))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Members<'a>, Unexpected> {
        Ok(self.open(&format!("{name} {{"), "}"))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'a>, Unexpected> {
        Ok(self.open(&format!("{name}::{variant} {{"), "}"))
    }
}

macro_rules! listed {
    ($($kind:ident $method:ident)*) => {
        $(impl ser::$kind for Members<'_> {
            type Ok = ();
            type Error = Unexpected;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unexpected> {
                self.add("", value)
            }

            fn end(self) -> Result<(), Unexpected> {
                self.close()
            }
        })*
    };
}

listed! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! named {
    ($($kind:ident)*) => {
        $(impl ser::$kind for Members<'_> {
            type Ok = ();
            type Error = Unexpected;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Unexpected> {
                self.add(name, value)
            }

            fn end(self) -> Result<(), Unexpected> {
                self.close()
            }
        })*
    };
}

named! { SerializeStruct SerializeStructVariant }

#[cfg(test)]
mod tests {
    use ligature_mapper::{At, Condition, Fact, Hits, Miss, Source, Step, Test};

    use super::*;

    #[test]
    fn values_are_written_as_they_would_be_by_hand() {
        let ask = Source::Ask(At { at: 3, of: 0 });
        let condition = Condition::Not(Box::new(Condition::Is {
            subject: Source::<At>::Fact(Fact::Event),
            test: Test::Equals {
                text: "a \"b\"\n".into(),
                any_case: false,
            },
        }));
        let steps = vec![
            Step::Trim,
            Step::Map {
                entries: vec![("F".into(), "Female".into())],
                miss: Miss::Pass,
            },
        ];
        let written = expression(&(ask, Source::Hits(7_u8, Hits::Last), condition, steps)).unwrap();
        insta::assert_snapshot!(written, @r#"
        (
                Source::Ask(At {
                    at: 3,
                    of: 0,
                }),
                Source::Hits(
                    7,
                    Hits::Last,
                ),
                Condition::Not(Box::new(Condition::Is {
                    subject: Source::Fact(Fact::Event),
                    test: Test::Equals {
                        text: "a \"b\"\n".into(),
                        any_case: false,
                    },
                })),
                vec![
                    Step::Trim,
                    Step::Map {
                        entries: vec![
                            (
                                "F".into(),
                                "Female".into(),
                            ),
                        ],
                        miss: Miss::Pass,
                    },
                ],
            )
        "#);
    }
}
