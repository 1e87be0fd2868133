//! Pages for setting up and looking after, in Chromium: nothing that axe-core finds, a picture of each.

use super::journeys::{looked_at, signed_in};
use super::office;

#[tokio::test(flavor = "multi_thread")]
async fn pages_for_setting_up_are_accessible() -> anyhow::Result<()> {
    let (office, _) = office(None).await?;
    let (browser, axe) = signed_in(&office).await?;
    for (path, name) in [
        ("/setup", "setup"),
        ("/setup/account", "account-new"),
        ("/accounts/clinic", "account"),
        ("/channels/new", "channel-new"),
        ("/channels/new?way=out", "channel-new-out"),
        ("/flows/registrations/component", "component-none"),
        ("/flows/registrations/duplicate", "flow-duplicate"),
        ("/inventory", "inventory"),
        ("/alerts", "alerts"),
        ("/alerts/settings", "alert-settings"),
        ("/overview", "overview-host"),
    ] {
        browser.open(path).await?;
        looked_at(&browser, &axe, name).await?;
    }
    // The form of a channel by label and keyboard alone, and what the doctor says of the channel.
    browser.open("/channels/ehr").await?;
    looked_at(&browser, &axe, "channel").await?;
    browser.fill("Name", "Main hospital").await?;
    browser.click("button", "Save").await?;
    browser.says("The channel is saved").await?;
    browser.click("button", "Examine the connection").await?;
    browser.says("All is well").await?;
    looked_at(&browser, &axe, "channel-doctor").await?;
    browser.close().await?;
    office.host.stop().await;
    Ok(())
}
