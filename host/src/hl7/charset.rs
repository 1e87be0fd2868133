//! Character sets: which one a message is in, and the way between its bytes and text.
//!
//! A message is decoded once, before it is split: in GB 18030 or `Shift_JIS` the second byte of a character may look like a delimiter.

use std::fmt;
use std::str::FromStr;

use encoding_rs::{
    BIG5, CoderResult, Decoder, EUC_JP, EUC_KR, EncoderResult, Encoding, GB18030, ISO_2022_JP,
    SHIFT_JIS, UTF_8, WINDOWS_1252,
};

use super::Error;

/// A character set that messages can be read and written in.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Charset(&'static Encoding);

impl Charset {
    /// `UNICODE UTF-8`, the only Unicode encoding that version 2 allows (table 0211).
    pub const UTF_8: Self = Self(UTF_8);
    /// Also what `8859/1` is read as: it differs in 0x80 to 0x9F only, and those are what senders mean.
    pub const WINDOWS_1252: Self = Self(WINDOWS_1252);

    /// The name in the WHATWG encoding standard.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether an unedited part may not be cut out of its bytes, because escape sequences carry state.
    pub(super) fn is_stateful(self) -> bool {
        self.0 == ISO_2022_JP
    }

    /// Decodes bytes of an `\X..\` sequence; bytes that are not of this set are taken as ISO 8859-1.
    /// Writes text in this character set; what it cannot say becomes a question mark.
    pub fn bytes_of(self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len());
        self.encode(text, &mut bytes);
        bytes
    }

    pub(super) fn decode_hex(self, bytes: &[u8]) -> String {
        match self
            .0
            .decode_without_bom_handling_and_without_replacement(bytes)
        {
            Some(text) => text.into_owned(),
            None => bytes.iter().map(|&byte| char::from(byte)).collect(),
        }
    }

    /// Decodes all bytes; the flag says that some were not of this set and became U+FFFD.
    pub(super) fn decode(self, bytes: &[u8]) -> (String, bool) {
        let (text, malformed) = self.0.decode_without_bom_handling(bytes);
        (text.into_owned(), malformed)
    }

    /// Appends `text` in this set; characters that it lacks become `?`. Answers whether there were any.
    pub(super) fn encode(self, text: &str, out: &mut Vec<u8>) -> bool {
        if self.0 == UTF_8 || (text.is_ascii() && !self.is_stateful()) {
            out.extend_from_slice(text.as_bytes());
            return false;
        }
        let mut encoder = self.0.new_encoder();
        let mut rest = text;
        let mut lossy = false;
        loop {
            let room = encoder
                .max_buffer_length_from_utf8_without_replacement(rest.len())
                .unwrap_or(rest.len() * 4)
                + 16;
            let start = out.len();
            out.resize(start + room, 0);
            let (result, read, written) =
                encoder.encode_from_utf8_without_replacement(rest, &mut out[start..], true);
            out.truncate(start + written);
            rest = &rest[read..];
            match result {
                EncoderResult::InputEmpty => return lossy,
                EncoderResult::OutputFull => {}
                // ISO-2022-JP is back in ASCII by then.
                EncoderResult::Unmappable(_) => {
                    lossy = true;
                    out.push(b'?');
                }
            }
        }
    }
}

impl fmt::Debug for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Charset {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<Charset> for String {
    fn from(charset: Charset) -> Self {
        charset.name().into()
    }
}

impl FromStr for Charset {
    type Err = Error;

    /// Reads a name of HL7 table 0211, one of the spellings seen in the field, or a WHATWG label.
    fn from_str(name: &str) -> Result<Self, Error> {
        let plain: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let known = match plain.as_str() {
            "UNICODE" | "UNICODEUTF8" | "UTF8" | "ISOIR196" => UTF_8,
            "88591" | "ISO88591" | "ISOIR100" | "LATIN1" | "WINDOWS1252" | "CP1252" => WINDOWS_1252,
            "ISOIR14" | "ISOIR87" | "ISOIR159" | "ISO2022JP" => ISO_2022_JP,
            "GB180302000" | "GB18030" | "GB2312" | "GBK" => GB18030,
            "KSX1001" | "KSC5601" | "EUCKR" => EUC_KR,
            "BIG5" => BIG5,
            "SHIFTJIS" | "SJIS" | "MS932" | "ISOIR13" => SHIFT_JIS,
            "EUCJP" => EUC_JP,
            other => {
                let label = match other.strip_prefix("ISO8859").or(other.strip_prefix("8859")) {
                    Some(part) => format!("iso-8859-{part}"),
                    None => name.trim().to_ascii_lowercase(),
                };
                // UTF-16 cannot travel over MLLP, and `x-user-defined` is for browsers.
                match Encoding::for_label_no_replacement(label.as_bytes()) {
                    Some(encoding) if encoding.is_ascii_compatible() || encoding == ISO_2022_JP => {
                        encoding
                    }
                    _ => return Err(Error::UnknownCharset(name.into())),
                }
            }
        };
        Ok(Self(known))
    }
}

/// What MSH-18 says.
pub(super) enum Declared {
    /// Empty or ASCII.
    Nothing,
    Known(Charset),
    Unknown,
}

/// Reads the first repetition of MSH-18 from the bytes of a header line; the header up to there is ASCII in practice.
pub(super) fn declared(header: &[u8], field: u8, repetition: Option<u8>) -> Declared {
    let end = memchr::memchr2(b'\r', b'\n', header).unwrap_or(header.len());
    // The text after the second separator is MSH-3.
    let value = header[..end]
        .split(|&byte| byte == field)
        .nth(17)
        .unwrap_or_default();
    let first = value
        .split(|&byte| Some(byte) == repetition)
        .next()
        .unwrap_or_default();
    let Ok(name) = std::str::from_utf8(first) else {
        return Declared::Unknown;
    };
    match name.trim().to_ascii_uppercase().as_str() {
        "" | "\"\"" | "ASCII" | "US-ASCII" | "ISO IR6" | "ISO IR 6" | "ISO-IR-6" => {
            Declared::Nothing
        }
        other => match other.parse() {
            Ok(charset) => Declared::Known(charset),
            Err(_) => Declared::Unknown,
        },
    }
}

/// Finds which received bytes gave which part of the decoded text, for parts asked in ascending order.
pub(super) struct Locator<'a> {
    bytes: &'a [u8],
    decoder: Decoder,
    /// Bytes read.
    read: usize,
    /// Bytes of text given so far.
    given: usize,
    /// Bytes of text given before the last byte was read.
    before: usize,
}

impl<'a> Locator<'a> {
    /// `bytes` are those that were decoded, without a byte order mark.
    pub(super) fn new(bytes: &'a [u8], charset: Charset) -> Self {
        Self {
            bytes,
            decoder: charset.0.new_decoder_without_bom_handling(),
            read: 0,
            given: 0,
            before: 0,
        }
    }

    /// The offset in the bytes at which the text from `offset` on begins.
    pub(super) fn locate(&mut self, offset: usize) -> usize {
        let mut room = [0; 32];
        while self.given < offset && self.read < self.bytes.len() {
            let last = self.read + 1 == self.bytes.len();
            let (result, _, written, _) =
                self.decoder
                    .decode_to_utf8(&self.bytes[self.read..=self.read], &mut room, last);
            debug_assert_eq!(result, CoderResult::InputEmpty);
            self.before = self.given;
            self.read += 1;
            self.given += written;
        }
        // A broken character followed by ASCII gives both at once; the ASCII byte is the last one read.
        if self.given > offset && self.before < offset {
            self.read - 1
        } else {
            self.read
        }
    }
}
