//! What must hold of accounts, channels and flows before they are kept or put in force.
//!
//! Plain functions: everything that is wrong at once, each with the path of the setting. What LeadSquared and the
//! component say is passed in as [`Facts`]. Start at [`flow`].

mod outbound;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::channel::Kind;
use super::{Account, Behaviour, Channel, Direction, Entity, Flow, FlowId, Status};

use crate::hl7::Path;

pub use outbound::lead_flows_to_ehr;
pub use slots::ActivityFacts;

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Such as `primary_search_field` or `activity.key_field`.
    pub path: String,
    pub message: String,
}

impl Fault {
    pub fn new(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What is known beside the flow itself; what is not known is not checked.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The account's lead fields, and whether LeadSquared shows each as unique.
    pub lead_fields: Option<BTreeMap<String, bool>>,
    /// The lead fields that the flow's component writes; none while it has no component.
    pub writes: Option<BTreeSet<String>>,
    /// What LeadSquared says of the flow's activity type.
    pub activity: ActivityFacts,
    /// The fields of the activity that the flow's component writes.
    pub activity_writes: BTreeSet<String>,
    /// A person has confirmed that a search field need not be shown as unique.
    pub confirmed_not_unique: bool,
    /// A person has confirmed that every lead is to go to the EHR.
    pub confirmed_without_condition: bool,
    /// What a flow to the EHR would have sent of late, in words.
    pub would_have_sent: Option<String>,
    /// Which way the flow's channel goes.
    pub channel: Option<Kind>,
    /// The account's lead flows to the EHR.
    pub lead_flows_to_ehr: Option<BTreeSet<FlowId>>,
}

const MINUTE_MS: u64 = 60 * 1_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// Lead fields whose values families share; none of them tells a patient.
const SHARED: [&str; 3] = ["EmailAddress", "Phone", "Mobile"];

/// What the names of patient identifiers look like, in small letters and without anything between words.
const IDENTIFIERS: [&str; 6] = [
    "mrn",
    "medicalrecord",
    "patientid",
    "patientnumber",
    "ehrid",
    "chartnumber",
];

/// Whether a lead field of this name probably holds a patient identifier: `mx_MRN`, `mx_Patient_Id`.
pub fn is_like_identifier(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    IDENTIFIERS.iter().any(|known| plain.contains(known))
}

/// The lead fields that are proposed as patient identifiers, by schema name or display name.
pub fn proposed_identifiers<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<String> {
    let fields = fields.into_iter();
    let fitting = fields.filter(|(name, label)| {
        !SHARED.contains(name) && (is_like_identifier(name) || is_like_identifier(label))
    });
    fitting.map(|(name, _)| name.to_owned()).collect()
}

/// Whether the account takes this lead field for a patient identifier; where it names none, the name decides.
pub fn is_identifier(account: &Account, field: &str) -> bool {
    if account.identifier_fields.is_empty() {
        return is_like_identifier(field);
    }
    account.identifier_fields.iter().any(|known| known == field)
}

/// Checks an account.
pub fn account(account: &Account) -> Vec<Fault> {
    let mut faults = Vec::new();
    name(&mut faults, "id", account.id.as_str());
    name(&mut faults, "name", &account.name);
    for (at, field) in account.identifier_fields.iter().enumerate() {
        if SHARED.contains(&field.as_str()) {
            faults.push(Fault::new(
                &format!("identifier_fields.{at}"),
                format!("{field} cannot identify a patient: families share it"),
            ));
        }
    }
    let policy = &account.components;
    for (at, trusted) in policy.trusted_keys.iter().enumerate() {
        let path = format!("components.trusted_keys.{at}");
        name(&mut faults, &format!("{path}.name"), &trusted.name);
        if !trusted.is_key() {
            let text =
                "takes what `ligature plugin key` prints: ed25519: and 64 hexadecimal digits";
            faults.push(Fault::new(&format!("{path}.key"), text));
        }
    }
    if policy.signed_only && policy.trusted_keys.is_empty() {
        let text = "no component could be taken: list a key in trusted_keys first";
        faults.push(Fault::new("components.signed_only", text));
    }
    zone(&mut faults, account.time_zone.as_deref());
    country(&mut faults, account.default_country_code.as_deref());
    if account.rate_plan.reserve_percent > 100 {
        faults.push(Fault::new(
            "rate_plan.reserve_percent",
            "from 0 to 100 percent",
        ));
    }
    if let Some(number) = &account.lead_number {
        if number.authority.trim().is_empty() {
            faults.push(Fault::new(
                "lead_number.authority",
                "name the assigning authority of our numbers that was agreed with the EHR's team",
            ));
        }
        let field = number.field.parse::<Path>();
        if !field.is_ok_and(|path| path.field().is_some() && path.moved_to("PID", 3).is_some()) {
            faults.push(Fault::new(
                "lead_number.field",
                "name a field of repeated identifiers, such as PID-3",
            ));
        }
    }
    if let Some(poll) = &account.poll {
        for (path, value_ms, least_ms, most_ms, text) in [
            (
                "interval_ms",
                poll.interval_ms,
                MINUTE_MS,
                24 * HOUR_MS,
                "from a minute to a day",
            ),
            (
                "overlap_ms",
                poll.overlap_ms,
                0,
                24 * HOUR_MS,
                "at most a day",
            ),
            ("settle_ms", poll.settle_ms, 0, HOUR_MS, "at most an hour"),
        ] {
            if !(least_ms..=most_ms).contains(&value_ms) {
                faults.push(Fault::new(&format!("poll.{path}"), text));
            }
        }
    }
    if account.rate_plan.window_ms == 0 {
        faults.push(Fault::new("rate_plan.window_ms", "at least 1 millisecond"));
    }
    faults
}

/// Checks a channel beside the others that listen.
pub fn channel<'a>(channel: &Channel, others: impl IntoIterator<Item = &'a Channel>) -> Vec<Fault> {
    let mut faults = Vec::new();
    name(&mut faults, "id", channel.id.as_str());
    name(&mut faults, "name", &channel.name);
    let contradictions = channel.faults().into_iter();
    faults.extend(contradictions.map(|(path, message)| Fault::new(path, message)));
    let taken = others.into_iter().find(|other| {
        (&other.account, &other.id) != (&channel.account, &channel.id)
            && (other.kind(), channel.kind()) == (Kind::Inbound, Kind::Inbound)
            && other.address == channel.address
            && channel.address.port() != 0
    });
    if let Some(other) = taken {
        faults.push(Fault::new(
            "address",
            format!("channel {} listens on {}", other.id, other.address),
        ));
    }
    faults
}

