//! What a form sent: fields and files, of either encoding that browsers have.
//!
//! Read and checked once, by [`super::visit`], before any handler runs; handlers take [`Form`].

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::cookie::decoded;
use crate::web::fault::Fault;

/// The field that carries the token of the session.
pub const TOKEN: &str = "csrf";

/// Fields of one form: each takes more memory than its text. The codes of a large table are fewer.
const MOST_FIELDS: usize = 20_000;

/// The fields and files of a form, in the order sent.
#[derive(Clone, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    files: Vec<(String, Bytes)>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        write!(f, "Form({names:?})")
    }
}

impl Form {
    /// Reads a body; none if it is of another kind, or broken.
    pub fn parse(headers: &HeaderMap, body: &Bytes) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        if kind.starts_with("application/x-www-form-urlencoded") {
            let text = std::str::from_utf8(body).ok()?;
            if memchr::memchr_iter(b'&', body).count() >= MOST_FIELDS {
                return None;
            }
            return Some(Self {
                fields: query(text),
                files: Vec::new(),
            });
        }
        let boundary = kind
            .strip_prefix("multipart/form-data")?
            .split("boundary=")
            .nth(1)?
            .trim_matches('"');
        multipart(body, boundary)
    }

    /// The value of a field, trimmed; empty if it was not sent.
    pub fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The value of a field as it was sent.
    pub fn raw(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The value of a field, or none where it is empty.
    pub fn some(&self, name: &str) -> Option<String> {
        Some(self.get(name))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// Whether a box was ticked, or a button pressed.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == name)
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> Vec<String> {
        let found = self.fields.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.trim().to_owned()).collect()
    }

    /// A file that was chosen; none if it is empty.
    pub fn file(&self, name: &str) -> Option<&Bytes> {
        let found = self.files.iter().find(|(known, _)| known == name);
        found
            .map(|(_, bytes)| bytes)
            .filter(|bytes| !bytes.is_empty())
    }
}

impl<S: Sync> FromRequestParts<S> for Form {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        parts.extensions.remove().ok_or(Fault::BadForm)
    }
}

/// `a=1&b=2`.
pub fn query(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// An id made of a name: `Main Street Clinic` is `main-street-clinic`, or `main-street-clinic-2` where that is taken;
/// `usual` stands in for a name without letters.
pub fn free_id(name: &str, usual: &str, taken: impl Fn(&str) -> bool) -> String {
    let words = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let plain: String = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    let plain = match plain.is_empty() {
        true => usual.to_owned(),
        false => plain.chars().take(60).collect(),
    };
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut ids = std::iter::once(plain.clone()).chain(numbered);
    ids.find(|id| !taken(id)).unwrap_or(plain)
}

/// RFC 7578, as browsers write it.
fn multipart(body: &Bytes, boundary: &str) -> Option<Form> {
    let mut form = Form::default();
    let opening = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let mut at = memchr::memmem::find(body, opening.as_bytes())? + opening.len();
    loop {
        match body.get(at..at + 2)? {
            b"--" => return Some(form),
            b"\r\n" => at += 2,
            _ => return None,
        }
        if form.fields.len() + form.files.len() >= MOST_FIELDS {
            return None;
        }
        let end = at + memchr::memmem::find(&body[at..], between.as_bytes())?;
        let part = body.slice(at..end);
        at = end + between.len();
        let head = memchr::memmem::find(&part, b"\r\n\r\n")?;
        let text = std::str::from_utf8(&part[..head]).ok()?;
        let content = part.slice(head + 4..);
        let disposition = text.lines().find(|line| {
            line.to_ascii_lowercase()
                .starts_with("content-disposition:")
        })?;
        let name = parameter(disposition, "name")?;
        match parameter(disposition, "filename") {
            Some(_) => form.files.push((name, content)),
            None => {
                let value = String::from_utf8(content.to_vec()).ok()?;
                form.fields.push((name, value));
            }
        }
    }
}

/// `name` of `form-data; name="x"`.
fn parameter(line: &str, name: &str) -> Option<String> {
    let rest = line.split(';').map(str::trim);
    let start = format!("{name}=\"");
    let found = rest.filter_map(|part| part.strip_prefix(&start)).next()?;
    Some(found.trim_end_matches('"').replace("%22", "\""))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn parse(kind: &'static str, body: &'static str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Form::parse(&headers, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn ids_are_made_of_names() {
        let check = |name: &str, taken: &[&str], expected: &str| {
            assert_eq!(free_id(name, "it", |id| taken.contains(&id)), expected);
        };
        check("Main Street Clinic", &[], "main-street-clinic");
        check(" St. Anne's (2) ", &["st-anne-s-2"], "st-anne-s-2-2");
        check("Größe", &[], "gr-e");
        check("", &["it"], "it-2");
    }

    #[test]
    fn both_encodings_are_read() {
        let form = parse("application/x-www-form-urlencoded", "a=1+2&b=%C3%A4&a=3&c").unwrap();
        assert_eq!((form.get("a"), form.get("b")), ("1 2", "ä"));
        assert_eq!(form.all("a"), ["1 2", "3"]);
        assert!(form.has("c") && !form.has("d"));
        let form = parse(
            "multipart/form-data; boundary=XX",
            "--XX\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\nA\r\nB\r\n--XX\r\n\
             Content-Disposition: form-data; name=\"f\"; filename=\"x.wasm\"\r\nContent-Type: a/b\r\n\r\n\0asm\r\n--XX--\r\n",
        )
        .unwrap();
        assert_eq!(form.get("t"), "A\r\nB");
        assert_eq!(form.file("f").map(|bytes| &bytes[..]), Some(&b"\0asm"[..]));
        assert!(parse("multipart/form-data; boundary=XX", "--XX\r\nno end").is_none());
        assert!(parse("application/json", "{}").is_none());
    }

    #[test]
    fn a_form_has_so_many_fields_at_most() {
        let check = |fields: usize, is_taken: bool| {
            let kind = "application/x-www-form-urlencoded";
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            let body = Bytes::from(vec!["a"; fields].join("&"));
            let form = Form::parse(&headers, &body);
            assert_eq!(form.is_some(), is_taken, "{fields}");
        };
        check(MOST_FIELDS, true);
        check(MOST_FIELDS + 1, false);
    }
}
