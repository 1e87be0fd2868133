//! Compiled components kept on disk, so that a start does not compile.
//!
//! A kept artefact is native code: loading one that somebody else wrote would run it. So each file carries a MAC over
//! its bytes, the engine it was compiled for and the component's digest, under the host's own key, and is read into
//! memory before it is checked, so that nobody can change it in between.

use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::flow::Digest;

/// Shared by the engines of one host.
pub(crate) type Mac = Arc<dyn Fn(&[u8]) -> [u8; 32] + Send + Sync>;

const MAC_BYTES: usize = 32;

/// A folder of compiled components.
pub(crate) struct Artefacts {
    folder: PathBuf,
    mac: Mac,
    /// Names everything that compiled code depends on: wasmtime's version, its settings, the machine's features.
    engine: String,
}

impl Artefacts {
    pub(crate) fn open(folder: PathBuf, mac: Mac, engine: &Engine) -> Result<Self, std::io::Error> {
        std::fs::create_dir_all(&folder)?;
        let mut hasher = StableHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = Digest::of(&hasher.0.finalize());
        Ok(Self {
            folder,
            mac,
            engine: engine.as_str()[..16].into(),
        })
    }

    /// The kept artefact of a component; none when there is none that this host wrote for this engine.
    pub(crate) fn get(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        let file = std::fs::read(&path).ok()?;
        let (mac, compiled) = file.split_at_checked(MAC_BYTES)?;
        if !same(mac, &self.mac(digest, compiled)) {
            tracing::warn!(component = %digest, "kept artefact was not written by this host, compiling again");
            return None;
        }
        #[expect(
            unsafe_code,
            reason = "wasmtime cannot check compiled code; the MAC above did"
        )]
        // SAFETY: the bytes are what `Component::serialize` gave this host, or the MAC would differ.
        let component = unsafe { Component::deserialize(engine, compiled) };
        component
            .inspect_err(|error| {
                tracing::warn!(component = %digest, %error, "kept artefact does not load, compiling again");
            })
            .ok()
    }

    /// Keeps the compiled form; the file is there whole or not at all.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub(crate) fn put(&self, digest: &Digest, component: &Component) -> wasmtime::Result<()> {
        let compiled = component.serialize()?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&self.mac(digest, &compiled))?;
        file.write_all(&compiled)?;
        file.as_file().sync_data()?;
        file.persist(self.path(digest))?;
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let mut name = format!("{digest}-{}", self.engine);
        // A digest comes from our own hashing, but a path is no place to trust that.
        name.retain(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        Path::new(&self.folder).join(name + ".cwasm")
    }

    fn mac(&self, digest: &Digest, compiled: &[u8]) -> [u8; MAC_BYTES] {
        // Hashed first, so that artefacts of many megabytes are not copied to be tied to their names.
        let mut text = b"ligature artefact\0".to_vec();
        text.extend(self.engine.as_bytes());
        text.extend(digest.as_str().as_bytes());
        text.extend(Sha256::digest(compiled));
        (self.mac)(&text)
    }
}

/// Compares without telling by its duration where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// [`Hash`] into SHA-256: the standard hashers do not promise the same result in another build.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Nothing asks for it; the whole digest is taken instead.
        0
    }
}
