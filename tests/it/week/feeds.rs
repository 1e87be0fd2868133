//! Messages in the shapes that three systems are known for: Epic at Harbor, Cerner at Quarry, athena at the practice.
//!
//! - Epic: an enterprise id beside the MRN in PID-3, capitals, phones as `(207)555-0111` with their parts, local times
//!   without offset, who did it in EVN-5, `SCH-25` as Scheduled.
//! - Cerner: a community number beside the MRN, `""` for what is empty, uses in words (`Home`, `E-mail`), EVN-6, a Z segment,
//!   version 2.3, `SCH-25` as Confirmed.
//! - athena: its own number first and the hospital's where it is known, times with offset, the start of a visit in TQ1 and
//!   AIS, email in PID-13.4.

use anyhow::bail;
use jiff::Zoned;

use super::script::{Person, Row};

/// Which system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Feed {
    Harbor,
    Quarry,
    Practice,
}

impl Feed {
    pub(super) const ALL: [Self; 3] = [Self::Harbor, Self::Quarry, Self::Practice];

    pub(super) fn named(who: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|feed| feed.name() == who.to_lowercase())
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Harbor => "harbor",
            Self::Quarry => "quarry",
            Self::Practice => "practice",
        }
    }

    /// A time as it writes it.
    fn time(self, at: &Zoned) -> String {
        let form = match self {
            Self::Practice => "%Y%m%d%H%M%S%z",
            Self::Harbor | Self::Quarry => "%Y%m%d%H%M%S",
        };
        at.strftime(form).to_string()
    }
}

/// The event of what the script says.
fn event(what: &str) -> anyhow::Result<&'static str> {
    Ok(match what {
        "registers" => "A04",
        "updates" => "A08",
        "merges" => "A40",
        "books" => "S12",
        "reschedules" => "S13",
        "changes" => "S14",
        "cancels" => "S15",
        "marks as missed" => "S26",
        other => bail!("no event for {other:?}"),
    })
}

/// Whether it is told over the connection of appointments.
pub(super) fn is_visit(what: &str) -> anyhow::Result<bool> {
    Ok(event(what)?.starts_with('S'))
}

/// A message with another control id and time, and nothing else changed.
pub(super) fn renumbered(message: &str, control_id: &str, at: &Zoned) -> String {
    let mut fields: Vec<&str> = message.split('|').collect();
    let at = at.strftime("%Y%m%d%H%M%S").to_string();
    fields[6] = &at;
    fields[9] = control_id;
    fields.join("|")
}

/// What `feed` sends of a row; `number` is the visit's where the script leaves it to the hospital.
pub(super) fn message(
    feed: Feed,
    row: &Row,
    person: &Person,
    control_id: &str,
    number: Option<&str>,
) -> anyhow::Result<String> {
    let event = event(&row.what)?;
    let (sent, happened) = (feed.time(&row.at), feed.time(&row.happened()?));
    let mut segments = vec![header(feed, event, &sent, control_id)];
    if event.starts_with('A') {
        segments.push(match feed {
            Feed::Harbor => {
                format!("EVN|{event}|{happened}||REG_UPDATE|10012^FRONT^DESK^^^^^^HARBOR")
            }
            Feed::Quarry => format!("EVN|{event}|{sent}|||Q44^DESK|{happened}"),
            Feed::Practice => format!("EVN|{event}|{happened}"),
        });
    } else {
        segments.extend(schedule(feed, row, event, number)?);
    }
    segments.push(patient(feed, person));
    match event {
        "A40" => {
            let retired = row.get("instead").unwrap_or_default();
            let retired = retired.trim_start_matches("of ");
            segments.push(format!("MRG|{retired}^^^QUARRY^MR"));
        }
        _ => {
            segments.push(beside(feed, person));
            if event.starts_with('S') {
                segments.extend(resources(feed, row)?);
            } else if feed == Feed::Quarry {
                segments.push("ZPI|1|PORTAL|N".into());
            }
        }
    }
    segments.retain(|segment| !segment.is_empty());
    Ok(segments.join("\r") + "\r")
}

fn header(feed: Feed, event: &str, sent: &str, control_id: &str) -> String {
    let code = if event.starts_with('A') { "ADT" } else { "SIU" };
    let structure = match event {
        "A40" => "ADT_A39",
        _ if code == "ADT" => "ADT_A01",
        _ => "SIU_S12",
    };
    match feed {
        Feed::Harbor => format!(
            "MSH|^~\\&|EPIC|HARBOR|LIGATURE|CRM|{sent}|ADTUSER|{code}^{event}^{structure}|{control_id}|P|2.5.1"
        ),
        Feed::Quarry => format!(
            "MSH|^~\\&|CERNER|QUARRY|LIGATURE|CRM|{sent}||{code}^{event}|{control_id}|P|2.3||||||8859/1"
        ),
        Feed::Practice => format!(
            "MSH|^~\\&|ATHENANET|77801^PRACTICE|LIGATURE|CRM|{sent}||{code}^{event}^{structure}|{control_id}|P|2.5.1"
        ),
    }
}

