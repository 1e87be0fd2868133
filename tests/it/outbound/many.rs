//! A thousand messages of generated leads, through templates full of somebody else's values: none of these is ever sent.
//!
//! The templates hold whatever hospitals put beside the patient: next of kin, guarantors, insurance, observations,
//! diagnoses, resources, segments of their own. Of every sent message each element is held against every element of its
//! template.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use ligature::simulator::ehr;
use ligature_tests::bridge::{self, Bridge, Mapped};

use super::{ACCOUNT, channel, flow};
use crate::crash::Random;

/// Templates of an ADT in two shapes and of an SIU; every value is the template's own, short codes too.
pub(super) const REGISTRATION: &str = "MSH|^~\\&|LIG|CRM|EHR|CLINIC|19990102030405-0700|TPLSEC|ADT^A04^ADT_A01|TPLCTL1|P|2.5.1|771|TPLPTR|AL|NE||UNICODE UTF-8\r\
EVN|A04|19990102030406|19990102030407|TPLREASON|TPLOPERATOR^TPLOPGIVEN|19990102030408|TPLEVNFAC\r\
PID|9|TPLOLD2|TPLMRN1^TPLCHK^M11^TPLAUTH&1.2.840.99&ISO^MRX^TPLFAC~TPLSSN2^^^TPLSSA^SSX|TPLALT|TPLFAMILY&TPLVAN&TPLOWN^TPLGIVEN^TPLMIDDLE^TPLIII^TPLDR^^D~TPLALIASF^TPLALIASG^^^^^A|TPLMAIDEN^TPLMOTHER|19390817|A|TPLALIAS3|1999-9|99 TPLSTREET&TPLHOUSE^TPLAPT^TPLCITY^TX^99123-9911^TPLLAND^TPLADRTYPE^^TPLCOUNTY~TPLWORKST^^TPLWORKCITY|TPLCTY|(999)777-9911^TPLPRN^TPLPH^tpl.person@example.org^99^999^7779911|(999)777-9922|TPLTONGUE|W|TPLFAITH|TPLACCT^^^TPLBILL|987-65-4320|TPLLICENCE^TX||TPLETHNIC|TPLBIRTHPLACE|Y|7|TPLCITIZEN|TPLVETERAN|TPLNATION|19990909|Y|||||||TPLBREED\r\
PD1|||TPLCLINIC^^TPL12|TPLPCP^TPLPCPF^TPLPCPG|||||TPLPLAN|||Y\r\
NK1|7|TPLKINF^TPLKING|TPLSPOUSE^TPLWIFE|TPLKINSTREET^^TPLKINCITY|(999)777-9933||TPLCONTACT|19990101\r\
NK1|8|TPLKIN2F^TPLKIN2G|TPLCHILD||(999)777-9944\r\
PV1|5|I|TPLWARD^TPLROOM^TPLBED^TPLSITE|TPLURGENT|||TPLATTID^TPLATTF^TPLATTG|TPLREFID^TPLREFF||TPLSURG||||TPLSOURCE||TPLVIP|TPLADMID^TPLADMF|TPLPTYPE|TPLVISIT^^^TPLVN|||||||||||||||||||||||||19990103\r\
PV2||TPLPRIV|TPLADMREASON^TPLADMTEXT\r\
OBX|6|NM|TPLOBS^TPLHEIGHT^TPLLN|TPLSUB|17799|TPLUNIT|TPLRANGE|||||||19990104\r\
OBX|7|TX|TPLOBS2^TPLSMOKES||TPLNARRATIVE of a patient\r\
AL1|3|TPLDRUG|TPLALLERGY^TPLPENICILLIN|TPLSEVERE|TPLRASH\r\
DG1|4|TPLI10|TPLDX^TPLDIAGNOSIS^TPLICD|TPLDIAGTEXT|19990105|TPLWORKING\r\
GT1|2|TPLGTNO|TPLGTF^TPLGTG||TPLGTSTREET^^TPLGTCITY|(999)777-9955||19410203|TPLGTSEX||TPLSELF|987-65-4320\r\
IN1|3|TPLPLANID^TPLPLANNAME|TPLPAYER|TPLINSURER|TPLINSADDR||(999)777-9966|TPLGROUP|||||19990106|19991231|||TPLINSF^TPLINSG|TPLINSREL|19420304||||||||||||||||||||TPLPOLICY99\r\
IN2||987-65-4320|TPLEMPLOYER\r\
ZPD|TPLLOCAL1|TPLLOCAL2~TPLLOCAL3\r";
pub(super) const UPDATE: &str = "MSH|^~\\&|LIG|CRM|EHR2|CLINIC2|19990202030405||ADT^A08^ADT_A01|TPLCTL2|P|2.3||||||8859/1\r\
EVN|A08|19990202030406\r\
PID|3||TPLMRN3^^^TPLAUTH3^MRX||TPLFAM3^TPLGIV3|TPLMAID3|19380716|N|||TPLSTREET3^^TPLCITY3^NV^99321||9997779977|||D||TPLACCT3|999887744\r\
NK1|5|TPLNOK3^TPLNOKG3|TPLPARENT\r\
PV1|2|B|TPLWARD3||||TPLDOC3^TPLDOCF3\r\
IN1|4|TPLPLAN3|TPLPAYER3|TPLINSCO3||||||||||||||||||||||||||||||||TPLPOL3\r";
pub(super) const BOOKING: &str = "MSH|^~\\&|LIG|CRM|SCHED|CLINIC|19990302030405||SIU^S12^SIU_S12|TPLCTL4|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
SCH|TPLPLACER^TPLPLAPP|TPLFILLER^TPLFILAPP|7|TPLGROUPNO|TPLSCHEDID|TPLEVTRSN^TPLEVTTEXT|TPLRSN^TPLRSNTEXT|TPLATYPE^TPLATYPETEXT|77|TPLMINS|^^77^199903041000^199903041117|TPLPLACERF^TPLPLACERN|(999)777-9988|TPLPLADDR||TPLFILLERF^TPLFILLERN|(999)777-9999|||TPLENTERED|||||TPLSTATUS\r\
TQ1|3|77^TPLQTY|||||199903041001|199903041118|TPLPRIO\r\
NTE|5|TPLSRC|TPLREMARK of a patient|TPLRTYPE\r\
PID|4||TPLMRN4^^^TPLAUTH4^MRX||TPLFAM4^TPLGIV4||19370615|U\r\
PV1|6|P|TPLWARD4||||TPLDOC4^TPLDOCF4\r\
OBX|5|ST|TPLOBS4^TPLWEIGHT||TPLFINDING\r\
DG1|6||TPLDX4^TPLDXTEXT\r\
RGS|4|X|TPLRESGRP\r\
AIS|7|X|TPLSVC^TPLSVCTEXT|199903041002|||78|TPLMIN2\r\
NTE|6||TPLAISREMARK\r\
AIG|8|X|TPLEQUIP^TPLSCANNER\r\
AIL|9|X|TPLROOM4^TPLBED4^^TPLSITE4\r\
AIP|10|X|TPLPROV^TPLPROVF^TPLPROVG|TPLROLE\r\
AIP|11|X|TPLNURSE^TPLNURSEF\r";

