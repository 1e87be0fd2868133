//! A message sent again under a new name, so that the receiver does not take it for a duplicate.

use super::{Error, Fill, Message, Path};

/// Sets MSH-10 to `control_id` and MSH-7 to `now`; everything else stays byte for byte.
///
/// # Errors
/// Those of [`Message::parse`] and [`Message::set`].
pub fn stamp(bytes: &[u8], control_id: &str, now: &jiff::Zoned) -> Result<Vec<u8>, Error> {
    let mut message = Message::parse(bytes)?;
    for (field, value) in [(7, time_stamp(now)), (10, control_id.to_owned())] {
        if let Some(path) = Path::new("MSH", Some(field)) {
            message.set(&path, Fill::Text(&value))?;
        }
    }
    Ok(message.to_bytes())
}

/// `YYYYMMDDHHMMSS+ZZZZ`
pub(super) fn time_stamp(now: &jiff::Zoned) -> String {
    now.strftime("%Y%m%d%H%M%S%z").to_string()
}
