//! The list of channels with how each stands on this host.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::visit::{Frame, Visit, html};
use crate::flow::channel::Kind;
use crate::pipeline::send::Sending;
use crate::web::Web;
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "channels.html")]
struct ChannelsPage {
    frame: Frame,
    channels: Vec<Line>,
}

struct Line {
    name: String,
    id: String,
    is_inbound: bool,
    address: String,
    state: &'static str,
    said: String,
    has_tls: bool,
    peers: String,
    flows: Vec<(String, String)>,
}

/// Lists channels.
pub async fn list(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let flows = &listing.flows;
    let channels = listing.channels.iter().map(|kept| {
        let channel = &kept.document;
        let is_inbound = channel.kind() == Kind::Inbound;
        let (state, said, address) = match is_inbound {
            true => match web.pipeline.listening(&channel.id) {
                Some(Ok(address)) => ("listening", String::new(), address.to_string()),
                Some(Err(fault)) => ("broken", fault, channel.address.to_string()),
                None => (
                    "waiting",
                    "not tried yet".to_owned(),
                    channel.address.to_string(),
                ),
            },
            false => {
                let target = channel.target.as_ref();
                let target = target
                    .map(|target| target.address.to_string())
                    .unwrap_or_default();
                match web.pipeline.sending(&channel.id) {
                    Some(Sending::Here(line)) => {
                        ("connected", String::new(), line.address().to_owned())
                    }
                    Some(Sending::Elsewhere) => (
                        "elsewhere",
                        "another host has this connection".to_owned(),
                        target,
                    ),
                    Some(Sending::Not(fault)) => ("broken", fault, target),
                    None => ("waiting", "not tried yet".to_owned(), target),
                }
            }
        };
        let peers: Vec<_> = channel
            .allowed_peers
            .iter()
            .map(|network| network.0.to_string())
            .collect();
        Line {
            name: channel.name.clone(),
            id: channel.id.to_string(),
            is_inbound,
            address,
            state,
            said,
            has_tls: channel.tls.is_some()
                || channel
                    .target
                    .as_ref()
                    .is_some_and(|target| target.tls.is_some()),
            peers: match peers.is_empty() {
                true => "any".into(),
                false => peers.join(", "),
            },
            flows: flows
                .iter()
                .map(|kept| &kept.document)
                .filter(|flow| flow.channel == channel.id && flow.account == channel.account)
                .map(|flow| (flow.id.to_string(), flow.name.clone()))
                .collect(),
        }
    });
    html(&ChannelsPage {
        frame: visit.frame("channels"),
        channels: channels.collect(),
    })
}
