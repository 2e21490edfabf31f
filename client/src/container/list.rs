//! What `ps` shows: which containers, in docker's words.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Containers, Entry, State, Status};
use crate::{
    error::{Error, Kind, Result},
    image::snapshot::Snapshots,
    network::Published,
    output::{table::ellipsis, units},
};

/// A command is cut to so many cells.
const COMMAND_CELLS: usize = 20;

/// Which containers are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Those that do not run, too.
    all: bool,
    /// So many of the newest, in any state.
    last: Option<usize>,
    filters: Vec<Filter>,
}

#[derive(Debug, Clone)]
enum Filter {
    Id(String),
    Name(String),
    Label(String, Option<String>),
    Status(String),
    Exited(i32),
    Ancestor(String),
    Network(String),
    Publish(u16),
    Expose(u16),
    Before(Timestamp),
    Since(Timestamp),
}

impl Selection {
    /// The running ones; with `all` the others too, or so many of the newest in any state.
    pub fn new(all: bool, last: Option<usize>) -> Self {
        Self {
            all,
            last,
            filters: Vec::new(),
        }
    }

    /// Adds a `-f` value.
    ///
    /// # Errors
    /// Docker's words for a filter that it does not have either; those that only docker has are refused by name.
    pub fn filter(&mut self, text: &str, entries: &[Entry]) -> Result<()> {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Error::new(
                Kind::BadFlag,
                format!("invalid argument \"{text}\" for \"-f, --filter\" flag: invalid filter '{text}'"),
            )
        })?;
        let invalid = || Error::engine(Kind::BadArguments, format!("invalid filter '{key}={value}'"));
        let created = || {
            let named = entries.iter().find_map(|entry| match entry {
                Entry::Whole(state) if is_called(state, value) => Some(state.created),
                _ => None,
            });
            named.ok_or_else(|| Error::engine(Kind::NotFound, format!("No such container: {value}")))
        };
        let port = |text: &str| {
            text.split('/')
                .next()
                .unwrap_or_default()
                .parse()
                .map_err(|_bad: std::num::ParseIntError| invalid())
        };
        let filter = match key {
            "id" => Filter::Id(value.to_owned()),
            "name" => Filter::Name(value.to_owned()),
            "label" => {
                let (label, wanted) = value
                    .split_once('=')
                    .map_or((value, None), |(l, w)| (l, Some(w.to_owned())));
                Filter::Label(label.to_owned(), wanted)
            }
            "status" if STATUSES.contains(&value) => {
                self.all = true;
                Filter::Status(value.to_owned())
            }
            "exited" => {
                self.all = true;
                Filter::Exited(value.parse().map_err(|_bad: std::num::ParseIntError| invalid())?)
            }
            "ancestor" => Filter::Ancestor(value.to_owned()),
            "network" => Filter::Network(value.to_owned()),
            "publish" => Filter::Publish(port(value)?),
            "expose" => Filter::Expose(port(value)?),
            "before" => Filter::Before(created()?),
            "since" => Filter::Since(created()?),
            "status" => return Err(invalid()),
            "health" | "isolation" | "is-task" | "volume" => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("the filter '{key}' is not supported yet"),
                ));
            }
            _ => {
                return Err(Error::engine(
                    Kind::BadArguments,
                    format!("Invalid filter '{key}'"),
                ));
            }
        };
        self.filters.push(filter);
        Ok(())
    }

    /// The containers that are wanted, the newest first. Filters of one kind are alternatives, those of
    /// different kinds must all agree.
    pub fn of(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut entries = entries;
        entries.sort_by_key(|entry| match entry {
            Entry::Whole(state) => std::cmp::Reverse(state.created),
            Entry::Damaged { .. } => std::cmp::Reverse(Timestamp::MIN),
        });
        if let Some(last) = self.last {
            entries.truncate(last);
        } else if !self.all {
            entries.retain(|entry| matches!(entry, Entry::Whole(state) if state.is_running()));
        }
        entries.retain(|entry| match entry {
            Entry::Whole(state) => self.agrees(state),
            Entry::Damaged { .. } => self.filters.is_empty(),
        });
        entries
    }

    fn agrees(&self, state: &State) -> bool {
        self.filters.iter().all(|filter| {
            let same = self
                .filters
                .iter()
                .filter(|other| std::mem::discriminant(*other) == std::mem::discriminant(filter));
            // Docker: every label must be there, one of all others suffices.
            if matches!(filter, Filter::Label(..)) {
                filter.agrees(state)
            } else {
                same.clone().any(|filter| filter.agrees(state))
            }
        })
    }
}

