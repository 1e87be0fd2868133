//! Activities: create, update, and find again by a key that the sender chose.
//!
//! LeadSquared neither deduplicates activities nor finds them by a field's value, so finding one reads all
//! activities of its type on the lead.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::error::{Effect, Error};
use super::lead::{Attribute, Reply};
use super::webhook::Fields;
use super::wire::{Flat, Loose};

/// Activities asked for in one page; 25 is what an account gives unasked.
const PAGE_SIZE: usize = 100;

/// An activity to be created.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewActivity {
    /// The prospect id of its lead.
    pub lead_id: String,
    /// The activity type's numeric event code.
    pub code: u32,
    pub note: Option<String>,
    /// When it happened or will: UTC, `yyyy-MM-dd HH:mm:ss`; none is the time of the call.
    pub at: Option<String>,
    pub fields: Vec<Attribute>,
}

impl fmt::Debug for NewActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NewActivity({} on {}, redacted)",
            self.code, self.lead_id
        )
    }
}

/// A change of an activity: only what is given changes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityUpdate {
    pub id: String,
    pub code: u32,
    pub note: Option<String>,
    pub fields: Vec<Attribute>,
}

impl fmt::Debug for ActivityUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActivityUpdate({} {}, redacted)", self.code, self.id)
    }
}

impl Client {
    /// Creates an activity and gives its id; the same call twice makes two.
    ///
    /// # Errors
    /// [`Error::LeadNotFound`] when the lead was deleted or merged; see [`Error`] for the rest.
    pub async fn create_activity(&self, activity: &NewActivity) -> Result<String, Error> {
        let body = Create {
            related_prospect_id: &activity.lead_id,
            activity_event: activity.code,
            activity_note: activity.note.as_deref(),
            activity_date_time: activity.at.as_deref(),
            fields: slots(&activity.fields),
        };
        let reply: Reply = self
            .post(
                Effect::Write,
                "ProspectActivity.svc/Create",
                &[],
                &body,
                &activity.fields,
            )
            .await?;
        reply.id()
    }

    /// Changes an activity.
    ///
    /// # Errors
    /// [`Error::ActivityNotFound`] when it was deleted; see [`Error`] for the rest.
    pub async fn update_activity(&self, update: &ActivityUpdate) -> Result<(), Error> {
        let body = Update {
            prospect_activity_id: &update.id,
            activity_event: update.code,
            activity_note: update.note.as_deref(),
            fields: slots(&update.fields),
        };
        let _: Reply = self
            .post(
                Effect::Write,
                "ProspectActivity.svc/CustomActivity/Update",
                &[],
                &body,
                &update.fields,
            )
            .await?;
        Ok(())
    }

    /// Reads the fields of one activity; none when it was deleted.
    pub async fn activity_by_id(&self, id: &str) -> Result<Option<Fields>, Error> {
        let path = "ProspectActivity.svc/GetActivityDetails";
        let details: Details = match self.get(path, &[("activityId", id)]).await {
            Err(Error::ActivityNotFound) => return Ok(None),
            details => details?,
        };
        let fields = details.fields.into_iter();
        Ok(Some(
            fields
                .filter_map(|field| Some((field.schema_name.0?, field.value.0)))
                .collect(),
        ))
    }

    /// Finds the activity of type `code` on a lead whose `key_field` holds `key`; of several, the oldest.
    ///
    /// Reads to the end: an answer of none means that there was none when the last page was read.
    ///
    /// # Errors
    /// [`Error::NotUnderstood`] when the pages do not come to the end that LeadSquared counts.
    pub async fn find_activity(
        &self,
        lead_id: &str,
        code: u32,
        key_field: &str,
        key: &str,
    ) -> Result<Option<String>, Error> {
        let mut pages = Pages::default();
        let mut found: Option<(String, String)> = None;
        while let Some(offset) = pages.next_offset() {
            let (offset, row_count) = (offset.to_string(), PAGE_SIZE.to_string());
            let body = Retrieve {
                parameter: EventParameter {
                    activity_event: code,
                },
                paging: Paging {
                    offset: &offset,
                    row_count: &row_count,
                },
            };
            let page: Page = match self
                .post(
                    Effect::Read,
                    "ProspectActivity.svc/Retrieve",
                    &[("leadId", lead_id)],
                    &body,
                    &[],
                )
                .await
            {
                // A lead that is gone has no activities that could be found.
                Err(Error::LeadNotFound) => return Ok(None),
                page => page?,
            };
            pages.read(&page)?;
            for row in page.prospect_activities {
                let is_it = row.event_code.number() == Some(code)
                    && row
                        .activity_fields
                        .as_ref()
                        .and_then(|fields| fields.get(key_field))
                        == Some(key);
                if is_it {
                    let candidate = (row.created_on.into_text(), row.id.into_text());
                    if found.as_ref().is_none_or(|oldest| candidate < *oldest) {
                        found = Some(candidate);
                    }
                }
            }
        }
        Ok(found.map(|(_, id)| id))
    }
}

