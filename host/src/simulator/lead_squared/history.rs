//! The calls that read activities.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::account::{Account, utc};
use super::activity::{Activity, find};
use super::answer::{Answer, Refusal};
use super::field::{is_date, is_date_time};
use super::search::Number;
use super::server::Call;

/// What a page holds when the caller does not say.
const DEFAULT_ROWS: usize = 25;

/// The activities of one lead, newest first; `Offset` is the number of a page.
pub(super) fn of_lead(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Body {
        parameter: Option<EventParameter>,
        paging: Option<Paging>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Page<'a> {
        record_count: usize,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        prospect_activities: Vec<Row<'a>>,
    }
    let id = call.required("leadId")?;
    let body: Body = if call.body.is_empty() {
        Body::default()
    } else {
        call.json()?
    };
    let lead = account.lead(id).ok_or_else(Refusal::lead_not_found)?;
    let code = body
        .parameter
        .and_then(|parameter| parameter.activity_event);
    let paging = body.paging.unwrap_or_default();
    let rows: Vec<&Activity> = account.leads[lead]
        .activities
        .iter()
        .rev()
        .map(|place| &account.activities[*place])
        .filter(|activity| code.is_none_or(|Number(code)| activity.code == code))
        .collect();
    Ok(Answer::json(&Page {
        record_count: rows.len(),
        prospect_activities: rows
            .iter()
            .skip(paging.offset() * paging.rows())
            .take(paging.rows())
            .map(|activity| Row { account, activity })
            .collect(),
    }))
}

/// The activities of one type that were changed in a time, both ends included.
pub(super) fn of_type(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        parameter: Parameter,
        #[serde(default)]
        paging: Option<PageIndex>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Parameter {
        #[serde(default)]
        from_date: String,
        #[serde(default)]
        to_date: String,
        #[serde(default)]
        activity_event: Option<Number>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct PageIndex {
        page_index: Number,
        page_size: Option<Number>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Page<'a> {
        record_count: usize,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        list: Vec<Listed<'a>>,
    }
    let Body { parameter, paging } = call.json()?;
    for (name, value) in [
        ("FromDate", &parameter.from_date),
        ("ToDate", &parameter.to_date),
    ] {
        if !is_date(value) {
            return Err(Refusal::invalid(format!("{name} value is not correct.")));
        }
    }
    let Some(Number(code)) = parameter.activity_event else {
        return Err(Refusal::invalid("You have not passed any ActivityEvent."));
    };
    let paging = paging.unwrap_or_default();
    let size = paging
        .page_size
        .map_or(DEFAULT_ROWS, |Number(size)| size as usize);
    if size > 1_000 {
        return Err(Refusal::invalid("PageSize can not be more than 1000."));
    }
    let end = |date: &str| {
        if is_date_time(date) {
            date.to_owned()
        } else {
            format!("{date} 23:59:59")
        }
    };
    let to = end(&parameter.to_date);
    let found: Vec<&Activity> = account
        .activities
        .iter()
        .filter(|activity| {
            let modified = utc(activity.modified_at);
            activity.code == code
                && !account.leads[activity.lead].is_deleted
                && modified >= parameter.from_date
                && modified <= to
        })
        .collect();
    Ok(Answer::json(&Page {
        record_count: found.len(),
        list: found
            .iter()
            .skip((paging.page_index.0.max(1) as usize - 1) * size)
            .take(size)
            .map(|activity| Listed { account, activity })
            .collect(),
    }))
}

pub(super) fn details(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Details<'a> {
        #[serde(rename = "ID")]
        id: String,
        name: &'a str,
        display_name: &'a str,
        fields: Vec<Field<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Field<'a> {
        schema_name: &'a str,
        display_name: &'a str,
        value: Option<&'a str>,
        data_type: &'a str,
        is_mandatory: bool,
    }
    let place = find(account, call.required("activityId")?)?;
    let activity = &account.activities[place];
    let kind = &account.types.0[&activity.code];
    Ok(Answer::json(&Details {
        id: activity.id.to_string(),
        name: &kind.name,
        display_name: &kind.name,
        fields: kind
            .slots
            .iter()
            .map(|slot| Field {
                schema_name: &slot.schema_name,
                display_name: &slot.display_name,
                value: activity
                    .values
                    .iter()
                    .find(|(name, _)| *name == slot.schema_name)
                    .map(|(_, value)| value.as_str()),
                data_type: &slot.data_type,
                is_mandatory: slot.is_mandatory,
            })
            .collect(),
    }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct EventParameter {
    activity_event: Option<Number>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Paging {
    offset: Option<Number>,
    row_count: Option<Number>,
}

impl Paging {
    fn offset(&self) -> usize {
        self.offset.map_or(0, |Number(offset)| offset as usize)
    }

    fn rows(&self) -> usize {
        self.row_count
            .map_or(DEFAULT_ROWS, |Number(rows)| rows.max(1) as usize)
    }
}

/// An activity as `Retrieve` gives it.
struct Row<'a> {
    account: &'a Account,
    activity: &'a Activity,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Row { account, activity } = self;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("Id", &activity.id.to_string())?;
        map.serialize_entry("EventCode", &activity.code)?;
        map.serialize_entry("EventName", &account.types.0[&activity.code].name)?;
        map.serialize_entry("ActivityScore", &0)?;
        map.serialize_entry("CreatedOn", &activity.at)?;
        map.serialize_entry("ModifiedOn", &utc(activity.modified_at))?;
        map.serialize_entry("ActivityType", &2)?;
        map.serialize_entry("IsEmailType", &false)?;
        map.serialize_entry("Type", "Inbound")?;
        map.serialize_entry("TrackLocation", &0)?;
        let lead = account.leads[activity.lead].id.to_string();
        map.serialize_entry("RelatedProspectId", &lead)?;
        map.serialize_entry("ActivityFields", &Slots(self.activity))?;
        map.end()
    }
}

/// The fields of an activity as an object; its creation time comes in another format, as in the API.
struct Slots<'a>(&'a Activity);

impl Serialize for Slots<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("ActivityEvent_Note", &self.0.note)?;
        let created = self.0.created_at.strftime("%-m/%-d/%Y %-I:%M:%S %p");
        map.serialize_entry("CreatedOn", &created.to_string())?;
        for (name, value) in &self.0.values {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// An activity as `RetrieveByActivityEvent` gives it.
struct Listed<'a> {
    account: &'a Account,
    activity: &'a Activity,
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Listed { account, activity } = self;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("ProspectActivityId", &activity.id.to_string())?;
        let lead = account.leads[activity.lead].id.to_string();
        map.serialize_entry("RelatedProspectId", &lead)?;
        map.serialize_entry("ActivityEvent", &activity.code.to_string())?;
        map.serialize_entry("ActivityEvent_Note", &activity.note)?;
        map.serialize_entry("CreatedOn", &activity.at)?;
        map.serialize_entry("ModifiedOn", &utc(activity.modified_at))?;
        for (name, value) in &activity.values {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
