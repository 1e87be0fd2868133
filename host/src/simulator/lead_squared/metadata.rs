//! The calls that tell what the account is made of, and those that add to it.

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::activity::{Slot, Type};
use super::answer::{Answer, Refusal};
use super::field::{DataType, Field};
use super::search::Number;
use super::server::Call;

pub(super) fn who_am_i(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Caller {
        id: String,
        name: &'static str,
        role: &'static str,
        email_address: &'static str,
        time_zone: &'static str,
        org_id: String,
        org_short_code: &'static str,
        default_country_code: String,
        #[serde(rename = "LSQCommonServiceURLs")]
        urls: Urls,
    }
    #[derive(Serialize)]
    struct Urls {
        api: String,
        app: String,
    }
    Ok(Answer::json(&Caller {
        id: account.user.id.to_string(),
        name: "Bridge User",
        role: "Administrator",
        email_address: "bridge@example.com",
        time_zone: "America/New_York",
        org_id: account.user.organisation.to_string(),
        org_short_code: "SIM",
        default_country_code: account.fields.default_country_code().to_owned(),
        urls: Urls {
            api: account.home.clone().unwrap_or_else(|| call.host.clone()),
            app: call.host.clone(),
        },
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FieldView<'a> {
    entity: &'static str,
    schema_name: &'a str,
    display_name: &'a str,
    data_type: &'static str,
    is_mandatory: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Vec<Choice<'a>>>,
    max_length: String,
    entity_attribute_id: String,
    name: &'a str,
    entity_attribute_type: u32,
    render_type_text_value: &'static str,
    is_visible: bool,
    is_searchable: bool,
    is_lead_identifier: bool,
    lock_after_create: u32,
    is_sortable: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Choice<'a> {
    value: std::borrow::Cow<'a, str>,
}

pub(super) fn lead_fields(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let only = call.param("schemaName");
    let with_options = call.param("excludeOptionSets") != Some("1");
    let fields: Vec<FieldView<'_>> = account
        .fields
        .all()
        .iter()
        .filter(|field| only.is_none_or(|only| field.schema_name == only))
        .map(|field| FieldView {
            entity: "1",
            schema_name: &field.schema_name,
            display_name: &field.display_name,
            data_type: field.data_type.name(),
            is_mandatory: field.is_mandatory,
            options: (with_options && field.data_type == DataType::Select).then(|| {
                field
                    .options
                    .iter()
                    .map(|option| Choice {
                        value: option.as_str().into(),
                    })
                    .collect()
            }),
            max_length: field.max_length.to_string(),
            entity_attribute_id: field.id.to_string(),
            name: &field.schema_name,
            entity_attribute_type: u32::from(field.schema_name.starts_with("mx_")),
            render_type_text_value: render(field.data_type),
            is_visible: true,
            is_searchable: true,
            is_lead_identifier: field.is_unique,
            lock_after_create: u32::from(field.is_locked_after_create),
            is_sortable: true,
        })
        .collect();
    Ok(Answer::json(&fields))
}

fn render(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Text | DataType::Number => "Textbox",
        DataType::Email => "Email",
        DataType::Phone => "Phone",
        DataType::Website => "URL",
        DataType::Date => "Date",
        DataType::Time => "Time",
        DataType::Select => "Dropdown",
        DataType::Boolean => "CheckBox",
    }
}

/// Makes a custom field; that it be unique cannot be asked for here, as in the API.
pub(super) fn create_lead_field(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        display_name: String,
        data_type: String,
        #[serde(default)]
        is_mandatory: bool,
        #[serde(default)]
        render_type_text_value: String,
        #[serde(default)]
        lock_after_create: u32,
        #[serde(default)]
        max_length: Option<Number>,
        #[serde(default)]
        options_json: serde_json::Value,
    }
    let body: Body = call.json()?;
    let Some(data_type) = DataType::named(&body.data_type) else {
        return Err(Refusal::invalid("DataType is not valid."));
    };
    let mut options = Vec::new();
    if data_type == DataType::Select {
        let listed: Vec<Choice<'_>> = serde_json::from_value(body.options_json)
            .map_err(|_| Refusal::Form("OptionsJson must be an array"))?;
        options.extend(listed.into_iter().map(|option| option.value.into_owned()));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == ' ' || c == '_';
        if body.render_type_text_value.is_empty()
            || options.iter().any(|option| !option.chars().all(is_plain))
        {
            return Err(Refusal::Bare);
        }
    }
    if body.display_name.trim().is_empty() {
        return Err(Refusal::missing("DisplayName"));
    }
    let field = Field {
        id: account.dice.id(),
        schema_name: format!("mx_{}", body.display_name.trim().replace(' ', "_")),
        display_name: body.display_name.trim().to_owned(),
        data_type,
        is_unique: false,
        is_mandatory: body.is_mandatory,
        is_locked_after_create: body.lock_after_create == 1,
        is_read_only: false,
        max_length: body
            .max_length
            .map_or(256, |Number(length)| length as usize),
        options,
    };
    let id = field.id;
    if account.fields.add(field) {
        Ok(Answer::id(&id))
    } else {
        Err(Refusal::mx(
            "MXDuplicateEntryException",
            "A field with the same name already exists.",
        ))
    }
}

pub(super) fn activity_types(account: &mut Account, _: &Call) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct View<'a> {
        #[serde(rename = "ID")]
        id: String,
        activity_event: u32,
        activity_event_name: &'a str,
    }
    let types: Vec<View<'_>> = account
        .types
        .0
        .iter()
        .map(|(code, kind)| View {
            id: kind.id.to_string(),
            activity_event: *code,
            activity_event_name: &kind.name,
        })
        .collect();
    Ok(Answer::json(&types))
}

