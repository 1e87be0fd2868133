//! Webhooks of the simulated account: who is to be told of what, and the calls that say so.
//!
//! As strict as what is known of the API (`Webhook.svc`): properties are JSON in a text, activity events name their type
//! beside it, deleting is a GET. Delivering is in `telling`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;
use uuid::Uuid;

use super::account::{Account, utc};
use super::activity::Activity;
use super::answer::{Answer, Refusal};
use super::search::{Number, value};
use super::server::Call;

/// How webhooks behave; the defaults are those of the API as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhooks {
    /// How many an account may have: 3 on the smaller plan, 30 on the larger.
    pub plan_limit: usize,
    /// A new address must answer HEAD and an empty body with 200.
    pub verifies: bool,
    pub tries: u32,
    /// Between two tries.
    pub spacing: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Answers in a row other than 200 after which a webhook is turned off.
    pub disabled_after: u32,
    /// Activities of such a time come together in an array; none sends each by itself at once.
    pub grouped: Option<Duration>,
    /// Custom fields of leads are left out, as on some accounts.
    pub standard_fields_only: bool,
    /// An update of an activity comes as two snapshots.
    pub activity_snapshots: bool,
    /// Updates are told of without `postUpdatedLead=true`, too.
    pub every_write: bool,
    /// `Lead.Capture` of a lead that is there is told of.
    pub captures: bool,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            plan_limit: 3,
            verifies: true,
            tries: 3,
            spacing: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            disabled_after: 10,
            grouped: Some(Duration::from_secs(60)),
            standard_fields_only: false,
            activity_snapshots: false,
            every_write: false,
            captures: true,
        }
    }
}

/// What is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    ActivityCreated,
    LeadCreated,
    LeadUpdated,
    ActivityUpdated,
}

impl Event {
    const ALL: [(&'static str, &'static str, Event); 4] = [
        ("2", "LeadActivity_Post_Create", Event::ActivityCreated),
        ("3", "Lead_Post_Create", Event::LeadCreated),
        ("6", "Lead_Post_Update", Event::LeadUpdated),
        ("15", "LeadActivity_Post_Update", Event::ActivityUpdated),
    ];

    fn numbered(number: &str) -> Option<Self> {
        let (_, _, event) = Self::ALL.iter().find(|(known, _, _)| *known == number)?;
        Some(*event)
    }

    pub(super) fn name(self) -> &'static str {
        let (_, name, _) = Self::ALL
            .iter()
            .find(|(_, _, event)| *event == self)
            .expect("every event is listed");
        name
    }

    pub(super) fn is_of_activities(self) -> bool {
        matches!(self, Event::ActivityCreated | Event::ActivityUpdated)
    }
}

/// One webhook.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    pub(super) id: Uuid,
    pub(super) event: Event,
    activity: Option<u32>,
    pub(super) url: String,
    pub(super) content_type: String,
    pub(super) headers: Vec<(String, String)>,
    description: String,
    properties: String,
    created: String,
    status: u8,
    failures_in_a_row: u32,
}

/// One webhook as it goes into a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptHook {
    id: String,
    event: String,
    activity: Option<u32>,
    url: String,
    content_type: String,
    headers: Vec<(String, String)>,
    description: String,
    properties: String,
    created: String,
    status: u8,
    failures_in_a_row: u32,
}

/// One webhook as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookView {
    pub id: String,
    /// Such as `Lead_Post_Update`.
    pub event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    pub url: String,
    /// `enabled`, `disabled by hand` or `disabled after failures`.
    pub status: &'static str,
    pub failures_in_a_row: u32,
}

/// One delivery that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    pub webhook: String,
    pub event: &'static str,
    pub tries: u32,
    /// Whether it was answered with 200 in the end.
    pub is_taken: bool,
    pub body: String,
}

/// Something to be told by one webhook.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) hook: Uuid,
    pub(super) body: Value,
}

/// The webhooks of the account.
#[derive(Debug)]
pub(super) struct Hooks {
    pub(super) settings: Webhooks,
    list: Vec<Hook>,
    jobs: Vec<Job>,
    told: Vec<Told>,
}

