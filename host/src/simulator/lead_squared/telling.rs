//! Telling of changes: what webhooks have to say goes out over HTTP, one delivery after another for each webhook.
//!
//! Start at [`deliver`].

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answer::Refusal;
use super::server::{Call, Server};
use super::webhook::{Hook, Job, Told, address};

/// Activities in one body at most.
const GROUP: usize = 25;

/// Delivers what is to be told until `shutdown`.
pub(super) async fn deliver(
    server: Arc<Server>,
    mut jobs: UnboundedReceiver<Job>,
    shutdown: CancellationToken,
) {
    let mut lines: HashMap<Uuid, UnboundedSender<Value>> = HashMap::new();
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            () = shutdown.cancelled() => return,
        };
        let Some(Job { hook, body }) = job else {
            return;
        };
        let line = lines.entry(hook).or_insert_with(|| {
            let (line, bodies) = unbounded_channel();
            let (telling, stop) = (Arc::clone(&server), shutdown.clone());
            server.tracker().spawn(async move {
                tokio::select! {
                    () = tell(&telling, hook, bodies) => {}
                    () = stop.cancelled() => {}
                }
            });
            line
        });
        let _ = line.send(body);
    }
}

/// Delivers for one webhook, in order.
async fn tell(server: &Server, id: Uuid, mut bodies: UnboundedReceiver<Value>) {
    while let Some(first) = bodies.recv().await {
        // What is turned off or deleted meanwhile is told nothing; nothing is made up for later.
        let Some(hook) = server.account().hooks.enabled(id).cloned() else {
            continue;
        };
        let grouped = server.settings().webhooks.grouped;
        let grouped = grouped.filter(|_| hook.event.is_of_activities());
        let Some(wait) = grouped else {
            send(server, &hook, &first).await;
            continue;
        };
        let mut group = vec![first];
        tokio::time::sleep(wait).await;
        while let Ok(next) = bodies.try_recv() {
            group.push(next);
        }
        for part in group.chunks(GROUP) {
            send(server, &hook, &Value::from(part.to_vec())).await;
        }
    }
}

/// Tries to deliver one body as often as the settings have it.
async fn send(server: &Server, hook: &Hook, body: &Value) {
    let settings = &server.settings().webhooks;
    let text = body.to_string();
    let mut told = Told {
        webhook: hook.id.to_string(),
        event: hook.event.name(),
        tries: 0,
        is_taken: false,
        body: text,
    };
    while told.tries < settings.tries && !told.is_taken {
        if told.tries > 0 {
            tokio::time::sleep(settings.spacing).await;
            if server.account().hooks.enabled(hook.id).is_none() {
                break;
            }
        }
        told.tries += 1;
        told.is_taken = post(hook, &told.body, settings.timeout).await;
        server.account().hooks.answered(hook.id, told.is_taken);
    }
    server.account().hooks.ended(told);
    server.changed().notify_waiters();
}

/// Delivers a body once; says whether it was answered with 200.
async fn post(hook: &Hook, body: &str, timeout: Duration) -> bool {
    let separator = if hook.url.contains('?') { '&' } else { '?' };
    let url = format!(
        "{}{separator}entityType=webhook&entityId={}&eventType={}",
        hook.url,
        hook.id,
        hook.event.name()
    );
    let body = match hook.content_type.as_str() {
        "application/x-www-form-urlencoded" => format!("payload={}", percent_encoded(body)),
        _ => body.to_owned(),
    };
    let mut request = http()
        .post(url)
        .timeout(timeout)
        .header("content-type", &hook.content_type)
        .body(body);
    for (name, value) in &hook.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await;
    answer.is_ok_and(|answer| answer.status().as_u16() == 200)
}

/// Asks a new address whether somebody is there: HEAD, then an empty body. None is nothing to complain of.
pub(super) async fn verify(server: &Server, call: &Call) -> Option<Refusal> {
    let settings = &server.settings().webhooks;
    if !settings.verifies {
        return None;
    }
    let (url, headers) = address(call)?;
    let mut empty = http().post(&url).header("content-type", "application/json");
    for (name, value) in headers {
        empty = empty.header(name, value);
    }
    for request in [http().head(&url), empty] {
        let answer = request.timeout(settings.timeout).send().await;
        if !answer.is_ok_and(|answer| answer.status().as_u16() == 200) {
            return Some(Refusal::invalid("URL does not answer with 200."));
        }
    }
    None
}

fn http() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // reqwest asks for the process's provider; the first to install one wins.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().http1_only().no_proxy();
        let client = client.redirect(reqwest::redirect::Policy::none());
        // It calls on this machine and in test networks, where plain HTTP is spoken.
        client
            .tls_certs_only([])
            .build()
            .expect("a client without TLS")
    })
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
