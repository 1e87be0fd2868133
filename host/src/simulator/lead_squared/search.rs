//! The calls that read leads.

use jiff::civil;
use jiff::tz::TimeZone;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::account::{Account, Lead, utc};
use super::answer::{Answer, Refusal};
use super::field::{is_date_time, is_number, key_of};
use super::server::Call;

pub(super) fn by_id(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let id = call.required("id")?;
    answer(account, account.lead(id).into_iter(), None)
}

pub(super) fn by_email(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let email = call.required("emailaddress")?;
    let field = account.fields.index("EmailAddress");
    let found = field.and_then(|field| account.holder(field, email));
    answer(account, found.into_iter(), None)
}

/// Compares digits, with or without the country code; of several leads the one with the newest activity.
pub(super) fn by_phone(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let asked: String = call
        .required("phone")?
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    if asked.len() < 7 {
        return Err(Refusal::invalid("phone"));
    }
    let fields = ["Phone", "Mobile"].map(|name| account.fields.index(name));
    let holds = |lead: &Lead| {
        fields.iter().flatten().any(|field| {
            lead.value(*field).is_some_and(|held| {
                let national = held.split_once('-').map_or("", |(_, number)| number);
                let digits: String = held.chars().filter(char::is_ascii_digit).collect();
                digits == asked || national == asked
            })
        })
    };
    let newest = (0..account.leads.len())
        .filter(|place| !account.leads[*place].is_deleted && holds(&account.leads[*place]))
        .max_by_key(|place| account.leads[*place].activities.last().copied());
    answer(account, newest.into_iter(), None)
}

/// A condition on a field that does not exist, or in another wrapper than `Parameter`, is silently ignored.
pub(super) fn by_criteria(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let query: Query = call.json()?;
    let paging = query.paging.unwrap_or_default();
    if paging.page_size.0 > 5_000 {
        return Err(Refusal::mx(
            "MXMandatoryFieldMissingException",
            "Page size can not be larger than 5000.",
        ));
    }
    let columns = query.columns.map(|columns| {
        columns
            .include
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect::<Vec<_>>()
    });
    let condition = query.parameter.unwrap_or_default();
    let field = account.fields.index(&condition.lookup_name);
    let skip = (paging.page_index.0.max(1) as usize - 1) * paging.page_size.0 as usize;
    let take = paging.page_size.0 as usize;

    let equals = condition.sql_operator.trim() == "=";
    if let Some(index) = field
        && equals
    {
        let known = account.fields.at(index);
        // A flag is kept as 1 or 0, and asking for `true` breaks the real query.
        if known.data_type == super::field::DataType::Boolean
            && !matches!(condition.lookup_value.as_str(), "0" | "1")
        {
            return Err(Refusal::Bare);
        }
        if known.is_unique {
            let found = account.holder(index, &condition.lookup_value);
            return answer(account, found.into_iter().skip(skip), columns.as_deref());
        }
    }
    let operator = Operator::named(condition.sql_operator.trim());
    if field.is_some() && operator.is_none() {
        return Err(Refusal::invalid("SqlOperator is not valid."));
    }
    let holds = |lead: &Lead| {
        let (Some(_), Some(operator)) = (field, operator) else {
            return true;
        };
        value(account, lead, &condition.lookup_name).is_some_and(|held| {
            let known = account.fields.get(&condition.lookup_name);
            let data_type = known.map_or(super::field::DataType::Text, |field| field.data_type);
            operator.holds(
                &key_of(data_type, &held),
                &key_of(data_type, &condition.lookup_value),
            )
        })
    };
    let mut found: Vec<usize> = (0..account.leads.len())
        .filter(|place| !account.leads[*place].is_deleted && holds(&account.leads[*place]))
        .collect();
    if let Some(sorting) = query.sorting {
        if sorting.column_name != "CreatedOn" && sorting.column_name != "ProspectAutoId" {
            found.sort_by_key(|place| value(account, &account.leads[*place], &sorting.column_name));
        }
        if sorting.direction == "1" {
            found.reverse();
        }
    }
    answer(
        account,
        found.into_iter().skip(skip).take(take),
        columns.as_deref(),
    )
}