impl Hooks {
    pub(super) fn new(settings: Webhooks) -> Self {
        Self {
            settings,
            list: Vec::new(),
            jobs: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn kept(&self) -> Vec<KeptHook> {
        let hooks = self.list.iter().map(|hook| KeptHook {
            id: hook.id.to_string(),
            event: hook.event.name().to_owned(),
            activity: hook.activity,
            url: hook.url.clone(),
            content_type: hook.content_type.clone(),
            headers: hook.headers.clone(),
            description: hook.description.clone(),
            properties: hook.properties.clone(),
            created: hook.created.clone(),
            status: hook.status,
            failures_in_a_row: hook.failures_in_a_row,
        });
        hooks.collect()
    }

    pub(super) fn restore(&mut self, kept: Vec<KeptHook>) {
        let hooks = kept.into_iter().filter_map(|hook| {
            let mut known = Event::ALL.into_iter();
            let (_, _, event) = known.find(|(_, name, _)| *name == hook.event)?;
            Some(Hook {
                id: Uuid::try_parse(&hook.id).ok()?,
                event,
                activity: hook.activity,
                url: hook.url,
                content_type: hook.content_type,
                headers: hook.headers,
                description: hook.description,
                properties: hook.properties,
                created: hook.created,
                status: hook.status,
                failures_in_a_row: hook.failures_in_a_row,
            })
        });
        self.list.extend(hooks);
    }

    /// What is to be told since it was last asked.
    pub(super) fn take(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }

    /// A webhook that is not turned off.
    pub(super) fn enabled(&self, id: Uuid) -> Option<&Hook> {
        self.list
            .iter()
            .find(|hook| hook.id == id && hook.status == 0)
    }

    pub(super) fn is_there(&self, id: Uuid) -> bool {
        self.list.iter().any(|hook| hook.id == id)
    }

    /// Counts an answer; too many wrong ones in a row turn the webhook off.
    pub(super) fn answered(&mut self, id: Uuid, is_right: bool) {
        let Some(hook) = self.list.iter_mut().find(|hook| hook.id == id) else {
            return;
        };
        if is_right {
            hook.failures_in_a_row = 0;
            return;
        }
        hook.failures_in_a_row += 1;
        if hook.failures_in_a_row >= self.settings.disabled_after && hook.status == 0 {
            hook.status = 2;
        }
    }

    pub(super) fn ended(&mut self, told: Told) {
        self.told.push(told);
    }

    pub(super) fn deliveries(&self) -> &[Told] {
        &self.told
    }

    pub(super) fn told(&self, is_taken: bool) -> usize {
        let told = self.told.iter();
        told.filter(|told| told.is_taken == is_taken).count()
    }

    pub(super) fn enable(&mut self, id: &str, is_enabled: bool) -> bool {
        let mut hooks = self.list.iter_mut();
        let Some(hook) = hooks.find(|hook| hook.id.to_string() == id) else {
            return false;
        };
        hook.status = u8::from(!is_enabled);
        hook.failures_in_a_row = 0;
        true
    }

    pub(super) fn views(&self) -> Vec<HookView> {
        let hooks = self.list.iter();
        hooks
            .map(|hook| HookView {
                id: hook.id.to_string(),
                event: hook.event.name(),
                activity: hook.activity.map(|code| code.to_string()),
                url: hook.url.clone(),
                status: match hook.status {
                    0 => "enabled",
                    1 => "disabled by hand",
                    _ => "disabled after failures",
                },
                failures_in_a_row: hook.failures_in_a_row,
            })
            .collect()
    }

    /// The webhooks that an event concerns.
    fn concerned(&self, event: Event, activity: Option<u32>) -> Vec<Uuid> {
        let hooks = self.list.iter();
        hooks
            .filter(|hook| hook.status == 0 && hook.event == event && hook.activity == activity)
            .map(|hook| hook.id)
            .collect()
    }

    fn tell(&mut self, event: Event, activity: Option<u32>, body: &Value) {
        for hook in self.concerned(event, activity) {
            let body = body.clone();
            self.jobs.push(Job { hook, body });
        }
    }
}

impl Account {
    /// The lead as it is before an update, where somebody is to be told of that.
    pub(super) fn before_update(&self, lead: usize, fires: bool) -> Option<Value> {
        let is_wanted = fires && !self.hooks.concerned(Event::LeadUpdated, None).is_empty();
        is_wanted.then(|| self.snapshot(lead, true))
    }

    pub(super) fn tell_lead_updated(&mut self, lead: usize, before: Option<Value>) {
        let Some(before) = before else { return };
        let body = json!({ "Before": before, "After": self.snapshot(lead, true) });
        self.hooks.tell(Event::LeadUpdated, None, &body);
    }

    pub(super) fn tell_lead_created(&mut self, lead: usize) {
        if !self.hooks.concerned(Event::LeadCreated, None).is_empty() {
            let body = self.snapshot(lead, false);
            self.hooks.tell(Event::LeadCreated, None, &body);
        }
    }

    /// Tells of a new activity, or of one that was `before`.
    pub(super) fn tell_activity(&mut self, place: usize, before: Option<&Activity>) {
        let event = match before {
            None => Event::ActivityCreated,
            Some(_) => Event::ActivityUpdated,
        };
        let activity = &self.activities[place];
        let code = Some(activity.code);
        if self.hooks.concerned(event, code).is_empty() {
            return;
        }
        let mut body = json!({
            "ProspectActivityId": activity.id.to_string(),
            "RelatedProspectId": self.leads[activity.lead].id.to_string(),
            "ActivityEvent": activity.code.to_string(),
            "ActivityEventName": self.types.0[&activity.code].name,
            "CreatedOn": activity.at,
            "CreatedBy": self.acting.to_string(),
        });
        if before.is_some() {
            body["ModifiedOn"] = utc(activity.modified_at).into();
            body["ModifiedBy"] = self.acting.to_string().into();
        }
        match before.filter(|_| self.hooks.settings.activity_snapshots) {
            Some(before) => {
                body["Before"] = json!({ "Data": self.data(before) });
                body["After"] = json!({ "Data": self.data(activity) });
            }
            None => body["Data"] = self.data(activity),
        }
        self.hooks.tell(event, code, &body);
    }

    fn data(&self, activity: &Activity) -> Value {
        let mut data = Map::new();
        data.insert("Note".into(), activity.note.as_str().into());
        data.insert("Owner".into(), self.user.id.to_string().into());
        for (name, value) in &activity.values {
            data.insert(name.clone(), value.as_str().into());
        }
        data.into()
    }

    /// A lead as webhooks have it; a new one without fields that are empty.
    fn snapshot(&self, lead: usize, with_empty: bool) -> Value {
        let lead = &self.leads[lead];
        let mut snapshot = Map::new();
        for field in self.fields.all() {
            let name = &field.schema_name;
            if self.hooks.settings.standard_fields_only && name.starts_with("mx_") {
                continue;
            }
            // Times come without their parts of a second here.
            let value = value(self, lead, name)
                .map(|value| value.strip_suffix(".000").unwrap_or(&value).to_owned());
            if with_empty || value.is_some() || field.is_mandatory {
                snapshot.insert(name.clone(), value.into());
            }
        }
        snapshot.into()
    }
}

/// The body of a create, and of an update, which names the webhook as well.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    #[serde(default)]
    webhook_id: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(rename = "URL")]
    url: String,
    method: String,
    content_type: String,
    webhook_event: String,
    #[serde(default)]
    activity_event: Option<Number>,
    /// JSON in a text.
    webhook_properties: String,
    #[serde(default)]
    custom_headers: Vec<Header>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Header {
    key: String,
    value: String,
}

/// Where a call wants deliveries to go, and the headers that go along.
pub(super) fn address(call: &Call) -> Option<(String, Vec<(String, String)>)> {
    if !matches!(call.route(), "Webhook.svc/Create" | "Webhook.svc/Update") {
        return None;
    }
    let body: Body = call.json().ok()?;
    Some((body.url, headers(body.custom_headers)))
}

fn headers(sent: Vec<Header>) -> Vec<(String, String)> {
    let headers = sent.into_iter();
    headers.map(|header| (header.key, header.value)).collect()
}

impl Body {
    fn check(self, account: &mut Account) -> Result<Hook, Refusal> {
        let event = Event::numbered(&self.webhook_event);
        let event = event.ok_or_else(|| Refusal::invalid("WebhookEvent is not valid."))?;
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            return Err(Refusal::invalid("URL is not valid."));
        }
        if self.method != "POST" {
            return Err(Refusal::invalid("Method is not valid."));
        }
        let kinds = [
            "application/json",
            "application/x-www-form-urlencoded",
            "text/plain",
        ];
        if !kinds.contains(&self.content_type.as_str()) {
            return Err(Refusal::invalid("ContentType is not valid."));
        }
        if self.custom_headers.len() > 10 {
            return Err(Refusal::invalid("CustomHeaders can not be more than 10."));
        }
        let properties: Value = serde_json::from_str(&self.webhook_properties)
            .map_err(|_| Refusal::invalid("WebhookProperties is not valid."))?;
        let activity = match (event.is_of_activities(), self.activity_event) {
            (false, _) => None,
            (true, None) => {
                return Err(Refusal::mx(
                    "MXInvalidDataTypeException",
                    "You have not passed ActivityEvent.",
                ));
            }
            (true, Some(Number(code))) => {
                let said = properties["ActivityEvent"].as_str();
                if said.and_then(|said| said.parse().ok()) != Some(code) {
                    return Err(Refusal::invalid(
                        "WebhookProperties.ActivityEvent is not ActivityEvent.",
                    ));
                }
                if !account.types.0.contains_key(&code) {
                    return Err(Refusal::mx(
                        "MXInvalidActivityException",
                        "Event Code is invalid or empty",
                    ));
                }
                Some(code)
            }
        };
        Ok(Hook {
            id: account.dice.id(),
            event,
            activity,
            url: self.url,
            content_type: self.content_type,
            headers: headers(self.custom_headers),
            description: self.description,
            properties: self.webhook_properties,
            created: utc(jiff::Timestamp::now()),
            status: 0,
            failures_in_a_row: 0,
        })
    }
}

