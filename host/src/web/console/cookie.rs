//! Cookies of the console: the session, the token of forms before there is one, and one line for the next page.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

/// Whose session it is.
pub const SESSION: &str = "lig_session";
/// Stands for the browser on forms before sign-in.
pub const VISITOR: &str = "lig_visitor";
/// A sign-in under way at an identity provider.
pub const OPENID: &str = "lig_openid";
/// One line for the next page, such as `Saved.`; never patient data.
pub const FLASH: &str = "lig_flash";

/// The value of a cookie, if the browser sent one.
pub fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let sent = headers.get_all(header::COOKIE).into_iter();
    let pairs = sent.filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.to_owned())
}

/// Sets a cookie that no script reads and no other site sends along.
///
/// Behind a proxy that speaks TLS it is sent over TLS only: such a proxy says so in `X-Forwarded-Proto`, which the listener
/// leaves in a request only where it is to be believed.
pub fn set(response: &mut Response, headers: &HeaderMap, name: &str, value: &str, age_s: i64) {
    let is_tls = headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if is_tls { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(text) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, text);
    }
}

/// Takes a cookie away.
pub fn clear(response: &mut Response, headers: &HeaderMap, name: &str) {
    set(response, headers, name, "", 0);
}

/// Text as a cookie or a query can hold it: everything but letters, digits, dash and dot becomes `%XX`.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Such a text read again; `+` is a blank.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = match byte {
            b'%' => hexadecimal(&mut rest),
            _ => None,
        };
        match digits {
            Some(byte) => bytes.push(byte),
            None if byte == b'+' => bytes.push(b' '),
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The byte that the next two hexadecimal digits say; takes them if they do.
fn hexadecimal(rest: &mut std::str::Bytes<'_>) -> Option<u8> {
    let mut ahead = rest.clone();
    let digits = [ahead.next()?, ahead.next()?];
    let byte = u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
    *rest = ahead;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_as_it_was() {
        for text in ["Saved.", "Grün & 100 %", "a+b=c;d\n", ""] {
            assert_eq!(decoded(&encoded(text)), text);
        }
        assert_eq!(decoded("a+b%20c%"), "a b c%");
        assert_eq!(decoded("%zz"), "%zz");
    }

    #[test]
    fn one_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            HeaderValue::from_static("a=1; lig_session=x_y; b=2"),
        );
        assert_eq!(read(&headers, SESSION).as_deref(), Some("x_y"));
        assert_eq!(read(&headers, "c"), None);
    }
}
