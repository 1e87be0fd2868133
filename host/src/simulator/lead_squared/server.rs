//! A call's way from the socket to its answer: keys, rate, faults, the call itself, latency.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, Response, header};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::account::{Account, CallView};
use super::answer::{Answer, Refusal};
use super::fault::{Fault, Faults, Kind, When};
use super::line::{Cut, Exchange};
use super::rate::{RateLimit, Window};
use super::webhook::{self, Job};
use super::{
    By, Dice, Elsewhere, Settings, activity, history, lead, metadata, page, people, search, telling,
};

/// Largest body that is read; LeadSquared's own limit is not known.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Answers calls until `shutdown`, then finishes those under way.
pub(super) async fn serve(listener: TcpListener, server: Arc<Server>, shutdown: CancellationToken) {
    let router = Router::new().fallback(answer).with_state(server);
    let service = router.into_make_service_with_connect_info::<Cut>();
    let served = axum::serve(Exchange(listener), service)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "LeadSquared simulator stopped");
    }
}

/// One call of the API.
pub(super) struct Call {
    /// The whole path; calls are kept by the part below `/v2/`.
    path: String,
    query: Vec<(String, String)>,
    pub(super) host: String,
    pub(super) body: Bytes,
    pub(super) is_json: bool,
}

impl Call {
    pub(super) fn route(&self) -> &str {
        self.path.strip_prefix("/v2/").unwrap_or(&self.path)
    }

    /// A parameter of the query; its name is taken in either case.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .query
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.param(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Refusal::missing(name))
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if !self.is_json {
            return Err(Refusal::Form("Content-Type must be application/json"));
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| Refusal::Form("The request body is not valid"))
    }
}

/// What a path leads to.
struct Route {
    is_post: bool,
    is_write: bool,
    run: fn(&mut Account, &Call) -> Result<Answer, Refusal>,
}

fn route(path: &str) -> Option<Route> {
    type Run = fn(&mut Account, &Call) -> Result<Answer, Refusal>;
    const GET: (bool, bool) = (true, false);
    const READ: (bool, bool) = (false, false);
    const WRITE: (bool, bool) = (false, true);
    let ((is_get, is_write), run): ((bool, bool), Run) = match path.strip_prefix("/v2/")? {
        "Authentication.svc/UserByAccessKey.Get" => (GET, metadata::who_am_i),
        "LeadManagement.svc/LeadsMetaData.Get" => (GET, metadata::lead_fields),
        "LeadManagement.svc/CreateLeadField" => (WRITE, metadata::create_lead_field),
        "LeadManagement.svc/Lead.Create" => (WRITE, lead::create),
        "LeadManagement.svc/Lead.Update" => (WRITE, lead::update),
        "LeadManagement.svc/Lead.CreateOrUpdate" => (WRITE, lead::create_or_update),
        "LeadManagement.svc/Lead.Capture" => (WRITE, lead::capture),
        "LeadManagement.svc/Lead/Delete/ById" => (GET, lead::delete),
        "LeadManagement.svc/Leads.Get" => (READ, search::by_criteria),
        "LeadManagement.svc/Leads.RecentlyModified" => (READ, search::recently_modified),
        "LeadManagement.svc/Leads.GetById" => (GET, search::by_id),
        "LeadManagement.svc/Leads.GetByEmailaddress" => (GET, search::by_email),
        "LeadManagement.svc/RetrieveLeadByPhoneNumber" => (GET, search::by_phone),
        "ProspectActivity.svc/Create" => (WRITE, activity::create),
        "ProspectActivity.svc/CreateCustom" => (WRITE, activity::create_custom),
        "ProspectActivity.svc/CustomActivity/Update" => (WRITE, activity::update),
        "ProspectActivity.svc/Retrieve" => (READ, history::of_lead),
        "ProspectActivity.svc/CustomActivity/RetrieveByActivityEvent" => (READ, history::of_type),
        "ProspectActivity.svc/GetActivityDetails" => (GET, history::details),
        "ProspectActivity.svc/ActivityTypes.Get" => (GET, metadata::activity_types),
        "ProspectActivity.svc/CustomActivity/GetActivitySetting" => {
            (GET, metadata::activity_setting)
        }
        "ProspectActivity.svc/CustomActivityType/Update" => (WRITE, metadata::update_activity_type),
        "UserManagement.svc/Users.Get" => (GET, people::users),
        "ProspectActivity.svc/CreateType" => (WRITE, metadata::create_activity_type),
        "Webhook.svc/Create" => (WRITE, webhook::create),
        "Webhook.svc/Retrieve" => (READ, webhook::retrieve),
        "Webhook.svc/Update" => (WRITE, webhook::update),
        "Webhook.svc/Delete" => (GET, webhook::delete),
        _ => return None,
    };
    Some(Route {
        is_post: !is_get,
        is_write,
        run,
    })
}

