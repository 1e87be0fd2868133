//! Leads that were changed in a time, leads that meet one condition, and activities that were changed: page by page.
//!
//! `Leads.RecentlyModified` goes by `LeadLastModifiedOn`, which a new activity moves as well (`leadsquared.md` 5).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::error::{Effect, Error};
use super::lead::{Columns, Lead, Paging, Sorting};
use super::wire::{Flat, Loose};

/// When a lead was changed last, activities included.
const CHANGED_ON: &str = "LeadLastModifiedOn";

/// Attributes that come with every lead of a page and are none of its fields.
const ECHOED: [&str; 2] = ["Total", "CanUpdate"];

/// One page of leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Leads on all pages.
    pub total: usize,
    pub leads: Vec<Lead>,
}

/// A time with both ends; whole seconds count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Which page, from 1, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    pub page: u32,
    pub size: u32,
}

impl Client {
    /// Reads one page of the leads that were changed between two moments, with `columns`, in the order of their ids.
    ///
    /// A change within the last second of the time may be missing: the next time shares that second.
    ///
    /// # Errors
    /// [`Error::SearchIgnored`] when LeadSquared answers with leads of another time.
    pub async fn recently_modified(
        &self,
        between: Between,
        columns: &[&str],
        at: At,
    ) -> Result<Page, Error> {
        let (from, to) = (wire(between.from), wire(between.to));
        let mut wanted = vec!["ProspectID", CHANGED_ON];
        let more = columns.iter().filter(|column| !wanted.contains(*column));
        wanted.extend(more.copied().collect::<Vec<_>>());
        let include = wanted.join(",");
        let query = Query {
            parameter: Dates {
                from_date: &from,
                to_date: &to,
                activity_event: None,
            },
            columns: Some(Columns { include: &include }),
            paging: at.into(),
            // Anything that is not unique orders ties anew on every page.
            sorting: Some(Sorting {
                column_name: "ProspectID",
                direction: "0",
            }),
        };
        let path = "LeadManagement.svc/Leads.RecentlyModified";
        let answer: Answer = self.post(Effect::Read, path, &[], &query, &[]).await?;
        let leads = answer.leads.into_iter().map(|row| {
            let pairs = row.lead_property_list.into_iter();
            let pairs = pairs.filter(|pair| !ECHOED.contains(&pair.attribute.as_str()));
            Lead::of(Flat(
                pairs.map(|pair| (pair.attribute, pair.value.0)).collect(),
            ))
        });
        let leads: Vec<Lead> = leads.filter(|lead| !lead.id.is_empty()).collect();
        let is_within = |lead: &Lead| {
            let changed = lead.get(CHANGED_ON).map(whole_second);
            changed.is_none_or(|changed| from.as_str() <= changed && changed <= to.as_str())
        };
        if !leads.iter().all(is_within) {
            return Err(Error::SearchIgnored {
                field: CHANGED_ON.into(),
            });
        }
        Ok(Page {
            total: answer.record_count.number().unwrap_or(0) as usize,
            leads,
        })
    }

    /// Counts the activities of a type that were changed between two moments.
    pub async fn count_activities(&self, code: u32, between: Between) -> Result<usize, Error> {
        let (from, to) = (wire(between.from), wire(between.to));
        let query = Query {
            parameter: Dates {
                from_date: &from,
                to_date: &to,
                activity_event: Some(code),
            },
            columns: None,
            paging: At { page: 1, size: 1 }.into(),
            sorting: None,
        };
        let path = "ProspectActivity.svc/CustomActivity/RetrieveByActivityEvent";
        let answer: Count = self.post(Effect::Read, path, &[], &query, &[]).await?;
        Ok(answer.record_count.number().unwrap_or(0) as usize)
    }
}

/// UTC, to the second.
fn wire(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `2026-10-07 14:03:21.000` without its parts of a second.
fn whole_second(text: &str) -> &str {
    text.split_once('.').map_or(text, |(whole, _)| whole)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Query<'a> {
    parameter: Dates<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<Columns<'a>>,
    paging: Paging,
    #[serde(skip_serializing_if = "Option::is_none")]
    sorting: Option<Sorting<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Dates<'a> {
    from_date: &'a str,
    to_date: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_event: Option<u32>,
}

impl From<At> for Paging {
    fn from(at: At) -> Self {
        Self {
            page_index: at.page,
            page_size: at.size,
        }
    }
}

/// Without leads there is no list either.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    record_count: Loose,
    #[serde(default)]
    leads: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(default)]
    lead_property_list: Vec<Pair>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    attribute: String,
    #[serde(default)]
    value: Loose,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Count {
    #[serde(default)]
    record_count: Loose,
}
