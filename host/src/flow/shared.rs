//! A mapping document that several flows of an account share: a row that is changed in it changes for all of them.
//!
//! The text is kept here, and each flow has releases made of it as of a document of its own; nothing reaches a flow but
//! by a release that a person puts in force.

use serde::{Deserialize, Serialize};

use super::check::Fault;
use super::{AccountId, Digest, Flow};

const MAX_NAME_BYTES: usize = 100;

/// The document under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedMapping {
    pub account: AccountId,
    pub name: String,
    /// Its text in its one form.
    pub mapping: String,
    /// The component that is generated of it, by which the releases of it are known.
    pub component: Digest,
}

/// The flows of `flows` that share the mapping `name` of an account.
pub fn sharers<'a>(
    flows: impl Iterator<Item = &'a Flow>,
    account: &AccountId,
    name: &str,
) -> impl Iterator<Item = &'a Flow> {
    flows.filter(move |flow| {
        flow.account == *account && flow.shared_mapping.as_deref() == Some(name)
    })
}

/// Why a flow cannot share its mapping with those that share it already.
pub fn faults<'a>(flow: &Flow, others: impl Iterator<Item = &'a Flow>) -> Vec<Fault> {
    let Some(name) = &flow.shared_mapping else {
        return Vec::new();
    };
    let fault = |text: String| Fault::new("shared_mapping", text);
    if name.trim().is_empty() || name.len() > MAX_NAME_BYTES || name.trim() != name {
        let text = format!("is a name of 1 to {MAX_NAME_BYTES} bytes, without blanks around it");
        return vec![fault(text)];
    }
    let others = sharers(others, &flow.account, name).filter(|other| other.id != flow.id);
    let code = |flow: &Flow| flow.activity.as_ref().map(|activity| activity.code);
    let is_alike = |other: &&Flow| {
        (other.direction, other.entity, code(other)) == (flow.direction, flow.entity, code(flow))
    };
    others
        .filter(|other| !is_alike(other))
        .map(|other| {
            fault(format!(
                "flow {} shares it, and writes something else: flows that share a mapping go the same way, to leads or to \
                 activities of one type",
                other.id
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(id: &str, more: &str) -> Flow {
        let text = format!(
            "id = \"{id}\"\naccount = \"clinic\"\nname = \"{id}\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"ehr\"\n\
             event = \"ADT^A04\"\nprimary_search_field = \"mx_MRN\"\n{more}"
        );
        toml::from_str(&text).unwrap()
    }

    fn check(one: &str, other: &str) -> usize {
        let flow_ = flow("one", one);
        let others = [flow("other", other), flow_.clone()];
        faults(&flow_, others.iter()).len()
    }

    #[test]
    fn flows_that_write_the_same_can_share() {
        let lead = "entity = \"lead\"\n";
        let shared = "entity = \"lead\"\nshared_mapping = \"patients\"\n";
        let activity = |code: u32| {
            format!(
                "entity = \"activity\"\nshared_mapping = \"patients\"\nactivity = {{ code = {code}, key_field = \"mx_Custom_1\" }}\n"
            )
        };
        assert_eq!(check(lead, shared), 0);
        assert_eq!(check(shared, shared), 0);
        assert_eq!(check(shared, &activity(200)), 1);
        assert_eq!(check(&activity(200), &activity(200)), 0);
        assert_eq!(check(&activity(200), &activity(201)), 1);
        assert_eq!(
            check(shared, &activity(200).replace("patients", "visits")),
            0
        );
        assert_eq!(
            check("entity = \"lead\"\nshared_mapping = \" \"\n", lead),
            1
        );
    }
}
