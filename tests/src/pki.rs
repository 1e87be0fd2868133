//! Certificates of the tests' own: an authority, a listener, a sender, and one that nobody signed.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// A folder with PEM files: `NAME.pem` and `NAME.key`.
#[derive(Debug)]
pub struct Pki {
    folder: tempfile::TempDir,
    authority: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Makes an authority `ca`, a `listener` for 127.0.0.1 and localhost and a `sender` that it signed, and a
    /// `stranger` that signed itself.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let key = KeyPair::generate()?;
        let mut params = params("Test authority", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(
            folder.path().join("ca.pem"),
            params.self_signed(&key)?.pem(),
        )?;
        let pki = Self {
            authority: Issuer::new(params, key),
            folder,
        };
        pki.issue("listener", &["localhost", "127.0.0.1"])?;
        pki.issue("sender", &[])?;
        let key = KeyPair::generate()?;
        let stranger = self::params("stranger", &["stranger.example.org"])?.self_signed(&key)?;
        pki.write("stranger", &stranger.pem(), &key)?;
        Ok(pki)
    }

    /// Makes `NAME.pem` and `NAME.key` as `openssl req -x509` does: signed by itself, and an authority by what it says.
    pub fn sign_itself(&self, name: &str, good_for: &[&str]) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let mut params = params(name, good_for)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.write(name, &params.self_signed(&key)?.pem(), &key)
    }

    /// Makes or replaces `NAME.pem` and `NAME.key`, signed by the authority.
    pub fn issue(&self, name: &str, good_for: &[&str]) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let certificate = params(name, good_for)?.signed_by(&key, &self.authority)?;
        self.write(name, &certificate.pem(), &key)
    }

    /// Makes `NAME.pem` and `NAME.key`, signed by the authority and good for a day of the year 2020.
    pub fn issue_expired(&self, name: &str) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let mut params = params(name, &[])?;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        let certificate = params.signed_by(&key, &self.authority)?;
        self.write(name, &certificate.pem(), &key)
    }

    /// The path of a file; `listener.pem`, for example.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The same as text.
    pub fn text(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) -> anyhow::Result<()> {
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem())?;
        std::fs::write(self.path(&format!("{name}.pem")), certificate)?;
        Ok(())
    }
}

fn params(name: &str, good_for: &[&str]) -> anyhow::Result<CertificateParams> {
    let names: Vec<String> = good_for.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}
