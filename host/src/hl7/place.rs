//! What the dictionary says of a place in a message: the data type and the table of what stands there.

use super::dictionary::{self, Element};

/// The data type and the table of a place; both empty where the dictionary knows nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) data_type: &'static str,
    pub(super) table: Option<u16>,
    /// Not so in Z-segments, behind the last field of the standard, and in OBX-5 without OBX-2.
    pub(super) is_known: bool,
}

const UNKNOWN: Place = Place {
    data_type: "",
    table: None,
    is_known: false,
};

impl Place {
    /// A field, in the version that the message is of; `value_type` is OBX-2.
    pub(super) fn field(segment: &str, number: usize, version: &str, value_type: &str) -> Self {
        let field = u16::try_from(number).ok();
        let Some(field) = field.and_then(|number| dictionary::field(segment, number)) else {
            return UNKNOWN;
        };
        if (segment, number) == ("OBX", 5) {
            return match dictionary::data_type_id(value_type) {
                Some(data_type) => Self {
                    data_type,
                    table: None,
                    is_known: true,
                },
                None => UNKNOWN,
            };
        }
        Self {
            data_type: field.data_type_in(version),
            table: field.table,
            is_known: !field.data_type.is_empty(),
        }
    }

    /// A component of a field, or a subcomponent of a component.
    ///
    /// A table that is given for the whole is that of its first part: PID-10 is a CE of table 0005.
    pub(super) fn part(self, number: u16) -> Self {
        let of_whole = self.table.filter(|_| number == 1);
        match dictionary::component(self.data_type, number) {
            Some(Element {
                data_type, table, ..
            }) => Self {
                data_type,
                table: table.or(of_whole),
                is_known: self.is_known,
            },
            None if number == 1 && dictionary::components(self.data_type).next().is_none() => self,
            None => UNKNOWN,
        }
    }
}