/// One flow for each template and webhook.
const FLOWS: [(&str, &str, &str, &str, &str); 4] = [
    ("register", "ADT^A04", "lead", "lead-create", REGISTRATION),
    ("tell", "ADT^A31", "lead", "lead-create", REGISTRATION),
    ("copy", "ADT^A08", "lead", "lead-create", UPDATE),
    (
        "book",
        "SIU^S12",
        "activity",
        "lead-activity-create",
        BOOKING,
    ),
];

/// Where each field goes: place, field, steps. Some reach into second repetitions and second segments.
pub(super) const PLACES: [(&str, &str, &str); 18] = [
    ("PID-3.1", "lead.mx_MRN", ""),
    ("PID-5.1", "lead.LastName", ""),
    ("PID-5.2", "lead.FirstName", ""),
    ("PID-7", "lead.mx_Date_of_Birth", "\"date\""),
    (
        "PID-8",
        "lead.mx_Gender",
        "{ map = { Female = \"F\", Male = \"M\" } }",
    ),
    ("PID-11.1", "lead.mx_Street1", ""),
    ("PID-11.3", "lead.mx_City", ""),
    ("PID-11[2].3", "lead.mx_Street2", ""),
    ("PID-13.1", "lead.Phone", "{ phone = \"national\" }"),
    ("PID-13[2].4", "lead.EmailAddress", ""),
    ("NK1-2.1", "lead.Company", ""),
    ("NK1[3]-2.1", "lead.JobTitle", ""),
    ("GT1-3.1", "lead.LastName", ""),
    ("IN1-4.1", "lead.mx_Primary_Provider", ""),
    ("IN1[2]-4.1", "lead.mx_Language", ""),
    ("OBX-5", "lead.Notes", ""),
    ("DG1-4", "lead.mx_Marital_Status", ""),
    ("ZPD-2", "lead.mx_State", ""),
];

