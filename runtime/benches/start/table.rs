//! What is printed.

use std::time::Duration;

use crate::contestant::{Contestant, Cost};

/// Prints minimum, median, the median's ratio to each peer's of the same kind, and CPU time.
pub(crate) fn print(rounds: usize, contestants: &[Contestant]) {
    println!("run of `true`, {rounds} rounds, milliseconds");
    println!(
        "{:<28} {:>8} {:>8} {:>10} {:>10} {:>8} {:>8}",
        "", "min", "median", "of runc", "of crun", "CPU min", "CPU med"
    );
    for contestant in contestants {
        let elapsed = summary(&contestant.costs, |cost| cost.elapsed);
        let cpu = summary(&contestant.costs, |cost| cost.cpu);
        println!(
            "{:<28} {:>8.2} {:>8.2} {:>10} {:>10} {:>8.2} {:>8.2}",
            contestant.name(),
            elapsed.0,
            elapsed.1,
            ratio(contestants, contestant, "runc", elapsed.1),
            ratio(contestants, contestant, "crun", elapsed.1),
            cpu.0,
            cpu.1,
        );
    }
}

/// The ratio to the peer's median with the same profile; that of the bare calls is to the one without.
fn ratio(contestants: &[Contestant], this: &Contestant, peer: &str, median: f64) -> String {
    let kind = this.name().split_once(", ").map_or("without", |(_, kind)| kind);
    let other = contestants
        .iter()
        .find(|other| other.name() == format!("{peer}, {kind}"));
    other.map_or_else(
        || "-".to_owned(),
        |other| format!("{:.3}", median / summary(&other.costs, |cost| cost.elapsed).1),
    )
}

/// Minimum and median in milliseconds.
fn summary(costs: &[Cost], of: impl Fn(&Cost) -> Duration) -> (f64, f64) {
    let mut all: Vec<f64> = costs.iter().map(|cost| of(cost).as_secs_f64() * 1000.0).collect();
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    (
        all.first().copied().unwrap_or(f64::NAN),
        all.get(middle).copied().unwrap_or(f64::NAN),
    )
}
