//! A component comes in from a person, over the interface or in files: signature and policy, gate, robustness run.
//! Nothing is kept here.
//!
//! A component that does not stand the robustness run is refused, because whoever finds out later is a patient's message
//! that waits at night; a publisher may take it all the same, and who did stays with the component.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Pipeline;
use super::activate::{self, Refused};
use crate::flow::account::{Account, ComponentPolicy};
use crate::flow::template::Template;
use crate::flow::{AccountId, CodeTable, Digest, Direction, Flow, FlowId};
use crate::mapping::pack::{self, Pack};
use crate::mapping::robust::{self, Examination, Report, Trial};
use crate::mapping::signature::Signature;
use crate::mapping::{Component, Runtime, Tables};
use crate::store;
use crate::store::catalog::NewComponent;
use crate::store::catalog::audit::Record;

/// Findings that are named where a component is refused; the report has the others.
const NAMED: usize = 3;

/// What somebody uploads.
pub struct Upload {
    /// A component, or a pack.
    pub bytes: Vec<u8>,
    /// One that came beside the bytes; a pack has its own.
    pub signature: Option<String>,
    /// Who takes it although it has findings.
    pub accepted_by: Option<String>,
}

/// What a component is tried with: the circumstances of a flow, or of any.
pub struct Circumstances<'a> {
    pub account: &'a Account,
    pub flow: Option<&'a Flow>,
    /// The flow's sample message.
    pub template: Option<&'a [u8]>,
    /// Those of the account.
    pub tables: &'a [CodeTable],
}

/// What is to be kept.
#[derive(Debug)]
pub struct Taken {
    pub component: Arc<Component>,
    pub bytes: Vec<u8>,
    pub examination: Examination,
}

/// Why it is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Passes an upload through everything that it has to stand, with what is kept of the account and of a flow.
///
/// # Errors
/// What is wrong with it, and what its author or the account's publisher can do.
pub async fn take(
    pipeline: &Pipeline,
    account: &Account,
    flow: Option<&FlowId>,
    upload: Upload,
) -> Result<Taken, Error> {
    let catalog = pipeline.store.catalog();
    let tables = catalog.code_tables(&account.id).await?;
    let mut flows = catalog.list().await?.flows.into_iter();
    let flow = flows
        .find(|kept| flow == Some(&kept.document.id))
        .map(|kept| kept.document);
    let template = match &flow {
        Some(flow) => {
            let templates = pipeline.store.templates();
            templates.get(&account.id, &flow.id).await?
        }
        None => None,
    };
    let circumstances = Circumstances {
        account,
        flow: flow.as_ref(),
        template: template.as_ref().map(Template::bytes),
        tables: &tables,
    };
    let examining = examine(&pipeline.runtime, &circumstances, upload);
    Ok(Box::pin(examining).await?)
}

/// Passes an upload through signature and policy, gate and robustness run.
///
/// # Errors
/// What is wrong with it, and what its author or the account's publisher can do.
pub async fn examine(
    runtime: &Arc<Runtime>,
    circumstances: &Circumstances<'_>,
    upload: Upload,
) -> Result<Taken, Refused> {
    let (bytes, signature) = opened(upload.bytes, upload.signature)?;
    let digest = Digest::of(&bytes);
    let policy = &circumstances.account.components;
    let signed_by = signer(policy, &digest, signature.as_deref()).map_err(Refused::Component)?;
    let component = activate::load(runtime, bytes.clone()).await?;
    let trial = trial(circumstances, &component);
    let report = robust::examine(runtime, &component, trial).await;
    let report = report.map_err(Refused::Host)?;
    let accepted_by = match report.findings.is_empty() {
        true => None,
        false if upload.accepted_by.is_none() => {
            return Err(Refused::Component(sentence(&report)));
        }
        false => upload.accepted_by,
    };
    Ok(Taken {
        component,
        bytes,
        examination: Examination {
            robustness: Some(report),
            accepted_by,
            signature: signature.filter(|_| signed_by.is_some()),
            signed_by,
        },
    })
}

/// A component and its signature, taken out of their pack if they are in one.
///
/// # Errors
/// What is wrong with the pack.
pub fn opened(
    bytes: Vec<u8>,
    signature: Option<String>,
) -> Result<(Vec<u8>, Option<String>), Refused> {
    if !pack::is_pack(&bytes) {
        return Ok((bytes, signature));
    }
    let pack = Pack::parse(&bytes).map_err(|fault| Refused::Component(fault.to_string()))?;
    Ok((pack.component, pack.signature.or(signature)))
}

impl Taken {
    /// The component as it is kept.
    pub fn kept(self) -> NewComponent {
        NewComponent {
            origin: "uploaded".into(),
            document: String::new(),
            examination: self.examination.to_text(),
            bytes: self.bytes,
        }
    }

    /// What the audit is told where somebody took it although it has findings.
    pub fn record(&self, account: &AccountId) -> Option<Record> {
        let digest = self.component.digest.as_str();
        let record = || Record::of("accept-findings", account.as_str(), "component", digest);
        self.examination.accepted_by.as_ref().map(|_| record())
    }
}

