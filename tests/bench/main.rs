//! `cargo run --release -p ligature-tests --bin bench [-- parse|finish|mapping|intake|delivery|memory|beside|swaps|pages [MESSAGES]]`
//!
//! Each bench stands beside something in the same run: the bare disk, plain Rust, a slow far end. What comes out is one
//! JSON object on standard output; progress goes to standard error. Machines differ and are noisy: read the ratios.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints its figures"
)]

mod beside;
mod delivery;
mod finish;
mod intake;
mod load;
mod mapping;
mod memory;
mod pages;
mod parse;
mod swaps;

use serde_json::{Map, Value, json};

/// The host's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let mut figures = Map::new();
    figures.insert("machine".into(), machine());
    if is_wanted("parse") {
        eprintln!("parse …");
        figures.insert("parse".into(), parse::run()?);
    }
    if is_wanted("finish") {
        eprintln!("finish …");
        figures.insert("finish".into(), finish::run()?);
    }
    if is_wanted("mapping") {
        eprintln!("mapping …");
        figures.insert("mapping".into(), mapping::run().await?);
    }
    if is_wanted("intake") {
        eprintln!("intake …");
        figures.insert("intake".into(), intake::run().await?);
    }
    if is_wanted("delivery") {
        eprintln!("delivery …");
        figures.insert("delivery".into(), delivery::run().await?);
    }
    if is_wanted("memory") {
        eprintln!("memory …");
        figures.insert("memory".into(), memory::run().await?);
    }
    if is_wanted("beside") {
        eprintln!("beside …");
        figures.insert("beside".into(), beside::run().await?);
    }
    if is_wanted("swaps") {
        eprintln!("swaps …");
        figures.insert("swaps".into(), swaps::run().await?);
    }
    if is_wanted("pages") {
        eprintln!("pages …");
        let messages = wanted.iter().find_map(|word| word.parse().ok());
        figures.insert("pages".into(), Box::pin(pages::run(messages)).await?);
    }
    println!("{}", serde_json::to_string_pretty(&Value::Object(figures))?);
    Ok(())
}

fn machine() -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split_once(':')
                .map(|(_, name)| name.trim().to_owned())
        });
    let cores = std::thread::available_parallelism()
        .map(usize::from)
        .unwrap_or(0);
    json!({ "cpu": cpu, "cores": cores })
}
