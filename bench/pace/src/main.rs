//! An open-loop HTTP/1.1 load generator: `pace PORT RATE SECONDS SEED < request`.
//!
//! Requests fall due at random moments (a Poisson process, the same for the same seed) whether or not earlier ones have
//! been answered, and a latency counts from the moment a request was due, so that a server that stalls cannot hide it.
//! Prints the latencies' p50, p90 and p99 in microseconds.
use std::collections::VecDeque;
use std::error::Error;
use std::io::{Read, Write, stdin};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::ptr::null;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 128;
/// What is sent before this share of the time has passed is not counted.
const WARM_UP: f64 = 0.1;
/// How long after the last request an answer may come.
const DRAIN: Duration = Duration::from_secs(20);
const POLLIN: i16 = 1;
const PR_SET_TIMERSLACK: i32 = 29;

#[repr(C)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

#[repr(C)]
struct TimeSpec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn prctl(option: i32, ...) -> i32;
    fn ppoll(fds: *mut PollFd, count: u64, timeout: *const TimeSpec, mask: *const u8) -> i32;
}

struct Connection {
    stream: TcpStream,
    due: Instant,
    answer: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<f64> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let [port, rate, seconds, seed] = arguments[..] else {
        return Err("usage: pace PORT RATE SECONDS SEED < request".into());
    };
    let mut request = Vec::new();
    stdin().read_to_end(&mut request)?;
    // SAFETY: takes a number. Without it the kernel wakes us up to 50 µs late.
    unsafe { prctl(PR_SET_TIMERSLACK, 1_u64) };

    let mut connections = (0..CONNECTIONS).map(|_| connect(port as u16)).collect::<Result<Vec<_>, _>>()?;
    let mut idle: Vec<usize> = (0..CONNECTIONS).collect();
    let mut busy: Vec<usize> = Vec::new();
    let mut waiting = VecDeque::new();
    let mut latencies = Vec::new();
    let mut random = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let (begin, mut due) = (Instant::now(), Instant::now());
    let (counted, end) = (begin + Duration::from_secs_f64(seconds * WARM_UP), begin + Duration::from_secs_f64(seconds));

    while due < end || !waiting.is_empty() || !busy.is_empty() {
        let now = Instant::now();
        if now > end + DRAIN {
            return Err(format!("{} requests unanswered", waiting.len() + busy.len()).into());
        }
        while due <= now && due < end {
            waiting.push_back(due);
            due += Duration::from_secs_f64(-uniform(&mut random).ln() / rate);
        }
        while !waiting.is_empty() && !idle.is_empty() {
            let (Some(due), Some(index)) = (waiting.pop_front(), idle.pop()) else { break };
            connections[index].due = due;
            connections[index].stream.write_all(&request)?;
            busy.push(index);
        }
        for index in wait(&connections, &busy, due.saturating_duration_since(now)) {
            let connection = &mut connections[index];
            if !connection.answered()? {
                continue;
            }
            if connection.due >= counted {
                latencies.push(connection.due.elapsed().as_nanos() as f64 / 1000.0);
            }
            connection.answer.clear();
            busy.retain(|other| *other != index);
            idle.push(index);
        }
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[(share * latencies.len() as f64) as usize];
    println!(
        r#"{{"count": {}, "p50": {:.1}, "p90": {:.1}, "p99": {:.1}}}"#,
        latencies.len(),
        at(0.5),
        at(0.9),
        at(0.99)
    );
    Ok(())
}

fn connect(port: u16) -> std::io::Result<Connection> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(Connection { stream, due: Instant::now(), answer: Vec::new() })
}

/// The connections that have something to read, after at most `timeout`.
fn wait(connections: &[Connection], busy: &[usize], timeout: Duration) -> Vec<usize> {
    let entry = |index: &usize| PollFd { fd: connections[*index].stream.as_raw_fd(), events: POLLIN, revents: 0 };
    let mut entries: Vec<PollFd> = busy.iter().map(entry).collect();
    let timeout = TimeSpec { seconds: timeout.as_secs() as i64, nanoseconds: timeout.subsec_nanos().into() };
    // SAFETY: pointer and count are of one vector, the timeout lives through the call.
    unsafe { ppoll(entries.as_mut_ptr(), entries.len() as u64, &timeout, null()) };
    busy.iter().zip(&entries).filter(|(_, entry)| entry.revents != 0).map(|(index, _)| *index).collect()
}

impl Connection {
    /// Reads what is there, and tells whether the answer is whole.
    fn answered(&mut self) -> Result<bool, Box<dyn Error>> {
        let mut chunk = [0; 4096];
        let count = self.stream.read(&mut chunk)?;
        self.answer.extend_from_slice(&chunk[..count]);
        if count == 0 || !b"HTTP/1.1 200".starts_with(&self.answer[..self.answer.len().min(12)]) {
            return Err(format!("not a 200: {}", String::from_utf8_lossy(&self.answer)).into());
        }
        let answer = String::from_utf8_lossy(&self.answer);
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Ok(false) };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).ok_or("no content-length")?;
        Ok(body.len() >= length.parse()?)
    }
}

/// A random number in (0, 1].
fn uniform(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    ((*state >> 11) + 1) as f64 / (1_u64 << 53) as f64
}
