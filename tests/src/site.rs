//! A host as an operator has it: a folder with configuration, key and store, and the `ligature serve` process on it.

use std::fs::Permissions;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::pki::Pki;
use crate::visitor::Visitor;

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A folder that a host runs on.
#[derive(Debug)]
pub struct Site {
    folder: tempfile::TempDir,
    pub http: SocketAddr,
    pub mllp: SocketAddr,
}

/// A running host; killed when dropped.
#[derive(Debug)]
pub struct Process(Child);

/// A loopback address that is free, and stays so for a host that starts later or again.
///
/// Below the ports that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere): of those, any
/// could be taken by a connection of another test in the meantime.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        // Processes of a test run begin in different places, and each gives every port once before it begins anew.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + std::process::id().wrapping_mul(401).wrapping_add(number) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port)?));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port between {FIRST} and {} is free", FIRST + COUNT)
}

impl Site {
    /// Makes a folder with a configuration; `storage` defaults to SQLite in the folder.
    pub fn new(storage: Option<&str>) -> anyhow::Result<Self> {
        let site = Self {
            folder: tempfile::tempdir()?,
            http: free_address()?,
            mllp: free_address()?,
        };
        let storage = match storage {
            Some(url) => url.to_owned(),
            None => format!("sqlite:{}", site.path("ligature.db").display()),
        };
        std::fs::write(site.path("key"), "5e".repeat(32))?;
        std::fs::set_permissions(site.path("key"), Permissions::from_mode(0o600))?;
        std::fs::write(
            site.path("ligature.toml"),
            format!(
                "[storage]\nurl = {storage:?}\nmigrate = true\n\n[key]\nfile = {key:?}\n\n[http]\naddress = \"{http}\"\n\n[mapping]\nartefacts = {artefacts:?}\n",
                key = site.path("key"),
                http = site.http,
                artefacts = site.path("artefacts"),
            ),
        )?;
        Ok(site)
    }

    /// Gives the console a certificate: `NAME.pem` and `NAME.key` of `pki`.
    pub fn secure(&self, pki: &Pki, name: &str) -> anyhow::Result<()> {
        let tls = format!(
            "[http]\ntls = {{ certificate = {:?}, key = {:?} }}\n",
            pki.path(&format!("{name}.pem")),
            pki.path(&format!("{name}.key")),
        );
        let file = self.path("ligature.toml");
        let text = std::fs::read_to_string(&file)?.replace("[http]\n", &tls);
        Ok(std::fs::write(file, text)?)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Imports `setup.toml` and the files that it names, each given as name and content.
    pub fn import(&self, files: &[(&str, &[u8])], keys: (&str, &str)) -> anyhow::Result<()> {
        let folder = self.path("setup");
        std::fs::create_dir_all(&folder)?;
        for (name, text) in files {
            std::fs::write(folder.join(name), text)?;
        }
        let output = self
            .command(&["flow", "import"])
            .arg(&folder)
            .args(["--config".as_ref(), self.path("ligature.toml").as_os_str()])
            .env("LEADSQUARED_ACCESS_KEY", keys.0)
            .env("LEADSQUARED_SECRET_KEY", keys.1)
            .output()?;
        if !output.status.success() {
            bail!("flow import: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Runs a command on this site's configuration and gives what it printed.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        self.ligature(args, &[])
    }

    /// Starts `ligature serve` and waits until its console answers; its log is appended to `host.log`.
    pub async fn start(&self) -> anyhow::Result<Process> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("host.log"))?;
        // A limit on file size is to be a fault of the write, as a full disk is, not the end of the process.
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" serve --config \"$1\""])
            .arg(crate::ligature_binary())
            .arg(self.path("ligature.toml"))
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut process = Process(child);
        let started = Instant::now();
        loop {
            if self.answers().await {
                return Ok(process);
            }
            if let Some(status) = process.0.try_wait()? {
                bail!("the host ended with {status}:\n{}", self.log()?);
            }
            if started.elapsed() > START {
                bail!("the host did not start in {START:?}:\n{}", self.log()?);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether the console does; over TLS as soon as it takes connections.
    async fn answers(&self) -> bool {
        let configured = std::fs::read_to_string(self.path("ligature.toml"));
        if configured.is_ok_and(|text| text.contains("[http]\ntls = ")) {
            return TcpStream::connect(self.http).await.is_ok();
        }
        let hello = crate::http().get(format!("http://{}/healthz", self.http));
        let hello = hello.send().await;
        hello.is_ok_and(|answer| answer.status().is_success())
    }

    /// What the host has logged so far.
    pub fn log(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(self.path("host.log")).context("host.log")
    }

    /// Waits until the host's log holds `text`: what it does is seen on the wire before it has written it down.
    pub async fn says(&self, text: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while !self.log()?.contains(text) {
            if Instant::now() > deadline {
                bail!("the host's log does not say {text:?}:\n{}", self.log()?);
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Reads one page or interface of the console as JSON.
    pub async fn json(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let answer = crate::http()
            .get(format!("http://{}{path}", self.http))
            .send()
            .await?
            .error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// The same with variables of the environment.
    pub fn ligature(&self, args: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<String> {
        let output = self
            .command(args)
            .args(["--config".as_ref(), self.path("ligature.toml").as_os_str()])
            .envs(variables.iter().copied())
            .output()?;
        if !output.status.success() {
            bail!("{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Reads one page of the console, with the token that the first start has left.
    pub async fn page(&self, path: &str) -> anyhow::Result<String> {
        let token = std::fs::read_to_string(self.path("first-token"))?;
        let seen = Visitor::with_token(self.http, token.trim())
            .get(path)
            .await?;
        ensure!(seen.status == 200, "{path}: {} {}", seen.status, seen.to);
        Ok(seen.text)
    }

    /// A command in this site's folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(crate::ligature_binary());
        command.args(args).current_dir(self.folder.path());
        command
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills the process at once: SIGKILL, nothing is flushed.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let asked = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status()?;
        anyhow::ensure!(asked.success(), "the host is gone already");
        let status = self.0.wait()?;
        anyhow::ensure!(status.success(), "the host ended with {status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The text of a file of the quickstart.
pub fn quickstart(name: &str) -> anyhow::Result<String> {
    let file = crate::workspace_root()
        .join("examples/quickstart")
        .join(name);
    std::fs::read_to_string(&file).with_context(|| format!("{}", Path::display(&file)))
}
