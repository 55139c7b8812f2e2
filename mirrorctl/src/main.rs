//! mirrorctl: checks, explains and converts configurations of the traffic-mirror plugin, with the plugin's own code, and
//! reads its metrics.

mod admin;
mod check;
mod convert;
mod doctor;
mod explain;
mod facts;
mod findings;
mod found;
mod input;
mod metrics;
mod node;
mod plan;
mod reply;
mod report;
mod schema;
mod shape;
mod stats;
mod tree;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
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
    /// A file is a configuration in JSON or YAML, or it contains one: WasmPlugin, TrafficExtension, EnvoyExtensionPolicy,
    /// EnvoyFilter, or Envoy's own configuration. A warning is about a configuration that is valid, but probably not what was
    /// meant; it ends with its code. A note is about what is right for many: all notes are one line.
    Check(check::Check),
    /// Explain what happens to a request: which rule decides, and which copy each mirror would get
    Explain {
        /// A file with a configuration, as for `check`; `-` is standard input
        file: String,
        #[command(flatten)]
        request: explain::Description,
    },
    /// Convert the mirrors of VirtualServices and HTTPRoutes
    ///
    /// The rules decide as the routes do: their order, their hosts, and what is not mirrored are kept, and so is what a route
    /// changes in its requests. What the plugin cannot know is named in a warning.
    Convert(convert::Conversion),
    /// Show the metrics: what was mirrored, how mirrors responded, and whether the counters add up
    ///
    /// Counters that do not add up are a finding. Envoy reads its counters one by one, so they are read a second time before
    /// that is reported.
    Stats(stats::Reading),
    /// Ask a running Envoy why no copies arrive
    ///
    /// Says first what is at work, then what is found, the cause first, each with one thing to do. Findings about traffic are
    /// told from totals since the Envoy started; the two readings tell what goes on now. What keeps copies from being made or
    /// answered is a finding: exit code 1.
    Doctor(doctor::Question),
    /// Report whether each mirror is as good as its primary: watch Envoys for a while, or ask a Prometheus
    ///
    /// Rules with `compare` get a verdict; for the others, the counts are shown. The first sentence is the answer, about the worst
    /// mirror. Any word but better and as good is a finding. Envoy updates its histograms some seconds late (stats_flush_interval),
    /// so times are of a period that began and ended a little earlier.
    Report(report::Watch),
    /// Plan capacity: what a configuration takes of proxies, mirrors and Prometheus, before it is at work
    ///
    /// From the configuration and a few figures of the traffic, or from those of a running Envoy: copies a second, in flight, connections,
    /// bandwidth, CPU, memory, series; which limits are reached, and what to set instead: exit code 1. What is not given is assumed, and
    /// named at the end.
    Plan(Box<plan::Request>),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    // Help in a pipe is for a program, or for a pager that knows its own width.
    let command = Cli::command().term_width(reply::width(&std::io::stdout()).unwrap_or_default());
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    match run(cli.command) {
        Ok(reply) => reply.print(),
        Err(error) => {
            eprintln!("mirrorctl: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<Reply, String> {
    match command {
        Command::Check(check) => check::run(&check),
        Command::Explain { file, request } => explain::run(&file, &request),
        Command::Convert(conversion) => convert::run(&conversion),
        Command::Stats(reading) => stats::run(&reading),
        Command::Doctor(question) => doctor::run(&question),
        Command::Report(watch) => report::run(&watch),
        Command::Plan(request) => plan::run(&request),
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
