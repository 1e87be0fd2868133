//! The first page of the SDK, followed to the letter: the commands of its README, from nothing to an uploaded component.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::{guests, ligature_binary, plugins};

/// The commands below "In LANGUAGE".
fn commands(language: &str) -> anyhow::Result<Vec<String>> {
    let readme = guests::root().join("guest-sdk/README.md");
    let text = std::fs::read_to_string(readme)?;
    let (_, behind) = text
        .split_once(&format!("\nIn {language}"))
        .with_context(|| format!("nothing about {language}"))?;
    let (_, block) = behind.split_once("```console\n").context("no commands")?;
    let (block, _) = block.split_once("```").context("no end")?;
    let lines = block.lines().map(|line| {
        let command = line.strip_prefix("$ ");
        command.map(str::to_owned).context("a line is no command")
    });
    lines.collect()
}

/// Where a newcomer is.
struct Newcomer {
    folder: PathBuf,
    path: String,
    host: String,
    token: String,
}

impl Newcomer {
    fn types(&mut self, command: &str) -> anyhow::Result<String> {
        if let Some(folder) = command.strip_prefix("cd ") {
            self.folder.push(folder);
            ensure!(self.folder.is_dir(), "{command}: there is no such folder");
            return Ok(String::new());
        }
        // Another host may have the port of the page.
        let command = match command.starts_with("ligature plugin upload ") {
            true => format!("{command} --to {}", self.host),
            false => command.to_owned(),
        };
        let output = Command::new("sh")
            .args(["-ec", &command])
            .current_dir(&self.folder)
            .env("PATH", &self.path)
            .env("LIGATURE_TOKEN", &self.token)
            // What the other guests are made of is compiled there already.
            .env(
                "CARGO_TARGET_DIR",
                guests::root().join("tests/guests/target"),
            )
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(output.status.success(), "{command}: {said}");
        Ok(said)
    }

    /// What the machine of a newcomer fetches is here already.
    fn is_given(&self, language: &str) -> anyhow::Result<()> {
        let project = self.folder.join("registration");
        match language {
            "Rust" => {
                let lock = guests::root().join("tests/guests/Cargo.lock");
                std::fs::copy(lock, project.join("Cargo.lock"))?;
                Ok(())
            }
            _ => plugins::link_tools(&project),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a newcomer has the tools of this machine"
)]
fn path() -> anyhow::Result<String> {
    let own = ligature_binary();
    let own = own.parent().map(Path::display).context("a folder")?;
    Ok(format!("{own}:{}", std::env::var("PATH")?))
}

async fn follows(language: &str) -> anyhow::Result<()> {
    let commands = commands(language)?;
    ensure!(commands.len() < 10, "{} commands", commands.len());
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let publisher = clinic.site.token("view,publish")?;
    clinic.host = Some(clinic.site.start().await?);
    let folder = tempfile::tempdir()?;
    let mut newcomer = Newcomer {
        folder: folder.path().into(),
        path: path()?,
        host: format!("http://{}", clinic.site.http),
        token: publisher.bearer().to_owned(),
    };
    let mut last = String::new();
    for command in &commands {
        if command.contains("pip install") {
            // The tool that the line names is what the project names, and linked.
            let project = std::fs::read_to_string(newcomer.folder.join("pyproject.toml"))?;
            let tool = command.split_whitespace().last().context("a tool")?;
            ensure!(project.contains(tool), "{command}: the project has another");
            continue;
        }
        let typed = command.clone();
        (newcomer, last) = tokio::task::spawn_blocking(move || {
            let said = newcomer.types(&typed);
            said.map(|said| (newcomer, said))
        })
        .await??;
        if command.starts_with("ligature plugin new ") {
            newcomer.is_given(language)?;
        }
    }
    let Some(digest) = last.split_whitespace().nth(1) else {
        bail!("the last command says {last:?}");
    };
    let component = format!("/api/v1/components/clinic/{digest}");
    let kept = publisher.get(&component).await?.expect(200)?;
    let findings = &kept["examination"]["robustness"]["findings"];
    ensure!(findings.as_array().is_some_and(Vec::is_empty), "{kept}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_to_an_uploaded_component_in_rust() -> anyhow::Result<()> {
    Box::pin(follows("Rust")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_to_an_uploaded_component_in_javascript() -> anyhow::Result<()> {
    Box::pin(follows("JavaScript")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_to_an_uploaded_component_in_python() -> anyhow::Result<()> {
    Box::pin(follows("Python")).await
}
