//! The composition root: builds all parts, spawns every task, and drains them in order.
//!
//! The only room that spawns; nobody uses it but `cli` and tests. Which channels listen is in `serve/channels.rs`, which
//! send in `serve/targets.rs`, what a channel's settings mean for its wire in `serve/wire.rs`.

mod channels;
mod files;
mod first_token;
mod targets;
mod wire;

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::access::door::{Door, Opens};
use crate::config::{Config, Console, Mapping};
use crate::flow::{Channel, ChannelId};
use crate::mapping::{self, Runtime};
use crate::mllp;
use crate::mllp::tls::Acceptor;
use crate::openid::Provider;
use crate::pipeline::configuration::{self, Configuration};
use crate::pipeline::{
    self, Pipeline, account, alerts, dispatch, load, poll, retention, shadow, tally, webhooks,
};
use crate::store::{self, Store};
use crate::vault::{Key, Vault};
use crate::web::{self, Web};
use channels::Bound;

/// How long deliveries in hand may take at shutdown; what is left is claimed again after the next start.
const DRAIN: Duration = Duration::from_secs(20);

/// What a host keeps its state in: the store and the runtime, open but serving nobody yet.
#[derive(Debug)]
pub struct Open {
    pub store: Store,
    pub runtime: Arc<Runtime>,
    /// Where its files are.
    folder: PathBuf,
    tasks: Tasks,
}

/// A group of tasks that end together.
#[derive(Debug, Clone, Default)]
struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Asks the tasks to end and waits for them, at most `limit`.
    async fn end(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

/// Opens the store and the mapping runtime of a configuration.
pub async fn open_configured(config: Config) -> anyhow::Result<Open> {
    open(
        &config.storage,
        config.migrate,
        config.keys,
        &config.mapping,
    )
    .await
}

/// Opens the store and the mapping runtime.
pub async fn open(
    storage: &str,
    migrate: bool,
    keys: Vec<Key>,
    mapping: &Mapping,
) -> anyhow::Result<Open> {
    let tasks = Tasks::default();
    let vault = Arc::new(Vault::with_keys(keys)?);
    let limits = mapping::Config {
        deadline: mapping.deadline,
        max_memory_bytes: mapping.max_memory_bytes,
        ..mapping::Config::new(mapping.artefacts.clone())
    };
    let artefacts = vault.clone();
    let runtime = Runtime::new(limits, move |bytes| artefacts.mac(bytes))
        .context("starting the mapping runtime")?;
    let config = store::Config {
        url: storage.to_owned(),
        migrate,
    };
    let store = Store::open(config, vault, &tasks.tracker, tasks.stop.clone())
        .await
        .context("opening the store")?;
    Ok(Open {
        store,
        runtime: Arc::new(runtime),
        folder: mapping.artefacts.clone(),
        tasks,
    })
}

impl Open {
    /// Writes what is left and closes the store.
    pub async fn close(self) {
        self.tasks.end(DRAIN).await;
    }
}

/// What an outbound channel needs to connect; none for one that listens. Reads the certificates.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn target(channel: &Channel) -> anyhow::Result<Option<mllp::sender::Target>> {
    let target = channel
        .target
        .as_ref()
        .map(pipeline::wire::target)
        .transpose();
    target.with_context(|| format!("target of channel {:?}", channel.name))
}

/// Sockets that the caller has bound already; what is missing is bound from the configuration.
#[derive(Debug, Default)]
pub struct Sockets {
    pub http: Option<TcpListener>,
    pub channels: HashMap<ChannelId, TcpListener>,
}

/// A running host.
#[derive(Debug)]
pub struct Host {
    pub pipeline: Arc<Pipeline>,
    pub http: SocketAddr,
    /// Whether the console speaks TLS.
    pub is_secure: bool,
    /// Where each inbound channel listens.
    pub channels: Vec<(Arc<Channel>, SocketAddr)>,
    /// The TLS side of each channel that has one: what it presents and until when.
    pub tls: HashMap<ChannelId, Arc<Acceptor>>,
    /// Who is let into the console.
    pub door: Arc<Door>,
    listeners: Tasks,
    deliveries: Tasks,
    /// The connections to EHRs: deliveries in hand need them to their end.
    lines: Tasks,
    pages: Tasks,
    /// Those that add up what was counted.
    figures: Tasks,
    open: Open,
}

