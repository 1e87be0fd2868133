//! Lead fields: which there are, and which values they take.

use std::collections::HashMap;

use jiff::civil;
use uuid::Uuid;

use super::answer::Refusal;
use super::{Dice, Settings};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataType {
    Text,
    Number,
    Email,
    Phone,
    Website,
    Date,
    Time,
    Select,
    Boolean,
}

impl DataType {
    pub(super) const ALL: [(&'static str, DataType); 9] = [
        ("Text", DataType::Text),
        ("Number", DataType::Number),
        ("Email", DataType::Email),
        ("Phone", DataType::Phone),
        ("Website", DataType::Website),
        ("Date", DataType::Date),
        ("Time", DataType::Time),
        ("Select", DataType::Select),
        ("Boolean", DataType::Boolean),
    ];

    /// Reads a name; it is case-sensitive in the API.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (_, found) = Self::ALL.iter().find(|(known, _)| *known == name)?;
        Some(*found)
    }

    pub(super) fn name(self) -> &'static str {
        let (name, _) = Self::ALL
            .iter()
            .find(|(_, known)| *known == self)
            .expect("every type is listed");
        name
    }
}

/// One lead field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) id: Uuid,
    pub(super) schema_name: String,
    pub(super) display_name: String,
    pub(super) data_type: DataType,
    pub(super) is_unique: bool,
    pub(super) is_mandatory: bool,
    pub(super) is_locked_after_create: bool,
    /// Kept by LeadSquared itself.
    pub(super) is_read_only: bool,
    pub(super) max_length: usize,
    pub(super) options: Vec<String>,
}

/// The lead fields of the account, in a fixed order.
#[derive(Debug)]
pub(super) struct Fields {
    list: Vec<Field>,
    by_name: HashMap<String, usize>,
    normalise_phones: bool,
    reject_unknown_options: bool,
    default_country_code: String,
}

/// Longest text of a field that states no length of its own.
const TEXT_LENGTH: usize = 256;

const READ_ONLY: [&str; 19] = [
    "ProspectID",
    "ProspectAutoId",
    "OwnerIdName",
    "OwnerIdEmailAddress",
    "CreatedBy",
    "CreatedByName",
    "CreatedOn",
    "ModifiedBy",
    "ModifiedByName",
    "ModifiedOn",
    "LeadLastModifiedOn",
    "LastVisitDate",
    "TotalVisits",
    "PageViewsPerVisit",
    "AvgTimePerVisit",
    "IsLead",
    "StatusCode",
    "StatusReason",
    "Origin",
];

const PLAIN: [(&str, &str, DataType); 52] = [
    ("FirstName", "First Name", DataType::Text),
    ("LastName", "Last Name", DataType::Text),
    ("EmailAddress", "Email", DataType::Email),
    ("Phone", "Phone Number", DataType::Phone),
    ("Mobile", "Mobile Number", DataType::Phone),
    ("Fax", "Fax Number", DataType::Text),
    ("Company", "Company", DataType::Text),
    ("JobTitle", "Job Title", DataType::Text),
    ("Website", "Website", DataType::Website),
    ("TimeZone", "Time Zone", DataType::Text),
    ("Region", "Region", DataType::Text),
    ("Notes", "Notes", DataType::Text),
    ("Source", "Lead Source", DataType::Text),
    ("SourceMedium", "Source Medium", DataType::Text),
    ("SourceCampaign", "Source Campaign", DataType::Text),
    ("SourceContent", "Source Content", DataType::Text),
    ("SourceReferrer", "Source Referrer", DataType::Text),
    (
        "SourceReferrerURL",
        "Source Referrer URL",
        DataType::Website,
    ),
    ("SourceIPAddress", "Source IP Address", DataType::Text),
    (
        "ConversionReferrerURL",
        "Conversion Referrer URL",
        DataType::Website,
    ),
    ("ProspectStage", "Lead Stage", DataType::Select),
    ("Grade", "Lead Grade", DataType::Text),
    ("Score", "Lead Score", DataType::Number),
    ("EngagementScore", "Engagement Score", DataType::Number),
    ("Revenue", "Annual Revenue", DataType::Number),
    ("DoNotEmail", "Do Not Email", DataType::Boolean),
    ("DoNotCall", "Do Not Call", DataType::Boolean),
    ("DoNotSMS", "Do Not SMS", DataType::Boolean),
    ("DoNotTrack", "Do Not Track", DataType::Boolean),
    ("OwnerId", "Owner", DataType::Text),
    ("LeadConversionDate", "Lead Conversion Date", DataType::Date),
    ("Latitude", "Latitude", DataType::Number),
    ("Longitude", "Longitude", DataType::Number),
    ("PhotoUrl", "Photo Url", DataType::Website),
    ("TwitterId", "Twitter Id", DataType::Text),
    ("FacebookId", "Facebook Id", DataType::Text),
    ("LinkedInId", "LinkedIn Id", DataType::Text),
    ("SkypeId", "Skype Name", DataType::Text),
    ("mx_MRN", "MRN", DataType::Text),
    ("mx_Date_of_Birth", "Date of Birth", DataType::Date),
    ("mx_Gender", "Gender", DataType::Select),
    ("mx_Street1", "Street 1", DataType::Text),
    ("mx_Street2", "Street 2", DataType::Text),
    ("mx_City", "City", DataType::Text),
    ("mx_State", "State", DataType::Text),
    ("mx_Zip", "Zip", DataType::Text),
    ("mx_Country", "Country", DataType::Text),
    ("mx_Language", "Language", DataType::Text),
    ("mx_Marital_Status", "Marital Status", DataType::Text),
    ("mx_Primary_Provider", "Primary Provider", DataType::Text),
    ("mx_Last_Visit", "Last Visit", DataType::Date),
    ("mx_Deceased", "Deceased", DataType::Boolean),
];

