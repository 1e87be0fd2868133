//! Alerts: what goes wrong, what went wrong, and who is told of what.

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::form::Form;
use super::show::Time;
use super::visit::{Faults, Frame, Visit, again, done, html, refused};
use crate::flow::alert::{Alert, Kind, Security, Settings};
use crate::web::Web;
use crate::web::api::alerts;
use crate::web::api::body::Unread;
use crate::web::fault::Fault;

/// Alerts that are shown.
const SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    frame: Frame,
    open: Vec<Line>,
    over: Vec<Line>,
    /// Somebody is told: a mail server with an owner, or a webhook.
    tells: bool,
    untold: Option<String>,
}

struct Line {
    id: String,
    title: &'static str,
    text: String,
    account: String,
    began: Time,
    ended: Option<Time>,
    snoozed: Option<Time>,
    told: bool,
}

#[derive(Template)]
#[template(path = "alert_settings.html")]
struct SettingsPage {
    frame: Frame,
    faults: Faults,
    version: i64,
    has_password: bool,
    untold: Option<String>,
    owner: String,
    webhook: String,
    server: String,
    port: String,
    security: &'static str,
    from: String,
    user: String,
    rules: Vec<RuleLine>,
}

struct RuleLine {
    kind: &'static str,
    title: &'static str,
    enabled: bool,
    /// Empty where the rule goes by no number.
    unit: &'static str,
    usual: u64,
    threshold: String,
    owner: String,
}

fn line(alert: Alert, now_ms: i64) -> Line {
    let snoozed = alert.snoozed_until_ms.filter(|until| *until > now_ms);
    Line {
        id: alert.id,
        title: alert.kind.title(),
        text: alert.text,
        account: alert.account,
        began: Time::of(alert.began_at_ms),
        ended: alert.ended_at_ms.map(Time::of),
        snoozed: snoozed.map(Time::of),
        told: alert.began_told_at_ms.is_some(),
    }
}

/// Lists what goes wrong, and what went wrong.
pub async fn list(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let alerts = web.pipeline.store.alerts();
    let settings = alerts.settings().await?.document;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let newest = alerts.newest(SHOWN).await?.into_iter();
    let lines = newest.map(|alert| line(alert, now_ms));
    let (open, over) = lines.partition(|line| line.ended.is_none());
    let mails = settings.mail.is_some() && !settings.owner.trim().is_empty();
    html(&AlertsPage {
        frame: visit.frame("alerts"),
        open,
        over,
        tells: mails || settings.webhook.is_some(),
        untold: web.pipeline.untold(),
    })
}

/// Leaves an alert unsaid for some hours.
pub async fn snooze(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let hours: u32 = form.get("hours").parse().unwrap_or_default();
    let body = Unread::of(json!({ "hours": hours }));
    let snoozing = alerts::snooze(State(web), visit.headers.clone(), params, body);
    Ok(match snoozing.await {
        Ok(_) => done(&visit, "/alerts", "Nothing is said of it until then."),
        Err(fault) => refused(&visit, "/alerts", &fault),
    })
}

async fn page(
    web: &Web,
    visit: &Visit,
    faults: Faults,
    sent: Option<Settings>,
) -> Result<SettingsPage, Fault> {
    let standing = alerts::standing(web).await?;
    let settings = sent.unwrap_or(standing.settings);
    let rules = Kind::ALL.into_iter().map(|kind| {
        let rule = settings.rules.get(&kind);
        let threshold = kind.threshold();
        RuleLine {
            kind: kind.as_str(),
            title: kind.title(),
            enabled: rule.is_none_or(|rule| rule.enabled),
            unit: threshold.map_or("", |threshold| threshold.unit),
            usual: threshold.map_or(0, |threshold| threshold.usual),
            threshold: rule
                .and_then(|rule| rule.threshold)
                .map(|number| number.to_string())
                .unwrap_or_default(),
            owner: rule.map(|rule| rule.owner.clone()).unwrap_or_default(),
        }
    });
    let rules = rules.collect();
    let mail = settings.mail.as_ref();
    Ok(SettingsPage {
        frame: visit.frame("alerts"),
        faults,
        version: standing.version,
        has_password: standing.has_password,
        untold: standing.untold,
        server: mail.map(|mail| mail.server.clone()).unwrap_or_default(),
        port: mail.map_or_else(|| "587".into(), |mail| mail.port.to_string()),
        security: match mail.map(|mail| mail.security).unwrap_or_default() {
            Security::Starttls => "starttls",
            Security::Tls => "tls",
            Security::None => "none",
        },
        from: mail.map(|mail| mail.from.clone()).unwrap_or_default(),
        user: mail.and_then(|mail| mail.user.clone()).unwrap_or_default(),
        webhook: settings.webhook.clone().unwrap_or_default(),
        owner: settings.owner.clone(),
        rules,
    })
}