pub(super) fn create(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let body: Body = call.json()?;
    let hook = body.check(account)?;
    let limit = account.hooks.settings.plan_limit;
    if account.hooks.list.len() >= limit {
        return Err(Refusal::mx(
            "MXLimitExceededException",
            format!("Your plan allows {limit} webhooks"),
        ));
    }
    let id = hook.id;
    account.hooks.list.push(hook);
    Ok(Answer::id(&id))
}

fn place(account: &Account, id: &str) -> Result<usize, Refusal> {
    let mut hooks = account.hooks.list.iter();
    hooks
        .position(|hook| hook.id.to_string() == id.to_ascii_lowercase())
        .ok_or_else(|| Refusal::mx("MXInvalidEntityReferenceException", "Webhook not found"))
}

pub(super) fn update(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let body: Body = call.json()?;
    let id = body.webhook_id.as_deref().unwrap_or_default();
    if id.is_empty() {
        return Err(Refusal::missing("WebhookId"));
    }
    let place = place(account, id)?;
    let new = body.check(account)?;
    let known = &mut account.hooks.list[place];
    // Whether it is turned on is a person's business.
    *known = Hook {
        id: known.id,
        created: known.created.clone(),
        status: known.status,
        failures_in_a_row: known.failures_in_a_row,
        ..new
    };
    let id = known.id;
    Ok(Answer::id(&id))
}