/// The simulated account and everything around it.
pub(super) struct Server {
    settings: Settings,
    account: Mutex<Account>,
    faults: Mutex<Faults>,
    rate: Mutex<(Option<RateLimit>, Window)>,
    latency_us: AtomicU64,
    elsewhere: Mutex<Option<Elsewhere>>,
    changed: Notify,
    tracker: TaskTracker,
    /// What webhooks are to tell, to whoever delivers it.
    jobs: UnboundedSender<Job>,
}

impl Server {
    /// A server, and what its webhooks will have to tell.
    pub(super) fn new(settings: Settings, tracker: TaskTracker) -> (Self, UnboundedReceiver<Job>) {
        let (jobs, to_deliver) = unbounded_channel();
        let server = Self {
            account: Mutex::new(Account::new(&settings)),
            faults: Mutex::new(Faults::new(Dice::new(settings.seed))),
            rate: Mutex::new((settings.rate_limit, Window::default())),
            latency_us: AtomicU64::new(0),
            elsewhere: Mutex::default(),
            changed: Notify::new(),
            tracker,
            jobs,
            settings,
        };
        server.set_latency(server.settings.latency);
        let region = server.settings.other_region.clone();
        server.move_to(region.map(|host| Elsewhere {
            host,
            by: By::Refusal { of_all: true },
        }));
        (server, to_deliver)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn account(&self) -> MutexGuard<'_, Account> {
        locked(&self.account)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        locked(&self.faults)
    }

    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Changes the account as a person does in the user interface.
    pub(super) fn by_person<T>(
        &self,
        change: impl FnOnce(&mut Account) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut account = self.account();
        let clerk = account.clerk();
        let keys = std::mem::replace(&mut account.acting, clerk);
        let outcome = change(&mut account);
        account.acting = keys;
        self.tell(account);
        self.changed.notify_waiters();
        outcome
    }

    /// Hands over what webhooks are to tell.
    fn tell(&self, mut account: MutexGuard<'_, Account>) {
        for job in account.hooks.take() {
            // Nobody delivers any more at the very end.
            let _ = self.jobs.send(job);
        }
    }

    /// Signals after every call.
    pub(super) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Adds a fault, or deletes the lead that it names.
    pub(super) fn inject(&self, fault: Fault) {
        match (&fault.kind, &fault.lead) {
            (Kind::DeleteLead, Some(lead)) => {
                self.account().delete_lead(lead);
            }
            _ => self.faults().add(fault),
        }
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        self.latency_us
            .store(latency.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn set_rate_limit(&self, limit: Option<RateLimit>) {
        locked(&self.rate).0 = limit;
    }

    pub(super) fn move_to(&self, elsewhere: Option<Elsewhere>) {
        self.account().home = elsewhere.as_ref().map(|elsewhere| elsewhere.host.clone());
        *locked(&self.elsewhere) = elsewhere;
    }

    /// What is answered where the account is no longer.
    fn check_host(&self, call: &Call) -> Result<(), Answer> {
        let elsewhere = locked(&self.elsewhere);
        let Some(Elsewhere { host, by }) = elsewhere.as_ref().filter(|now| now.host != call.host)
        else {
            return Ok(());
        };
        let asks_where = call.route() == "Authentication.svc/UserByAccessKey.Get";
        match by {
            By::Announcement => Ok(()),
            By::Refusal { of_all: false } if asks_where => Ok(()),
            By::Refusal { .. } => {
                let text = format!("Invalid Access Details provided. Use the host {host}");
                Err(Refusal::Keys(text).answer(false))
            }
            By::Redirect => Err(Answer::redirect(format!("http://{host}{}", call.path))),
        }
    }

    fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us.load(Ordering::Relaxed))
    }

    /// Lets a call in, or answers it at the door.
    fn admit(&self, headers: &HeaderMap, call: &Call) -> Result<(), Answer> {
        self.check_keys(headers, call)
            .map_err(|refusal| refusal.answer(false))?;
        self.check_host(call)?;
        let (limit, window) = &mut *locked(&self.rate);
        let mut account = self.account();
        if let Some(quota) = self.settings.daily_quota
            && account.calls >= quota
        {
            account.limited += 1;
            let text = format!("API calls exceeded the daily limit of {quota}");
            let refusal = Refusal::mx("MXAPIRateLimitExceededException", text);
            return Err(Answer {
                status: 429,
                ..refusal.answer(false)
            });
        }
        if let Some(limit) = limit
            && !window.admits(limit, Instant::now())
        {
            account.limited += 1;
            return Err(limit.answer());
        }
        account.calls += 1;
        if self.settings.log_calls {
            account.call_log.push(CallView {
                route: call.path.trim_start_matches("/v2/").to_owned(),
                query: call.query.clone(),
                body: call.body.clone(),
            });
        }
        Ok(())
    }

    /// Keys come in headers or in the query, with names in either case.
    fn check_keys(&self, headers: &HeaderMap, call: &Call) -> Result<(), Refusal> {
        let sent = |header: &str, param: &str, key: &str| {
            let in_header = headers.get(header).map(|value| value.as_bytes());
            let in_query = || call.param(param).map(str::as_bytes);
            in_header.or_else(in_query) == Some(key.as_bytes())
        };
        let keys = &self.settings.keys;
        if sent("x-lsq-accesskey", "accessKey", &keys.access_key)
            && sent("x-lsq-secretkey", "secretKey", &keys.secret_key)
        {
            Ok(())
        } else {
            Err(Refusal::Keys("Invalid Access Details provided.".into()))
        }
    }