/// Leads that were changed in a time, a new activity included; each as a list of attributes.
///
/// Both ends count to the second, but the times that they are compared with have parts of one that nobody sees: what
/// happened within the last second is not listed.
pub(super) fn recently_modified(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Asked {
        parameter: Times,
        #[serde(default)]
        columns: Option<Columns>,
        #[serde(default)]
        paging: Paging,
        #[serde(default)]
        sorting: Sorting,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Times {
        #[serde(default)]
        from_date: String,
        #[serde(default)]
        to_date: String,
    }
    let asked: Asked = call.json()?;
    let time = |name: &str, text: &str| match is_date_time(text) {
        true => text
            .parse::<civil::DateTime>()
            .and_then(|at| TimeZone::UTC.to_timestamp(at))
            .map_err(|_| Refusal::invalid(format!("{name} value is not correct."))),
        false => Err(Refusal::invalid(format!("{name} value is not correct."))),
    };
    let from = time("FromDate", &asked.parameter.from_date)?;
    let to = time("ToDate", &asked.parameter.to_date)?;
    let (page, size) = (asked.paging.page_index.0, asked.paging.page_size.0 as usize);
    if size > 5_000 {
        return Err(Refusal::mx(
            "MXMandatoryFieldMissingException",
            "Page size can not be larger than 5000.",
        ));
    }
    let is_within = |lead: &&Lead| !lead.is_deleted && (from..=to).contains(&lead.touched_at);
    let mut found: Vec<&Lead> = account.leads.iter().filter(is_within).collect();
    if found.is_empty() {
        return Ok(Answer::json(&serde_json::json!({ "RecordCount": 0 })));
    }
    match asked.sorting.column_name.as_str() {
        "" => found.sort_by_key(|lead| lead.touched_at),
        column => found.sort_by_key(|lead| value(account, lead, column)),
    }
    if asked.sorting.direction == "1" {
        found.reverse();
    }
    let names: Vec<&str> = match &asked.columns {
        Some(columns) => columns.include.split(',').map(str::trim).collect(),
        None => {
            let fields = account.fields.all().iter();
            fields.map(|field| field.schema_name.as_str()).collect()
        }
    };
    let known = |name: &&str| account.fields.get(name).is_some();
    let names: Vec<&str> = names.into_iter().filter(known).collect();
    let leads = found.iter().skip((page.max(1) as usize - 1) * size);
    let pair = |name: &str, value: Option<String>| serde_json::json!({ "Attribute": name, "Value": value });
    let leads = leads.take(size).map(|lead| {
        let fields = names
            .iter()
            .map(|name| pair(name, value(account, lead, name)));
        let echoed = [
            pair("CanUpdate", Some("true".into())),
            pair("Total", Some(found.len().to_string())),
        ];
        serde_json::json!({ "LeadPropertyList": fields.chain(echoed).collect::<Vec<_>>() })
    });
    let leads: Vec<_> = leads.collect();
    Ok(Answer::json(
        &serde_json::json!({ "RecordCount": found.len(), "Leads": leads }),
    ))
}

#[derive(Clone, Copy)]
enum Operator {
    Is,
    IsNot,
    Like,
    Less,
    LessOrIs,
    More,
    MoreOrIs,
}

impl Operator {
    fn named(text: &str) -> Option<Self> {
        Some(match text {
            "=" => Self::Is,
            "<>" => Self::IsNot,
            "LIKE" => Self::Like,
            "<" => Self::Less,
            "<=" => Self::LessOrIs,
            ">" => Self::More,
            ">=" => Self::MoreOrIs,
            _ => return None,
        })
    }

    fn holds(self, held: &str, asked: &str) -> bool {
        let order = match (is_number(held), is_number(asked)) {
            (true, true) => held.parse::<f64>().ok().partial_cmp(&asked.parse().ok()),
            _ => Some(held.cmp(asked)),
        };
        let Some(order) = order else { return false };
        match self {
            Self::Is => held == asked,
            Self::IsNot => held != asked,
            Self::Like => like(&held.to_lowercase(), &asked.to_lowercase()),
            Self::Less => order.is_lt(),
            Self::LessOrIs => order.is_le(),
            Self::More => order.is_gt(),
            Self::MoreOrIs => order.is_ge(),
        }
    }
}

/// SQL's pattern with `%` at its ends; without any, the text is looked for anywhere.
fn like(held: &str, pattern: &str) -> bool {
    let inner = pattern.trim_matches('%');
    match (pattern.starts_with('%'), pattern.ends_with('%')) {
        (false, true) => held.starts_with(inner),
        (true, false) => held.ends_with(inner),
        _ => held.contains(inner),
    }
}

fn answer(
    account: &Account,
    places: impl Iterator<Item = usize>,
    columns: Option<&[String]>,
) -> Result<Answer, Refusal> {
    let flat: Vec<FlatLead<'_>> = places
        .map(|place| FlatLead {
            account,
            lead: &account.leads[place],
            columns,
        })
        .collect();
    Ok(Answer::json(&flat))
}

/// A lead as an object in which everything is a string or null.
struct FlatLead<'a> {
    account: &'a Account,
    lead: &'a Lead,
    columns: Option<&'a [String]>,
}

