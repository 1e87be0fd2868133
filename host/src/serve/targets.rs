//! The channels that send: one connection for each, kept as the configuration in force says.
//!
//! Follows every change without a restart, as `serve/channels.rs` does for those that listen. Where several hosts share a
//! store, a channel is held by one of them at a time; the others look now and then whether it is free.
//! Start at [`keep`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{DRAIN, Tasks, wire};
use crate::flow::{Channel, ChannelId};
use crate::mllp::sender::{Backoff, Line};
use crate::pipeline::Pipeline;
use crate::pipeline::send::Sending;

/// How long a channel stays a host's that no longer says so.
const LEASE: Duration = Duration::from_secs(15);

/// How often what is missing is tried again, and what is held is held on to: well within the lease.
const AGAIN: Duration = Duration::from_secs(5);

/// Messages that may be unanswered on one connection: in MLLP each waits for the answer to the one before.
const WINDOW: usize = 1;

/// A channel that sends.
struct Running {
    channel: Arc<Channel>,
    tasks: Tasks,
}

/// Follows the configuration until `shutdown`, then lets every answer come that is waited for.
pub(super) async fn keep(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let mut configurations = pipeline.configurations();
    configurations.mark_changed();
    let mut running = HashMap::new();
    let is_shared = pipeline.store.journal().is_shared();
    loop {
        let missing = follow(&pipeline, &mut running).await;
        let again = async {
            match missing || (is_shared && !running.is_empty()) {
                true => tokio::time::sleep(AGAIN).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = configurations.changed() => if changed.is_err() { break },
            () = again => {}
            () = shutdown.cancelled() => break,
        }
    }
    let ends = running.values().map(|running| running.tasks.end(DRAIN));
    let ended = futures_util::future::join_all(ends).await;
    if ended.contains(&false) {
        warn!(
            "an answer of the EHR was not waited for; its message is sent again after the next start"
        );
    }
    if is_shared && let Err(fault) = pipeline.store.journal().let_go(&pipeline.owner).await {
        warn!(%fault, "channels not given back; another host takes them when the lease ends");
    }
}

/// Brings the lines to what the configuration in force says; tells whether one could not be.
async fn follow(pipeline: &Arc<Pipeline>, running: &mut HashMap<ChannelId, Running>) -> bool {
    let wanted = pipeline.configuration().targets.clone();
    let is_wanted = |running: &Running| wanted.contains(&running.channel);
    let old: Vec<ChannelId> = running
        .iter()
        .filter(|(_, running)| !is_wanted(running))
        .map(|(id, _)| id.clone())
        .collect();
    for id in old {
        pipeline.note_sending(&id, None);
        end(running, &id).await;
        info!(channel = %id, "no longer sending as it was: the channel was changed or deleted");
    }
    let mut missing = false;
    for channel in wanted {
        let id = &channel.id;
        let journal = pipeline.store.journal();
        let held = journal
            .hold(&channel.account, id.as_str(), &pipeline.owner, LEASE)
            .await;
        let sending = match held {
            Ok(true) if running.contains_key(id) => continue,
            Ok(true) => start(running, &channel),
            Ok(false) => {
                missing = true;
                Sending::Elsewhere
            }
            // Who holds it cannot be asked: what is sent now might be sent by two.
            Err(fault) => {
                missing = true;
                Sending::Not(format!("the store does not answer: {fault}"))
            }
        };
        missing |= !matches!(sending, Sending::Here(_));
        tell(pipeline, id, &sending);
        pipeline.note_sending(id, Some(sending.clone()));
        if !matches!(sending, Sending::Here(_)) {
            end(running, id).await;
        }
    }
    missing
}

/// Ends a line; what was sent is waited for.
async fn end(running: &mut HashMap<ChannelId, Running>, id: &ChannelId) {
    if let Some(old) = running.remove(id) {
        old.tasks.end(DRAIN).await;
    }
}

/// Starts a line; it connects when there is something to send.
fn start(running: &mut HashMap<ChannelId, Running>, channel: &Arc<Channel>) -> Sending {
    let target = match super::target(channel) {
        Ok(Some(target)) => target,
        Ok(None) => return Sending::Not("the channel has no target".into()),
        Err(fault) => return Sending::Not(format!("{fault:#}")),
    };
    wire::announce_target(channel);
    let tasks = Tasks::default();
    let (line, work) = Line::new(target, WINDOW, Backoff::default(), tasks.stop.clone());
    tasks.tracker.spawn(work);
    let channel = channel.clone();
    running.insert(channel.id.clone(), Running { channel, tasks });
    Sending::Here(line)
}

/// Logs what has become different.
fn tell(pipeline: &Pipeline, id: &ChannelId, sending: &Sending) {
    let before = pipeline.sending(id);
    match (sending, &before) {
        (Sending::Not(fault), Some(Sending::Not(known))) if fault == known => {}
        (Sending::Not(fault), _) => {
            error!(channel = %id, fault, "the channel does not send as it is configured; tried again every 5 seconds");
        }
        (Sending::Elsewhere, Some(Sending::Here(_))) => {
            warn!(channel = %id, "another host has taken the channel over");
        }
        (Sending::Elsewhere, _) => {}
        (Sending::Here(_), Some(Sending::Elsewhere)) => {
            info!(channel = %id, "the channel is this host's now");
        }
        (Sending::Here(_), _) => {}
    }
}