const STATUSES: &[&str] = &[
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
];

impl Filter {
    fn agrees(&self, state: &State) -> bool {
        match self {
            Self::Id(start) => state.id.as_str().starts_with(start.as_str()),
            Self::Name(part) => is_named(&state.name, part),
            Self::Label(label, wanted) => {
                let value = state.process.labels.get(label);
                value.is_some_and(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
            }
            Self::Status(status) => word(&state.status) == status,
            Self::Exited(wanted) => matches!(state.status, Status::Exited { code, .. } if code == *wanted),
            Self::Ancestor(image) => {
                let id = state.image.id.strip_prefix("sha256:").unwrap_or(&state.image.id);
                state.image.reference == *image
                    || state.image.reference.strip_suffix(":latest") == Some(image.as_str())
                    || image.strip_suffix(":latest") == Some(state.image.reference.as_str())
                    || (image.len() >= 4 && id.starts_with(image.strip_prefix("sha256:").unwrap_or(image)))
            }
            Self::Network(name) => state.host.network.as_str() == name,
            Self::Publish(port) => published(state).iter().any(|found| found.container_port == *port),
            Self::Expose(port) => {
                state.image.exposed_ports.iter().any(|found| {
                    found.split('/').next().and_then(|number| number.parse().ok()) == Some(*port)
                })
            }
            Self::Before(time) => state.created < *time,
            Self::Since(time) => state.created > *time,
        }
    }
}

fn is_called(state: &State, word: &str) -> bool {
    state.name == word || (!word.is_empty() && state.id.as_str().starts_with(word))
}

/// Docker takes a pattern; here are its two anchors.
fn is_named(name: &str, part: &str) -> bool {
    let part = part
        .strip_prefix("^/")
        .map_or_else(|| part.to_owned(), |rest| format!("^{rest}"));
    match (part.strip_prefix('^'), part.strip_suffix('$')) {
        (Some(rest), Some(_)) => rest.strip_suffix('$') == Some(name),
        (Some(start), None) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => name.contains(part.trim_start_matches('/')),
    }
}

/// Docker's word for where a container is in its life.
pub fn word(status: &Status) -> &'static str {
    match status {
        Status::Created { .. } => "created",
        Status::Running { .. } => "running",
        Status::Exited { .. } => "exited",
    }
}

fn published(state: &State) -> &[Published] {
    state.lease().map_or(&[], |lease| lease.ports.as_slice())
}

/// How the table says where a container is in its life.
fn in_words(status: &Status, now: Timestamp) -> String {
    match status {
        Status::Created { .. } => "Created".to_owned(),
        Status::Running { started, .. } => {
            format!(
                "Up {}",
                units::duration(now.as_second().saturating_sub(started.as_second()))
            )
        }
        Status::Exited { code, finished, .. } => format!("Exited ({code}) {}", units::ago(*finished, now)),
    }
}

/// The published ports, and the others that the image says it listens on, as the table shows them.
pub fn ports(state: &State) -> String {
    if !state.is_running() {
        return String::new();
    }
    let mut shown = published(state).to_vec();
    shown.sort_by_key(|port| (port.container_port, port.host.is_ipv6()));
    let mut texts: Vec<String> = shown.iter().map(ToString::to_string).collect();
    if state.host.network == super::state::NetworkMode::Bridge {
        let is_shown = |port: &str| {
            let number = port.strip_suffix("/tcp").and_then(|number| number.parse().ok());
            number.is_some_and(|number: u16| shown.iter().any(|port| port.container_port == number))
        };
        texts.extend(
            state
                .image
                .exposed_ports
                .iter()
                .filter(|port| !is_shown(port))
                .cloned(),
        );
    }
    texts.join(", ")
}