/// The name of the trusted key that signed a component; none for an unsigned one where those are taken.
fn signer(
    policy: &ComponentPolicy,
    digest: &Digest,
    signature: Option<&str>,
) -> Result<Option<String>, String> {
    let Some(signature) = signature else {
        return match policy.signed_only {
            true => Err(
                "the account takes signed components only, and this one has no signature: \
                 `ligature plugin sign` makes one, to be sent with it"
                    .into(),
            ),
            false => Ok(None),
        };
    };
    let signature: Signature = signature.parse().map_err(|fault| format!("{fault}"))?;
    signature
        .verify(digest)
        .map_err(|fault| fault.to_string())?;
    let key = signature.key();
    let trusted = policy.trusted_keys.iter().find(|known| known.key == key);
    match trusted {
        Some(trusted) => Ok(Some(trusted.name.clone())),
        None => Err(format!(
            "the component is signed with {key}, which the account does not trust: \
             list it in trusted_keys if it is its vendor's, or upload the component without the signature"
        )),
    }
}

fn sentence(report: &Report) -> String {
    let named: Vec<_> = report.findings[..report.findings.len().min(NAMED)]
        .iter()
        .map(|finding| format!("{}: {}", finding.variation, finding.did))
        .collect();
    let more = match report.findings.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!(
        "the component does not stand variations of {}: {}{more}. `ligature plugin check` shows all of them to its \
         author; `accept_findings=true` takes it all the same, and is recorded",
        report.sample,
        named.join("; ")
    )
}

/// What the component is tried with: the flow's own circumstances, or the usual ones.
fn trial(circumstances: &Circumstances<'_>, component: &Component) -> Trial {
    let Circumstances {
        account,
        flow,
        template,
        tables: kept,
    } = *circumstances;
    let usual = Trial::usual(component);
    let chosen = flow.map(|flow| &flow.choices.tables);
    let zone = flow.and_then(|flow| flow.time_zone.clone());
    let mut trial = Trial {
        tables: Arc::new(tables(component, chosen, kept)),
        time_zone: zone
            .or(account.time_zone.clone())
            .unwrap_or(usual.time_zone.clone()),
        default_country_code: account.default_country_code.clone(),
        ..usual
    };
    let Some(flow) = flow else {
        return trial;
    };
    trial.settings.extend(flow.choices.settings.clone());
    match template {
        // Outbound the template is what is filled, not what is mapped.
        Some(template) if component.direction() == Direction::EhrToLeadSquared => {
            let from = format!("the template of flow {}", flow.id);
            trial.with_message(template.to_vec(), from)
        }
        _ => trial,
    }
}

/// The account's tables by the component's names for them; an empty one where the account has none.
fn tables(
    component: &Component,
    chosen: Option<&BTreeMap<String, String>>,
    kept: &[CodeTable],
) -> Tables {
    let asked = component.manifest.tables.iter();
    let bound = asked.map(|target| {
        let own = chosen.and_then(|chosen| chosen.get(&target.name));
        let wanted = own.or(target.proposed.as_ref()).unwrap_or(&target.name);
        let known = kept.iter().find(|table| table.name == *wanted).cloned();
        let table = known.unwrap_or_else(|| CodeTable::new("robustness".into(), wanted.clone()));
        (target.name.clone(), Arc::new(table.into()))
    });
    bound.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::account::TrustedKey;
    use crate::mapping::signature::SigningKey;

    #[test]
    fn the_policy_says_whose_components_are_taken() {
        let key = SigningKey::generate().unwrap();
        let digest = Digest::of(b"component");
        let own = key.sign(&digest).to_string();
        let other = SigningKey::generate().unwrap().sign(&digest).to_string();
        let of_another = key.sign(&Digest::of(b"another")).to_string();
        let open = ComponentPolicy {
            signed_only: false,
            trusted_keys: vec![TrustedKey {
                name: "Example Inc.".into(),
                key: key.public(),
            }],
        };
        let strict = ComponentPolicy {
            signed_only: true,
            ..open.clone()
        };
        let check = |policy: &ComponentPolicy, signature: Option<&String>, expected: &str| {
            let signed = signer(policy, &digest, signature.map(String::as_str));
            let said = match signed {
                Ok(Some(name)) => format!("taken of {name}"),
                Ok(None) => "taken".into(),
                Err(text) => text,
            };
            assert!(said.contains(expected), "{said}\nexpected: {expected}");
        };
        check(&open, None, "taken");
        check(&open, Some(&own), "taken of Example Inc.");
        check(&open, Some(&other), "which the account does not trust");
        check(
            &open,
            Some(&of_another),
            "the signature is not of this component",
        );
        check(&open, Some(&"x".to_owned()), "this is no signature");
        check(&strict, None, "takes signed components only");
        check(&strict, Some(&own), "taken of Example Inc.");
        check(&strict, Some(&other), "which the account does not trust");
    }
}
