//! Old messages are let go of by the running host, and by hand with a preview.

use anyhow::ensure;
use ligature_tests::clinic::Clinic;
use ligature_tests::mllp::Client;

#[tokio::test(flavor = "multi_thread")]
async fn what_no_flow_takes_keeps_its_header_facts() -> anyhow::Result<()> {
    let mut clinic = Clinic::of_registrations("retention = { unclaimed_hours = 0 }").await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    let message = "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A08|1|P|2.5.1\rEVN|A08\r\
                   PID|1||4711^^^CLINIC^MR||Fenwick^Odalys\r";
    let first = client.exchange(message.as_bytes()).await?;
    let page = clinic.site.json("/api/v1/messages").await?;
    ensure!(page["messages"][0]["kept"] == "whole", "{page}");
    if let Some(host) = clinic.host.take() {
        host.stop()?;
    }

    let preview = clinic.site.run(&["retention", "preview"])?;
    let line = preview.lines().nth(1).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().take(4).collect();
    ensure!(words == ["clinic", "ehr", "unclaimed", "1"], "{preview}");
    let again = clinic.site.run(&["retention", "preview", "--json"])?;
    ensure!(
        again.contains("\"messages\":1"),
        "a preview changes nothing: {again}"
    );

    // The host does at its start what `retention apply` does.
    clinic.host = Some(clinic.site.start().await?);
    clinic.site.says("old messages are let go of").await?;
    let page = clinic.site.json("/api/v1/messages").await?;
    let seen = &page["messages"][0];
    ensure!(
        seen["kept"] == "header-facts" && seen["state"] == "skipped",
        "{seen}"
    );
    ensure!(
        seen["reason_code"] == "no-flow" && seen["control_id"] == "1",
        "{seen}"
    );
    let shown = format!("/messages/{}", seen["id"].as_str().unwrap_or_default());
    ensure!(clinic.site.page(&shown).await?.contains("only these facts"));

    // A repeated one is still known, and answered although the first answer is gone.
    let mut client = Client::connect(clinic.site.mllp).await?;
    let second = client.exchange(message.as_bytes()).await?;
    let msa = |answer: &[u8]| {
        let answer = String::from_utf8_lossy(answer).into_owned();
        answer
            .split('\r')
            .find(|line| line.starts_with("MSA"))
            .map(str::to_owned)
    };
    ensure!(msa(&first) == msa(&second), "{:?}", msa(&second));
    let page = clinic.site.json("/api/v1/messages").await?;
    ensure!(
        page["messages"]
            .as_array()
            .is_some_and(|all| all.len() == 1),
        "{page}"
    );
    if let Some(host) = clinic.host.take() {
        host.stop()?;
    }
    let nothing = clinic.site.run(&["retention", "preview"])?;
    ensure!(
        nothing == "nothing has been kept long enough\n",
        "{nothing}"
    );
    let applied = clinic.site.run(&["retention", "apply"])?;
    ensure!(applied.starts_with("0 messages"), "{applied}");
    Ok(())
}
