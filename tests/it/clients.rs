//! Clients and servers that are not ours, over plain connections and TLS, at pinned versions.
//!
//! `hl7` for Python and `node-hl7-client` send to our listener; our sender sends to `hl7` and `node-hl7-server`.
//! What is missing to run them is a failure that says so.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::pki::Pki;
use ligature_tests::site::free_address;

const PYTHON: &[&str] = &["hl7==0.4.5"];
const NODE: &[&str] = &["node-hl7-client@3.2.0", "node-hl7-server@2.5.0"];

fn script(name: &str) -> PathBuf {
    ligature_tests::workspace_root()
        .join("tests/clients")
        .join(name)
}

fn python(name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(ligature_tests::python_with(PYTHON)?.join("bin/python"));
    command.arg(script(name));
    Ok(command)
}

fn node(name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new("node");
    command.env("NODE_PATH", ligature_tests::node_with(NODE)?);
    command.arg(script(name));
    Ok(command)
}

/// A host whose channel speaks TLS and wants a certificate of the test's authority, or a plain one.
async fn host(pki: Option<&Pki>) -> anyhow::Result<Clinic> {
    let channel = pki.map_or(String::new(), |pki| {
        format!(
            "tls = {{ certificate = {:?}, key = {:?}, client_certificates = \"require\", client_authorities = {:?} }}",
            pki.path("listener.pem"),
            pki.path("listener.key"),
            pki.path("ca.pem")
        )
    });
    let setup = Setup {
        account: UNLIMITED,
        channel: &channel,
        leads: &["ADT^A04"],
        activities: &[],
    };
    Clinic::start(unlimited(), setup).await
}

/// Writes three registrations into the site's folder and gives their paths.
fn messages(folder: &std::path::Path) -> anyhow::Result<Vec<PathBuf>> {
    let write = |number: usize| {
        let path = folder.join(format!("message-{number}.hl7"));
        let text = format!(
            "MSH|^~\\&|SEND|CLINIC|LIG|LSQ|20261120093000||ADT^A04^ADT_A01|CL{number}|P|2.5.1\rEVN|A04|20261120093000\r\
             PID|1||Z{number}^^^CLINIC^MR||Fenwick^Od\u{e4}lys||19840219|F\rPV1|1|O\r"
        );
        std::fs::write(&path, text)?;
        Ok(path)
    };
    (1..=3).map(write).collect()
}

/// Sends with a client of others and holds its answers against what was sent.
async fn check_client(mut client: Command, tls: bool) -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let clinic = host(tls.then_some(&pki)).await?;
    let files = messages(pki.path("ca.pem").parent().context("a folder")?)?;
    let secret = |file: &str| if tls { pki.text(file) } else { "-".to_owned() };
    let output = client
        .args(["127.0.0.1", &clinic.site.mllp.port().to_string()])
        .args(["ca.pem", "sender.pem", "sender.key"].map(secret))
        .args(&files)
        .output()
        .context("starting the client")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && text.trim() == "AA CL1\nAA CL2\nAA CL3",
        "{text}{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        clinic.site.log()?
    );
    if tls {
        let log = clinic.site.log()?;
        ensure!(
            log.contains("CN=sender"),
            "the peer's subject is known: {log}"
        );
    }
    Ok(())
}

/// A server of others; killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends to a server of others and holds what the command prints against what was sent.
fn check_server(mut server: Command, tls: bool) -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let files = messages(pki.path("ca.pem").parent().context("a folder")?)?;
    let secret = |file: &str| if tls { pki.text(file) } else { "-".to_owned() };
    let mut server = server
        .args(["listener.pem", "listener.key", "ca.pem"].map(secret))
        .stdout(Stdio::piped())
        .spawn()
        .map(Server)
        .context("starting the server")?;
    let mut port = String::new();
    let printed = server.0.stdout.take().context("its output")?;
    BufReader::new(printed).read_line(&mut port)?;
    let to = format!("127.0.0.1:{}", port.trim());
    let mut send = Command::new(ligature_tests::ligature_binary());
    send.arg("send").args(&files).args(["--to", &to]);
    if tls {
        send.args(["--tls-ca", &pki.text("ca.pem")])
            .args(["--cert", &pki.text("sender.pem")])
            .args(["--key", &pki.text("sender.key")]);
    }
    let output = send.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && text.contains("3 messages: 3 AA"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let doctor = Command::new(ligature_tests::ligature_binary())
        .args(["doctor", "mllp", &to])
        .args(
            send.get_args()
                .skip_while(|argument| *argument != "--tls-ca"),
        )
        .output()?;
    let text = String::from_utf8_lossy(&doctor.stdout);
    ensure!(
        doctor.status.success() && text.contains("All is well."),
        "{text}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_asyncio_client_of_pypi_hl7_sends_to_us() -> anyhow::Result<()> {
    check_client(python("client.py")?, false).await?;
    check_client(python("client.py")?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_npm_sends_to_us() -> anyhow::Result<()> {
    check_client(node("client.cjs")?, false).await?;
    check_client(node("client.cjs")?, true).await
}

#[test]
fn we_send_to_the_asyncio_server_of_pypi_hl7() -> anyhow::Result<()> {
    check_server(python("server.py")?, false)?;
    check_server(python("server.py")?, true)
}

#[test]
fn we_send_to_the_server_of_npm() -> anyhow::Result<()> {
    for tls in [false, true] {
        let mut server = node("server.cjs")?;
        server.arg(free_address()?.port().to_string());
        check_server(server, tls)?;
    }
    Ok(())
}
