//! How far each layer is: bars that are redrawn on a terminal, a plain line a change elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Output;

/// Where the steps of a pull or push are told. Clones tell the same one.
#[derive(Clone, Debug)]
pub struct Progress {
    shown: Shown,
}

#[derive(Clone, Debug)]
enum Shown {
    Nothing,
    Lines(Output),
    Bars {
        output: Output,
        bars: MultiProgress,
        rows: Arc<Mutex<HashMap<String, ProgressBar>>>,
    },
}

impl Progress {
    /// Tells nothing (`--quiet`).
    pub fn silent() -> Self {
        Self {
            shown: Shown::Nothing,
        }
    }

    /// Draws bars on a terminal and prints lines elsewhere.
    pub fn to(output: &Output) -> Self {
        if output.is_terminal() {
            let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            return Self {
                shown: Shown::Bars {
                    output: output.clone(),
                    bars,
                    rows: Arc::default(),
                },
            };
        }
        Self {
            shown: Shown::Lines(output.clone()),
        }
    }

    /// Says a line that belongs to no row.
    pub fn say(&self, text: &str) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines(output) => output.note(text),
            Shown::Bars { bars, .. } => drop(bars.println(text)),
        }
    }

    /// A row's new state (`Pulling fs layer`, `Pull complete`).
    pub fn state(&self, row: &str, state: &str) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines(output) => output.note(&format!("{row}: {state}")),
            Shown::Bars { .. } => {
                if let Some(bar) = self.bar(row) {
                    bar.set_style(plain());
                    bar.set_message(state.to_owned());
                }
            }
        }
    }

    /// A row is so many of so many bytes into what it does; only bars show it.
    pub fn bytes(&self, row: &str, doing: &str, done: u64, total: u64) {
        if let Some(bar) = self.bar(row) {
            bar.set_style(with_bar());
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(doing.to_owned());
        }
    }

    /// Leaves the rows as they are; what is printed after this stands below them.
    pub fn finish(&self) {
        let Shown::Bars { output, rows, .. } = &self.shown else {
            return;
        };
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in rows.values() {
            bar.abandon();
        }
        if !rows.is_empty() {
            output.note("");
        }
        rows.clear();
    }

    fn bar(&self, row: &str) -> Option<ProgressBar> {
        let Shown::Bars { bars, rows, .. } = &self.shown else {
            return None;
        };
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = rows.get(row) {
            return Some(bar.clone());
        }
        let bar = bars.add(
            ProgressBar::new(0)
                .with_style(plain())
                .with_prefix(row.to_owned()),
        );
        rows.insert(row.to_owned(), bar.clone());
        Some(bar)
    }
}

fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn with_bar() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg} [{bar:50}] {decimal_bytes}/{decimal_total_bytes}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