pub(super) fn delete(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let place = place(account, call.required("webhookId")?)?;
    let gone = account.hooks.list.remove(place);
    Ok(Answer::id(&gone.id))
}

pub(super) fn retrieve(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Asked {
        parameter: Filter,
        paging: Option<Paging>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Filter {
        webhook_event: String,
        status_code: Option<Number>,
        webhook_id: String,
        search_text: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Paging {
        page_index: Number,
        page_size: Number,
    }
    let Asked { parameter, paging } = call.json()?;
    let wanted = |hook: &&Hook| {
        let event = &parameter.webhook_event;
        let text = &parameter.search_text;
        (event.is_empty() || hook.event.name() == event)
            && parameter
                .status_code
                .is_none_or(|Number(status)| u32::from(hook.status) == status)
            && (parameter.webhook_id.is_empty() || hook.id.to_string() == parameter.webhook_id)
            && (hook.description.contains(text) || hook.url.contains(text))
    };
    let found: Vec<&Hook> = account.hooks.list.iter().filter(wanted).collect();
    let (page, size) = paging.map_or((1, 25), |paging| {
        (paging.page_index.0.max(1), paging.page_size.0.max(1))
    });
    let rows = found.iter().skip((page as usize - 1) * size as usize);
    let rows = rows.take(size as usize).map(|hook| {
        json!({
            "WebhookId": hook.id.to_string(),
            "Description": hook.description,
            "URL": hook.url,
            "Method": "POST",
            "ContentType": hook.content_type,
            "WebhookEvent": hook.event.name(),
            "WebhookProperties": hook.properties,
            "StatusCode": hook.status,
            "CreatedOn": hook.created,
        })
    });
    let rows: Vec<Value> = rows.collect();
    Ok(Answer::json(
        &json!({ "RecordCount": found.len(), "Response": rows }),
    ))
}
