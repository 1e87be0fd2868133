//! The interface under `/api/v1`, as an administrator's script uses it: real HTTP against a running host.

mod accounts;
mod changes;
mod document;
mod figures;
mod rights;
mod running;
mod samples;
mod starts;
mod strangers;
mod tables;
mod upload;

use std::time::Duration;

use anyhow::ensure;
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::interface::Interface;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long a change may take to be in force on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const ALL: &str = "view,operate,map,publish,administer,audit";

/// A started clinic with one lead flow, and a caller who may do everything.
async fn clinic() -> anyhow::Result<(Clinic, Interface)> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let interface = clinic.site.token(ALL)?;
    clinic.host = Some(clinic.site.start().await?);
    Ok((clinic, interface))
}

/// Asks again until the answer is as wanted.
async fn until(
    interface: &Interface,
    path: &str,
    wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let started = Instant::now();
    loop {
        let body = interface.get(path).await?.expect(200)?;
        if wanted(&body) {
            return Ok(body);
        }
        ensure!(started.elapsed() < PATIENCE, "{path} stays {body}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn registration(control_id: &str) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A04|{control_id}|P|2.5.1\rEVN|A04\r\
         PID|1||{control_id}^^^CLINIC^MR||Fenwick^Odalys\rPV1|1|O\r"
    )
}

fn flow(id: &str, event: &str) -> Value {
    json!({
        "id": id, "account": "clinic", "name": id, "direction": "ehr-to-leadsquared", "channel": "ehr",
        "event": event, "entity": "lead", "primary_search_field": "mx_MRN",
    })
}
