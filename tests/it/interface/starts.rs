//! What a flow lacks when it comes into force: fields that the account does not have, a webhook that nobody made.

use anyhow::{Context, ensure};
use ligature::simulator::lead_squared::Settings;
use ligature_tests::office::{Office, lead_squared};
use ligature_tests::site::quickstart;
use serde_json::{Value, json};

const DOCUMENTS: &str = "[[channels]]\nid = \"ehr\"\naddress = \"127.0.0.1:0\"\n\
    [[channels]]\nid = \"out\"\n[channels.target]\naddress = \"127.0.0.1:1\"\n\
    [[flows]]\nid = \"registrations\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"ehr\"\nevent = \"ADT^A04\"\n\
    entity = \"lead\"\nprimary_search_field = \"mx_MRN\"\n\
    [[flows]]\nid = \"updates\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"out\"\nevent = \"ADT^A08\"\n\
    entity = \"lead\"\noutbound = { webhook = \"lead-update\" }\n";

const OUT: &str = "format = 1\ndirection = \"leadsquared-to-ehr\"\nname = \"Out\"\nversion = \"1\"\n\
    [[place]]\ntarget = \"PID-5.1\"\nfield = \"lead.LastName\"\n";

struct Caller {
    base: String,
    token: String,
}

impl Caller {
    async fn of(office: &Office, rights: &str) -> anyhow::Result<Self> {
        Ok(Self {
            base: office.address(),
            token: office.token(rights).await?,
        })
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> anyhow::Result<(u16, Value)> {
        let url = format!("{}/api/v1/{path}", self.base);
        let request = ligature_tests::http().request(method.parse()?, url);
        let request = request.bearer_auth(&self.token).body(body.to_string());
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?)?))
    }

    /// Activates a flow as it stands now, with `more` said.
    async fn activate(&self, flow: &str, more: &Value) -> anyhow::Result<(u16, Value)> {
        let (_, kept) = self
            .call("GET", &format!("flows/{flow}"), json!({}))
            .await?;
        let mut body = more.clone();
        body["version"] = kept["version"].clone();
        let path = format!("flows/{flow}/activate");
        self.call("POST", &path, body).await
    }

    async fn state(&self, flow: &str) -> anyhow::Result<String> {
        let (_, kept) = self
            .call("GET", &format!("flows/{flow}"), json!({}))
            .await?;
        let state = kept["flow"]["status"]["state"].as_str();
        Ok(state.context("a state")?.to_owned())
    }
}

