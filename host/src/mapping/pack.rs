//! One file for sites without internet: a component with its signature, its manifest and a text for people.
//!
//! It is a plain tar archive (POSIX.1-1988 ustar), so that any tool can look into it; the same contents give the same
//! bytes. Knows nothing of files on a disk.

use super::gate::MAX_FILE_BYTES;

const COMPONENT: &str = "component.wasm";
const SIGNATURE: &str = "component.wasm.sig";
const MANIFEST: &str = "manifest.json";
const README: &str = "README.md";

/// Largest file beside the component.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Largest pack.
pub const MAX_BYTES: usize = MAX_FILE_BYTES + 4 * MAX_TEXT_BYTES;

const BLOCK: usize = 512;

/// What is in the file.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Pack {
    pub component: Vec<u8>,
    pub signature: Option<String>,
    /// What the component says of itself, as JSON; for people and tools, never trusted.
    pub manifest: Option<String>,
    pub readme: Option<String>,
}

/// Why a file is no pack.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error(
        "the file is no pack: it is not a tar archive, or cut off; `ligature plugin pack` makes one"
    )]
    NotATar,
    #[error("the pack holds {0:?}, which no pack has; `ligature plugin pack` makes one")]
    Unknown(String),
    #[error("{0} in the pack is too large, there twice, or not UTF-8")]
    Entry(&'static str),
    #[error("the pack has no {COMPONENT}")]
    NoComponent,
}

/// Whether the bytes begin like a pack.
pub fn is_pack(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar".as_slice())
}

impl Pack {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let texts = [
            (SIGNATURE, &self.signature),
            (MANIFEST, &self.manifest),
            (README, &self.readme),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?.as_bytes())));
        let mut out = Vec::with_capacity(self.component.len() + 16 * BLOCK);
        for (name, bytes) in [(COMPONENT, self.component.as_slice())]
            .into_iter()
            .chain(texts)
        {
            out.extend(header(name, bytes.len()));
            out.extend(bytes);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        out
    }

    /// Reads the file.
    ///
    /// # Errors
    /// What is in it that no pack has.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut pack = Self::default();
        let mut rest = bytes;
        let mut has_component = false;
        while let Some((header, after)) = rest.split_at_checked(BLOCK) {
            if header.iter().all(|byte| *byte == 0) {
                break;
            }
            let (name, size) = read_header(header).ok_or(Error::NotATar)?;
            let (content, _) = after.split_at_checked(size).ok_or(Error::NotATar)?;
            rest = after
                .get(size.next_multiple_of(BLOCK)..)
                .unwrap_or_default();
            let text = |name: &'static str, place: &mut Option<String>| {
                let read = std::str::from_utf8(content).ok();
                let read = read.filter(|text| text.len() <= MAX_TEXT_BYTES && place.is_none());
                *place = Some(read.ok_or(Error::Entry(name))?.to_owned());
                Ok(())
            };
            match name.as_str() {
                COMPONENT if has_component => return Err(Error::Entry(COMPONENT)),
                COMPONENT => {
                    has_component = true;
                    pack.component = content.to_vec();
                }
                SIGNATURE => text(SIGNATURE, &mut pack.signature)?,
                MANIFEST => text(MANIFEST, &mut pack.manifest)?,
                README => text(README, &mut pack.readme)?,
                _ => return Err(Error::Unknown(name)),
            }
        }
        match has_component {
            true => Ok(pack),
            false if bytes.len() < BLOCK => Err(Error::NotATar),
            false => Err(Error::NoComponent),
        }
    }

    /// Its files by name, for whoever unpacks it.
    pub fn files(&self) -> Vec<(&'static str, &[u8])> {
        let texts = [
            (SIGNATURE, &self.signature),
            (MANIFEST, &self.manifest),
            (README, &self.readme),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?.as_bytes())));
        [(COMPONENT, self.component.as_slice())]
            .into_iter()
            .chain(texts)
            .collect()
    }
}

/// A header of ustar: nobody's file, readable by all, from the beginning of 1970.
fn header(name: &str, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum = checksum(&header);
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// The sum of a header's bytes, with blanks where the sum stands.
fn checksum(header: &[u8]) -> u32 {
    let byte = |(at, byte): (usize, &u8)| match (148..156).contains(&at) {
        true => u32::from(b' '),
        false => u32::from(*byte),
    };
    header.iter().enumerate().map(byte).sum()
}

/// Name and size of an ordinary file.
fn read_header(header: &[u8]) -> Option<(String, usize)> {
    let octal = |range: std::ops::Range<usize>| {
        let text = std::str::from_utf8(header.get(range)?).ok()?;
        let digits = text.trim_matches(['\0', ' ']);
        usize::from_str_radix(digits, 8).ok()
    };
    let is_file = matches!(header.get(156)?, b'0' | 0);
    let is_whole = octal(148..156)? == usize::try_from(checksum(header)).ok()?;
    if !is_pack(header) || !is_file || !is_whole {
        return None;
    }
    let name = header.get(..100)?.split(|byte| *byte == 0).next()?;
    Some((String::from_utf8_lossy(name).into_owned(), octal(124..136)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack() -> Pack {
        Pack {
            component: vec![7; 1_000],
            signature: Some("ed25519:…".into()),
            manifest: Some("{}".into()),
            readme: None,
        }
    }

    #[test]
    fn a_pack_is_read_as_it_was_written() {
        let bytes = pack().to_bytes();
        assert!(is_pack(&bytes));
        assert_eq!(bytes.len() % BLOCK, 0);
        assert!(Pack::parse(&bytes) == Ok(pack()));
        assert_eq!(bytes, pack().to_bytes());
        let names: Vec<_> = pack().files().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [COMPONENT, SIGNATURE, MANIFEST]);
    }

    #[test]
    fn what_is_no_pack_is_refused() {
        let check = |bytes: &[u8], expected: Error| {
            assert!(Pack::parse(bytes).err() == Some(expected));
        };
        let whole = pack().to_bytes();
        check(b"", Error::NotATar);
        check(b"\0asm", Error::NotATar);
        check(&whole[..1_200], Error::NotATar);
        check(&[0; 2 * BLOCK], Error::NoComponent);
        let mut changed = whole.clone();
        changed[0] = b'x';
        check(&changed, Error::NotATar);
        let strange = [header("../../etc/passwd", 0).as_slice(), &whole].concat();
        check(&strange, Error::Unknown("../../etc/passwd".into()));
        let twice = [&whole[..whole.len() - 2 * BLOCK], &whole].concat();
        check(&twice, Error::Entry(COMPONENT));
    }
}
