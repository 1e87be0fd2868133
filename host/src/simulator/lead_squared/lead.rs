//! The calls that write leads.

use serde::{Deserialize, Serialize};

use super::account::{Account, Change};
use super::answer::{Answer, Refusal};
use super::server::Call;

/// One entry of the array that every lead write takes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pair {
    attribute: String,
    #[serde(default)]
    value: serde_json::Value,
}

impl Pair {
    pub(super) fn text(name: &str, value: String) -> Self {
        Self {
            attribute: name.to_owned(),
            value: serde_json::Value::String(value),
        }
    }
}

/// The attributes of one write, checked against the account's fields.
pub(super) struct Sent {
    values: Vec<(usize, Option<String>)>,
    search_by: Option<String>,
    prospect_id: Option<String>,
}

impl Sent {
    /// Checks every attribute before anything is written: one unknown name rejects the whole call.
    pub(super) fn read(account: &Account, pairs: Vec<Pair>) -> Result<Self, Refusal> {
        let mut sent = Self {
            values: Vec::with_capacity(pairs.len()),
            search_by: None,
            prospect_id: None,
        };
        for Pair { attribute, value } in pairs {
            let value = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Null => String::new(),
                serde_json::Value::Number(number) => number.to_string(),
                serde_json::Value::Bool(flag) => flag.to_string(),
                _ => return Err(Refusal::Form("Value must be a string")),
            };
            match attribute.as_str() {
                "SearchBy" => sent.search_by = Some(value),
                "ProspectID" => sent.prospect_id = Some(value),
                name => {
                    let Some(index) = account.fields.index(name) else {
                        return Err(Refusal::mx(
                            "MXUnknownAttributeException",
                            format!("Attribute {name} does not exist"),
                        ));
                    };
                    let field = account.fields.at(index);
                    if field.is_read_only {
                        return Err(Refusal::invalid(format!("{name} can not be set.")));
                    }
                    let value = account.fields.accept(field, &value)?;
                    sent.values.retain(|(known, _)| *known != index);
                    sent.values.push((index, value));
                }
            }
        }
        Ok(sent)
    }

    fn value(&self, field: usize) -> Option<&str> {
        let (_, value) = self.values.iter().find(|(sent, _)| *sent == field)?;
        value.as_deref()
    }

    fn holder(&self, account: &Account, name: &str) -> Option<usize> {
        let field = account.fields.index(name)?;
        account.holder(field, self.value(field)?)
    }

    /// The lead that `SearchBy` names; `None` where it is not sent.
    fn searched(&self, account: &Account) -> Result<Option<Option<usize>>, Refusal> {
        let Some(name) = &self.search_by else {
            return Ok(None);
        };
        match account.fields.get(name) {
            None => Err(Refusal::mx(
                "MXUnknownAttributeException",
                format!("Attribute {name} does not exist"),
            )),
            Some(field) if !field.is_unique => {
                Err(Refusal::invalid(format!("SearchBy {name} is not unique.")))
            }
            Some(_) => Ok(Some(self.holder(account, name))),
        }
    }

    fn create(self, account: &mut Account) -> Result<usize, Refusal> {
        let names = ["FirstName", "LastName", "EmailAddress", "Phone"];
        let has_one = names.iter().any(|name| {
            let field = account.fields.index(name);
            field.is_some_and(|field| self.value(field).is_some())
        });
        if !has_one {
            return Err(Refusal::missing(
                "FirstName, LastName, EmailAddress or Phone",
            ));
        }
        let lead = account.create_lead(self.values)?;
        account.tell_lead_created(lead);
        Ok(lead)
    }

    /// Writes to `found`, or to a new lead; says which and whether it is new. An update is told of if it `fires`.
    fn write(
        self,
        account: &mut Account,
        found: Option<usize>,
        fires: bool,
    ) -> Result<(usize, bool), Refusal> {
        match found {
            Some(place) => {
                let before = account.before_update(place, fires);
                account.update_lead(place, self.values)?;
                account.tell_lead_updated(place, before);
                Ok((place, false))
            }
            None => Ok((self.create(account)?, true)),
        }
    }
}

fn sent(account: &Account, call: &Call) -> Result<Sent, Refusal> {
    Sent::read(account, call.json()?)
}

/// Whether an update is told of: only where the caller asks for it.
fn fires(account: &Account, call: &Call) -> bool {
    let asked = call.param("postUpdatedLead");
    asked.is_some_and(|asked| asked.eq_ignore_ascii_case("true"))
        || account.hooks.settings.every_write
}