/// Further places of an appointment.
pub(super) const OF_BOOKINGS: [(&str, &str, &str); 4] = [
    ("SCH-2.1", "activity.mx_Custom_1", ""),
    ("SCH-25", "activity.Status", ""),
    ("AIS-3.2", "activity.mx_Custom_6", ""),
    ("AIP[2]-3.2", "activity.mx_Custom_4", ""),
];

/// What no template has, and the field without which it says nothing.
const CONSTANTS: [(&str, &str, &str); 19] = [
    ("EVN-2", "20260101", "lead.mx_MRN"),
    ("PID-3.4", "CLN", "lead.mx_MRN"),
    ("PID-3.5", "MR", "lead.mx_MRN"),
    ("PV1-2", "O", "lead.mx_MRN"),
    ("NK1-1", "01", "lead.Company"),
    ("NK1[3]-1", "02", "lead.JobTitle"),
    ("GT1-1", "01", "lead.LastName"),
    ("IN1-1", "01", "lead.mx_Primary_Provider"),
    ("IN1-2.1", "PL", "lead.mx_Primary_Provider"),
    ("IN1-3.1", "PAY", "lead.mx_Primary_Provider"),
    ("IN1[2]-1", "02", "lead.mx_Language"),
    ("IN1[2]-2.1", "PL", "lead.mx_Language"),
    ("IN1[2]-3.1", "PAY", "lead.mx_Language"),
    ("OBX-2", "FT", "lead.Notes"),
    ("OBX-3.1", "NOTE", "lead.Notes"),
    ("OBX-11", "F", "lead.Notes"),
    ("DG1-1", "01", "lead.mx_Marital_Status"),
    ("DG1-6", "F", "lead.mx_Marital_Status"),
    ("ZPD-1", "LOC", "lead.mx_State"),
];

/// The same of appointments.
const OF_BOOKED: [(&str, &str, &str); 6] = [
    ("SCH-16.1", "FC", "lead.mx_MRN"),
    ("SCH-20.1", "EB", "lead.mx_MRN"),
    ("SCH-6.1", "NEW", "lead.mx_MRN"),
    ("RGS-1", "01", "lead.mx_MRN"),
    ("AIS-1", "01", "activity.mx_Custom_6"),
    ("AIP[2]-1", "01", "activity.mx_Custom_4"),
];

/// Whether a message of the kind has the segment of a place.
pub(super) fn belongs(place: &str, is_booking: bool) -> bool {
    let of_adt = ["EVN", "NK1", "GT1", "IN1"];
    !is_booking || !of_adt.contains(&&place[..3])
}

/// Of ADT and SIU.
fn mapping(is_booking: bool) -> String {
    let mut text = String::from(
        "format = 1\ndirection = \"leadsquared-to-ehr\"\nname = \"Many\"\nversion = \"1\"\n",
    );
    let more: &[_] = if is_booking { &OF_BOOKINGS } else { &[] };
    let places = PLACES.iter().chain(more);
    for (place, field, steps) in places.filter(|(place, ..)| belongs(place, is_booking)) {
        text.push_str(&format!(
            "\n[[place]]\ntarget = \"{place}\"\nfield = \"{field}\"\nsteps = [{steps}]\n"
        ));
    }
    let more: &[_] = if is_booking { &OF_BOOKED } else { &[] };
    for (place, constant, field) in CONSTANTS.iter().chain(more) {
        if !belongs(place, is_booking) {
            continue;
        }
        text.push_str(&format!(
            "\n[[place]]\ntarget = \"{place}\"\nconstant = \"{constant}\"\n\
             when = [{{ field = \"{field}\", present = true }}]\n"
        ));
    }
    text
}

