//! Who does what is asked for: a running host, asked by its interface, or this process on a store that no host has open.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::interface::{Interface, OnSite};
use crate::config::{self, Config};
use crate::flow::load::{Leads, Load};
use crate::flow::{DeliveryId, Digest};
use crate::pipeline::Pipeline;
use crate::pipeline::configuration::Configuration;
use crate::pipeline::replay::verify::Asked;
use crate::serve::{self, Open};
use crate::store::catalog::Author;
use crate::store::journal;

/// The two ways; both give a load as the interface shows it.
pub(super) enum Way {
    Host(Interface),
    Store(Box<Stored>),
}

/// A store that no host has open, or one that hosts share.
pub(super) struct Stored {
    open: Open,
    pub(super) pipeline: Pipeline,
    pub(super) author: Author,
}

impl Way {
    /// Finds out whether a host runs at the address of the console that the configuration names.
    pub(super) async fn find(site: &OnSite) -> anyhow::Result<Self> {
        let config = Config::load(&site.config)?;
        let mut address = config.console.address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let secure = || Interface::at(&format!("https://{address}"), &site.trusted);
        let mut host = match (&site.trusted.authority, &config.console.tls) {
            (Some(_), _) => secure()?,
            (None, Some(identity)) => Interface::beside(address, &identity.certificate)?,
            (None, None) => Interface::at(&format!("http://{address}"), &site.trusted)?,
        };
        let mut is_there = host.is_there().await?;
        // `serve` takes a certificate by options as well.
        if !is_there && config.console.tls.is_none() && config::authority().is_some() {
            host = secure()?;
            is_there = host.is_there().await?;
        }
        if is_there {
            let token = token(&config.storage).context(
                "a host runs, and takes a token with the rights view and operate: set LIGATURE_TOKEN",
            )?;
            return Ok(Self::Host(host.with(token)));
        }
        let open = serve::open_configured(config).await.with_context(|| {
            format!(
                "no host answers at {} (if one runs there whose certificate is not in the configuration, name it by \
                 --ca FILE), and this process cannot do it in its place",
                host.base()
            )
        })?;
        let configuration = Box::pin(Configuration::load(&open.store, &open.runtime)).await?;
        let pipeline = Pipeline::new(open.store.clone(), open.runtime.clone(), configuration);
        Ok(Self::Store(Box::new(Stored {
            open,
            pipeline,
            author: Author("command line".into()),
        })))
    }

    pub(super) fn is_host(&self) -> bool {
        matches!(self, Self::Host(_))
    }

    pub(super) async fn close(self) {
        if let Self::Store(stored) = self {
            let Stored { open, pipeline, .. } = *stored;
            let owner = pipeline.owner.clone();
            let _ = pipeline.store.journal().let_go(&owner).await;
            drop(pipeline);
            open.close().await;
        }
    }

    pub(super) async fn list(&self) -> anyhow::Result<Vec<Value>> {
        match self {
            Self::Host(host) => {
                let page = host.send("GET", "loads?limit=500", None).await?;
                Ok(page["items"].as_array().cloned().unwrap_or_default())
            }
            Self::Store(stored) => {
                let mut found = Vec::new();
                for load in stored.pipeline.store.loads().list().await? {
                    found.push(stored.shown(&load).await?);
                }
                Ok(found)
            }
        }
    }

    pub(super) async fn show(&self, id: &str) -> anyhow::Result<Value> {
        match self {
            Self::Host(host) => host.send("GET", &format!("loads/{id}"), None).await,
            Self::Store(stored) => stored.shown(&stored.load(id).await?).await,
        }
    }

    pub(super) async fn create(&self, flow: &str, leads: Option<&Leads>) -> anyhow::Result<Value> {
        match self {
            Self::Host(host) => {
                let body = json!({ "flow": flow, "leads": leads }).to_string();
                host.send("POST", "loads", Some(body.into())).await
            }
            Self::Store(stored) => {
                let (pipeline, author) = (&stored.pipeline, &stored.author);
                let flow = flow.into();
                let load = pipeline.create_load(&flow, leads.cloned(), author).await?;
                if leads.is_some() {
                    // Nobody else lists them now.
                    Box::pin(pipeline.carry(&load.id)).await?;
                }
                stored.shown(&stored.load(&load.id).await?).await
            }
        }
    }

