//! A candidate release that serves some of a flow's patients, until a person promotes it or ends it, or it breaks too often.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Digest;
use super::fall_back::FellBack;
use super::release::hex;

/// A release beside the one in force, and whom it serves.
///
/// A patient's messages run in one lane, and whom the candidate serves is decided by the lane alone: a patient stays with it
/// for as long as it serves, and more patients come to it as its share grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    pub release: Digest,
    /// Of a hundred lanes so many.
    pub percent: u8,
    /// Lanes that it serves beside, as this host's keyed hashes: they tell nobody else who it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<String>,
    /// RFC 3339.
    pub since: String,
    /// Why it serves nobody any more; it broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<FellBack>,
}

impl Canary {
    /// Whether a lane is served by the candidate.
    pub fn serves(&self, lane: &[u8]) -> bool {
        self.ended.is_none()
            && (place(lane) < u64::from(self.percent) || self.lanes.contains(&Self::name(lane)))
    }

    /// What a lane is called here.
    pub fn name(lane: &[u8]) -> String {
        hex(lane)
    }
}

/// A lane's place among a hundred; lanes are hashes, so each place has as many.
fn place(lane: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = lane.len().min(8);
    first[..length].copy_from_slice(&lane[..length]);
    let place = u128::from(u64::from_be_bytes(first)) * 100;
    u64::try_from(place >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(percent: u8) -> Canary {
        Canary {
            release: Digest::of(b"candidate"),
            percent,
            lanes: Vec::new(),
            since: "2026-01-31T00:00:00Z".into(),
            ended: None,
        }
    }

    /// Lanes as the vault makes them.
    fn lanes() -> impl Iterator<Item = String> {
        (0..2_000).map(|number: u32| Digest::of(&number.to_be_bytes()).to_string())
    }

    fn bytes(lane: &str) -> Vec<u8> {
        let pairs = lane.as_bytes().chunks(2).map(|pair| {
            let text = std::str::from_utf8(pair).unwrap();
            u8::from_str_radix(text, 16).unwrap()
        });
        pairs.collect()
    }

    #[test]
    fn a_share_is_served_and_stays_served_as_it_grows() {
        let served = |percent: u8| -> Vec<String> {
            let canary = canary(percent);
            lanes().filter(|lane| canary.serves(&bytes(lane))).collect()
        };
        let (none, some, more, all) = (served(0), served(5), served(20), served(100));
        assert!(none.is_empty());
        assert_eq!(all.len(), 2_000);
        assert!((60..140).contains(&some.len()), "{}", some.len());
        assert!((320..480).contains(&more.len()), "{}", more.len());
        assert!(some.iter().all(|lane| more.contains(lane)));
    }

    #[test]
    fn named_lanes_are_served_and_nobody_once_it_has_ended() {
        let lane = lanes().next().unwrap();
        let mut canary = canary(0);
        canary.lanes.push(lane.clone());
        assert!(canary.serves(&bytes(&lane)));
        assert!(lanes().skip(1).all(|lane| !canary.serves(&bytes(&lane))));
        canary.ended = Some(FellBack {
            from: canary.release.clone(),
            at: "2026-01-31T00:00:00Z".into(),
            failures: 5,
        });
        assert!(!canary.serves(&bytes(&lane)));
    }
}
