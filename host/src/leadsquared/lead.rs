//! Leads: find, create, update.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::client::{Call, Client};
use super::error::{Effect, Error};
use super::wire::{Flat, Loose};

/// Leads asked for in one page of a search; a unique field finds one at most.
const PAGE_SIZE: u32 = 100;

/// The same where many are expected; what clients use (`leadsquared.md` 3).
const LIST_SIZE: u32 = 1_000;

/// One field of a lead or an activity, as it is to be.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// The schema name, for example `mx_MRN`.
    pub name: String,
    /// None empties the field.
    pub value: Option<String>,
}

impl Attribute {
    /// An attribute with a value.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: Some(value.into()),
        }
    }

    /// An attribute that empties its field.
    pub fn clear(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: None,
        }
    }

    /// What goes over the wire: an empty text empties a field (`leadsquared.md` 7.3).
    pub(super) fn wire_value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attribute({}, redacted)", self.name)
    }
}

/// A lead as LeadSquared answered it.
#[derive(Clone, PartialEq, Eq)]
pub struct Lead {
    /// The prospect id.
    pub id: String,
    fields: Flat,
}

impl Lead {
    pub(super) fn of(fields: Flat) -> Self {
        let id = fields.get("ProspectID").unwrap_or_default().to_owned();
        Self { id, fields }
    }

    /// The value of `field`; none when it is unset or was not asked for.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field)
    }

    /// All fields that came with the lead, in LeadSquared's order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.fields
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lead({}, redacted)", self.id)
    }
}

impl<'de> Deserialize<'de> for Lead {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self::of(Flat::deserialize(from)?))
    }
}

impl Client {
    /// Finds the leads whose `field` holds `value`, with `columns` besides; an empty value finds nothing.
    ///
    /// # Errors
    /// [`Error::SearchIgnored`] when LeadSquared answers with leads that hold something else.
    pub async fn search(
        &self,
        field: &str,
        value: &str,
        columns: &[&str],
    ) -> Result<Vec<Lead>, Error> {
        if value.trim().is_empty() {
            return Ok(Vec::new());
        }
        let held = self.holders(field, value, columns, PAGE_SIZE).await?;
        let found = held.into_iter().filter(|(held, _)| *held == Held::Same);
        Ok(found.map(|(_, lead)| lead).collect())
    }

    /// Lists the leads whose `field` holds `value`, whatever case it is written in; of many, thousand a call.
    ///
    /// # Errors
    /// As [`Client::search`].
    pub async fn leads_with(&self, field: &str, value: &str) -> Result<Vec<Lead>, Error> {
        let found = self.holders(field, value, &[], LIST_SIZE).await?;
        Ok(found.into_iter().map(|(_, lead)| lead).collect())
    }

    async fn holders(
        &self,
        field: &str,
        value: &str,
        columns: &[&str],
        page_size: u32,
    ) -> Result<Vec<(Held, Lead)>, Error> {
        let mut found = Vec::new();
        let mut wanted = vec!["ProspectID", field];
        wanted.extend(
            columns
                .iter()
                .filter(|column| **column != field && **column != "ProspectID"),
        );
        let include = wanted.join(",");
        for page in 1.. {
            let query = Query {
                parameter: Condition {
                    lookup_name: field,
                    lookup_value: value,
                    sql_operator: "=",
                },
                columns: Columns { include: &include },
                sorting: Sorting {
                    column_name: "CreatedOn",
                    direction: "0",
                },
                paging: Paging {
                    page_index: page,
                    page_size,
                },
            };
            let leads: Vec<Lead> = self
                .post(
                    Effect::Read,
                    "LeadManagement.svc/Leads.Get",
                    &[],
                    &query,
                    &[],
                )
                .await?;
            let last = leads.len() < page_size as usize;
            for lead in leads {
                match Held::of(field, value, lead.get(field)) {
                    held @ (Held::Same | Held::Nearly) if !lead.id.is_empty() => {
                        found.push((held, lead));
                    }
                    Held::Same | Held::Nearly => {}
                    Held::Other => {
                        return Err(Error::SearchIgnored {
                            field: field.to_owned(),
                        });
                    }
                }
            }
            if last {
                break;
            }
        }
        Ok(found)
    }

