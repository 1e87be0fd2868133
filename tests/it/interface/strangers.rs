//! Somebody who has no token, or means ill: what they may cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{PATIENCE, clinic};

/// Sends the head of a request that announces a large body, and the begin of that; gives the line of the answer.
async fn half(
    http: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(http).await?;
    let token = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {http}\r\n{token}content-length: 2000000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = [0; 64];
    let reading = timeout(Duration::from_secs(20), stream.read(&mut answer)).await;
    let read = reading.with_context(|| format!("{method} {path} waits for the body"))??;
    let text = String::from_utf8_lossy(&answer[..read]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_only_of_whoever_may_send_it() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let made = api
        .post(
            "/api/v1/tokens",
            serde_json::json!({ "name": "looks", "rights": "view" }),
        )
        .await?
        .expect(201)?;
    let viewer = made["token"].as_str().context("a token")?;
    let template = "/api/v1/accounts/clinic/flows/ADT%5EA04/template";
    for (method, path) in [
        ("POST", "/api/v1/flows"),
        ("PUT", "/api/v1/accounts/clinic"),
        ("PUT", template),
        ("POST", "/api/v1/accounts/clinic/fields"),
        ("POST", "/api/v1/flows/ADT%5EA04/canary/end"),
        ("POST", "/api/v1/tokens"),
    ] {
        let answer = half(clinic.site.http, method, path, None).await?;
        ensure!(answer.contains(" 401 "), "{method} {path}: {answer}");
        let answer = half(clinic.site.http, method, path, Some(viewer)).await?;
        ensure!(answer.contains(" 403 "), "{method} {path}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_name_for_this_machine_opens_nothing() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let http = clinic.site.http;
    for path in ["/api/v1/messages", "/api/v1/counts", "/api/v1/deliveries"] {
        let asked = |host: &'static str, token: &str| {
            let request = ligature_tests::http().get(format!("http://{http}{path}"));
            let request = request.header("host", host);
            match token {
                "" => request,
                token => request.bearer_auth(token),
            }
        };
        let answer = asked("localhost:8080", "").send().await?;
        ensure!(answer.status() == 200, "{path}: {}", answer.status());
        let answer = asked("rebound.example.org", "").send().await?;
        ensure!(answer.status() == 401, "{path}: {}", answer.status());
        let answer = asked("rebound.example.org", api.bearer()).send().await?;
        ensure!(answer.status() == 200, "{path}: {}", answer.status());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_writes_is_for_its_owner() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let (clinic, _) = clinic().await?;
    let mut seen = 0;
    for file in std::fs::read_dir(clinic.site.path("."))? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        // The lock holds nothing.
        if name.contains(".db") && !name.ends_with(".lock") {
            let mode = file.metadata()?.permissions().mode() & 0o777;
            ensure!(mode == 0o600, "{name} {mode:o}");
            seen += 1;
        }
    }
    ensure!(seen >= 2, "{seen} files");
    let log = clinic.site.log()?;
    ensure!(!log.contains("may read the key file"), "{log}");
    let key = clinic.site.path("key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644))?;
    let config = clinic.site.path("ligature.toml");
    let listing = std::process::Command::new(ligature_tests::ligature_binary())
        .args(["token", "list", "--config"])
        .arg(&config)
        .output()?;
    let said = String::from_utf8_lossy(&listing.stderr).into_owned();
    ensure!(said.contains("may read the key file"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_every_connection() -> anyhow::Result<()> {
    let (clinic, _) = clinic().await?;
    let http = clinic.site.http;
    let mut streams = Vec::new();
    for _ in 0..600 {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into())?;
        let mut stream = socket.connect(http).await?;
        // One that is closed already may say so here.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await;
        streams.push(stream);
    }
    // The latter half were not let in, and everybody else is.
    let turned_away = streams.drain(300..).map(|mut stream| async move {
        let reading = timeout(PATIENCE, stream.read(&mut [0; 8])).await;
        anyhow::Ok(!matches!(reading?, Ok(1..)))
    });
    for turned_away in join_all(turned_away).await {
        ensure!(turned_away?, "a connection too many was answered");
    }
    let answer = timeout(PATIENCE, clinic.site.stranger().get("/api/v1/counts")).await;
    answer.context("nobody else is let in")??.expect(200)?;
    Ok(())
}
