//! One Envoy process: how it is found, started, awaited and stopped, and what it logged.
//!
//! The recipe is func-e's: every port is 0, the admin address comes from a file, `/ready` says when it serves, and
//! whoever waits in vain is shown the last readiness failure and the log, not "timeout".

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, Req};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The folder of the crate, where the module and the tools are.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The words that start Envoy; its own arguments follow them.
static COMMAND: LazyLock<Vec<String>> = LazyLock::new(|| {
    let line = env::var("ENVOY").unwrap_or_else(|_| {
        let script = Path::new(ROOT).join("tools/find-envoy");
        let found = Command::new(&script).stderr(Stdio::inherit()).output();
        let found = found.unwrap_or_else(|e| panic!("{}: {e}; or set ENVOY", script.display()));
        assert!(found.status.success(), "{} found no Envoy; set ENVOY to one", script.display());
        String::from_utf8(found.stdout).unwrap()
    });
    let words: Vec<String> = line.split_whitespace().map(String::from).collect();
    assert!(!words.is_empty(), "ENVOY is empty: it is the command that starts Envoy");
    words
});

type Spawn = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The one thread that starts every Envoy: Envoy asks the kernel to die with the *thread* that started it, and a
/// test's thread may end, or be replaced, before its Envoy should.
static SPAWNER: LazyLock<mpsc::Sender<Spawn>> = LazyLock::new(|| {
    let (jobs, inbox) = mpsc::channel::<Spawn>();
    thread::spawn(move || {
        for (mut command, reply) in inbox {
            let _ = reply.send(command.spawn());
        }
    });
    jobs
});

/// Whether all Envoys get the module that compares responses in full.
static COMPARES: AtomicBool = AtomicBool::new(false);

/// Lets all Envoys that are started from now on have the module that compares responses in full.
pub fn always_compare() {
    COMPARES.store(true, Ordering::Relaxed);
}

/// Returns whether they do.
pub fn compares() -> bool {
    COMPARES.load(Ordering::Relaxed)
}

/// Where `make build` leaves the module.
pub fn module() -> PathBuf {
    if compares() { compare_module() } else { built("dist/traffic_mirror.wasm") }
}

/// Where it leaves the module that compares responses in full.
pub fn compare_module() -> PathBuf {
    built("dist/traffic_mirror_compare.wasm")
}

fn built(module: &str) -> PathBuf {
    let path = Path::new(ROOT).join(module);
    assert!(path.is_file(), "{} is missing: run `make build` first", path.display());
    path
}

/// The filter with a panic at requests that carry `x-trap`, built and finished by the steps of `make build`.
pub fn trapping_module() -> &'static Path {
    static MODULE: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = Path::new(ROOT).join("target/trap");
        let module = target.join("traffic_mirror.wasm");
        let mut make = Command::new("make");
        make.current_dir(ROOT).env("CARGO_TARGET_DIR", &target).env_remove("MAKEFLAGS");
        make.arg(&module).arg("FEATURES=trap-for-tests").arg(format!("MODULE={}", module.display()));
        assert!(make.status().unwrap().success(), "{make:?}");
        // By this text tests/module.rs makes sure that the module which users get has no trap.
        let bytes = fs::read(&module).unwrap();
        assert!(bytes.windows(14).any(|window| window == b"trap-for-tests"), "{} has no trap", module.display());
        module
    });
    &MODULE
}

