//! mirrorctl: checks, explains and converts configurations of the traffic-mirror plugin, with the plugin's own code, and
//! reads its metrics.

mod check;
mod convert;
mod explain;
mod findings;
mod found;
mod input;
mod metrics;
mod node;
mod reply;
mod report;
mod schema;
mod stats;
mod tree;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use reply::Reply;
use std::process::ExitCode;

/// Checks, explains and converts configurations of the traffic-mirror plugin, and reads its metrics
#[derive(Parser)]
#[command(name = "mirrorctl", version, after_help = "Exit codes: 0 all is well, 1 findings, 2 wrong usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the plugin configurations in files
    ///
    /// A file is a configuration, JSON or YAML, or has documents with one in it: WasmPlugin, TrafficExtension,
    /// EnvoyExtensionPolicy, EnvoyFilter, or a configuration of Envoy's. Warnings are of what the plugin takes, but what is
    /// probably not as it was meant; each ends with its code.
    Check {
        /// Make findings of the warnings
        #[arg(long)]
        strict: bool,
        /// Files to check; `-` is standard input
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Explain what becomes of a request: which rule decides, and what copy each mirror would get
    Explain {
        /// A file with a configuration, as for `check`; `-` is standard input
        file: String,
        #[command(flatten)]
        request: explain::Description,
    },
    /// Convert the mirrors of VirtualServices and HTTPRoutes
    ///
    /// The rules decide as the routes do: their order, their hosts, and what is not mirrored carry over, and so does what a
    /// route changes in its requests. What the plugin cannot know is named in a warning.
    Convert(convert::Conversion),
    /// Show the metrics: what was mirrored, how it was answered, and whether the books balance
    ///
    /// Books that do not balance are a finding. Envoy reads its counters one by one, so they are read again before that is said.
    Stats(stats::Reading),
    /// Watch for a while, and tell whether each mirror is as good as its primary
    ///
    /// A mirror that is worse is a finding. Judged are the rules that compare; of the others it is told what is counted. Envoy
    /// shows what its histograms hold some seconds late (stats_flush_interval): so times are of a period that began and ended a
    /// little earlier.
    Report(report::Watch),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(reply) => reply.print(),
        Err(error) => {
            eprintln!("mirrorctl: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<Reply, String> {
    match command {
        Command::Check { files, strict } => check::run(&files, strict),
        Command::Explain { file, request } => explain::run(&file, &request),
        Command::Convert(conversion) => convert::run(&conversion),
        Command::Stats(reading) => stats::run(&reading),
        Command::Report(watch) => report::run(&watch),
        Command::Schema => schema::run(),
        Command::Completions { shell } => Ok(completions(shell)),
    }
}

fn completions(shell: Shell) -> Reply {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mirrorctl", &mut script);
    let mut reply = Reply::default();
    reply.text(&String::from_utf8_lossy(&script));
    reply
}