/// Asks who is told of what.
pub async fn settings(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    html(&page(&web, &visit, Faults::default(), None).await?)
}

/// As typed: what is no number is told at its field.
fn number(text: &str) -> Value {
    let number = text.parse::<u64>().map(Value::from);
    number.unwrap_or_else(|_| text.into())
}

/// The document that the form means.
fn said(form: &Form) -> Value {
    let mut rules = Map::new();
    for kind in Kind::ALL {
        let field = |part: &str| format!("{kind}.{part}");
        let mut rule = json!({ "enabled": form.has(&field("enabled")) });
        if let Some(text) = form.some(&field("threshold")) {
            rule["threshold"] = number(&text);
        }
        if let Some(owner) = form.some(&field("owner")) {
            rule["owner"] = owner.into();
        }
        if rule != json!({ "enabled": true }) {
            rules.insert(kind.to_string(), rule);
        }
    }
    let mut settings = json!({ "owner": form.get("owner"), "rules": rules });
    if let Some(server) = form.some("server") {
        settings["mail"] = json!({
            "server": server,
            "port": number(form.get("port")),
            "security": form.get("security"),
            "from": form.get("from"),
            "user": form.some("user"),
        });
    }
    if let Some(webhook) = form.some("webhook") {
        settings["webhook"] = webhook.into();
    }
    settings
}

/// The same without what is no number, so that all else that was typed can be shown again.
fn readable(mut settings: Value) -> Value {
    let rules = settings["rules"].as_object_mut().into_iter().flatten();
    for (_, rule) in rules {
        if rule["threshold"].is_string() {
            rule["threshold"] = Value::Null;
        }
    }
    if let Some(mail) = settings.get_mut("mail")
        && mail["port"].as_u64().is_none_or(|port| port > 65_535)
    {
        mail["port"] = 587.into();
    }
    settings
}

/// Keeps who is told of what.
pub async fn save(State(web): State<Web>, visit: Visit, form: Form) -> Result<Response, Fault> {
    let settings = said(&form);
    let version: i64 = form.get("version").parse().unwrap_or_default();
    let mut body = json!({ "settings": settings, "version": version });
    match (form.has("no_password"), form.raw("password")) {
        (true, _) => body["password"] = "".into(),
        (false, "") => {}
        (false, password) => body["password"] = password.into(),
    }
    let saving = alerts::save_settings(State(web.clone()), visit.headers.clone(), Unread::of(body));
    match saving.await {
        Ok(_) => Ok(done(
            &visit,
            "/alerts/settings",
            "Who is told of what is saved.",
        )),
        Err(fault) => {
            let sent = serde_json::from_value(readable(settings)).ok();
            let mut page = page(&web, &visit, Faults::of(&fault), sent).await?;
            page.port = form.get("port").to_owned();
            for rule in &mut page.rules {
                rule.threshold = form.get(&format!("{}.threshold", rule.kind)).to_owned();
            }
            again(&page)
        }
    }
}

/// Sends a test.
pub async fn test(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let to = "/alerts/settings";
    let testing = alerts::test(State(web), visit.headers.clone());
    Ok(match Box::pin(testing).await {
        Ok(_) => done(&visit, to, "A test is on its way: see whether it arrives."),
        Err(fault) => refused(&visit, to, &fault),
    })
}
