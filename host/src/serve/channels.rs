//! Listeners of the channels in force: started, stopped and started anew as the configuration changes.
//!
//! A channel that was changed listens with its new settings only once they can be had: its certificates are read and
//! its new address is bound before the old listener ends. Start at [`keep`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{DRAIN, Tasks, wire};
use crate::flow::{Channel, ChannelId};
use crate::mllp::tls::Acceptor;
use crate::pipeline::Pipeline;
use crate::pipeline::wire::{Wire, acceptor as acceptor_of};

/// How often a channel that could not listen is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// A channel that listens.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) channel: Arc<Channel>,
    pub(super) address: SocketAddr,
    pub(super) acceptor: Option<Arc<Acceptor>>,
    tasks: Tasks,
}

/// A channel's socket and what it needs beside it.
pub(super) struct Bound {
    pub(super) channel: Arc<Channel>,
    pub(super) socket: TcpListener,
    pub(super) acceptor: Option<Arc<Acceptor>>,
}

impl Bound {
    /// Reads the channel's certificates and binds its address, unless `socket` is bound already.
    pub(super) async fn new(
        channel: Arc<Channel>,
        socket: Option<TcpListener>,
    ) -> anyhow::Result<Self> {
        let acceptor = acceptor(&channel)?;
        let socket = match socket {
            Some(socket) => socket,
            None => bind(&channel).await?,
        };
        Ok(Self {
            channel,
            socket,
            acceptor,
        })
    }

    /// Takes messages from now on.
    pub(super) fn listen(self, pipeline: &Arc<Pipeline>) -> anyhow::Result<Running> {
        let address = self.socket.local_addr()?;
        let tasks = Tasks::default();
        wire::announce(&self.channel, address);
        if let Some(acceptor) = self.acceptor.clone() {
            let fresh = wire::keep_fresh(acceptor, tasks.stop.clone());
            tasks.tracker.spawn(fresh);
        }
        let noted = Wire {
            acceptor: self.acceptor.clone(),
            ..Wire::default()
        };
        let listening = wire::listen(
            pipeline.clone(),
            self.channel.clone(),
            self.socket,
            noted.clone(),
            tasks.clone(),
        );
        tasks.tracker.spawn(listening);
        pipeline.note_wire(&self.channel.id, Some(noted));
        pipeline.note_listening(&self.channel.id, Some(Ok(address)));
        Ok(Running {
            channel: self.channel,
            address,
            acceptor: self.acceptor,
            tasks,
        })
    }
}

fn acceptor(channel: &Channel) -> anyhow::Result<Option<Arc<Acceptor>>> {
    let acceptor = channel.tls.as_ref().map(acceptor_of).transpose();
    let acceptor = acceptor.with_context(|| format!("TLS of channel {:?}", channel.name))?;
    Ok(acceptor.map(Arc::new))
}

async fn bind(channel: &Channel) -> anyhow::Result<TcpListener> {
    TcpListener::bind(channel.address).await.with_context(|| {
        format!(
            "channel {:?} cannot listen on {}",
            channel.name, channel.address
        )
    })
}

impl Running {
    /// Takes no more; says whether every connection came to its end.
    async fn end(&self) -> bool {
        self.tasks.end(DRAIN).await
    }
}

/// Follows the configuration until `shutdown`, then ends all listeners.
pub(super) async fn keep(
    pipeline: Arc<Pipeline>,
    mut running: HashMap<ChannelId, Running>,
    shutdown: CancellationToken,
) {
    let mut configurations = pipeline.configurations();
    configurations.mark_changed();
    loop {
        let missing = follow(&pipeline, &mut running).await;
        let again = async {
            match missing {
                true => tokio::time::sleep(AGAIN).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = wait(&mut configurations) => if changed.is_err() { break },
            () = again => {}
            () = shutdown.cancelled() => break,
        }
    }
    let ends = running.values().map(Running::end);
    let ended = futures_util::future::join_all(ends).await;
    if ended.contains(&false) {
        warn!("a connection was cut at shutdown; its sender will send again");
    }
}

async fn wait(
    configurations: &mut tokio::sync::watch::Receiver<
        Arc<crate::pipeline::configuration::Configuration>,
    >,
) -> Result<(), tokio::sync::watch::error::RecvError> {
    configurations.changed().await
}

/// Brings the listeners to what the configuration in force says; tells whether one could not be.
async fn follow(pipeline: &Arc<Pipeline>, running: &mut HashMap<ChannelId, Running>) -> bool {
    let wanted = pipeline.configuration().channels.clone();
    let gone: Vec<ChannelId> = running
        .keys()
        .filter(|id| !wanted.iter().any(|channel| channel.id == **id))
        .cloned()
        .collect();
    for id in gone {
        if let Some(old) = running.remove(&id) {
            info!(channel = %id, address = %old.address, "no longer listening: the channel was deleted");
            old.end().await;
        }
        pipeline.note_listening(&id, None);
        pipeline.note_wire(&id, None);
    }
    let mut missing = false;
    for channel in wanted {
        let old = running.get(&channel.id);
        if old.is_some_and(|old| *old.channel == *channel) {
            continue;
        }
        match start(pipeline, running, &channel).await {
            Ok(new) => drop(running.insert(channel.id.clone(), new)),
            Err(fault) => {
                missing = true;
                let fault = format!("{fault:#}");
                let said = Some(Err(fault.clone()));
                if pipeline.listening(&channel.id) != said {
                    error!(channel = %channel.id, fault, "the channel does not listen as it is configured; tried again every 5 seconds");
                    pipeline.note_listening(&channel.id, said);
                }
            }
        }
    }
    missing
}

/// Starts a channel, in place of its old listener if there is one.
async fn start(
    pipeline: &Arc<Pipeline>,
    running: &mut HashMap<ChannelId, Running>,
    channel: &Arc<Channel>,
) -> anyhow::Result<Running> {
    let same_place = running
        .get(&channel.id)
        .is_some_and(|old| old.channel.address == channel.address && channel.address.port() != 0);
    if same_place {
        // The address is free only when the old listener has ended: what can fail is tried before.
        let acceptor = acceptor(channel)?;
        if let Some(old) = running.remove(&channel.id) {
            old.end().await;
        }
        let socket = bind(channel).await?;
        let bound = Bound {
            channel: channel.clone(),
            socket,
            acceptor,
        };
        return bound.listen(pipeline);
    }
    let new = Bound::new(channel.clone(), None).await?.listen(pipeline)?;
    if let Some(old) = running.remove(&channel.id) {
        old.end().await;
    }
    Ok(new)
}
