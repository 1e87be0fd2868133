//! A PostgreSQL of our own: one cluster for each test process, one database for each call.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};

/// Makes an empty database and returns its URL, starting the cluster when first called; takes a second then.
///
/// # Errors
/// No PostgreSQL on the machine, or one that does not start. A test fails on it: nothing is skipped silently.
pub fn postgres() -> anyhow::Result<String> {
    static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let cluster = CLUSTER
        .get_or_init(|| Cluster::start().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::Error::msg(error.clone()))?;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let status = Command::new(cluster.programs.join("createdb"))
        .args(["--username=postgres", "--template=template0"])
        .arg(format!("--host={}", cluster.folder.display()))
        .arg(&name)
        .status()
        .context("starting createdb")?;
    ensure!(status.success(), "createdb {name} failed");
    let folder = cluster.folder.display();
    Ok(format!(
        "postgres://postgres@localhost/{name}?host={folder}"
    ))
}

/// A running cluster.
struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    /// Keeps the pipe open whose end stops the cluster; a process that is killed closes it, too.
    _keeper: Child,
}

impl Cluster {
    fn start() -> anyhow::Result<Self> {
        let mut keeper = Command::new("sh")
            .args(["-c", include_str!("cluster.sh")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Out of reach of what a terminal or a runner sends to our own group.
            .process_group(0)
            .spawn()
            .context("starting sh")?;
        let mut line = String::new();
        let output = keeper.stdout.take().context("no output of cluster.sh")?;
        BufReader::new(output).read_line(&mut line)?;
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("ready"), Some(folder), Some(programs)) => Ok(Self {
                folder: folder.into(),
                programs: programs.into(),
                _keeper: keeper,
            }),
            _ => anyhow::bail!(
                "PostgreSQL did not start; the reason stands above (tests/run installs what is missing)"
            ),
        }
    }
}