/// Checks a flow of `account`; one that is in force also against what its component writes.
pub fn flow(flow: &Flow, account: &Account, facts: &Facts) -> Vec<Fault> {
    let mut faults = Vec::new();
    name(&mut faults, "id", flow.id.as_str());
    name(&mut faults, "name", &flow.name);
    zone(&mut faults, flow.time_zone.as_deref());
    country(&mut faults, flow.default_country_code.as_deref());
    match (&flow.activity, flow.entity) {
        (None, Entity::Activity) => faults.push(Fault::new(
            "activity",
            "an activity flow names an activity type: set activity.code and activity.key_field",
        )),
        (Some(_), Entity::Lead) => faults.push(Fault::new(
            "activity",
            "a lead flow names no activity type: leave it out, or make the entity activity",
        )),
        (Some(activity), Entity::Activity)
            if activity.key_field.trim().is_empty()
                && flow.direction == Direction::EhrToLeadSquared =>
        {
            faults.push(Fault::new(
                "activity.key_field",
                "name the field of the activity that holds the appointment id, for example mx_Custom_1",
            ));
        }
        _ => {}
    }
    let wanted = match flow.direction {
        Direction::EhrToLeadSquared => Kind::Inbound,
        Direction::LeadSquaredToEhr => Kind::Outbound,
    };
    if facts.channel.is_some_and(|kind| kind != wanted) {
        faults.push(Fault::new(
            "channel",
            match wanted {
                Kind::Inbound => "a flow from the EHR needs a channel that listens; this one sends",
                Kind::Outbound => "a flow to the EHR needs a channel that sends; this one listens",
            },
        ));
    }
    outbound::outbound(&mut faults, flow, facts);
    if flow.direction == Direction::EhrToLeadSquared {
        search(&mut faults, flow, account, facts);
        slots::check(&mut faults, flow, facts);
    }
    faults
}