pub(super) fn activity_setting(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Setting<'a> {
        activity_event: u32,
        activity_event_name: &'a str,
        fields: &'a [Slot],
    }
    let code = call.required("code")?.parse().ok();
    let known = code.and_then(|code: u32| Some((code, account.types.0.get(&code)?)));
    let Some((code, kind)) = known else {
        return Err(Refusal::mx(
            "MXInvalidActivityException",
            "Event Code is invalid or empty",
        ));
    };
    Ok(Answer::json(&Setting {
        activity_event: code,
        activity_event_name: &kind.name,
        fields: &kind.slots,
    }))
}

pub(super) fn create_activity_type(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        activity_event_name: String,
        #[serde(default)]
        fields: Vec<Slot>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Created {
        id: String,
    }
    let body: Body = call.json()?;
    if body.activity_event_name.trim().is_empty() {
        return Err(Refusal::missing("ActivityEventName"));
    }
    if !body.fields.iter().all(is_slot) {
        return Err(Refusal::invalid("Fields"));
    }
    let last = account.types.0.keys().next_back().copied().unwrap_or(204);
    let code = last + 1;
    let id = account.dice.id();
    account.types.0.insert(
        code,
        Type {
            id,
            name: body.activity_event_name,
            slots: body.fields,
        },
    );
    Ok(Answer::success(&Created {
        id: code.to_string(),
    }))
}

fn is_slot(slot: &Slot) -> bool {
    let number = slot.schema_name.strip_prefix("mx_Custom_");
    number
        .and_then(|number| number.parse::<u32>().ok())
        .is_some_and(|number| (1..=50).contains(&number))
}

/// Changes a type, which is named by its GUID. Whether slots that are not sent stay is not known; here they do.
pub(super) fn update_activity_type(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        #[serde(rename = "ID", default)]
        id: String,
        #[serde(default)]
        activity_event_name: Option<String>,
        #[serde(default)]
        fields: Vec<Slot>,
    }
    let body: Body = call.json()?;
    if body.id.is_empty() {
        return Err(Refusal::missing("ID"));
    }
    if !body.fields.iter().all(is_slot) {
        return Err(Refusal::invalid("Fields"));
    }
    let found = account.types.0.values_mut();
    let found = found
        .into_iter()
        .find(|kind| kind.id.to_string().eq_ignore_ascii_case(&body.id));
    let Some(kind) = found else {
        return Err(Refusal::mx(
            "MXInvalidActivityException",
            "Event Code is invalid or empty",
        ));
    };
    if let Some(name) = body.activity_event_name {
        kind.name = name;
    }
    for slot in body.fields {
        match kind
            .slots
            .iter_mut()
            .find(|known| known.schema_name == slot.schema_name)
        {
            Some(known) => *known = slot,
            None => kind.slots.push(slot),
        }
    }
    Ok(Answer::id(&kind.id))
}
