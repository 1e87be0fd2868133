//! What stands in a certificate, as people want to read it, and how long it is good for.
//!
//! Start at [`Facts`].

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tracing::warn;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};

/// The SHA-256 of a certificate in DER form, as `openssl x509 -noout -fingerprint -sha256` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER form.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a fingerprint is the SHA-256 of a certificate, 64 hexadecimal digits with or without colons"
)]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let (pairs, []) = digits.as_chunks::<2>() else {
            return Err(NotAFingerprint);
        };
        let digit = |byte: u8| (byte as char).to_digit(16).ok_or(NotAFingerprint);
        let bytes: Vec<u8> = pairs
            .iter()
            .map(|[high, low]| Ok((digit(*high)? * 16 + digit(*low)?) as u8))
            .collect::<Result<_, _>>()?;
        Ok(Self(bytes.try_into().map_err(|_| NotAFingerprint)?))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether a certificate is one of an authority, as far as it says: those of version 1 cannot.
pub(super) fn may_sign(certificate: &CertificateDer<'_>) -> bool {
    let parsed = X509Certificate::from_der(certificate);
    parsed.is_ok_and(|(_, parsed)| parsed.is_ca() || parsed.version() == X509Version::V1)
}

/// What stands in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The distinguished name, for example `CN=interface.example.org, O=Example`.
    pub subject: String,
    /// The distinguished name of who signed it.
    pub issuer: String,
    /// DNS names and addresses that it is good for.
    pub names: Vec<String>,
    /// Good from this time on.
    pub not_before: Timestamp,
    /// Good up to this time.
    pub not_after: Timestamp,
    /// What pins it.
    pub sha256: Fingerprint,
}

/// How near the end of a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expiry {
    /// More than 30 days away.
    Far,
    /// Within 30 days.
    Month,
    /// Within 14 days.
    Fortnight,
    /// Within 3 days.
    Days,
    /// Over.
    Past,
}

const DAY_SECONDS: i64 = 24 * 60 * 60;

impl Facts {
    /// Reads a certificate in DER form; `None` for what is no X.509.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let names = alternatives.map(|names| &names.value.general_names);
        let name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        };
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        Some(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            names: names.into_iter().flatten().filter_map(name).collect(),
            not_before: time(parsed.validity().not_before.timestamp()),
            not_after: time(parsed.validity().not_after.timestamp()),
            sha256: Fingerprint::of(certificate),
        })
    }

    /// Whole days until the certificate ends; negative once it has.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.not_after.as_second() - now.as_second()).div_euclid(DAY_SECONDS)
    }

    /// How near the end is, in the steps at which people are told: 30, 14 and 3 days.
    pub fn expiry(&self, now: Timestamp) -> Expiry {
        match self.days_left(now) {
            ..0 => Expiry::Past,
            0..3 => Expiry::Days,
            3..14 => Expiry::Fortnight,
            14..30 => Expiry::Month,
            30.. => Expiry::Far,
        }
    }

    /// Says in the log that the end is near or past.
    pub(super) fn warn(&self, now: Timestamp) {
        let (subject, days_left) = (&self.subject, self.days_left(now));
        match self.expiry(now) {
            Expiry::Far => {}
            Expiry::Past => {
                warn!(%subject, not_after = %self.not_after, "a certificate has expired: renew it, peers refuse it");
            }
            _ => {
                warn!(%subject, not_after = %self.not_after, days_left, "a certificate expires soon: renew it");
            }
        }
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => Some(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
        16 => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let text = Fingerprint::of(b"certificate").to_string();
        assert_eq!(text.len(), 95);
        assert_eq!(text.parse(), Ok(Fingerprint::of(b"certificate")));
        let bare = text.replace(':', "").to_lowercase();
        assert_eq!(bare.parse(), Ok(Fingerprint::of(b"certificate")));
        for wrong in [
            "",
            "AB",
            &bare[1..],
            &format!("{bare}00"),
            &bare.replace('a', "g"),
        ] {
            assert_eq!(
                wrong.parse::<Fingerprint>(),
                Err(NotAFingerprint),
                "{wrong}"
            );
        }
    }

    #[test]
    fn expiry_is_told_in_steps() {
        let facts = Facts {
            subject: String::new(),
            issuer: String::new(),
            names: Vec::new(),
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::from_second(100 * DAY_SECONDS).unwrap(),
            sha256: Fingerprint::of(b""),
        };
        let on_day = |day| facts.expiry(Timestamp::from_second(day * DAY_SECONDS).unwrap());
        let days = [70, 71, 86, 87, 97, 98, 100, 101];
        use Expiry::{Days, Far, Fortnight, Month, Past};
        let expected = [Far, Month, Month, Fortnight, Fortnight, Days, Days, Past];
        assert_eq!(days.map(on_day), expected);
    }
}
