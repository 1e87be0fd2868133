//! Commands that talk to a running host whose console speaks TLS, with an authority of its own or none.

use std::process::Output;

use anyhow::{Context, ensure};
use ligature_tests::pki::Pki;
use ligature_tests::site::Site;

/// Uploads something to the console, which lacks the account: as soon as it is asked, it says so.
fn upload(site: &Site, more: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<String> {
    upload_to(site, "https", more, variables)
}

fn upload_to(
    site: &Site,
    scheme: &str,
    more: &[&str],
    variables: &[(&str, &str)],
) -> anyhow::Result<String> {
    let console = format!("{scheme}://{}", site.http);
    let token = std::fs::read_to_string(site.path("first-token"))?;
    std::fs::write(site.path("some.wasm"), b"no component")?;
    let args = [
        "plugin",
        "upload",
        "some.wasm",
        "--account",
        "nobody",
        "--to",
        &console,
    ];
    let output = site
        .command(&[&args, more].concat())
        .env("LIGATURE_TOKEN", token.trim())
        .envs(variables.iter().copied())
        .output()?;
    ensure!(!output.status.success());
    Ok(String::from_utf8(output.stderr)?)
}

/// What the console says to that.
const ANSWER: &str = "there is no account";

/// A command that looks for the host on the same store.
fn loads(site: &Site, more: &[&str]) -> anyhow::Result<Output> {
    let args = ["flow", "load", "list", "--config", "ligature.toml"];
    let output = site.command(&[&args, more].concat()).output();
    output.context("flow load list")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_with_a_private_authority_is_reached_by_naming_it() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let site = Site::new(None)?;
    site.secure(&pki, "listener")?;
    let _host = site.start().await?;
    site.says("the first token of the interface").await?;

    let (authority, stranger) = (pki.text("ca.pem"), pki.text("stranger.pem"));
    let own = pki.text("listener.pem");
    let unknown = upload(&site, &[], &[])?;
    ensure!(
        unknown.contains("is not trusted") && unknown.contains("--ca FILE or LIGATURE_CA"),
        "{unknown}"
    );
    let wrong = upload(&site, &["--ca", &stranger], &[])?;
    ensure!(
        wrong.contains("is neither in") && wrong.contains(&stranger),
        "{wrong}"
    );
    for (more, variables) in [
        (vec!["--ca", authority.as_str()], vec![]),
        (vec!["--tls-ca", own.as_str()], vec![]),
        (vec![], vec![("LIGATURE_CA", authority.as_str())]),
    ] {
        let said = upload(&site, &more, &variables)?;
        ensure!(said.contains(ANSWER), "{more:?} {variables:?}: {said}");
    }
    let clear = upload_to(&site, "http", &["--ca", &authority], &[])?;
    ensure!(clear.contains("write the address with https://"), "{clear}");
    let clear = upload_to(&site, "http", &[], &[])?;
    ensure!(clear.contains("or speaks TLS"), "{clear}");

    // The configuration names the certificate: whoever has it needs no option.
    let found = loads(&site, &[])?;
    ensure!(found.status.success(), "{found:?}");
    let named = loads(&site, &["--ca", &authority])?;
    ensure!(named.status.success(), "{named:?}");
    let wrong = loads(&site, &["--ca", &stranger])?;
    let said = String::from_utf8_lossy(&wrong.stderr);
    ensure!(
        !wrong.status.success() && said.contains("is neither in"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_signed_itself_is_trusted_as_it_is() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    pki.sign_itself("own", &["ligature.example.org"])?;
    pki.sign_itself("other", &["127.0.0.1"])?;
    let site = Site::new(None)?;
    site.secure(&pki, "own")?;
    let _host = site.start().await?;
    site.says("the first token of the interface").await?;
    let said = upload(&site, &["--ca", &pki.text("own.pem")], &[])?;
    ensure!(said.contains(ANSWER), "{said}");
    let said = upload(&site, &["--ca", &pki.text("other.pem")], &[])?;
    ensure!(said.contains("is neither in"), "{said}");
    let found = loads(&site, &[])?;
    ensure!(found.status.success(), "{found:?}");
    Ok(())
}