/// A lead, or a booking of one: schema name to value.
pub(super) type Values = BTreeMap<&'static str, String>;

/// Names and texts as people type them: delimiters, escapes, accents, lines.
const WORDS: [&str; 16] = [
    "Quill",
    "O'Neil-Bauer",
    "van den Berg",
    "Garc\u{ed}a|Lopez",
    "M\u{fc}ller^Zoll",
    "Smith & Sons",
    "ant~bee~cow",
    "back\\slash",
    "\\F\\ no escape",
    "\\.br\\",
    "Zo\u{eb}",
    "l\u{e6}rke",
    "#7",
    "50% \\X0D\\",
    "quo\"te",
    "\u{c5}se",
];

/// A lead whose values are nobody else's.
pub(super) fn lead(number: usize, random: &mut Random) -> Values {
    let mut word = || WORDS[random.next() as usize % WORDS.len()];
    let mut values = Values::from([
        ("mx_MRN", format!("M{number:05}")),
        ("LastName", format!("{} {number}", word())),
    ]);
    let rest = [
        ("FirstName", word().to_owned()),
        (
            "mx_Date_of_Birth",
            format!(
                "19{:02}-0{}-1{}",
                60 + number % 30,
                1 + number % 9,
                number % 9
            ),
        ),
        ("mx_Gender", ["Female", "Male"][number % 2].to_owned()),
        ("mx_Street1", format!("{number} {}", word())),
        ("mx_City", word().to_owned()),
        ("mx_Street2", format!("{} side", word())),
        ("Phone", format!("+1-207555{number:04}")),
        ("EmailAddress", format!("person{number}@example.org")),
        ("Company", format!("{} kin", word())),
        ("JobTitle", word().to_owned()),
        ("mx_Primary_Provider", format!("{} insurance", word())),
        ("mx_Language", word().to_owned()),
        ("Notes", format!("{}\nsecond line: {}", word(), word())),
        ("mx_Marital_Status", format!("{} text", word())),
        ("mx_State", word().to_owned()),
    ];
    for (field, value) in rest {
        // Many leads lack many fields: nothing of the template may stand there then.
        if !random.next().is_multiple_of(4) {
            values.insert(field, value);
        }
    }
    values
}

/// What was sent of generated leads.
pub(super) struct Sent {
    pub(super) leads: Vec<(Values, Values)>,
    pub(super) received: Vec<ehr::Received>,
    pub(super) started: Timestamp,
}

/// Has `count` people typed in with a booking each, and gives the messages that came of them.
pub(super) async fn send(count: usize) -> anyhow::Result<Sent> {
    let started = Timestamp::now();
    let ehr = bridge::ehr(ehr::Settings::default()).await?;
    let mut documents = channel("out", &ehr);
    for (id, event, entity, webhook, _) in FLOWS {
        let outbound = format!("webhook = \"{webhook}\"");
        documents.push_str(&flow(id, "out", event, entity, &outbound));
    }
    let (of_lead, of_booking) = (mapping(false), mapping(true));
    let flows = FLOWS.map(|(flow, _, entity, _, template)| Mapped {
        flow,
        mapping: if entity == "lead" {
            &of_lead
        } else {
            &of_booking
        },
        template: Some(template),
    });
    let bridge = Bridge::open(bridge::prompt(), ACCOUNT, &documents, &flows).await?;
    let mut random = Random(0x5eed_0001);
    let mut leads = Vec::new();
    for number in 0..count {
        let values = lead(number, &mut random);
        let pairs = values.iter().map(|(name, value)| (*name, value.as_str()));
        let pairs: Vec<_> = pairs.collect();
        let id = bridge.create_lead(&pairs)?;
        let word = WORDS[number % WORDS.len()];
        let booking = Values::from([
            ("mx_Custom_1", format!("B-{number}")),
            ("Status", "Booked".to_owned()),
            ("mx_Custom_6", format!("{word} visit")),
            ("mx_Custom_4", format!("Dr. {word}")),
        ]);
        let pairs = booking.iter().map(|(name, value)| (*name, value.as_str()));
        let pairs: Vec<_> = pairs.collect();
        bridge.create_activity(&id, 205, &pairs)?;
        leads.push((values, booking));
    }
    let wanted = count * FLOWS.len();
    bridge.until(&ehr, wanted).await?;
    bridge.quiet(bridge::PATIENCE).await?;
    let received = ehr.received();
    ensure!(received.len() == wanted, "{} messages", received.len());
    bridge.office.host.stop().await;
    Ok(Sent {
        leads,
        received,
        started,
    })
}

