//! What people see: each output at a terminal of 80 columns, and that a pipe gets none of what is for a terminal.

use crate::stats::{FRONT, calculation};
use crate::{ROOT, mirrorctl};
use harness::scene::{Ports, Scene};
use harness::{block_on, eventually};
use regex::Regex;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs a command in a terminal of its own, whose size is given, for at most so many seconds, and writes what came there.
const PTY: &str = r#"
import fcntl, os, pty, select, signal, struct, sys, termios, time
columns, rows, seconds = (float(one) for one in sys.argv[1:4])
# The size stands before the program looks at it.
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(slave, number)
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[4], sys.argv[4:])
os.close(slave)
end, output = time.time() + seconds, b""
while time.time() < end:
    if select.select([master], [], [], 0.1)[0]:
        try:
            read = os.read(master, 65536)
        except OSError:
            break
        if not read:
            break
        output += read
if os.waitpid(pid, os.WNOHANG)[0] == 0:
    os.kill(pid, signal.SIGKILL)
sys.stdout.buffer.write(output)
"#;

/// Returns what a terminal gets.
fn seen(args: &[&str], (columns, rows): (u32, u32), within: Duration) -> String {
    let size = [columns.to_string(), rows.to_string(), within.as_secs_f64().to_string()];
    let mut python = Command::new("python3");
    python.args(["-c", PTY]).args(size).arg(env!("CARGO_BIN_EXE_mirrorctl")).args(args).current_dir(ROOT);
    let output = python.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

/// Returns the lines that stay, without what moves the cursor, erases or colours.
fn plain(text: &str) -> Vec<String> {
    let escapes = Regex::new("\x1b\\[[0-9;?]*[A-Za-z]").unwrap();
    let last = |line: &str| line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default().to_owned();
    text.lines().map(|line| escapes.replace_all(&last(line), "").into_owned()).collect()
}

const SIZE: (u32, u32) = (80, 24);
const LONG: Duration = Duration::from_secs(20);

#[test]
fn lines_fit_a_terminal_and_are_whole_in_a_pipe() {
    for args in [
        "check wasmplugin.yaml envoy.yaml",
        "check --notes deploy/istio/sidecar.yaml examples/calcbackend/envoy.yaml",
        "plan envoy.yaml --requests 9000 --latency 1s --replicas 20000",
        "explain envoy.yaml --request /sampled --source 10.0.0.1",
        "schema",
        "convert mirrorctl/tests/mirrorctl/routes/gateway-api.yaml",
        "--help",
        "plan --help",
        "report --help",
        "nonsense",
    ] {
        let args: Vec<_> = args
            .split(' ')
            .filter(|arg| !arg.starts_with("deploy/") || std::path::Path::new(ROOT).join(arg).exists())
            .collect();
        let lines = plain(&seen(&args, SIZE, LONG));
        // A path or a pattern has no place to break.
        let too_long = |line: &&String| {
            line.chars().count() > 80
                && line.trim().contains(' ')
                && !line.contains("regex: ")
                && !line.contains("\": \"")
        };
        assert!(
            !lines.is_empty() && !lines.iter().any(|line| too_long(&line)),
            "{args:?}: {:#?}",
            lines.iter().filter(too_long).collect::<Vec<_>>()
        );
        let ran = mirrorctl(&args, "");
        assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{args:?}: {ran:?}");
    }
    // Colours are for a terminal, and what they say stands there in words, too.
    let seen = seen(&["nonsense"], SIZE, LONG);
    assert!(seen.contains("\x1b[") && plain(&seen)[0].starts_with("error: unrecognized subcommand"), "{seen}");
    let wide = mirrorctl(&["check", "wasmplugin.yaml"], "");
    assert_eq!((wide.code, wide.out.lines().count()), (0, 1), "{wide:?}");
}

#[test]
fn whoever_waits_at_a_terminal_sees_how_far_it_is_and_rates() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("calcbackend", "envoy.yaml", &mut ports).await;
        let mut client = scene.client(FRONT, &mut ports).await;
        for path in ["/fibonacci", "/lucas", "/fibonacci"] {
            client.send(calculation(path)).await;
        }
        scene.settle().await;
        let admin = scene.envoy.admin.to_string();
        let at_terminal = async |args: &[&str], size, within: Duration| {
            let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let run = move || seen(&args.iter().map(|arg| &**arg).collect::<Vec<_>>(), size, within);
            tokio::task::spawn_blocking(run).await.unwrap()
        };
        let report = ["report", &*admin, "--for", "3s", "--interval", "500ms"];
        let shown = at_terminal(&report, SIZE, LONG).await;
        assert!(shown.contains("s of 3s: 0 requests, 0 copies"), "{shown}");
        let (_, rest) = shown.rsplit_once("0 requests, 0 copies").unwrap();
        // It is gone before the report comes.
        assert!(rest.starts_with("\r\x1b[K") && !plain(&shown).iter().any(|line| line.contains("of 3s")), "{shown}");
        let piped = crate::stats::beside(&["report", &admin, "--for", "1s"]).await;
        assert!(piped.err.is_empty() && !piped.out.contains('\x1b'), "{piped:?}");

        let plan = at_terminal(&["plan", "--from", &admin, "--wait", "300ms", "--requests", "5"], SIZE, LONG).await;
        assert!(plan.contains(&format!("Reading {admin} for 300ms\r\x1b[K")), "{plan}");
        let doctor = at_terminal(&["doctor", &admin], SIZE, LONG).await;
        let lines = plain(&doctor);
        assert!(lines.len() > 3 && lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");

        // The second frame is in the place of the first, and has what comes in a second.
        let mut frames = String::new();
        eventually("two frames", async || {
            frames = at_terminal(&["stats", &admin, "--watch=1"], SIZE, Duration::from_secs(3)).await;
            if frames.matches("\x1b[H").count() >= 2 { Ok(()) } else { Err(frames.clone()) }
        })
        .await;
        assert!(frames.contains("Seen: 3 requests (0.0/s); decided: 3 (0.0/s); ignored: none"), "{frames}");
        assert!(frames.contains("\x1b[K") && frames.contains(&format!("{admin}, every 1s")), "{frames}");
        let small = at_terminal(&["stats", &admin, "--watch=1"], (80, 8), Duration::from_secs(3)).await;
        let first = small.split("\x1b[H").nth(1).unwrap().split("\x1b[J").next().unwrap();
        assert!(first.lines().count() == 7 && first.contains(" more lines"), "{small}");
    });
}