/// Starts everything on `open`: listeners, workers and pages.
pub async fn start(
    open: Open,
    http: Console,
    concurrency: usize,
    mut sockets: Sockets,
) -> anyhow::Result<Host> {
    let Console {
        address: http,
        require_token,
        tls: http_tls,
        trusted_proxies,
        simulator,
        openid,
    } = http;
    let openid = openid.map(Provider::new).transpose()?;
    let configuration = Box::pin(Configuration::load(&open.store, &open.runtime)).await?;
    let channels = configuration.channels.clone();
    files::look(channels.iter().map(Arc::as_ref));
    let pipeline = Arc::new(Pipeline::new(
        open.store.clone(),
        open.runtime.clone(),
        configuration,
    ));

    pipeline.note_folder(open.folder.clone());

    // Every port is bound before the first message is taken, so that a start succeeds or fails as a whole.
    let mut bound = Vec::new();
    for channel in channels {
        let socket = sockets.channels.remove(&channel.id);
        bound.push(Bound::new(channel, socket).await?);
    }
    let http = match sockets.http {
        Some(socket) => socket,
        None => TcpListener::bind(http)
            .await
            .with_context(|| format!("the console cannot listen on {http}"))?,
    };

    let (listeners, deliveries, pages) = (Tasks::default(), Tasks::default(), Tasks::default());
    let lines = Tasks::default();
    lines
        .tracker
        .spawn(targets::keep(pipeline.clone(), lines.stop.clone()));
    let (mut addresses, mut tls) = (Vec::new(), HashMap::new());
    let mut running = HashMap::new();
    for bound in bound {
        let listening = bound.listen(&pipeline)?;
        addresses.push((listening.channel.clone(), listening.address));
        if let Some(acceptor) = listening.acceptor.clone() {
            tls.insert(listening.channel.id.clone(), acceptor);
        }
        running.insert(listening.channel.id.clone(), listening);
    }
    deliveries
        .tracker
        .spawn_blocking(crate::sync::finish::warm_up);
    listeners.tracker.spawn(channels::keep(
        pipeline.clone(),
        running,
        listeners.stop.clone(),
    ));
    pages
        .tracker
        .spawn(configuration::keep(pipeline.clone(), pages.stop.clone()));
    pages
        .tracker
        .spawn(account::keep(pipeline.clone(), pages.stop.clone()));
    pages
        .tracker
        .spawn(account::follow::keep(pipeline.clone(), pages.stop.clone()));
    pages
        .tracker
        .spawn(webhooks::keep(pipeline.clone(), pages.stop.clone()));
    pages
        .tracker
        .spawn(alerts::keep(pipeline.clone(), pages.stop.clone()));
    deliveries.tracker.spawn(load::feed::keep(
        pipeline.clone(),
        deliveries.tracker.clone(),
        deliveries.stop.clone(),
    ));
    deliveries
        .tracker
        .spawn(shadow::keep(pipeline.clone(), deliveries.stop.clone()));
    deliveries.tracker.spawn(poll::keep(
        pipeline.clone(),
        deliveries.tracker.clone(),
        deliveries.stop.clone(),
    ));
    deliveries.tracker.spawn(dispatch::dispatch(
        pipeline.clone(),
        concurrency,
        deliveries.tracker.clone(),
        deliveries.stop.clone(),
    ));
    open.tasks
        .tracker
        .spawn(dispatch::renew(pipeline.clone(), open.tasks.stop.clone()));
    let figures = Tasks::default();
    figures
        .tracker
        .spawn(dispatch::keep_usage(pipeline.clone(), figures.stop.clone()));
    figures
        .tracker
        .spawn(tally::keep(pipeline.clone(), figures.stop.clone()));
    deliveries.tracker.spawn(retention::keep_sweeping(
        pipeline.clone(),
        deliveries.stop.clone(),
    ));
    let http_address = http.local_addr()?;
    info!(address = %http_address, "serving the console");
    let door = Arc::new(Door::default());
    let console = Web {
        pipeline: pipeline.clone(),
        open_reads: http_address.ip().is_loopback() && !require_token,
        door: door.clone(),
        proxies: trusted_proxies.into(),
        simulator: simulator.map(Arc::new),
        openid: openid.map(Arc::new),
    };
    let http_tls = http_tls
        .as_ref()
        .map(pipeline::wire::plain_acceptor)
        .transpose()
        .context("TLS of the console")?
        .map(Arc::new);
    match http_tls.clone() {
        None => {
            if !http_address.ip().is_loopback() {
                warn!(address = %http_address, "passwords come over the network in clear text: give the console a certificate, or a proxy that speaks TLS");
            }
            let serving = web::serve(http, console, pages.tracker.clone(), pages.stop.clone());
            pages.tracker.spawn(serving);
        }
        Some(acceptor) => {
            let fresh = wire::keep_fresh(acceptor.clone(), pages.stop.clone());
            pages.tracker.spawn(fresh);
            pipeline.note_console(acceptor.clone());
            let shake = move |stream| {
                let acceptor = acceptor.clone();
                async move { acceptor.accept(stream).await.map(|(stream, _)| stream) }
            };
            let tasks = pages.tracker.clone();
            let serving = web::serve_secure(http, shake, console, tasks, pages.stop.clone());
            pages.tracker.spawn(serving);
        }
    }
    Ok(Host {
        pipeline,
        http: http_address,
        is_secure: http_tls.is_some(),
        channels: addresses,
        tls,
        door,
        listeners,
        deliveries,
        lines,
        pages,
        figures,
        open,
    })
}