/// Elements of a message, however they are cut, each with its segment and field.
fn elements(message: &str) -> impl Iterator<Item = (String, &str)> {
    message.split('\r').flat_map(|segment| {
        let name = segment.get(..3).unwrap_or_default();
        // The separator is MSH-1, so numbers of MSH are one higher.
        let first = usize::from(name == "MSH");
        let fields = segment.split('|').enumerate().skip(1);
        fields.flat_map(move |(number, field)| {
            let place = format!("{name}-{}", number + first);
            let leaves = field.split(['~', '^', '&', '\\']);
            leaves
                .filter(|leaf| !leaf.is_empty())
                .map(move |leaf| (place.clone(), leaf))
        })
    })
}

/// The values of a template that must not be sent.
fn forbidden(template: &str) -> BTreeSet<&str> {
    let fixed = [
        "MSH-2", "MSH-3", "MSH-4", "MSH-5", "MSH-6", "MSH-9", "MSH-11", "MSH-12", "MSH-15",
        "MSH-16", "MSH-17", "MSH-18", "EVN-1",
    ];
    elements(template)
        .filter(|(place, _)| !fixed.contains(&place.as_str()))
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_a_template_is_in_a_thousand_messages() -> anyhow::Result<()> {
    let sent = send(250).await?;
    ensure!(sent.received.len() == 1_000);
    let ended = Timestamp::now();
    let mut ids = BTreeSet::new();
    let (mut with_kin, mut with_insurance) = (0, 0);
    for message in &sent.received {
        let (_, event, _, _, template) = FLOWS
            .into_iter()
            .find(|(_, event, ..)| *event == message.event)
            .with_context(|| message.event.clone())?;
        ensure!(
            message.findings.is_empty(),
            "{:?}\n{}",
            message.findings,
            message.text
        );
        let forbidden = forbidden(template);
        ensure!(forbidden.len() > 20, "{forbidden:?}");
        // Set ids and codes are as short as ours; only what is longer can be told apart wherever it stands.
        for value in forbidden.iter().filter(|value| value.len() > 3) {
            ensure!(
                !message.text.contains(value),
                "{value:?} of the template in\n{}",
                message.text
            );
        }
        for (place, value) in elements(&message.text) {
            let is_hosts = ["MSH-7", "MSH-10"].contains(&place.as_str());
            let is_fixed = place.starts_with("MSH-") || place == "EVN-1";
            ensure!(
                is_hosts || is_fixed || !forbidden.contains(value),
                "{place} has {value:?} of the template:\n{}",
                message.text
            );
        }
        // Whole segments that nobody fills are not there.
        for segment in ["PD1", "PV2", "AL1", "IN2", "TQ1", "AIG", "AIL", "NTE"] {
            ensure!(
                !message.text.contains(&format!("\r{segment}|")),
                "{segment}\n{}",
                message.text
            );
        }
        with_kin += usize::from(message.text.contains("\rNK1|"));
        with_insurance += usize::from(message.text.contains("\rIN1|"));

        let (code, trigger) = event.split_once('^').context("an event")?;
        ensure!(
            message
                .field("MSH", 9)
                .starts_with(&format!("{code}^{trigger}^{code}_")),
            "{}",
            message.text
        );
        ensure!(message.control_id.len() == 20 && message.field("MSH", 10) == message.control_id);
        ensure!(
            ids.insert(message.control_id.clone()),
            "{}",
            message.control_id
        );
        let at = jiff::fmt::strtime::parse("%Y%m%d%H%M%S%z", message.field("MSH", 7))?;
        let at = at.to_timestamp()?.as_second();
        ensure!((sent.started.as_second()..=ended.as_second()).contains(&at));
    }
    // The check above is worth little if nothing stood where the template's people did.
    ensure!(
        with_kin > 500 && with_insurance > 500,
        "{with_kin} {with_insurance}"
    );
    Ok(())
}