fn note(account: &mut Account, call: &Call, lead: usize, is_new: bool) {
    let change = if is_new {
        Change::LeadCreated
    } else {
        Change::LeadUpdated
    };
    account.note(call.route(), change, lead, None, &call.body);
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Affected {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    affected_rows: u32,
}

pub(super) fn create(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let sent = sent(account, call)?;
    let lead = sent.create(account)?;
    note(account, call, lead, true);
    Ok(Answer::id(&account.leads[lead].id))
}

pub(super) fn update(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let id = call
        .param("leadId")
        .filter(|id| !id.is_empty())
        .ok_or_else(|| {
            Refusal::mx(
                "MXMandatoryAttributeMissingException",
                "'leadId' is mandatory for updating lead",
            )
        })?;
    let sent = sent(account, call)?;
    let lead = account.lead(id).ok_or_else(Refusal::lead_not_found)?;
    let fires = fires(account, call);
    sent.write(account, Some(lead), fires)?;
    note(account, call, lead, false);
    Ok(Answer::success(&Affected {
        id: None,
        affected_rows: 1,
    }))
}

/// Without `SearchBy` the email decides, and a phone that is another lead's is a duplicate, as seen in the field.
pub(super) fn create_or_update(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let sent = sent(account, call)?;
    let found = match sent.searched(account)? {
        Some(found) => found,
        None => {
            let email = account.fields.index("EmailAddress");
            let has_email = email.is_some_and(|email| sent.value(email).is_some());
            let by_email = sent.holder(account, "EmailAddress");
            if by_email.is_none() && (account.match_phone_too || !has_email) {
                sent.holder(account, "Phone")
            } else {
                by_email
            }
        }
    };
    let fires = fires(account, call);
    let (lead, is_new) = sent.write(account, found, fires)?;
    note(account, call, lead, is_new);
    Ok(Answer::success(&Affected {
        id: Some(account.leads[lead].id.to_string()),
        affected_rows: 1,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Captured {
    /// The id of the capture's own activity, which is not kept.
    id: String,
    related_id: String,
    is_created: bool,
}

pub(super) fn capture(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let mut sent = sent(account, call)?;
    let behaviour = call.param("LeadUpdateBehavior").unwrap_or_default();
    if !matches!(
        behaviour,
        "" | "DoNotUpdate" | "UpdateOnlyEmptyFields" | "DoNotUpdateUniqueFields"
    ) {
        return Err(Refusal::invalid("LeadUpdateBehavior is not valid."));
    }
    let found = captured(account, &sent)?;
    if let Some(place) = found {
        let lead = &account.leads[place];
        sent.values.retain(|(field, _)| match behaviour {
            "DoNotUpdate" => false,
            "UpdateOnlyEmptyFields" => lead.value(*field).is_none(),
            "DoNotUpdateUniqueFields" => !account.fields.at(*field).is_unique,
            // The source is that of the first capture.
            _ => account.fields.at(*field).schema_name != "Source" || lead.value(*field).is_none(),
        });
    }
    let fires = account.hooks.settings.captures;
    let (lead, is_new) = sent.write(account, found, fires)?;
    note(account, call, lead, is_new);
    Ok(Answer::success(&Captured {
        id: account.dice.id().to_string(),
        related_id: account.leads[lead].id.to_string(),
        is_created: is_new,
    }))
}

/// The lead that a capture means: by `SearchBy`, else by id unless the email is another, else by email, by phone.
fn captured(account: &Account, sent: &Sent) -> Result<Option<usize>, Refusal> {
    if let Some(found) = sent.searched(account)? {
        return Ok(found);
    }
    let by_email = sent.holder(account, "EmailAddress");
    let by_id = sent.prospect_id.as_deref().and_then(|id| account.lead(id));
    if let Some(lead) = by_id {
        let email = account.fields.index("EmailAddress");
        let sends_another = email.is_some_and(|email| {
            sent.value(email).is_some_and(|sent| {
                account.leads[lead]
                    .value(email)
                    .is_none_or(|held| !held.eq_ignore_ascii_case(sent))
            })
        });
        return Ok((!sends_another).then_some(lead));
    }
    Ok(by_email.or_else(|| sent.holder(account, "Phone")))
}

/// Writes the lead of a call that makes lead and activity in one.
pub(super) fn upsert(account: &mut Account, sent: Sent) -> Result<(usize, bool), Refusal> {
    let found = captured(account, &sent)?;
    let fires = account.hooks.settings.captures;
    sent.write(account, found, fires)
}

/// Creates a lead as a person does in the user interface.
pub(super) fn create_by_person(account: &mut Account, pairs: Vec<Pair>) -> Result<usize, Refusal> {
    Sent::read(account, pairs)?.create(account)
}

/// Changes a lead as a person does; says whether anything became other than it was.
pub(super) fn edit_by_person(
    account: &mut Account,
    lead: usize,
    pairs: Vec<Pair>,
) -> Result<bool, Refusal> {
    let mut sent = Sent::read(account, pairs)?;
    let held = &account.leads[lead];
    sent.values
        .retain(|(field, value)| held.value(*field) != value.as_deref());
    if sent.values.is_empty() {
        return Ok(false);
    }
    sent.write(account, Some(lead), true)?;
    Ok(true)
}

/// Deleting is off until LeadSquared's support turns it on.
pub(super) fn delete(_: &mut Account, _: &Call) -> Result<Answer, Refusal> {
    Err(Refusal::mx(
        "MXUnAuthorizedAccessException",
        "You are not authorized to delete leads",
    ))
}
