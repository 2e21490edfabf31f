//! `create`: from a bundle to a process that waits for its start.

use std::{collections::BTreeMap, path::Path};

use crate::{
    cgroups::{self, Layout},
    cli::CreateOptions,
    clock, console,
    error::{Doing, Error},
    files,
    lifecycle::{Folder, Store},
    log::{Level, Log},
    plan::{self, Plan},
    process::{self, Options, Started},
    spec::Spec,
    state::{FORMAT, Record},
};

/// The most of a `config.json` that is read.
const CONFIG_LIMIT: usize = 16 << 20;

/// Creates the container.
pub(super) fn create(store: &Store, log: &mut Log, options: &CreateOptions) -> Result<u8, Error> {
    make(store, log, options, Start::Awaited).map(|_made| 0)
}

/// A container that has been made.
pub(super) struct Made {
    pub(super) started: Started,
    pub(super) folder: Folder,
    pub(super) record: Record,
    pub(super) config: String,
}

/// When the program starts, and who holds its terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// By the command `start`.
    Awaited,
    /// At once.
    Now,
    /// At once, joined to this process's terminal if it has one.
    Foreground,
}

/// Makes the container, its program waiting or running. On failure nothing is left of it.
pub(super) fn make(
    store: &Store,
    log: &mut Log,
    options: &CreateOptions,
    start: Start,
) -> Result<Made, Error> {
    let bundle = std::fs::canonicalize(&options.bundle)
        .doing(|| format!("--bundle: open {}", options.bundle.display()))?;
    let config = read_config(&bundle)?;
    let spec = parse(&config)?;
    let mut plan = plan::plan(&spec, options.id.clone(), &bundle)?;
    let activated = plan
        .process
        .hand_on_sockets(std::env::var_os("LISTEN_FDS").as_deref())?;
    for warning in &plan.warnings {
        log.write(Level::Warning, warning);
    }
    if start == Start::Foreground && plan.process.terminal && plan.process.console_size.is_none() {
        plan.process.console_size = console::own_size();
    }
    let process = Options {
        console_socket: options.console_socket.clone(),
        preserved: options.preserve_fds.saturating_add(activated),
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        foreground: start == Start::Foreground,
        gated: start == Start::Awaited,
    };
    process.check_preserved()?;
    let folder = store.claim(&options.id)?;
    let layout = Layout::detect(plan.cgroups_path, &options.id)?;
    let mut record = record(&plan, layout)?;
    if let Err(error) = cgroups::check_free(&record.layout) {
        // Nothing is made yet but the folder, and the cgroup is another's.
        folder.remove()?;
        return Err(error);
    }
    let made = build(&plan, &process, &folder, &mut record, &config, options);
    match made {
        Ok(started) => Ok(Made {
            started,
            folder,
            record,
            config,
        }),
        Err(error) => {
            // The first error is what the caller needs; what cannot be removed now is a warning.
            if let Err(errors) = cgroups::remove(&record.layout) {
                errors
                    .iter()
                    .for_each(|error| log.write(Level::Warning, &error.to_string()));
            }
            if let Err(error) = folder.remove() {
                log.write(Level::Warning, &error.to_string());
            }
            Err(error)
        }
    }
}

fn build(
    plan: &Plan<'_>,
    process: &Options,
    folder: &Folder,
    record: &mut Record,
    config: &str,
    options: &CreateOptions,
) -> Result<Started, Error> {
    folder.keep_config(config)?;
    // Remembered before anything is made, so that `delete --force` finds what a kill at any moment leaves.
    folder.save(record)?;
    cgroups::create(&record.layout)?;
    cgroups::apply(&record.layout, plan.resources, true)?;
    let started = process::start(plan, process, folder, record)?;
    if let Some(path) = &options.pid_file
        && let Err(error) = super::write_pid_file(path, started.pid)
    {
        let _ = crate::sys::pidfd_send_signal(&started.pidfd, libc::SIGKILL);
        let _ = process::exit_code(&started.pidfd);
        return Err(error);
    }
    Ok(started)
}

fn record(plan: &Plan<'_>, layout: Layout) -> Result<Record, Error> {
    let rootfs = Path::new(
        plan.rootfs
            .to_str()
            .map_err(|_not_text| Error::refused("root.path", "is not text"))?,
    );
    Ok(Record {
        format: FORMAT,
        id: plan.id.to_string(),
        pid: 0,
        start_time: 0,
        bundle: plan.bundle.clone(),
        rootfs: rootfs.to_owned(),
        created: clock::now(),
        owner: rustix::process::getuid().as_raw(),
        annotations: plan.annotations(),
        layout,
    })
}

/// Reads a bundle's `config.json`.
pub(super) fn read_config(bundle: &Path) -> Result<String, Error> {
    let path = bundle.join("config.json");
    let bytes = files::read(&path, CONFIG_LIMIT).doing(|| format!("read {}", path.display()))?;
    let malformed = |_not_text| Error::Malformed {
        what: path.display().to_string(),
        why: "is not UTF-8".to_owned(),
    };
    String::from_utf8(bytes).map_err(malformed)
}

/// Reads a spec out of the text of `config.json`.
pub(super) fn parse(config: &str) -> Result<Spec<'_>, Error> {
    serde_json::from_str(config).map_err(|error| Error::Malformed {
        what: "config.json".to_owned(),
        why: error.to_string(),
    })
}

impl Plan<'_> {
    fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }
}