    /// Carries a call out.
    fn run(&self, call: &Call, fault: Option<&'static str>) -> Answer {
        let Some(route) = route(&call.path) else {
            return Refusal::NoSuchPath.answer(false);
        };
        let mut account = self.account();
        account.striking = fault;
        let outcome = (route.run)(&mut account, call);
        self.tell(account);
        outcome.unwrap_or_else(|refusal| refusal.answer(self.settings.errors_as_200))
    }

    /// Carries a call out with a fault; goes on when the caller has gone.
    async fn run_with(&self, fault: Fault, call: Call, cut: Cut) -> Answer {
        let after = fault.when == When::AfterEffect;
        let name = fault.kind.name();
        match fault.kind {
            Kind::Delay if after => {
                let answer = self.run(&call, Some(name));
                self.changed.notify_waiters();
                tokio::time::sleep(fault.delay()).await;
                answer
            }
            Kind::Delay => {
                tokio::time::sleep(fault.delay()).await;
                self.run(&call, Some(name))
            }
            Kind::RateLimit => {
                let limit = locked(&self.rate).0.unwrap_or_default();
                self.account().limited += 1;
                limit.answer()
            }
            Kind::Unauthorized => {
                if after {
                    self.run(&call, Some(name));
                }
                Refusal::Keys("Invalid Access Details provided.".into()).answer(false)
            }
            Kind::DeleteLead => {
                let mut account = self.account();
                if let Some(lead) = addressed(&account, &call) {
                    account.delete_lead(&lead);
                }
                drop(account);
                self.run(&call, Some(name))
            }
            Kind::Drop | Kind::BadGateway | Kind::Html => {
                if after {
                    self.run(&call, Some(name));
                }
                if fault.kind == Kind::Drop {
                    cut.now();
                }
                let status = if fault.kind == Kind::Html { 500 } else { 502 };
                Answer::html(status, format!("<html><h1>{status}</h1></html>"))
            }
        }
    }
}

/// The lead that a call addresses.
fn addressed(account: &Account, call: &Call) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        related_prospect_id: Option<String>,
        prospect_activity_id: Option<String>,
    }
    if let Some(id) = call.param("leadId").or_else(|| call.param("id")) {
        return Some(id.to_owned());
    }
    let body: Body = call.json().ok()?;
    body.related_prospect_id.or_else(|| {
        let place = activity::find(account, &body.prospect_activity_id?).ok()?;
        let lead = account.activities[place].lead;
        Some(account.leads[lead].id.to_string())
    })
}

async fn answer(
    State(server): State<Arc<Server>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return Answer::html(413, "<h1>Request Entity Too Large</h1>").into_response();
    };
    let header = |name| {
        let value = parts.headers.get(name);
        value.and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    let call = Call {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(parse_query).unwrap_or_default(),
        host: header(header::HOST).unwrap_or_default().to_owned(),
        is_json: header(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json")),
        body,
    };
    if !call.path.starts_with("/v2/") {
        return page::answer(&server, &parts.method, &call).into_response();
    }
    let answer = match door(&server, &parts.method, &parts.headers, &call) {
        Err(answer) => answer,
        Ok(_) if let Some(refusal) = telling::verify(&server, &call).await => {
            refusal.answer(server.settings.errors_as_200)
        }
        Ok(is_write) => {
            let fault = server.faults().strike(call.route(), is_write);
            match fault {
                None => server.run(&call, None),
                Some(fault) => {
                    let running = Arc::clone(&server);
                    let task = server
                        .tracker
                        .spawn(async move { running.run_with(fault, call, cut).await });
                    match task.await {
                        Ok(answer) => answer,
                        Err(_) => Refusal::Bare.answer(false),
                    }
                }
            }
        }
    };
    server.changed.notify_waiters();
    // After the effect: a caller that goes away meanwhile has written all the same.
    let latency = server.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    answer.into_response()
}

/// Everything that is looked at before the call itself; says whether it changes something.
fn door(
    server: &Server,
    method: &Method,
    headers: &HeaderMap,
    call: &Call,
) -> Result<bool, Answer> {
    let route = route(&call.path).ok_or_else(|| Refusal::NoSuchPath.answer(false))?;
    if *method
        != if route.is_post {
            Method::POST
        } else {
            Method::GET
        }
    {
        return Err(Refusal::WrongVerb.answer(false));
    }
    server.admit(headers, call)?;
    Ok(route.is_write)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// Percent-decodes; what is not encoded properly stays as it is.
fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let query = parse_query("accessKey=u%24r1&emailaddress=a%2Bb%40example.org&q=a+b%2&flag");
        let plain = [
            ("accessKey", "u$r1"),
            ("emailaddress", "a+b@example.org"),
            ("q", "a b%2"),
            ("flag", ""),
        ];
        assert_eq!(
            query,
            plain.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