const STAGES: [&str; 6] = [
    "Prospect",
    "Patient",
    "Opportunity",
    "Customer",
    "Disqualified",
    "Invalid",
];
const GENDERS: [&str; 4] = ["Female", "Male", "Other", "Unknown"];

impl Fields {
    pub(super) fn new(settings: &Settings, dice: &mut Dice) -> Self {
        let mut fields = Self {
            list: Vec::new(),
            by_name: HashMap::new(),
            normalise_phones: settings.normalise_phones,
            reject_unknown_options: settings.reject_unknown_options,
            default_country_code: settings.default_country_code.clone(),
        };
        let field = |id, name: &str, display: &str, data_type| Field {
            id,
            schema_name: name.to_owned(),
            display_name: display.to_owned(),
            data_type,
            is_unique: settings.unique.iter().any(|unique| unique == name),
            is_mandatory: false,
            is_locked_after_create: false,
            is_read_only: false,
            max_length: if name == "Notes" { 4_000 } else { TEXT_LENGTH },
            options: match name {
                "ProspectStage" => STAGES.map(String::from).to_vec(),
                "mx_Gender" => GENDERS.map(String::from).to_vec(),
                _ => Vec::new(),
            },
        };
        for name in READ_ONLY {
            fields.add(Field {
                is_read_only: true,
                ..field(dice.id(), name, name, DataType::Text)
            });
        }
        for (name, display, data_type) in PLAIN {
            fields.add(field(dice.id(), name, display, data_type));
        }
        for name in &settings.unique {
            if fields.get(name).is_none() {
                let display = name.trim_start_matches("mx_").replace('_', " ");
                fields.add(field(dice.id(), name, &display, DataType::Text));
            }
        }
        fields
    }

    /// Marks a field as unique from now on; values that are there already are not looked at.
    pub(super) fn mark_unique(&mut self, schema_name: &str) -> bool {
        let Some(place) = self.index(schema_name) else {
            return false;
        };
        self.list[place].is_unique = true;
        true
    }

    /// Adds a field; says no when there is one of that name.
    pub(super) fn add(&mut self, field: Field) -> bool {
        if self.by_name.contains_key(&field.schema_name) {
            return false;
        }
        self.by_name
            .insert(field.schema_name.clone(), self.list.len());
        self.list.push(field);
        true
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Field> {
        self.index(name).map(|index| &self.list[index])
    }

    pub(super) fn at(&self, index: usize) -> &Field {
        &self.list[index]
    }

    pub(super) fn default_country_code(&self) -> &str {
        &self.default_country_code
    }

    pub(super) fn all(&self) -> &[Field] {
        &self.list
    }

    /// The value as it is kept; an empty one is none.
    pub(super) fn accept(&self, field: &Field, value: &str) -> Result<Option<String>, Refusal> {
        let name = &field.schema_name;
        if value.to_ascii_lowercase().contains("<script") {
            return Err(Refusal::mx(
                "MXXSSException",
                "A potentially dangerous value was detected in the request",
            ));
        }
        let value = match field.data_type {
            DataType::Text => value,
            _ => value.trim(),
        };
        if value.is_empty() {
            return Ok(None);
        }
        let wrong = || {
            Err(Refusal::mx(
                "MXInvalidDataTypeException",
                format!("The value '{value}' of {name} is not valid for its data type"),
            ))
        };
        if value.chars().count() > field.max_length {
            return Err(Refusal::invalid(format!(
                "{name} can not be longer than {} characters.",
                field.max_length
            )));
        }
        match field.data_type {
            DataType::Text | DataType::Website => {}
            DataType::Number if !is_number(value) => return wrong(),
            DataType::Email if !is_email(value) => return wrong(),
            DataType::Date if !is_date(value) => return wrong(),
            DataType::Time if value.parse::<civil::Time>().is_err() => return wrong(),
            DataType::Phone => {
                return match self.phone(value) {
                    Some(phone) => Ok(Some(phone)),
                    None => wrong(),
                };
            }
            DataType::Boolean => {
                return match value.to_ascii_lowercase().as_str() {
                    "1" | "true" => Ok(Some("1".into())),
                    "0" | "false" => Ok(Some("0".into())),
                    _ => wrong(),
                };
            }
            DataType::Select if self.reject_unknown_options => {
                if !field.options.iter().any(|option| option == value) {
                    return Err(Refusal::invalid(format!("{name} has no such option.")));
                }
            }
            DataType::Number | DataType::Email | DataType::Date | DataType::Time => {}
            DataType::Select => {}
        }
        Ok(Some(value.to_owned()))
    }

    /// The form `+<country>-<number>`; none for what is no phone number.
    fn phone(&self, text: &str) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_digit() || " -().+".contains(c);
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if !text.chars().all(is_plain) || !(7..=15).contains(&digits.len()) {
            return None;
        }
        if !self.normalise_phones {
            return Some(text.to_owned());
        }
        let Some(rest) = text.strip_prefix('+') else {
            return Some(format!("+{}-{digits}", self.default_country_code));
        };
        let national = |country: &str| digits.strip_prefix(country).map(str::to_owned);
        if let Some((country, _)) = rest.split_once('-')
            && (1..=3).contains(&country.len())
            && country.chars().all(|c| c.is_ascii_digit())
        {
            return Some(format!("+{country}-{}", national(country)?));
        }
        match national(&self.default_country_code) {
            Some(number) => Some(format!("+{}-{number}", self.default_country_code)),
            None => Some(format!("+{digits}")),
        }
    }
}

