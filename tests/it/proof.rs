//! A release is proven on stored messages: run again, compared, and gone back from by itself where it breaks.

mod bisect;
mod canary;
mod fall_back;
mod limits;
mod replay;
mod shadow;
mod strict;
mod warnings;

use anyhow::Context;
use ligature_tests::bridge::{self, Bridge, Mapped};
use ligature_tests::mllp::Client;
use serde_json::{Value, json};

/// Makes leads of registrations; the city is in capitals where `shouts` says so.
pub(crate) fn mapping(version: u32, city: &str) -> String {
    format!(
        r#"format = 1
name = "Registrations"
version = "{version}"
events = ["ADT^A04"]

[[lead]]
target = "mx_MRN"
path = "PID-3.1"
required = true

[[lead]]
target = "LastName"
path = "PID-5.1"

[[lead]]
target = "FirstName"
path = "PID-5.2"

{city}
"#
    )
}

pub(crate) const CITY: &str = "[[lead]]\ntarget = \"mx_City\"\npath = \"PID-11.3\"\n";
pub(crate) const CITY_IN_CAPITALS: &str =
    "[[lead]]\ntarget = \"mx_City\"\npath = \"PID-11.3\"\nsteps = [\"upper\"]\n";

pub(crate) const FLOW: &str = "[[channels]]\nid = \"ehr\"\naddress = \"127.0.0.1:0\"\n\n\
    [[flows]]\nid = \"registrations\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"ehr\"\nevent = \"ADT^A04\"\n\
    entity = \"lead\"\nprimary_search_field = \"mx_MRN\"\n";

/// A registration of patient `number`.
pub(crate) fn registration(number: usize, city: &str) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A04|R{number}{city}|P|2.5.1\rEVN|A04\r\
         PID|1||M{number}^^^CLINIC^MR||Fenwick^Odalys||19800101||||^^{city}\rPV1|1|O\r"
    )
}

/// An office with `more` settings of its one flow, which makes leads of registrations.
pub(crate) async fn open(more: &str) -> anyhow::Result<Bridge> {
    let mapping = mapping(1, CITY);
    let flows = [Mapped {
        flow: "registrations",
        mapping: &mapping,
        template: None,
    }];
    let documents = format!("{FLOW}{more}");
    Bridge::without_webhooks(bridge::prompt(), "", &documents, &flows).await
}

/// Sends messages to the office's one channel.
pub(crate) async fn send(
    bridge: &Bridge,
    messages: impl IntoIterator<Item = String>,
) -> anyhow::Result<()> {
    let (_, address) = bridge.office.host.channels.first().context("a channel")?;
    let mut client: Client = bridge.connect(*address).await?;
    for message in messages {
        client.exchange(message.as_bytes()).await?;
    }
    Ok(())
}

/// Puts the flow in force with what `with` says.
pub(crate) async fn activate(bridge: &Bridge, mut with: Value) -> anyhow::Result<Value> {
    let known = bridge.call("GET", "flows/registrations", json!({})).await?;
    with["version"] = known["version"].clone();
    bridge
        .call("POST", "flows/registrations/activate", with)
        .await
}

/// The digest of a release of `mapping` that is not put in force.
pub(crate) async fn candidate(bridge: &Bridge, mapping: &str) -> anyhow::Result<String> {
    let made = bridge
        .call(
            "POST",
            "flows/registrations/releases",
            json!({ "mapping": mapping }),
        )
        .await?;
    Ok(made["digest"].as_str().context("a digest")?.to_owned())
}

/// The ids of all deliveries of the flow, oldest first.
pub(crate) async fn ids(bridge: &Bridge) -> anyhow::Result<Vec<String>> {
    let page = bridge
        .call("GET", "deliveries?flow=registrations&limit=500", json!({}))
        .await?;
    let items = page["items"].as_array().context("items")?;
    let ids = items
        .iter()
        .filter_map(|item| Some(item["delivery"]["id"].as_str()?.to_owned()));
    let mut ids: Vec<_> = ids.collect();
    ids.reverse();
    Ok(ids)
}
