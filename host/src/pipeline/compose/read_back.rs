//! What the EHR's answer says of the patient or the appointment goes into the lead or the activity: its identifier, mostly.

use serde::{Deserialize, Serialize};

use super::Composing;
use crate::flow::outbound::ReadBack;
use crate::flow::{Flow, check};
use crate::hl7::{Message, Path};
use crate::leadsquared::{ActivityUpdate, Attribute, Error};
use crate::pipeline::judge::Stop;
use crate::store::journal::{OperationKind, OperationState, Record};
use crate::sync::written::Written;

/// Behind every message in the ledger stand what its answer writes to the lead, and to the activity.
const LEAD: i64 = 10;
const ACTIVITY: i64 = 20;

/// What is written back; kept in the ledger, because the answer is not.
#[derive(Serialize, Deserialize)]
struct Back {
    attributes: Vec<Attribute>,
}

impl Composing<'_> {
    /// Writes what the answer to the message at `ordinal` says.
    pub(super) async fn read_back(
        &mut self,
        ordinal: i64,
        flow: &Flow,
        answer: &Message,
    ) -> Result<(), Stop> {
        let Some(outbound) = &flow.outbound else {
            return Ok(());
        };
        let (activity, lead): (Vec<_>, Vec<_>) =
            outbound.read_back.iter().partition(|read| read.activity);
        let lead = self.lead_values(&lead, answer);
        let known = self
            .change
            .activity
            .as_ref()
            .map(|activity| &activity.after);
        let known = |field: &str| known.and_then(|after| after.get(field)?.clone());
        let activity: Vec<Attribute> = values(&activity, answer)
            .filter(|value| known(&value.name) != value.value)
            .collect();
        if !lead.is_empty() {
            self.write_lead(ordinal, lead).await?;
        }
        if !activity.is_empty() {
            self.write_activity(ordinal, activity).await?;
        }
        Ok(())
    }

    /// Makes writes of an earlier try that have not taken place.
    pub(super) async fn read_back_again(&mut self, ordinal: i64) -> Result<(), Stop> {
        let open = |at: i64| {
            let row = self.ledger.newest(at)?;
            let is_done = matches!(row.state, OperationState::Done { .. });
            let back: Option<Back> = serde_json::from_slice(&row.payload).ok();
            back.filter(|_| !is_done)
        };
        let (lead, activity) = (open(ordinal + LEAD), open(ordinal + ACTIVITY));
        if let Some(back) = lead {
            self.write_lead(ordinal, back.attributes).await?;
        }
        if let Some(back) = activity {
            self.write_activity(ordinal, back.attributes).await?;
        }
        Ok(())
    }

    /// What is new to the lead. An identifier that it holds is never replaced: it would become another patient's lead.
    fn lead_values(&mut self, reads: &[&ReadBack], answer: &Message) -> Vec<Attribute> {
        let mut kept = Vec::new();
        for value in values(reads, answer) {
            let known = self.change.lead.after.get(&value.name).cloned().flatten();
            let known = known.filter(|known| !known.trim().is_empty());
            let is_identifier = check::is_identifier(&self.account.account, &value.name);
            match known {
                Some(known) if value.value.as_ref() == Some(&known) => {}
                Some(_) if is_identifier => self.sent.remarks.push(format!(
                    "the EHR answered with another identifier than the lead holds in {}: a person should look",
                    value.name
                )),
                _ => kept.push(value),
            }
        }
        kept
    }

    async fn write_lead(&mut self, ordinal: i64, attributes: Vec<Attribute>) -> Result<(), Stop> {
        let lead = self.entry.lead_id.clone();
        let back = Back { attributes };
        self.ledger
            .begin(ordinal + LEAD, OperationKind::UpdateLead, &back)
            .await?;
        match self
            .client
            .update_lead(&lead, &back.attributes, false)
            .await
        {
            Ok(()) => {
                self.ledger.done(&lead);
                self.note(&lead, &back.attributes).await
            }
            Err(fault @ Error::LeadNotFound) => {
                self.ledger.failed(fault.code());
                self.remark("the lead is gone: what the EHR answered was not written to it");
                Ok(())
            }
            Err(fault @ Error::Duplicate { .. }) => {
                self.ledger.failed(fault.code());
                self.remark("another lead holds what the EHR answered: a person should look");
                Ok(())
            }
            Err(fault) => Err(self.ledger.stop(fault)),
        }
    }

    async fn write_activity(
        &mut self,
        ordinal: i64,
        attributes: Vec<Attribute>,
    ) -> Result<(), Stop> {
        let Some(activity) = self.entry.activity.clone() else {
            return Ok(());
        };
        let back = Back { attributes };
        self.ledger
            .begin(ordinal + ACTIVITY, OperationKind::UpdateActivity, &back)
            .await?;
        let update = ActivityUpdate {
            id: activity.id.clone(),
            code: activity.code,
            note: None,
            fields: back.attributes.clone(),
        };
        match self.client.update_activity(&update).await {
            Ok(()) => {
                self.ledger.done(&activity.id);
                self.note(&activity.id, &back.attributes).await
            }
            Err(fault @ Error::ActivityNotFound) => {
                self.ledger.failed(fault.code());
                self.remark("the activity is gone: what the EHR answered was not written to it");
                Ok(())
            }
            Err(fault) => Err(self.ledger.stop(fault)),
        }
    }

    fn remark(&mut self, text: &str) {
        self.sent.remarks.push(text.into());
    }

    /// Notes what was written, so that the webhook of it is known for an echo.
    async fn note(&mut self, id: &str, wrote: &[Attribute]) -> Result<(), Stop> {
        let account = &self.account.account.id;
        let kept = self.ledger.record(account, id).await?;
        let mut written = kept.map_or_else(Written::default, |bytes| Written::parse(&bytes));
        let fingerprint = self.ledger.fingerprint(account);
        let now_ms = jiff::Timestamp::now().as_millisecond();
        written.note_answer(wrote, &fingerprint, now_ms);
        drop(fingerprint);
        self.ledger.records.push(Record {
            id: id.into(),
            document: written.to_bytes(),
        });
        Ok(())
    }
}

/// What stands at the paths, where anything does.
fn values<'a>(
    reads: &'a [&'a ReadBack],
    answer: &'a Message,
) -> impl Iterator<Item = Attribute> + 'a {
    reads.iter().filter_map(|read| {
        // What is no path was refused when the flow was saved.
        let path: Path = read.path.parse().ok()?;
        let text = answer.get(&path).text_or_empty().trim().to_owned();
        (!text.is_empty()).then(|| Attribute::text(&read.field, text))
    })
}
