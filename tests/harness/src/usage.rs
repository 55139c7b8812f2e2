//! What one process uses: memory, and processor time.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Linux counts processor time so, whatever the kernel's own clock is.
const TICKS_A_SECOND: f64 = 100.0;

/// The memory and the processor time of one process.
pub struct Usage {
    pid: u32,
    peak: Arc<AtomicU64>,
}

impl Usage {
    pub fn watch(pid: u32) -> Self {
        let peak = Arc::new(AtomicU64::new(0));
        let top = Arc::downgrade(&peak);
        thread::spawn(move || {
            while let Some(top) = top.upgrade() {
                top.fetch_max(resident(pid), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { pid, peak }
    }

    /// What is resident now, in bytes.
    pub fn now(&self) -> u64 {
        resident(self.pid)
    }

    /// The largest memory of a Wasm VM: V8 reserves 8 GiB for each, of which the first part can be read and written.
    pub fn linear(&self) -> u64 {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        let areas: Vec<_> = maps.lines().filter_map(area).collect();
        let of_vm = |pair: &&[(u64, bool)]| pair[0].1 && !pair[1].1 && pair[0].0 + pair[1].0 == 8 << 30;
        areas.windows(2).filter(of_vm).map(|pair| pair[0].0).max().unwrap_or(0)
    }

    /// The share of one processor that the process takes during this time.
    pub async fn busy(&self, during: Duration) -> f64 {
        let (start, before) = (Instant::now(), ticks(self.pid));
        sleep(during).await;
        let seconds = ticks(self.pid).saturating_sub(before) as f64 / TICKS_A_SECOND;
        seconds / start.elapsed().as_secs_f64()
    }

    /// The most that was resident since this was last asked.
    pub fn peak(&self) -> u64 {
        self.peak.swap(0, Ordering::Relaxed).max(self.now())
    }
}

/// How long an area of a process's memory is, and whether it can be written.
fn area(line: &str) -> Option<(u64, bool)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(to)? - number(from)?, rest.starts_with("rw")))
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

/// The processor time so far.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is a name, which may have anything in it.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}