impl Host {
    /// Stops in the order of a message's way: no more intake, deliveries to their end, pages, store.
    pub async fn stop(self) {
        self.pipeline.meters.note_stopping();
        // The listeners' own time, and some to spare.
        self.listeners.end(DRAIN + Duration::from_secs(1)).await;
        if !self.deliveries.end(DRAIN).await {
            warn!("deliveries still in hand at shutdown; they go on after the next start");
        }
        self.lines.end(DRAIN + Duration::from_secs(1)).await;
        if let Err(fault) = self
            .pipeline
            .store
            .journal()
            .release_all(&self.pipeline.owner)
            .await
        {
            warn!(%fault, "leases not released; they run out by themselves");
        }
        self.pages.end(Duration::from_secs(2)).await;
        // Once more, now that nothing is counted any longer, and before the store closes.
        self.figures.end(Duration::from_secs(2)).await;
        self.open.close().await;
    }
}

/// The file beside the store in which the first start leaves a token of the interface; none where the store is no file.
pub fn first_token_file(storage: &str) -> Option<PathBuf> {
    first_token::beside(storage)
}

/// Runs the host of `config` until it is asked to stop.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let open = open(
        &config.storage,
        config.migrate,
        config.keys,
        &config.mapping,
    )
    .await?;
    first_token::make(&open.store, &config.storage).await;
    let host = Box::pin(start(
        open,
        config.console,
        config.delivery_concurrency,
        Sockets::default(),
    ))
    .await?;
    if let Some(link) = first_start(&host).await? {
        // Not to the log, which others read: whoever has it becomes the administrator.
        let mut out = std::io::stdout();
        let text = format!("Nobody can sign in yet. Make the first administrator:\n\n  {link}\n");
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            warn!("the link of the first start could not be printed");
        }
    }
    stop.await;
    info!("stopping");
    host.stop().await;
    Ok(())
}

/// The link that makes the first administrator, once; none if there is anybody.
///
/// # Errors
/// When the store does not answer.
pub async fn first_start(host: &Host) -> anyhow::Result<Option<String>> {
    if !host.pipeline.store.catalog().people().await?.is_empty() {
        return Ok(None);
    }
    let secret = host.door.make_link(Opens::FirstAdministrator)?;
    let scheme = if host.is_secure { "https" } else { "http" };
    Ok(Some(format!(
        "{scheme}://{}/first-start/{secret}",
        host.http
    )))
}

/// Listens for SIGINT and SIGTERM from now on; the future resolves at the first of them.
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
