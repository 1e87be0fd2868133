//! What an upload has to stand beside the gate: the robustness run and the account's policy of signatures.

use anyhow::{Context, ensure};
use ligature::flow::Digest;
use ligature::mapping::pack::Pack;
use ligature::mapping::signature::SigningKey;
use ligature_tests::guests;
use serde_json::json;

use super::{clinic, flow};

const COMPONENTS: &str = "/api/v1/components?account=clinic";

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_breaks_is_refused_unless_somebody_takes_it() -> anyhow::Result<()> {
    let (_clinic, api) = clinic().await?;
    let fragile = guests::guest("fragile");
    let upload = async |path: &str| {
        api.send_bytes("POST", path, Some(fragile.clone()), None)
            .await
    };
    let refused = upload(COMPONENTS).await?;
    ensure!(
        refused.problem() == "422 invalid components",
        "{}",
        refused.body
    );
    let said = refused.body.to_string();
    for part in [
        "does not stand variations of the usual sample for ADT^A04",
        "in line 3",
        "it stopped itself (a panic or a failed check)",
        "accept_findings=true",
    ] {
        ensure!(said.contains(part), "{part:?} is not in {said}");
    }

    // Tried with the template of a flow, which is another message.
    api.post(
        "/api/v1/flows",
        json!({ "flow": flow("vendor", "ADT^A08") }),
    )
    .await?
    .expect(201)?;
    let template =
        "MSH|^~\\&|A|B|C|D|20260301||ADT^A08|1|P|2.5.1\rPID|1||77^^^X^MR||Sample^Ana||1984\r";
    api.put(
        "/api/v1/accounts/clinic/flows/vendor/template",
        json!({ "message": template, "made_up": true }),
    )
    .await?
    .expect(200)?;
    let of_flow = upload(&format!("{COMPONENTS}&flow=vendor")).await?;
    let said = of_flow.body.to_string();
    ensure!(said.contains("the template of flow vendor"), "{said}");
    let of_nobody = upload(&format!("{COMPONENTS}&flow=nobody")).await?;
    ensure!(of_nobody.status == 404, "{}", of_nobody.body);

    let taken = upload(&format!("{COMPONENTS}&accept_findings=true")).await?;
    let taken = taken.expect(201)?;
    let digest = taken["digest"].as_str().context("a digest")?;
    let kept = api
        .get(&format!("/api/v1/components/clinic/{digest}"))
        .await?
        .expect(200)?;
    let examination = &kept["examination"];
    ensure!(*examination == taken["examination"], "{kept}");
    let by = examination["accepted_by"].as_str().unwrap_or_default();
    ensure!(by.starts_with("token "), "{kept}");
    let findings = examination["robustness"]["findings"].as_array();
    let findings = findings.context("findings")?;
    let told = findings.iter().map(|finding| finding["did"].to_string());
    let told: Vec<_> = told.collect();
    ensure!(
        told.iter()
            .any(|did| did.contains("repeated a value of the message")),
        "{told:?}"
    );
    let audit = api.get("/api/v1/audit").await?.expect(200)?;
    ensure!(audit.to_string().contains("accept-findings"), "{audit}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_may_take_signed_components_only() -> anyhow::Result<()> {
    let (_clinic, api) = clinic().await?;
    let key = SigningKey::generate()?;
    let component = guests::example("rust-appointments");
    let account = "/api/v1/accounts/clinic";
    let mut changed = api.get(account).await?.expect(200)?;
    changed["account"]["components"] = json!({ "signed_only": true, "trusted_keys": [] });
    let refused = api.put(account, changed.clone()).await?;
    ensure!(
        refused.problem().contains("components.signed_only"),
        "{}",
        refused.body
    );
    changed["account"]["components"]["trusted_keys"] =
        json!([{ "name": "Example Inc.", "key": key.public() }]);
    api.put(account, changed).await?.expect(200)?;

    let upload = async |bytes: Vec<u8>| api.send_bytes("POST", COMPONENTS, Some(bytes), None).await;
    let unsigned = upload(component.clone()).await?;
    let said = unsigned.body.to_string();
    ensure!(said.contains("takes signed components only"), "{said}");
    let signed_by = |key: &SigningKey| {
        let pack = Pack {
            signature: Some(key.sign(&Digest::of(&component)).to_string()),
            component: component.clone(),
            ..Pack::default()
        };
        pack.to_bytes()
    };
    let stranger = upload(signed_by(&SigningKey::generate()?)).await?;
    let said = stranger.body.to_string();
    ensure!(said.contains("which the account does not trust"), "{said}");
    let taken = upload(signed_by(&key)).await?.expect(201)?;
    ensure!(
        taken["digest"] == Digest::of(&component).as_str(),
        "{taken}"
    );
    let examination = &taken["examination"];
    ensure!(examination["signed_by"] == "Example Inc.", "{taken}");
    let findings = examination["robustness"]["findings"].as_array();
    ensure!(findings.is_some_and(Vec::is_empty), "{taken}");
    Ok(())
}
