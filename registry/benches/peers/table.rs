//! The rows that are printed.

use std::time::{Duration, Instant};

use super::ROUNDS;
use super::servers::Server;

/// The rounds of one contender in one measurement.
#[derive(Default)]
pub(crate) struct Row {
    name: String,
    rates: Vec<f64>,
    cpu: Vec<f64>,
    note: String,
}

/// One measurement: the contenders, interleaved.
pub(crate) struct Table {
    what: String,
    unit: &'static str,
    cpu_unit: &'static str,
    rows: Vec<Row>,
}

/// A contender's name, and how it runs one round.
pub(crate) type Contender<'a> = (&'a str, Box<dyn FnMut() -> Round + 'a>);

/// What one round of a contender gave.
pub(crate) struct Round {
    /// How many of the unit a second.
    pub(crate) rate: f64,
    /// CPU seconds for one of the CPU's unit.
    pub(crate) cpu: f64,
    /// Something to be shown beside, of the last round.
    pub(crate) note: String,
}

impl Round {
    /// Measures `work`, which handles `amount` of the unit and `cpu_amount` of the CPU's unit.
    pub(crate) fn measure(server: &Server, amount: f64, cpu_amount: f64, work: impl FnOnce()) -> Self {
        let (cpu, begin) = (server.cpu_s(), Instant::now());
        work();
        let took: Duration = begin.elapsed();
        let cpu = (server.cpu_s() - cpu) / cpu_amount;
        Self {
            rate: amount / took.as_secs_f64(),
            cpu,
            note: String::new(),
        }
    }
}

impl Table {
    /// Runs each contender once a round, in turn, and prints the table.
    pub(crate) fn run(
        what: &str,
        unit: &'static str,
        cpu_unit: &'static str,
        contenders: &mut [Contender<'_>],
    ) {
        let rows = contenders.iter().map(|(name, _)| Row {
            name: (*name).to_owned(),
            ..Row::default()
        });
        let mut table = Self {
            what: what.to_owned(),
            unit,
            cpu_unit,
            rows: rows.collect(),
        };
        for _ in 0..ROUNDS {
            for (row, (_, contender)) in table.rows.iter_mut().zip(contenders.iter_mut()) {
                let round = contender();
                row.rates.push(round.rate);
                row.cpu.push(round.cpu);
                row.note = round.note;
            }
        }
        table.print();
    }

    fn print(&self) {
        println!("\n{} ({ROUNDS} rounds, interleaved)", self.what);
        println!(
            "{:<18}{:>12}{:>12}{:>9}{:>14}{:>9}  rounds",
            "",
            format!("min {}", self.unit),
            "median",
            "ours/it",
            format!("CPU s/{}", self.cpu_unit),
            "ours/it"
        );
        let Some(ours) = self.rows.first() else { return };
        for row in &self.rows {
            let rounds: Vec<String> = row.rates.iter().map(|rate| format!("{rate:.1}")).collect();
            println!(
                "{:<18}{:>12.1}{:>12.1}{:>9.2}{:>14.4}{:>9.2}  {}  {}",
                row.name,
                row.rates.iter().copied().fold(f64::INFINITY, f64::min),
                median(&row.rates),
                median(&ours.rates) / median(&row.rates),
                median(&row.cpu),
                median(&ours.cpu) / median(&row.cpu),
                rounds.join(" "),
                row.note
            );
        }
    }
}

/// Returns the middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
