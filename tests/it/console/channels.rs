//! A channel's form: what it keeps out, how long it keeps messages, its limits.

use anyhow::ensure;
use ligature_tests::visitor::text_of;
use serde_json::{Value, json};

use super::office;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_channel_keeps_out_and_how_long_is_set_on_its_page() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let token = office.token("view").await?;
    let url = format!("{}/api/v1/channels/annex", office.address());
    let channel = async || -> anyhow::Result<Value> {
        let request = ligature_tests::http().get(&url).bearer_auth(&token);
        let bytes = request.send().await?.bytes().await?;
        Ok(serde_json::from_slice::<Value>(&bytes)?["channel"].take())
    };
    let new = "/channels/new";
    let plain = [("name", "Annex"), ("address", "127.0.0.1:0")];
    let with = |more: &[(&'static str, &'static str)]| [&plain[..], more].concat();
    let refused = ana.post(new, new, &with(&[("dead_days", "soon")])).await?;
    ensure!(
        refused.status == 422 && refused.text.contains("value=\"soon\""),
        "{}",
        text_of(&refused.text)
    );
    let own = [
        ("names", "ZZ*\r\n TEST*\r\n"),
        ("departments", "3W"),
        ("protected", "true"),
        ("proposals", "substance-use"),
        ("dead_days", "180"),
        ("delivered_days", ""),
        ("max_connections", "16"),
    ];
    ana.submit(new, new, &with(&own)).await?;
    let made = channel().await?;
    let kept_out = json!({
        "names": ["ZZ*", "TEST*"],
        "departments": ["3W"],
        "protected": true,
        "proposals": ["substance-use"],
    });
    ensure!(made["exclusions"] == kept_out, "{made}");
    ensure!(
        made["retention"]["dead_days"] == 180 && made["retention"]["delivered_days"] == 30,
        "{made}"
    );
    ensure!(made["max_connections"] == 16, "{made}");

    // The page shows it, and what the form leaves out stays as it is.
    let page = "/channels/annex";
    let shown = ana.get(page).await?.text;
    for part in [
        "ZZ*\nTEST*</textarea>",
        "value=\"substance-use\" checked",
        "name=\"dead_days\" inputmode=\"numeric\" value=\"180\"",
    ] {
        ensure!(shown.contains(part), "{part} is not in {shown}");
    }
    let emptied = [("max_connections", ""), ("proposals", "substance-use")];
    ana.submit(page, page, &with(&emptied)).await?;
    let saved = channel().await?;
    ensure!(saved["exclusions"] == kept_out, "{saved}");
    ensure!(saved["max_connections"] == 1024, "{saved}");
    // No box is ticked, and the protected are let through: both were said.
    let let_through = with(&[("protected", "false"), ("proposals", "")]);
    ana.submit(page, page, &let_through).await?;
    let saved = channel().await?;
    ensure!(
        saved["exclusions"]["protected"] == false && saved["exclusions"]["proposals"].is_null(),
        "{saved}"
    );
    office.host.stop().await;
    Ok(())
}