    /// Adds messages behind the first `total`.
    pub(super) async fn add(&self, id: &str, total: u64, bytes: Vec<u8>) -> anyhow::Result<Value> {
        match self {
            Self::Host(host) => {
                let path = format!("loads/{id}/messages?total={total}");
                host.send("POST", &path, Some(bytes)).await
            }
            Self::Store(stored) => {
                let load = stored.load(id).await?;
                stored.pipeline.add_messages(&load, total, &bytes).await?;
                stored.shown(&stored.load(id).await?).await
            }
        }
    }

    /// Runs a stored message again; gives it as the interface shows it.
    pub(super) async fn replay(
        &self,
        delivery: &str,
        release: Option<&str>,
        values: bool,
    ) -> anyhow::Result<Value> {
        match self {
            Self::Host(host) => {
                let body = json!({ "release": release, "values": values }).to_string();
                let path = format!("deliveries/{delivery}/replay");
                host.send("POST", &path, Some(body.into())).await
            }
            Self::Store(stored) => {
                let pipeline = &stored.pipeline;
                let found = stored.delivery(delivery).await?;
                let release = release.map(|digest| Digest::from(digest.to_owned()));
                let replay = pipeline.replay(&found, release.as_ref(), values).await?;
                Ok(serde_json::to_value(replay)?)
            }
        }
    }

    /// Finds the release since which a field gets what it gets.
    pub(super) async fn bisect(
        &self,
        delivery: &str,
        field: &str,
        release: Option<&str>,
    ) -> anyhow::Result<Value> {
        match self {
            Self::Host(host) => {
                let body = json!({ "field": field, "release": release }).to_string();
                let path = format!("deliveries/{delivery}/bisect");
                host.send("POST", &path, Some(body.into())).await
            }
            Self::Store(stored) => {
                let pipeline = &stored.pipeline;
                let found = stored.delivery(delivery).await?;
                let release = release.map(|digest| Digest::from(digest.to_owned()));
                let bisecting = pipeline.bisect(&found, field, release.as_ref());
                Ok(serde_json::to_value(Box::pin(bisecting).await?)?)
            }
        }
    }

    /// Verifies a part of a window; `asked` is as the interface takes it.
    pub(super) async fn verify(&self, asked: &Asked, after: Option<&str>) -> anyhow::Result<Value> {
        match self {
            Self::Host(host) => {
                let mut body = serde_json::to_value(asked)?;
                body["after"] = after.into();
                let body = body.to_string().into();
                host.send("POST", "replays/verify", Some(body)).await
            }
            Self::Store(stored) => {
                let after = after.map(DeliveryId::from);
                let verifying = stored.pipeline.verify_asked(asked, after.as_ref());
                Ok(serde_json::to_value(Box::pin(verifying).await?)?)
            }
        }
    }

    /// Starts, pauses, resumes or cancels a load.
    pub(super) async fn act(&self, id: &str, action: &str) -> anyhow::Result<Value> {
        match self {
            Self::Host(host) => {
                let path = format!("loads/{id}/{action}");
                host.send("POST", &path, Some(b"{}".to_vec())).await
            }
            Self::Store(stored) => {
                let load = stored.load(id).await?;
                let (pipeline, author) = (&stored.pipeline, &stored.author);
                match action {
                    "pause" => pipeline.pause_load(&load, author).await?,
                    "cancel" => pipeline.cancel_load(&load, author).await?,
                    _ => pipeline.start_load(&load, author).await?,
                }
                stored.shown(&stored.load(id).await?).await
            }
        }
    }
}

impl Stored {
    async fn delivery(&self, id: &str) -> anyhow::Result<journal::Stored> {
        let found = self.pipeline.stored_anywhere(&id.into()).await?;
        found.with_context(|| format!("there is no delivery {id}"))
    }

    async fn load(&self, id: &str) -> anyhow::Result<Load> {
        let load = self.pipeline.store.loads().get(id).await?;
        load.with_context(|| format!("there is no load {id}"))
    }

    async fn shown(&self, load: &Load) -> anyhow::Result<Value> {
        let standing = self.pipeline.load_standing(load).await?;
        Ok(serde_json::to_value(standing)?)
    }
}

/// The token of the environment, or the one that the first start left beside the store.
fn token(storage: &str) -> Option<String> {
    let beside = || {
        let file = serve::first_token_file(storage)?;
        std::fs::read_to_string(Path::new(&file)).ok()
    };
    let token = config::token().or_else(beside)?;
    Some(token.trim().to_owned())
}