    /// Reads one lead; none when it was deleted or merged.
    pub async fn lead_by_id(&self, id: &str) -> Result<Option<Lead>, Error> {
        let leads: Vec<Lead> = self
            .get("LeadManagement.svc/Leads.GetById", &[("id", id)])
            .await?;
        Ok(leads
            .into_iter()
            .find(|lead| lead.id.eq_ignore_ascii_case(id)))
    }

    /// Creates a lead and gives its id.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when another lead holds a unique value; see [`Error`] for the rest.
    pub async fn create_lead(&self, attributes: &[Attribute]) -> Result<String, Error> {
        let body = Attributes {
            attributes,
            search_by: None,
        };
        let reply: Reply = self
            .post(
                Effect::Write,
                "LeadManagement.svc/Lead.Create",
                &[],
                &body,
                attributes,
            )
            .await?;
        reply.id()
    }

    /// Writes the given fields of a lead; `automations` says whether its automations and webhooks fire
    /// (`postUpdatedLead`, `leadsquared.md` 4.2).
    ///
    /// # Errors
    /// [`Error::LeadNotFound`] when the lead was deleted or merged; see [`Error`] for the rest.
    pub async fn update_lead(
        &self,
        id: &str,
        attributes: &[Attribute],
        automations: bool,
    ) -> Result<(), Error> {
        let query = [("leadId", id), ("postUpdatedLead", "true")];
        let body = Attributes {
            attributes,
            search_by: None,
        };
        let _: Reply = self
            .post(
                Effect::Write,
                "LeadManagement.svc/Lead.Update",
                &query[..if automations { 2 } else { 1 }],
                &body,
                attributes,
            )
            .await?;
        Ok(())
    }

    /// Updates the lead that `search_by` finds by its value among `attributes`, or creates one; gives its id.
    ///
    /// # Errors
    /// As [`Client::create_lead`].
    pub async fn create_or_update_lead(
        &self,
        attributes: &[Attribute],
        search_by: &str,
    ) -> Result<String, Error> {
        let body = Attributes {
            attributes,
            search_by: Some(search_by),
        };
        let reply: Reply = self
            .post(
                Effect::Write,
                "LeadManagement.svc/Lead.CreateOrUpdate",
                &[],
                &body,
                attributes,
            )
            .await?;
        reply.id()
    }

    pub(super) async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Error> {
        self.call(Call {
            effect: Effect::Read,
            path,
            query,
            body: None,
            sent: &[],
        })
        .await
    }

    pub(super) async fn post<T: serde::de::DeserializeOwned>(
        &self,
        effect: Effect,
        path: &str,
        query: &[(&str, &str)],
        body: &impl Serialize,
        sent: &[Attribute],
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).expect("texts and numbers serialize");
        self.call(Call {
            effect,
            path,
            query,
            body: Some(body),
            sent,
        })
        .await
    }
}

/// How far a found lead holds the value that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Same,
    /// Equal to a database that ignores case and blanks, but not to us.
    Nearly,
    Other,
}

impl Held {
    fn of(field: &str, asked: &str, held: Option<&str>) -> Self {
        let Some(held) = held else { return Held::Other };
        let same = match field {
            "EmailAddress" => plain(held) == plain(asked),
            "Phone" | "Mobile" => !digits(asked).is_empty() && digits(held) == digits(asked),
            _ => held == asked,
        };
        if same {
            Held::Same
        } else if plain(held) == plain(asked) {
            Held::Nearly
        } else {
            Held::Other
        }
    }
}

fn plain(text: &str) -> String {
    text.trim().to_lowercase()
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Query<'a> {
    parameter: Condition<'a>,
    columns: Columns<'a>,
    sorting: Sorting<'a>,
    paging: Paging,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Condition<'a> {
    lookup_name: &'a str,
    lookup_value: &'a str,
    sql_operator: &'a str,
}