async fn office() -> anyhow::Result<Office> {
    let settings = Settings {
        rate_limit: None,
        ..Settings::default()
    };
    Box::pin(Office::open(None, lead_squared(settings).await?, DOCUMENTS)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_the_account_lacks_are_told_and_made() -> anyhow::Result<()> {
    let office = office().await?;
    let publisher = Caller::of(&office, "view,map,publish").await?;
    let mapping = |target: &str| {
        let row = format!("[[lead]]\ntarget = \"{target}\"\npath = \"PV1-3.1\"\n");
        anyhow::Ok(format!("{}\n{row}", quickstart("adt-a04-lead.toml")?))
    };
    let mut asked = json!({ "mapping": mapping("mx_Favourite_Ward")?, "confirm_not_unique": true });

    let (status, refused) = publisher.activate("registrations", &asked).await?;
    let error = &refused["error"];
    ensure!(
        status == 422 && error["code"] == "lacking-fields",
        "{refused}"
    );
    let said = error["message"].to_string();
    ensure!(
        said.contains("mx_Favourite_Ward") && said.contains("confirm_lacking"),
        "{said}"
    );
    ensure!(publisher.state("registrations").await? == "draft");

    // Fields of the account are an administrator's to make.
    asked["make_fields"] = true.into();
    let (status, refused) = publisher.activate("registrations", &asked).await?;
    ensure!(status == 403, "{refused}");
    let administrator = Caller::of(&office, "view,map,publish,administer").await?;
    let (status, active) = administrator.activate("registrations", &asked).await?;
    ensure!(
        status == 200 && active["flow"]["status"]["state"] == "active",
        "{active}"
    );
    let path = "flows/registrations/lacking-fields";
    let (_, lacking) = administrator.call("GET", path, json!({})).await?;
    ensure!(lacking["items"] == json!([]), "{lacking}");

    // Confirmed, another release starts without its field, and is not asked about again when it goes on.
    let asked = json!({ "mapping": mapping("mx_Other_Ward")?, "confirm_lacking": true });
    let (status, active) = publisher.activate("registrations", &asked).await?;
    ensure!(status == 200, "{active}");
    // Neither does a candidate serve anybody before that is said, and the one before is gone back to without a word.
    let confirmed = active["flow"]["release"].clone();
    let mut candidate = json!({
        "version": active["version"], "percent": 10, "mapping": mapping("mx_Third_Ward")?,
    });
    let path = "flows/registrations/canary";
    let (status, refused) = publisher.call("POST", path, candidate.clone()).await?;
    let code = &refused["error"]["code"];
    ensure!(status == 422 && code == "lacking-fields", "{refused}");
    candidate["confirm_lacking"] = true.into();
    let (status, began) = publisher.call("POST", path, candidate).await?;
    ensure!(status == 200, "{began}");
    let end = json!({ "version": began["version"] });
    let (status, ended) = publisher
        .call("POST", "flows/registrations/canary/end", end)
        .await?;
    ensure!(status == 200, "{ended}");
    let other = json!({ "mapping": quickstart("adt-a04-lead.toml")? });
    let (status, active) = publisher.activate("registrations", &other).await?;
    ensure!(status == 200, "{active}");
    let back = json!({ "release": confirmed });
    let (status, active) = publisher.activate("registrations", &back).await?;
    ensure!(status == 200, "{active}");
    let pause = json!({ "version": active["version"], "reason": "upgrade" });
    let path = "flows/registrations/pause";
    let (status, paused) = publisher.call("POST", path, pause).await?;
    ensure!(status == 403, "{paused}");
    let operator = Caller::of(&office, "operate").await?;
    let pause = json!({ "version": active["version"], "reason": "upgrade" });
    let (status, paused) = operator.call("POST", path, pause).await?;
    ensure!(status == 200, "{paused}");
    let (status, active) = publisher.activate("registrations", &json!({})).await?;
    ensure!(status == 200, "{active}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_of_a_flow_to_the_ehr_is_made_or_named() -> anyhow::Result<()> {
    let office = office().await?;
    let caller = Caller::of(&office, "view,map,publish,administer").await?;
    let template = json!({
        "message": "MSH|^~\\&|L|L|E|E|20261120||ADT^A08|1|P|2.5.1\rPID|1||1||Roe\r", "made_up": true,
    });
    let path = "accounts/clinic/flows/updates/template";
    let (status, kept) = caller.call("PUT", path, template).await?;
    ensure!(status < 300, "{kept}");
    let asked = |webhook: Value| json!({ "mapping": OUT, "confirm_no_condition": true, "make_webhook": webhook });

    // Where it cannot be made, nothing comes into force.
    let (status, refused) = caller.activate("updates", &asked(json!({}))).await?;
    ensure!(
        status >= 400 && refused.to_string().contains("send `address`"),
        "{refused}"
    );
    ensure!(caller.state("updates").await? == "draft");
    let (status, refused) = caller
        .activate("updates", &asked(json!({ "adress": 1 })))
        .await?;
    ensure!(
        status == 422 && refused.to_string().contains("flows.make_webhook"),
        "{refused}"
    );
    let own = json!({ "mapping": quickstart("adt-a04-lead.toml")?, "confirm_not_unique": true, "make_webhook": {} });
    let (status, refused) = caller.activate("registrations", &own).await?;
    ensure!(
        status == 422 && refused.to_string().contains("is for flows to the EHR"),
        "{refused}"
    );

    // Without it, the answer names what is missing.
    let (status, active) = caller.activate("updates", &asked(Value::Null)).await?;
    ensure!(
        status == 200 && active["missing_webhook"] == json!({ "event": "lead-update" }),
        "{active}"
    );
    let with = json!({ "address": office.address(), "limit": 3 });
    let (status, active) = caller.activate("updates", &asked(with)).await?;
    ensure!(
        status == 200 && active["missing_webhook"].is_null(),
        "{active}"
    );
    let (_, webhooks) = caller
        .call("GET", "accounts/clinic/webhooks", json!({}))
        .await?;
    ensure!(
        webhooks["missing"] == json!([]) && webhooks["webhooks"][0]["event"] == "lead-update",
        "{webhooks}"
    );
    Ok(())
}
