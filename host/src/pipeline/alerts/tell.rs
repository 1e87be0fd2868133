//! What is said of an alert, and to whom: a mail to its owners, a JSON object to the webhook.

use jiff::Timestamp;
use serde_json::json;

use crate::flow::alert::{Alert, Security, Settings};
use crate::notify::{self, Letter, Server};
use crate::store;

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    #[error(transparent)]
    Notify(#[from] notify::Error),
    #[error("neither a mail server with somebody to write to, nor a webhook is set")]
    Nobody,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What is said.
struct Words {
    subject: String,
    text: String,
    /// The same for programs.
    object: String,
}

fn words(alert: &Alert) -> Words {
    let at = |ms: i64| {
        let at = Timestamp::from_millisecond(ms).unwrap_or_default();
        at.strftime("%Y-%m-%d %H:%M UTC").to_string()
    };
    let title = alert.kind.title();
    let (subject, when) = match alert.ended_at_ms {
        None => (
            format!("[ligature] {title}: {}", alert.subject),
            format!("Since {}.", at(alert.began_at_ms)),
        ),
        Some(ended) => (
            format!("[ligature] Over: {title}: {}", alert.subject),
            format!(
                "It began at {} and is over since {}.",
                at(alert.began_at_ms),
                at(ended)
            ),
        ),
    };
    let account = match alert.account.as_str() {
        "" => "This host".to_owned(),
        account => format!("Account {account}"),
    };
    let rfc3339 = |ms: i64| {
        let at = Timestamp::from_millisecond(ms);
        at.map_or_else(|_| String::new(), |at| at.to_string())
    };
    let object = json!({
        "kind": alert.kind,
        "state": if alert.ended_at_ms.is_some() { "ended" } else { "begun" },
        "account": alert.account,
        "subject": alert.subject,
        "text": alert.text,
        "began_at": rfc3339(alert.began_at_ms),
        "ended_at": alert.ended_at_ms.map(rfc3339),
    });
    Words {
        subject: subject.replace(['\r', '\n'], " "),
        text: format!(
            "{}\n\n{when}\n{account}.\n\nThe page Alerts of the console shows it, and can be told to say nothing of it for a time.\n",
            alert.text
        ),
        object: object.to_string(),
    }
}

/// Tells of an alert that has begun, or ended, whoever is to be told; nobody may be.
///
/// Whoever was told by one way is not told again because another way failed: its fault is given back.
pub(super) async fn alert(
    settings: &Settings,
    password: Option<String>,
    alert: &Alert,
) -> Result<Option<Untold>, Untold> {
    let to = settings.owners(alert.kind);
    match say(settings, password, to, words(alert)).await {
        (false, Some(fault)) => Err(fault),
        (_, fault) => Ok(fault),
    }
}

/// Says that this is a test.
pub(super) async fn test(settings: &Settings, password: Option<String>) -> Result<(), Untold> {
    let words = Words {
        subject: "[ligature] Test of alerts".into(),
        text: "This is a test: alerts of this host reach you.\n".into(),
        object: json!({ "kind": "test", "state": "begun", "text": "This is a test." }).to_string(),
    };
    let to = settings.owner.split(',').map(str::trim);
    let to: Vec<_> = to.filter(|to| !to.is_empty()).map(str::to_owned).collect();
    match say(settings, password, to, words).await {
        (_, Some(fault)) => Err(fault),
        (true, None) => Ok(()),
        (false, None) => Err(Untold::Nobody),
    }
}

/// Says it by every way that is set: whether it was said by one, and the first fault.
async fn say(
    settings: &Settings,
    password: Option<String>,
    to: Vec<String>,
    words: Words,
) -> (bool, Option<Untold>) {
    let mut said = Vec::new();
    if let Some(mail) = settings.mail.as_ref().filter(|_| !to.is_empty()) {
        let user = mail.user.clone().filter(|user| !user.is_empty());
        let server = Server {
            name: mail.server.trim().to_owned(),
            port: mail.port,
            security: match mail.security {
                Security::Starttls => notify::Security::Starttls,
                Security::Tls => notify::Security::Tls,
                Security::None => notify::Security::Clear,
            },
            user: user.map(|user| (user, password.unwrap_or_default())),
        };
        let letter = Letter {
            from: mail.from.clone(),
            to,
            subject: words.subject,
            text: words.text,
        };
        said.push(Box::pin(notify::mail(&server, &letter)).await);
    }
    if let Some(webhook) = settings.webhook.as_ref().filter(|url| !url.is_empty()) {
        said.push(notify::post(webhook, words.object).await);
    }
    let is_said = said.iter().any(Result::is_ok);
    let mut faults = said.into_iter().filter_map(Result::err);
    (is_said, faults.next().map(Untold::from))
}
