//! Copies a second of the complete Envoy: one bucket in the host's shared data, which all workers and listeners change.

use crate::config::Rate;
use crate::core::rate::Bucket;
use crate::envoy::abi;

/// What keys of ours begin with: plugins of other makers may share the host's data.
const PREFIX: &[u8] = b"traffic_mirror.rate\0";

/// How often a race with other workers is run before it counts as lost. Each race has a winner, so that few workers lose often.
const RACES: usize = 16;

/// The bucket of all configurations that have one plugin name, rate and burst: a push that changes none of them finds it as it
/// was. The host keeps those of each `vm_id` apart.
#[derive(Debug)]
pub struct Tokens {
    key: Vec<u8>,
    bucket: Bucket,
}

impl Tokens {
    /// Finds the bucket of a plugin and its rate.
    pub fn new(plugin: &[u8], rate: Rate) -> Self {
        let measures = format!("\0{}\0{}", rate.per_second, rate.burst);
        Self { key: [PREFIX, plugin, measures.as_bytes()].concat(), bucket: Bucket::new(rate) }
    }

    /// Takes a token at `now`, see [`abi::now`]; false where there is none, or other workers were always faster. It is taken
    /// before the copy is sent: two workers that only looked could both see the last one.
    pub fn take(&self, now: u64) -> bool {
        self.change(|full_at| self.bucket.take(full_at, now))
    }

    /// Gives back a token that was taken so many nanoseconds ago, for a copy that the host refused. A lost race costs it.
    pub fn give_back(&self, held: u64) {
        self.change(|full_at| Some(self.bucket.give_back(full_at, held)));
    }

    fn change(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        for _ in 0..RACES {
            let (full_at, version) = abi::shared_number(&self.key);
            let Some(changed) = change(full_at) else { return false };
            if abi::swap_shared_number(&self.key, changed, version) {
                return true;
            }
        }
        false
    }
}
