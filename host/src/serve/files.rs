//! How many files and connections this process may have open, beside what its channels may need.

use tracing::warn;

use crate::flow::Channel;

/// Connections to the console, the store and its journal, components, LeadSquared and the EHRs.
const BESIDE: u64 = 1_024;

/// Says in the log when the channels may take more connections than files may be open.
pub(super) fn look<'a>(channels: impl Iterator<Item = &'a Channel>) {
    let connections: u64 = channels.map(|channel| channel.max_connections as u64).sum();
    let wanted = connections + BESIDE;
    if let Some(most) = most().filter(|most| *most < wanted) {
        warn!(
            most,
            wanted,
            connections,
            "fewer files may be open than the channels' connections can need: raise the hard limit (LimitNOFILE= of the \
             systemd unit, or `ulimit -Hn`), or lower `max_connections` of the channels"
        );
    }
}

/// The limit in force; none where there is none, or no `/proc`.
fn most() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
