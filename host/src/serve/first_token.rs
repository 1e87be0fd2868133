//! The first token: whoever starts a host for the first time gets a way into its interface.
//!
//! A SQLite file is held by the host that runs, so `ligature token` cannot make one beside it. The token is written to a
//! file of its owner's beside the store, never to the log; further ones are made with it, by `POST /api/v1/tokens`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tracing::{info, warn};

use crate::access::{self, Rights};
use crate::store::Store;
use crate::store::catalog::Author;

const NAME: &str = "first";
const FILE: &str = "first-token";

/// Makes the first token of a store on SQLite, if there never was one. Without it the host runs all the same.
pub(super) async fn make(store: &Store, storage: &str) {
    let Some(file) = beside(storage) else { return };
    match write(store, &file).await {
        Ok(true) => info!(file = %file.display(),
            "the first token of the interface is in this file: keep it somewhere safe and delete the file"),
        Ok(false) => {}
        Err(fault) => warn!(
            fault = format!("{fault:#}"),
            "no first token was made: stop the host and use `ligature token add`"
        ),
    }
}

/// Says whether it was made.
async fn write(store: &Store, file: &Path) -> anyhow::Result<bool> {
    let catalog = store.catalog();
    if !catalog.tokens().await?.is_empty() {
        return Ok(false);
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    // For its owner's eyes only, from the first moment.
    let mut kept = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    let rights: Rights = "all".parse()?;
    let author = Author("first start".into());
    let token = access::issue(&catalog, NAME, &rights, &author).await?;
    let written = writeln!(kept, "{}", token.reveal()).map_err(anyhow::Error::from);
    let written = written.and_then(|()| {
        kept.persist(file)?;
        Ok(())
    });
    if written.is_err() {
        // Nobody knows it.
        catalog.revoke_token(NAME, &author).await?;
    }
    written.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(true)
}

/// The file beside the store's, if the store is a file.
pub(super) fn beside(storage: &str) -> Option<PathBuf> {
    let path = storage.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    let is_file = !path.is_empty() && !path.starts_with(':');
    let folder = Path::new(path).parent().filter(|_| is_file)?;
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    Some(folder.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_beside_the_store() {
        let check = |storage: &str, expected: Option<&str>| {
            assert_eq!(beside(storage), expected.map(PathBuf::from), "{storage}");
        };
        check("sqlite:ligature.db", Some("./first-token"));
        check(
            "sqlite:/var/lib/ligature/l.db",
            Some("/var/lib/ligature/first-token"),
        );
        check(
            "sqlite:///var/lib/l.db?mode=rwc",
            Some("/var/lib/first-token"),
        );
        check("sqlite::memory:", None);
        check("postgres://host/ligature", None);
    }
}