fn search(faults: &mut Vec<Fault>, flow: &Flow, account: &Account, facts: &Facts) {
    let primary = flow.primary_search_field.trim();
    if primary.is_empty() {
        faults.push(Fault::new(
            "primary_search_field",
            "name the unique lead field that finds the lead, for example mx_MRN",
        ));
        return;
    }
    let secondary = flow.secondary_search_field.as_deref();
    if secondary == Some(primary) {
        faults.push(Fault::new(
            "secondary_search_field",
            "is the primary search field already: name another field, or none",
        ));
    }
    let chosen = [
        ("primary_search_field", Some(primary)),
        ("secondary_search_field", secondary),
    ];
    let chosen = chosen.map(|(path, field)| field.map(|field| (path, field)));
    let chosen: Vec<_> = chosen.into_iter().flatten().collect();
    if !chosen
        .iter()
        .any(|(_, field)| is_identifier(account, field))
    {
        let known = if account.identifier_fields.is_empty() {
            "list the lead fields that hold patient identifiers in the account's identifier_fields"
                .to_owned()
        } else {
            format!("the account has {}", account.identifier_fields.join(", "))
        };
        faults.push(Fault::new(
            "primary_search_field",
            format!(
                "a patient identifier must be the primary or the secondary search field: {known}"
            ),
        ));
    }
    // A lead flow that does nothing maps nothing.
    let idle = flow.entity == Entity::Lead && flow.lead_behaviour == Behaviour::Nothing;
    for (path, field) in chosen {
        if let Some(known) = &facts.lead_fields {
            match known.get(field) {
                None => {
                    faults.push(Fault::new(
                        path,
                        format!("LeadSquared has no lead field {field}: create it, or read the account's metadata again"),
                    ));
                    continue;
                }
                Some(false) if !facts.confirmed_not_unique => faults.push(Fault::new(
                    path,
                    format!(
                        "LeadSquared does not show {field} as unique: mark it in Settings > Leads > Lead Fields (the wheel beside \
                         the field) and read the account's metadata again, or confirm with confirm_not_unique"
                    ),
                )),
                Some(_) => {}
            }
        }
        if let Some(writes) = &facts.writes
            && flow.status != Status::Draft
            && !idle
            && !writes.contains(field)
        {
            faults.push(Fault::new(
                path,
                format!(
                    "the flow's mapping has no row for {field}, so no lead could be found by it"
                ),
            ));
        }
    }
}

fn name(faults: &mut Vec<Fault>, path: &str, text: &str) {
    if text.trim().is_empty() {
        faults.push(Fault::new(path, "cannot be empty"));
    } else if path == "id" && text.contains(is_no_id) {
        faults.push(Fault::new(
            path,
            "takes no slashes and no control characters",
        ));
    } else if text.len() > 200 {
        faults.push(Fault::new(path, "takes at most 200 bytes"));
    }
}

/// What stands in no id: it is part of addresses and of file names.
pub(super) fn is_no_id(c: char) -> bool {
    c.is_control() || c == '/' || c == '\\'
}

fn zone(faults: &mut Vec<Fault>, zone: Option<&str>) {
    if let Some(zone) = zone
        && TimeZone::get(zone).is_err()
    {
        faults.push(Fault::new(
            "time_zone",
            format!("{zone:?} is not an IANA name, such as America/New_York"),
        ));
    }
}

fn country(faults: &mut Vec<Fault>, code: Option<&str>) {
    let Some(code) = code else { return };
    let known = code
        .parse::<u16>()
        .is_ok_and(|number| phonenumber::metadata::DATABASE.by_code(&number).is_some());
    if !known || code.starts_with(['+', '0']) {
        faults.push(Fault::new(
            "default_country_code",
            format!("{code:?} is no country calling code: write it without +, such as 1 or 44"),
        ));
    }
}