/// A row, with docker's keys for templates.
pub fn row(containers: &Containers<'_>, entry: &Entry, now: Timestamp, full: bool, size: bool) -> Value {
    let state = match entry {
        Entry::Whole(state) => state,
        Entry::Damaged { id, name, cause } => return damaged_row(id, name.as_deref(), cause, full),
    };
    let command = command_line(&state.process.arguments());
    let command = if full {
        command
    } else {
        ellipsis(&command, COMMAND_CELLS)
    };
    let labels: Vec<String> = state
        .process
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let binds: Vec<String> = state
        .host
        .binds
        .iter()
        .map(|bind| bind.source.display().to_string())
        .collect();
    json!({
        "ID": if full { state.id.as_str() } else { state.id.short() },
        "Image": image_name(state, full),
        "Command": quoted(&command),
        "CreatedAt": state.created.strftime("%Y-%m-%d %H:%M:%S %z UTC").to_string(),
        "RunningFor": units::ago(state.created, now),
        "Ports": ports(state),
        "State": word(&state.status),
        "Status": in_words(&state.status, now),
        "Size": if size { sizes(containers, state) } else { "0B".to_owned() },
        "Names": state.name,
        "Labels": labels.join(","),
        "LocalVolumes": "0",
        "Mounts": binds.join(","),
        "Networks": state.host.network.as_str(),
        "Platform": Value::Null,
    })
}

/// The command in one line: an argument with a blank in it stands in quotes.
fn command_line(arguments: &[String]) -> String {
    let shown = arguments.iter().enumerate().map(|(at, argument)| {
        if at > 0 && argument.contains(' ') {
            format!("'{argument}'")
        } else {
            argument.clone()
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// A text as Go quotes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            control if control.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn image_name(state: &State, full: bool) -> String {
    let reference = &state.image.reference;
    match reference.strip_prefix("sha256:") {
        Some(hex) if !full => hex.get(..12).unwrap_or(hex).to_owned(),
        _ => reference.clone(),
    }
}

fn damaged_row(id: &super::Id, name: Option<&str>, cause: &str, full: bool) -> Value {
    json!({
        "ID": if full { id.as_str() } else { id.short() },
        "Image": "<damaged>",
        "Command": "\"\"",
        "CreatedAt": "",
        "RunningFor": "",
        "Ports": "",
        "State": "dead",
        "Status": if full { format!("Dead ({cause})") } else { "Dead".to_owned() },
        "Size": "0B",
        "Names": name.unwrap_or(id.short()),
        "Labels": "",
        "LocalVolumes": "0",
        "Mounts": "",
        "Networks": "",
        "Platform": Value::Null,
    })
}

fn sizes(containers: &Containers<'_>, state: &State) -> String {
    let snapshots = Snapshots::of(containers.store());
    let written = folder_bytes(&snapshots.files(state.id.as_str()));
    let below = snapshots
        .snapshot(state.id.as_str())
        .ok()
        .flatten()
        .map_or(0, |snapshot| {
            let layers = snapshot
                .below
                .iter()
                .filter_map(|id| snapshots.layer(id).ok().flatten());
            layers.map(|layer| layer.size_bytes).sum()
        });
    format!(
        "{} (virtual {})",
        units::size(written, 3),
        units::size(written.saturating_add(below), 3)
    )
}

/// What the files below a folder hold, links not followed.
pub(super) fn folder_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder);
    let sizes = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => 0,
        });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_parts_and_anchors() {
        for (part, found) in [
            ("web", true),
            ("^/web-1$", true),
            ("^web", true),
            ("1$", true),
            ("^1", false),
            ("x", false),
        ] {
            assert_eq!(is_named("web-1", part), found, "{part}");
        }
    }

    #[test]
    fn a_command_is_quoted_as_go_does() {
        let words = ["sh", "-c", "echo \"a\"\n"].map(str::to_owned);
        assert_eq!(quoted(&command_line(&words)), r#""sh -c 'echo \"a\"\n'""#);
    }

    #[test]
    fn an_unknown_filter_is_refused_and_one_of_docker_s_by_name() {
        let mut selection = Selection::default();
        let refusal = |selection: &mut Selection, text| selection.filter(text, &[]).unwrap_err().to_string();
        assert_eq!(
            refusal(&mut selection, "nosuch=1"),
            "Error response from daemon: Invalid filter 'nosuch'"
        );
        assert!(refusal(&mut selection, "health=x").contains("not supported yet"));
        assert!(refusal(&mut selection, "status=odd").contains("invalid filter"));
        assert!(selection.filter("status=exited", &[]).is_ok() && selection.all);
    }
}
