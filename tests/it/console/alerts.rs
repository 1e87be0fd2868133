//! Alerts: said once when they begin and once when they end, by mail and by webhook, and not while they are snoozed.

use anyhow::{Context, ensure};
use ligature::flow::account::Keys;
use ligature_tests::pki::Pki;
use ligature_tests::postbox::Postbox;
use ligature_tests::postgres;
use ligature_tests::visitor::text_of;
use serde_json::Value;

use super::office;

async fn begin_and_end(storage: Option<&str>) -> anyhow::Result<()> {
    let (office, mut ana) = office(storage).await?;
    let pipeline = &office.host.pipeline;
    let (mail, web) = (Postbox::mail().await?, Postbox::web().await?);

    // Who is told; what is wrong with an entry is told at its field.
    let settings = "/alerts/settings";
    let (port, hook) = (
        mail.address.port().to_string(),
        format!("http://{}/alerts", web.address),
    );
    let fields = |owner: &'static str| {
        let mut fields = vec![
            ("owner", owner),
            ("server", "127.0.0.1"),
            ("port", port.as_str()),
            ("security", "none"),
            ("from", "ligature@example.org"),
            ("user", ""),
            ("password", ""),
            ("webhook", hook.as_str()),
            ("certificate.owner", "tls@example.org"),
        ];
        // The disk of whoever runs this is none of the test's business.
        for kind in ["keys-refused", "certificate", "quiet", "disconnected"] {
            let name: &'static str = match kind {
                "keys-refused" => "keys-refused.enabled",
                "certificate" => "certificate.enabled",
                "quiet" => "quiet.enabled",
                _ => "disconnected.enabled",
            };
            fields.push((name, "1"));
        }
        fields
    };
    let refused = ana.post(settings, settings, &fields("ops")).await?;
    ensure!(
        refused.status == 422 && refused.text.contains("is no mail address"),
        "{}",
        text_of(&refused.text)
    );
    ana.submit(settings, settings, &fields("ops@example.org"))
        .await?;
    ana.submit(settings, "/alerts/settings/test", &[]).await?;
    let letters = mail.until(1).await?;
    ensure!(
        letters[0].contains("<ops@example.org>") && letters[0].contains("Subject: [ligature] Test"),
        "{letters:?}"
    );
    web.until(1).await?;

    // Nothing is wrong, and nothing is said.
    pipeline.look_for_alerts().await?;
    ensure!(mail.letters().len() == 1, "{:?}", mail.letters());
    let page = text_of(&ana.get("/alerts").await?.text);
    ensure!(page.contains("All is well"), "{page}");

    // Keys that LeadSquared refuses, and a channel whose certificate is over.
    let catalog = pipeline.store.catalog();
    let account = "clinic".into();
    let right = office.simulator.keys();
    let right = Keys {
        access_key: right.access_key.clone(),
        secret_key: right.secret_key.clone(),
    };
    let wrong = Keys {
        access_key: "u$r1".into(),
        secret_key: "2".into(),
    };
    catalog.put_keys(&account, &wrong).await?;
    pipeline.put_in_force().await;
    ensure!(pipeline.read_users(&account).await.is_err());
    let pki = Pki::new()?;
    pki.issue_expired("old")?;
    let (certificate, key) = (pki.text("old.pem"), pki.text("old.key"));
    let channel = [
        ("name", "Old channel"),
        ("address", "127.0.0.1:0"),
        ("tls", "1"),
        ("certificate", certificate.as_str()),
        ("key", key.as_str()),
    ];
    ana.submit("/channels/new", "/channels/new", &channel)
        .await?;
    for _ in 0..3 {
        pipeline.look_for_alerts().await?;
    }
    let letters = mail.until(3).await?;
    let of = |word: &str| {
        let mut found = letters.iter().filter(|letter| letter.contains(word));
        found.next().cloned()
    };
    let keys = of("refuses the keys").context("no mail of the keys")?;
    ensure!(
        keys.contains("<ops@example.org>") && !keys.contains("u$r1"),
        "{keys}"
    );
    let ends = of("has ended").context("no mail of the certificate")?;
    ensure!(
        ends.contains("<tls@example.org>") && !ends.contains("<ops@example.org>"),
        "{ends}"
    );
    let calls = web.until(3).await?;
    let last: Value = serde_json::from_str(&calls[2])?;
    ensure!(last["state"] == "begun", "{last}");
    let page = ana.get("/alerts").await?.text;
    let said = text_of(&page);
    ensure!(
        said.contains("Keys refused") && said.contains("Certificate ends"),
        "{said}"
    );
    ensure!(text_of(&ana.get("/overview").await?.text).contains("2 alerts"));

    // Snoozed, they end and begin again unsaid but for the end of what was said.
    let newest = pipeline.store.alerts().newest(10).await?;
    let refused = newest
        .iter()
        .find(|alert| alert.account == "clinic" && alert.subject == "clinic");
    let refused = refused.context("the alert of the keys")?.id.clone();
    let path = format!("/alerts/{refused}/snooze");
    ana.submit("/alerts", &path, &[("hours", "4")]).await?;
    catalog.put_keys(&account, &right).await?;
    pipeline.put_in_force().await;
    pipeline.read_users(&account).await?;
    pipeline.look_for_alerts().await?;
    let letters = mail.until(4).await?;
    ensure!(
        letters[3].contains("Over: Keys refused") && letters[3].contains("<ops@example.org>"),
        "{letters:?}"
    );
    catalog.put_keys(&account, &wrong).await?;
    pipeline.put_in_force().await;
    ensure!(pipeline.read_users(&account).await.is_err());
    for _ in 0..2 {
        pipeline.look_for_alerts().await?;
    }
    ensure!(mail.letters().len() == 4, "{:?}", mail.letters());
    let page = text_of(&ana.get("/alerts").await?.text);
    ensure!(page.contains("until") && page.contains("not yet"), "{page}");

    // What cannot be said is shown, and said later.
    let gone = fields("ops@example.org");
    let gone: Vec<_> = gone
        .into_iter()
        .map(|(name, value)| match name {
            "port" => (name, "1"),
            _ => (name, value),
        })
        .collect();
    ana.submit(settings, settings, &gone).await?;
    let failed = ana.post(settings, "/alerts/settings/test", &[]).await?;
    let page = text_of(&ana.get(&failed.to).await?.text);
    ensure!(page.contains("mail server does not take it"), "{page}");
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_told_once_on_sqlite() -> anyhow::Result<()> {
    Box::pin(begin_and_end(None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_told_once_on_postgresql() -> anyhow::Result<()> {
    Box::pin(begin_and_end(Some(&postgres()?))).await
}
