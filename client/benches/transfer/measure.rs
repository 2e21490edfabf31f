//! Time, CPU and memory of a program: this benchmark runs itself again around it, so that what the kernel counts
//! for ended children is that program's alone.

use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

const CHILD: &str = "WHARF_BENCH_PROGRAM";

/// What one run cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    wall_s: f64,
    cpu_s: f64,
    peak_mb: f64,
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Prepares a program whose cost [`run`] tells.
pub(crate) fn measured(program: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, program);
    command
}

/// Runs the program that the environment names and prints its cost.
#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
pub(crate) fn child() {
    let program = std::env::var_os(CHILD).unwrap();
    let begun = Instant::now();
    let output = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env_remove(CHILD)
        .output()
        .unwrap();
    let wall_s = begun.elapsed().as_secs_f64();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cpu_s = seconds(usage.user_time()) + seconds(usage.system_time());
    println!("{wall_s} {cpu_s} {}", usage.max_rss() as f64 / 1000.0);
}

pub(crate) fn run(command: &mut Command) -> Cost {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let figures: Vec<f64> = text
        .split_whitespace()
        .map(|figure| figure.parse().unwrap())
        .collect();
    Cost {
        wall_s: figures[0],
        cpu_s: figures[1],
        peak_mb: figures[2],
    }
}

/// The runs of one contestant.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Cost>);

pub(crate) fn header(work: &str) {
    println!(
        "\n{work:<28} {:>8} {:>8} {:>8} {:>9} {:>12}",
        "min", "median", "CPU s", "peak MB", "ours/theirs"
    );
}

impl Figures {
    pub(crate) fn add(&mut self, cost: Cost) {
        self.0.push(cost);
    }

    fn sorted(&self, of: impl Fn(&Cost) -> f64) -> Vec<f64> {
        let mut figures: Vec<f64> = self.0.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }

    fn median(&self) -> f64 {
        self.sorted(|cost| cost.wall_s)[self.0.len() / 2]
    }

    /// Prints a row; beside a peer's stands the ratio of our median to theirs.
    pub(crate) fn print(&self, name: &str, ours: Option<&Self>) {
        if self.0.is_empty() {
            return;
        }
        let ratio = ours.map_or(String::new(), |ours| {
            format!("{:.2}", ours.median() / self.median())
        });
        let cpu = self.sorted(|cost| cost.cpu_s)[self.0.len() / 2];
        let peak = self.sorted(|cost| cost.peak_mb)[self.0.len() - 1];
        let least = self.sorted(|cost| cost.wall_s)[0];
        println!(
            "{name:<28} {least:>8.3} {:>8.3} {cpu:>8.2} {peak:>9.1} {ratio:>12}",
            self.median()
        );
    }
}