/// Returns the version of the Envoy that tests start, major and minor.
pub fn version() -> (u32, u32) {
    let output = Command::new(&COMMAND[0]).args(&COMMAND[1..]).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`
    let numbers = text.split('/').find_map(|part| {
        let mut numbers = part.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    numbers.unwrap_or_else(|| panic!("no version in {text:?}"))
}

/// Asks Envoy whether it takes a bootstrap, without serving.
///
/// # Errors
/// What it says against it.
pub fn validate(bootstrap: &Path) -> Result<(), String> {
    let mut command = Command::new(&COMMAND[0]);
    command.current_dir(ROOT).args(&COMMAND[1..]).args(["--mode", "validate", "-c"]).arg(bootstrap);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

/// A folder of one test, removed with it unless the test fails.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("traffic-mirror-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a file in place at once, by a move: that is the change which Envoy watches for.
    pub fn replace(&self, name: &str, content: &Value) -> PathBuf {
        let (draft, path) = (self.path("draft"), self.path(name));
        fs::write(&draft, content.to_string()).unwrap();
        fs::rename(&draft, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// An Envoy that serves.
pub struct Envoy {
    /// The command, or a wrapper that started it.
    pub child: Child,
    /// Where its admin interface listens.
    pub admin: SocketAddr,
    /// Its configuration, its log, and the files it watches.
    pub folder: Folder,
}

/// An Envoy that ended instead of serving.
#[derive(Debug)]
pub struct Refused {
    pub status: ExitStatus,
    pub log: String,
}

impl Envoy {
    /// Starts Envoy and waits until it is ready.
    ///
    /// # Errors
    /// [`Refused`] if it exits by itself.
    pub async fn start(folder: Folder, bootstrap: &Value, workers: usize) -> Result<Self, Refused> {
        let mut child = spawn(&folder, &folder.replace("envoy.json", bootstrap), workers);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return Err(Refused { status, log: log(&folder) });
            }
            match ready(&folder).await {
                Ok(admin) => return Ok(Self { child, admin, folder }),
                Err(why) if Instant::now() > deadline => {
                    stop(&mut child);
                    panic!("Envoy is not ready: {why}\n{}", tail(&log(&folder)));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Asks the admin interface and hands back its answer.
    pub async fn admin(&self, path: &str) -> String {
        let reply = Client::h1(self.admin).await.send(Req::get(path)).await;
        assert_eq!(reply.status, 200, "admin {path}: {}", reply.text());
        reply.text()
    }

    /// The process that serves: the command itself, or, where that starts Envoy in its turn, the last it started.
    pub fn pid(&self) -> u32 {
        // Any of a wrapper's threads may have started it.
        let first = |pid: u32| {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
            let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
            children.collect::<String>().split_whitespace().next()?.parse().ok()
        };
        std::iter::successors(Some(self.child.id()), |pid| first(*pid)).last().unwrap()
    }

    /// How many KiB of data Envoy has reserved, whether it uses them or not, with all that a wrapper started.
    pub fn data_kib(&self) -> u64 {
        data_kib(self.child.id())
    }

    /// All that Envoy has logged so far.
    pub fn log(&self) -> String {
        log(&self.folder)
    }
}

fn data_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let own: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    own + children.split_whitespace().map(|child| data_kib(child.parse().unwrap())).sum::<u64>()
}

impl Drop for Envoy {
    fn drop(&mut self) {
        stop(&mut self.child);
        if thread::panicking() {
            eprintln!("---- the end of Envoy's log ----\n{}", tail(&self.log()));
        }
    }
}

fn spawn(folder: &Folder, bootstrap: &Path, workers: usize) -> Child {
    let log = File::create(folder.path("envoy.log")).unwrap();
    let mut command = Command::new(&COMMAND[0]);
    command
        .args(&COMMAND[1..])
        .arg("-c")
        .arg(bootstrap)
        .arg("--admin-address-path")
        .arg(folder.path("admin"))
        .args(["--use-dynamic-base-id", "--concurrency", &workers.to_string()])
        // A replaced listener lets go of its old filter after a second, not ten minutes.
        .args(["--drain-time-s", "1", "--parent-shutdown-time-s", "2"])
        // Access logs show soon, not after ten seconds.
        .args(["--file-flush-interval-msec", "50"])
        .args(["-l", "warning", "--component-log-level", "wasm:info"])
        // Where a VM asks for the host's.
        .env("TRAFFIC_MIRROR_KEY", "0123456789abcdef")
        // Configurations name the module as seen from the repository's folder.
        .current_dir(ROOT)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let (reply, spawned) = mpsc::channel();
    SPAWNER.send((command, reply)).unwrap();
    spawned.recv().unwrap().unwrap_or_else(|e| panic!("{}: {e}", COMMAND.join(" ")))
}

async fn ready(folder: &Folder) -> Result<SocketAddr, String> {
    let file = folder.path("admin");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let admin: SocketAddr = text.trim().parse().map_err(|e| format!("admin address {text:?}: {e}"))?;
    let reply = Client::try_h1(admin).await?.try_send(Req::get("/ready")).await?;
    if reply.status == 200 { Ok(admin) } else { Err(format!("/ready: {} {}", reply.status, reply.text())) }
}

/// Ends the process as an operator would, so that func-e can end its Envoy; by force if it does not listen.
fn stop(child: &mut Child) {
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    let deadline = Instant::now() + STOP_TIMEOUT;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn log(folder: &Folder) -> String {
    let bytes = fs::read(folder.path("envoy.log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