/// The form in which two values are the same value to LeadSquared.
pub(super) fn key_of(data_type: DataType, value: &str) -> String {
    match data_type {
        DataType::Email => value.trim().to_lowercase(),
        DataType::Phone => value.chars().filter(char::is_ascii_digit).collect(),
        _ => value.to_owned(),
    }
}

pub(super) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain(whole) && plain(part)
}

fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else {
        return false;
    };
    !name.is_empty()
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !domain.contains('@')
        && !text
            .chars()
            .any(|c| c.is_whitespace() || ",;<>\"".contains(c))
}

/// `yyyy-MM-dd` or `yyyy-MM-dd HH:mm:ss`: other forms "may fail" in the API, and do here.
pub(super) fn is_date(text: &str) -> bool {
    match text.len() {
        10 => text.parse::<civil::Date>().is_ok(),
        19 => is_date_time(text),
        _ => false,
    }
}

/// `yyyy-MM-dd HH:mm:ss`.
pub(super) fn is_date_time(text: &str) -> bool {
    text.len() == 19 && civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_by_the_type_of_their_field() {
        let fields = Fields::new(&Settings::default(), &mut Dice(1));
        let check = |name: &str, value: &str, expected: Option<&str>| {
            let field = fields.get(name).expect("a field");
            let outcome = fields.accept(field, value);
            match (outcome, expected) {
                (Ok(kept), Some(expected)) => {
                    assert_eq!(kept.as_deref().unwrap_or(""), expected, "{name} {value}");
                }
                (Err(_), None) => {}
                (outcome, _) => panic!("{name} {value}: {outcome:?}"),
            }
        };
        check("FirstName", "", Some(""));
        check("FirstName", "Ana ", Some("Ana "));
        check("FirstName", "<SCRIPT>", None);
        check("FirstName", &"x".repeat(257), None);
        check("Phone", "+1-5551234567", Some("+1-5551234567"));
        check("Phone", "(555) 123-4567", Some("+1-5551234567"));
        check("Phone", "+15551234567", Some("+1-5551234567"));
        check("Phone", "+91-98 765 43210", Some("+91-9876543210"));
        check("Phone", "+919876543210", Some("+919876543210"));
        check("Phone", "555-CALL", None);
        check("EmailAddress", "ana@example.com", Some("ana@example.com"));
        check("EmailAddress", "ana@example", None);
        check("EmailAddress", "ana example@example.org", None);
        check("mx_Date_of_Birth", "1980-02-29", Some("1980-02-29"));
        check("mx_Date_of_Birth", "1981-02-29", None);
        check("mx_Date_of_Birth", "19800229", None);
        check(
            "mx_Date_of_Birth",
            "1980-02-29 10:00:00",
            Some("1980-02-29 10:00:00"),
        );
        check("mx_Date_of_Birth", "1980-02-29T10:00:00", None);
        check("Score", "-1.5", Some("-1.5"));
        check("Score", "1e3", None);
        check("DoNotCall", "true", Some("1"));
        check("DoNotCall", "no", None);
        check("mx_Gender", "X", Some("X"));
    }
}
