//! The sample message of each flow, sealed beside it; it changes by the catalog's changes, see `catalog/change.rs`.

use std::fmt;
use std::sync::Arc;

use super::database::Sql;
use super::writer::Planned;
use super::{Error, Shared, now_ms};
use crate::flow::template::{Kept, Template};
use crate::flow::{AccountId, Event, FlowId};
use crate::vault::Place;

/// The templates of one store; cloning shares them.
#[derive(Clone)]
pub struct Templates {
    shared: Arc<Shared>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Templates")
    }
}

impl Templates {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The template of a flow, opened; none if it has none.
    pub async fn get(&self, account: &AccountId, flow: &FlowId) -> Result<Option<Template>, Error> {
        let values = vec![account.as_str().into(), flow.as_str().into()];
        let rows = self.shared.one(&GET, values).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let event: Event = row
            .text(0)?
            .parse()
            .map_err(|_| Error::Database("a template is of no event".into()))?;
        let place = place(account.as_str(), flow.as_str());
        let bytes = self.shared.vault.open(&place, &row.bytes(2)?)?;
        let kept = Kept::parse(&row.text(1)?);
        let template = Template::restored(account.clone(), flow.clone(), event, kept, bytes);
        Ok(Some(template))
    }
}

/// What seals and keeps the template of a flow that is there, in the place of the one before.
pub(super) fn put(shared: &Shared, template: &Template) -> Result<Planned, Error> {
    let (account, flow) = (template.account.as_str(), template.flow.as_str());
    let sealed = shared.vault.seal(&place(account, flow), template.bytes())?;
    let values = vec![
        account.into(),
        flow.into(),
        template.event.to_string().as_str().into(),
        template.kept.as_str().into(),
        now_ms().into(),
        sealed.into(),
        account.into(),
        flow.into(),
    ];
    Ok(Planned::one(&PUT, values))
}

/// What takes the template of a flow away, if there is one.
pub(super) fn remove(account: &str, flow: &str) -> Planned {
    Planned::one(&REMOVE, vec![account.into(), flow.into()])
}

fn place<'a>(account: &'a str, flow: &'a str) -> Place<'a> {
    Place {
        account,
        id: flow,
        column: "template.message",
    }
}

static PUT: Sql = Sql {
    text: "insert into template (account_id, flow_id, event, kept, updated_at, message)
select ?, ?, ?, ?, ?, ?
where exists (select 1 from flow where account_id = ? and id = ?)
on conflict (account_id, flow_id) do update
set event = excluded.event, kept = excluded.kept, updated_at = excluded.updated_at, message = excluded.message",
    kinds: &[],
};

static GET: Sql = Sql {
    text: "select event, kept, message from template where account_id = ? and flow_id = ?",
    kinds: &[],
};

static REMOVE: Sql = Sql {
    text: "delete from template where account_id = ? and flow_id = ?",
    kinds: &[],
};
