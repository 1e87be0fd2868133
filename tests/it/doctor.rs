//! `ligature doctor mllp` as an operator runs it, against a host of ours.

use std::process::Command;

use anyhow::ensure;
use ligature_tests::clinic::Clinic;
use ligature_tests::mllp::Client;
use ligature_tests::pki::Pki;
use serde_json::Value;

fn doctor(args: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let output = Command::new(ligature_tests::ligature_binary())
        .args(["doctor", "mllp"])
        .args(args)
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(text)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_listener_is_well_and_says_so_in_words_and_json() -> anyhow::Result<()> {
    let clinic = Clinic::of_registrations("").await?;
    let to = clinic.site.mllp.to_string();
    let (status, text) = doctor(&[&to])?;
    ensure!(status == Some(0), "{text}");
    for part in [
        "processing id T, no patient in it",
        "messages travel in clear text",
        "All is well.",
    ] {
        ensure!(text.contains(part), "{part}: {text}");
    }

    let message = clinic.site.path("message.hl7");
    std::fs::write(
        &message,
        "MSH|^~\\&|SEND|CLINIC|LIG|LSQ|20261120093000||ADT^A04|DOC1|P|2.5.1\nPID|1||Z1^^^CLINIC^MR||Fenwick^Odalys\n",
    )?;
    let message = message.display().to_string();
    let (status, text) = doctor(&[&to, "--message", &message, "--json"])?;
    ensure!(status == Some(0), "{text}");
    let report: Value = serde_json::from_str(&text)?;
    ensure!(report["well"] == true, "{text}");
    let steps = report["checks"].as_array().map(|checks| checks.len());
    ensure!(steps == Some(6), "{text}");
    ensure!(!text.contains("Fenwick"), "{text}");

    let (status, text) = doctor(&[&to, "--tls", "--timeout", "5"])?;
    ensure!(status == Some(1) && text.contains("FAULT TLS"), "{text}");
    clinic
        .site
        .says("a TLS hello came to a plain MLLP port")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_described_and_what_is_wrong_with_it_said() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let clinic = Clinic::of_registrations(&format!(
        "tls = {{ certificate = {:?}, key = {:?}, client_certificates = \"require\", client_authorities = {:?} }}",
        pki.path("listener.pem"),
        pki.path("listener.key"),
        pki.path("ca.pem")
    ))
    .await?;
    let to = clinic.site.mllp.to_string();
    let ca = pki.text("ca.pem");
    let (cert, key) = (pki.text("sender.pem"), pki.text("sender.key"));
    let shown = ["--cert", &cert, "--key", &key];

    let (status, text) = doctor(&[&[&to, "--tls-ca", &ca], &shown[..]].concat())?;
    ensure!(status == Some(0), "{text}");
    for part in [
        "TLSv1_3",
        "CN=listener",
        "for localhost, 127.0.0.1; signed by CN=Test authority",
        "SHA-256",
    ] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    let (status, text) = doctor(&[&[&to, "--tls"], &shown[..]].concat())?;
    ensure!(
        status == Some(1) && text.contains("nobody trusted here has signed"),
        "{text}"
    );
    let pin = text
        .split("--tls-pin ")
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    let pin = pin.unwrap_or_default().to_owned();
    let (status, text) = doctor(&[&[&to, "--tls-pin", &pin], &shown[..]].concat())?;
    ensure!(status == Some(0), "{text}");
    let wrong = ["--tls-ca", &ca, "--server-name", "other.example.org"];
    let (status, text) = doctor(&[&[to.as_str()], &wrong[..], &shown[..]].concat())?;
    ensure!(
        status == Some(1) && text.contains("bears other names"),
        "{text}"
    );
    let (status, text) = doctor(&[&to, "--tls-ca", &ca])?;
    ensure!(
        status == Some(1) && text.contains("it may ask for a certificate of ours"),
        "{text}"
    );
    let (status, text) = doctor(&[&to, "--tls-ca", &ca, "--cert", &cert])?;
    ensure!(
        status == Some(2),
        "a certificate without its key is wrong use: {text}"
    );

    let mut plain = Client::connect(clinic.site.mllp).await?;
    ensure!(plain.exchange(b"MSH|^~\\&|A\r").await.is_err());
    clinic
        .site
        .says("plain bytes came to an MLLP port that speaks TLS")
        .await
}