/// Where to read on. The documentation calls `Offset` a page number; should it be a row number after all, pages
/// overlap, and reading goes on by rows.
#[derive(Default)]
struct Pages {
    seen: HashSet<String>,
    pages: usize,
    by_rows: bool,
    done: bool,
}

impl Pages {
    fn next_offset(&self) -> Option<usize> {
        if self.done {
            None
        } else if self.by_rows {
            Some(self.seen.len())
        } else {
            Some(self.pages)
        }
    }

    fn read(&mut self, page: &Page) -> Result<(), Error> {
        let rows = page.prospect_activities.len();
        let before = self.seen.len();
        self.seen.extend(
            page.prospect_activities
                .iter()
                .filter_map(|row| row.id.0.clone()),
        );
        let new = self.seen.len() - before;
        self.pages += 1;

        let total = page.record_count.number().unwrap_or(0) as usize;
        let more = rows >= PAGE_SIZE || self.seen.len() < total;
        if !more {
            self.done = true;
        } else if new == 0 || new < rows / 2 {
            if self.by_rows && new == 0 {
                // A full page without news and a count that is reached: the end, by either reading.
                if self.seen.len() < total {
                    return Err(Error::NotUnderstood {
                        what: "the list of a lead's activities has no end".into(),
                    });
                }
                self.done = true;
            }
            self.by_rows = true;
        }
        Ok(())
    }
}

fn slots(fields: &[Attribute]) -> Vec<Slot<'_>> {
    fields
        .iter()
        .map(|field| Slot {
            schema_name: &field.name,
            value: field.wire_value(),
        })
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Slot<'a> {
    schema_name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Create<'a> {
    related_prospect_id: &'a str,
    activity_event: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_date_time: Option<&'a str>,
    fields: Vec<Slot<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Update<'a> {
    prospect_activity_id: &'a str,
    activity_event: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_note: Option<&'a str>,
    fields: Vec<Slot<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Retrieve<'a> {
    parameter: EventParameter,
    paging: Paging<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EventParameter {
    activity_event: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Paging<'a> {
    offset: &'a str,
    row_count: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    #[serde(default)]
    fields: Vec<Detail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Detail {
    #[serde(default)]
    schema_name: Loose,
    #[serde(default)]
    value: Loose,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    record_count: Loose,
    #[serde(default)]
    prospect_activities: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(default)]
    id: Loose,
    #[serde(default)]
    event_code: Loose,
    #[serde(default)]
    created_on: Loose,
    /// Some system types have none.
    #[serde(default)]
    activity_fields: Option<Flat>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a list of `total` rows as a server gives it, and returns how many rows were seen.
    fn read_all(total: usize, offset_is_page: bool, count_is_total: bool) -> usize {
        let mut pages = Pages::default();
        for _ in 0..1_000 {
            let Some(offset) = pages.next_offset() else {
                return pages.seen.len();
            };
            let start = if offset_is_page {
                offset * PAGE_SIZE
            } else {
                offset
            };
            let rows: Vec<Row> = (start.min(total)..(start + PAGE_SIZE).min(total))
                .map(|row| Row {
                    id: Loose(Some(row.to_string())),
                    event_code: Loose(None),
                    created_on: Loose(None),
                    activity_fields: None,
                })
                .collect();
            let count = if count_is_total { total } else { rows.len() };
            pages
                .read(&Page {
                    record_count: Loose(Some(count.to_string())),
                    prospect_activities: rows,
                })
                .expect("comes to the end");
        }
        panic!("no end");
    }

    proptest! {
        #[test]
        fn every_row_is_seen_whatever_offset_and_count_mean(
            total in 0usize..700, offset_is_page: bool, count_is_total: bool,
        ) {
            prop_assert_eq!(read_all(total, offset_is_page, count_is_total), total);
        }
    }
}