impl Serialize for FlatLead<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        match self.columns {
            // Columns that do not exist are left out.
            Some(columns) => {
                for name in columns
                    .iter()
                    .filter(|name| self.account.fields.get(name).is_some())
                {
                    map.serialize_entry(name, &value(self.account, self.lead, name))?;
                }
            }
            None => {
                for field in self.account.fields.all() {
                    let name = &field.schema_name;
                    map.serialize_entry(name, &value(self.account, self.lead, name))?;
                }
            }
        }
        map.end()
    }
}

/// A value as it is read: those that LeadSquared keeps itself come with every lead.
pub(super) fn value(account: &Account, lead: &Lead, name: &str) -> Option<String> {
    let user = &account.user;
    Some(match name {
        "ProspectID" => lead.id.to_string(),
        "ProspectAutoId" => lead.auto_id.to_string(),
        "CreatedOn" => format!("{}.000", utc(lead.created_at)),
        "ModifiedOn" => format!("{}.000", utc(lead.modified_at)),
        "LeadLastModifiedOn" => format!("{}.000", utc(lead.touched_at)),
        "CreatedBy" => lead.created_by.to_string(),
        "ModifiedBy" => lead.modified_by.to_string(),
        "OwnerIdName" => "Bridge User".to_owned(),
        "CreatedByName" => account.name_of(lead.created_by),
        "ModifiedByName" => account.name_of(lead.modified_by),
        "OwnerIdEmailAddress" => "bridge@example.com".to_owned(),
        "Origin" => "API".to_owned(),
        "IsLead" => "1".to_owned(),
        "StatusCode" | "TotalVisits" => "0".to_owned(),
        _ => {
            let field = account.fields.index(name)?;
            return match (lead.value(field), name) {
                (Some(held), _) => Some(held.to_owned()),
                (None, "OwnerId") => Some(user.id.to_string()),
                (None, "ProspectStage") => Some("Prospect".to_owned()),
                (None, "Score" | "EngagementScore" | "DoNotEmail" | "DoNotCall" | "DoNotSMS") => {
                    Some("0".to_owned())
                }
                (None, _) => None,
            };
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Query {
    parameter: Option<Condition>,
    columns: Option<Columns>,
    sorting: Option<Sorting>,
    paging: Option<Paging>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Condition {
    lookup_name: String,
    lookup_value: String,
    sql_operator: String,
}

#[derive(Deserialize)]
struct Columns {
    #[serde(rename = "Include_CSV", default)]
    include: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Sorting {
    column_name: String,
    direction: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Paging {
    page_index: Number,
    page_size: Number,
}

impl Default for Paging {
    fn default() -> Self {
        Self {
            page_index: Number(1),
            page_size: Number(100),
        }
    }
}

/// A number that may come as text.
#[derive(Clone, Copy)]
pub(super) struct Number(pub(super) u32);

impl Default for Number {
    fn default() -> Self {
        Self(1)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u32),
            Text(String),
        }
        match Either::deserialize(from)? {
            Either::Number(number) => Ok(Self(number)),
            Either::Text(text) => text
                .trim()
                .parse()
                .map(Self)
                .map_err(serde::de::Error::custom),
        }
    }
}
