//! The console over TLS of its own.

use anyhow::{Context, ensure};
use ligature::config::Console;
use ligature::flow::target::Identity;
use ligature::simulator::lead_squared::Settings;
use ligature_tests::office::{Office, lead_squared};
use ligature_tests::pki::Pki;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};

#[tokio::test(flavor = "multi_thread")]
async fn the_console_speaks_tls_and_its_cookies_are_for_tls_alone() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let console = Console {
        tls: Some(Identity {
            certificate: pki.path("listener.pem"),
            key: pki.path("listener.key"),
        }),
        ..Console::at(([127, 0, 0, 1], 0).into())
    };
    let simulator = lead_squared(Settings::default()).await?;
    let office = Office::bare(None, simulator, console).await?;
    let link = ligature::serve::first_start(&office.host).await?;
    let link = link.context("a link")?;
    ensure!(link.starts_with("https://"), "{link}");

    let authority = Certificate::from_pem(&std::fs::read(pki.path("ca.pem"))?)?;
    // The provider is set where the other tests' client is made.
    let plain = ligature_tests::http();
    let client = Client::builder()
        .redirect(Policy::none())
        .tls_certs_only([authority])
        .build()?;
    let page = client.get(&link).send().await?;
    ensure!(page.status() == 200, "{}", page.status());
    let cookie = page.headers().get("set-cookie").context("a cookie")?;
    let cookie = cookie.to_str()?;
    ensure!(cookie.contains("; Secure"), "{cookie}");
    // Many at once, and one that says nothing, do not keep each other waiting.
    let silent = tokio::net::TcpStream::connect(office.host.http).await?;
    let pages = (0..20).map(|_| client.get(&link).send());
    for page in futures_util::future::join_all(pages).await {
        ensure!(page?.status() == 200);
    }
    drop(silent);
    let clear = plain
        .get(format!("http://{}/healthz", office.host.http))
        .send()
        .await;
    ensure!(clear.is_err(), "it speaks without TLS, too");
    let certificate = office.host.pipeline.console_certificate();
    ensure!(certificate.context("a certificate")?.days_left > 0);
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_proxy_that_is_named_says_how_it_was_spoken_to() -> anyhow::Result<()> {
    for (proxies, is_believed) in [(vec![], false), (vec!["127.0.0.0/8".parse()?], true)] {
        let console = Console {
            trusted_proxies: proxies,
            ..Console::at(([127, 0, 0, 1], 0).into())
        };
        let simulator = lead_squared(Settings::default()).await?;
        let office = Office::bare(None, simulator, console).await?;
        let link = ligature::serve::first_start(&office.host).await?;
        let request = ligature_tests::http().get(link.context("a link")?);
        let page = request.header("x-forwarded-proto", "https").send().await?;
        let cookie = page.headers().get("set-cookie").context("a cookie")?;
        let cookie = cookie.to_str()?;
        ensure!(cookie.contains("; Secure") == is_believed, "{cookie}");
        office.host.stop().await;
    }
    Ok(())
}