#[derive(Serialize)]
pub(super) struct Columns<'a> {
    #[serde(rename = "Include_CSV")]
    pub(super) include: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Sorting<'a> {
    pub(super) column_name: &'a str,
    pub(super) direction: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Paging {
    pub(super) page_index: u32,
    pub(super) page_size: u32,
}

/// The array of attributes that every lead write takes, with `SearchBy` as its last entry.
struct Attributes<'a> {
    attributes: &'a [Attribute],
    search_by: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pair<'a> {
    attribute: &'a str,
    value: &'a str,
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let pairs = self.attributes.iter().map(|attribute| Pair {
            attribute: &attribute.name,
            value: attribute.wire_value(),
        });
        to.collect_seq(pairs.chain(self.search_by.map(|value| Pair {
            attribute: "SearchBy",
            value,
        })))
    }
}

/// The answer to a write.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Reply {
    #[serde(default)]
    message: Message,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(default)]
    id: Loose,
}

impl Reply {
    /// The id of what was written; a success without one leaves us not knowing what was done.
    pub(super) fn id(self) -> Result<String, Error> {
        let id = self.message.id.into_text();
        if id.is_empty() {
            Err(Effect::Write.lost("the answer names no id"))
        } else {
            Ok(id)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_found_lead_must_hold_what_was_asked() {
        let check = |field: &str, asked: &str, held: Option<&str>, expected: Held| {
            assert_eq!(
                Held::of(field, asked, held),
                expected,
                "{field} {asked} {held:?}"
            );
        };
        check("mx_MRN", "007", Some("007"), Held::Same);
        check("mx_MRN", "007", Some("7"), Held::Other);
        check("mx_MRN", "007", None, Held::Other);
        check("mx_MRN", "ab1", Some("AB1"), Held::Nearly);
        check("mx_MRN", "ab1", Some("ab1 "), Held::Nearly);
        check(
            "EmailAddress",
            "ana@example.com",
            Some(" Ana@Example.com"),
            Held::Same,
        );
        check(
            "EmailAddress",
            "ana@example.com",
            Some("ana@example.org"),
            Held::Other,
        );
        check(
            "Phone",
            "+1-5551234567",
            Some("+1 (555) 123-4567"),
            Held::Same,
        );
        check("Phone", "5551234567", Some("+1-5551234567"), Held::Other);
        check("Mobile", "none", Some("no"), Held::Other);
    }

    #[test]
    fn leads_and_attributes_show_no_values() {
        let lead: Lead = serde_json::from_str(
            r#"{"ProspectID":"1","Score":54,"Notes":null,"FirstName":"Ana","X":{"a":[1]}}"#,
        )
        .expect("a lead");
        assert_eq!(lead.get("Score"), Some("54"));
        assert_eq!(lead.get("Notes"), None);
        assert_eq!(lead.get("X"), None);
        let text = format!("{lead:?} {:?}", Attribute::text("FirstName", "Ana"));
        insta::assert_snapshot!(text, @"Lead(1, redacted) Attribute(FirstName, redacted)");
    }

    proptest! {
        #[test]
        fn every_value_reaches_the_wire_as_itself(name in "[A-Za-z_]{1,12}", value in any::<String>()) {
            let sent = [Attribute::text(name.clone(), value.clone()), Attribute::clear("Notes")];
            let body = Attributes { attributes: &sent, search_by: Some("mx_MRN") };
            let json = serde_json::to_string(&body).expect("serializes");
            let read: serde_json::Value = serde_json::from_str(&json).expect("reads");
            prop_assert_eq!(read, serde_json::json!([
                {"Attribute": name, "Value": value},
                {"Attribute": "Notes", "Value": ""},
                {"Attribute": "SearchBy", "Value": "mx_MRN"},
            ]));
        }
    }
}