fn patient(feed: Feed, person: &Person) -> String {
    let born = person.get("born").replace('-', "");
    let sex = person.get("sex");
    let digits = person.digits();
    let (area, local) = digits.split_at_checked(3).unwrap_or_default();
    let phone = match local.split_at_checked(3) {
        Some((exchange, line)) => format!("({area}){exchange}-{line}"),
        None => String::new(),
    };
    let (family, given) = (person.get("family"), person.get("given"));
    let (street, city, email) = (
        person.get("street"),
        person.get("city"),
        person.get("email"),
    );
    let died = person.get("deceased");
    match feed {
        Feed::Harbor => {
            let mrn = person.get("Harbor");
            format!(
                "PID|1||E8{}^^^EPI^EPI~{mrn}^^^HARBOR^MR||{}^{}^^^^^L||{born}|{sex}||2106-3^White^HL70005|\
                 {}^^{}^ME^03901^USA^P||{phone}^PRN^PH^^^{area}^{local}~^NET^Internet^{email}||ENG|S||99{}|||||||||||{died}",
                mrn.trim_start_matches('H'),
                family.to_uppercase(),
                given.to_uppercase(),
                street.to_uppercase(),
                city.to_uppercase(),
                mrn.trim_start_matches('H'),
            )
        }
        Feed::Quarry => {
            let mrn = person.get("Quarry");
            let phone = if phone.is_empty() { "\"\"" } else { &phone };
            format!(
                "PID|1|{mrn}|{mrn}^^^QUARRY^MR~00{}^^^CMRN^Community Medical Record Number||{family}^{given}^\"\"^^^^Current||\
                 {born}|{sex}|\"\"|White|{street}^\"\"^{city}^ME^03903^US^Home||{phone}^Home~{email}^E-mail|\"\"|ENG|\"\"|\"\"|\
                 F{}^^^FIN^FIN NBR|\"\"||||||||||\"\"|{died}",
                mrn.trim_start_matches('Q'),
                mrn.trim_start_matches('Q'),
            )
        }
        Feed::Practice => {
            let (own, hospital) = (person.get("practice"), person.get("Quarry"));
            let own = match own {
                "" => String::new(),
                own => format!("{own}^^^ATHENA^PI"),
            };
            let hospital = match hospital {
                "" => String::new(),
                hospital => format!("{hospital}^^^QUARRY^MR"),
            };
            let ids = [own, hospital];
            let ids: Vec<&str> = ids
                .iter()
                .map(String::as_str)
                .filter(|id| !id.is_empty())
                .collect();
            format!(
                "PID|1||{}||{family}^{given}||{born}|{sex}|||{street}^^{city}^ME^03902||{digits}^PRN^PH^{email}~^PRN^CP",
                ids.join("~")
            )
        }
    }
}

/// What stands beside the patient: doctors, places, marks.
fn beside(feed: Feed, person: &Person) -> String {
    let visit = match feed {
        Feed::Harbor => "PV1|1|O|HCLN1^^^HARBOR^^^^^HARBOR CLINIC||||1001^REYES^MARTA^^^^^^NPI",
        Feed::Quarry => {
            "PV1|1|Outpatient|QCL2^^^QUARRY^^Ambulatory||||2002^IYER^SUNIL^^^^^^Personnel"
        }
        Feed::Practice => "PV1|1|O|1^PRACTICE||||3003^LOWE^KIM",
    };
    match (feed, person.get("protected")) {
        (Feed::Harbor, mark) => {
            format!("PD1|||HARBOR CLINIC^^10100|1001^REYES^MARTA||||||||{mark}\r{visit}")
        }
        _ => visit.to_owned(),
    }
}

fn schedule(
    feed: Feed,
    row: &Row,
    event: &str,
    number: Option<&str>,
) -> anyhow::Result<Vec<String>> {
    let Some((starts, is_explicit)) = row.starts()? else {
        bail!("a visit begins at some time: on 2026-10-28 09:00");
    };
    let starts = match is_explicit {
        true => starts.strftime("%Y%m%d%H%M%S%z").to_string(),
        false => feed.time(&starts),
    };
    let service = row.get("for").unwrap_or_default();
    let key = number.or(row.get("visit")).unwrap_or_default();
    let blank = "|".repeat(14);
    let status = |booked: &'static str| match event {
        "S15" => "Cancelled",
        "S26" => "NoShow",
        _ => booked,
    };
    Ok(match feed {
        Feed::Harbor => vec![format!(
            "SCH|{key}^EPC|{key}^EPC||||{event}^TOLD|^{service}|OV^Office visit|30|min|^^30^{starts}{blank}{}",
            status("Scheduled")
        )],
        Feed::Quarry => vec![format!(
            "SCH|\"\"|{key}|||||^{service}|Ambulatory|30|min|^^30^{starts}{blank}{}",
            status("Confirmed")
        )],
        Feed::Practice => vec![
            format!(
                "SCH|{key}^ATHENA||||||^{service}|||min|{blank}{}",
                status("BOOKED")
            ),
            format!("TQ1|1||||||{starts}"),
        ],
    })
}

fn resources(feed: Feed, row: &Row) -> anyhow::Result<Vec<String>> {
    let service = row.get("for").unwrap_or_default();
    let starts = match (feed, row.starts()?) {
        (Feed::Practice, Some((starts, _))) => feed.time(&starts),
        _ => String::new(),
    };
    let (place, provider) = match feed {
        Feed::Harbor => ("HCLN1^1^^HARBOR^^^^^Harbor Clinic", "1001^REYES^MARTA"),
        Feed::Quarry => ("QCL2^^^QUARRY^^^^^Quarry Clinic", "2002^IYER^SUNIL"),
        Feed::Practice => ("PR1^^^PRACTICE^^^^^The practice", "3003^LOWE^KIM"),
    };
    Ok(vec![
        "RGS|1|A".into(),
        format!("AIS|1|A|S1^{service}|{starts}"),
        format!("AIL|1|A|{place}"),
        format!("AIP|1|A|{provider}"),
    ])
}
