//! Those who run the bundles, and what a run of each cost.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::resource::{UsageWho, getrusage},
};

use crate::{bundle::Bundles, floor::Floor};

/// One row of the table.
pub(crate) struct Contestant {
    name: String,
    way: Way,
    pub(crate) costs: Vec<Cost>,
}

enum Way {
    Runtime(Runtime),
    Floor(Floor),
}

/// What one start and end cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) elapsed: Duration,
    /// User and system time, that of children included.
    pub(crate) cpu: Duration,
}

#[derive(Clone)]
struct Runtime {
    program: PathBuf,
    state: PathBuf,
    bundle: PathBuf,
    mounts: Option<std::sync::Arc<OtherMounts>>,
}

/// All who are here and able, and a line for each who is not.
pub(crate) fn all(bundles: &Bundles) -> (Vec<Contestant>, Vec<String>) {
    let mut found = Vec::new();
    let mut absent = Vec::new();
    let (ours, mut ready) = build();
    for name in ["wharf-runtime", "runc", "crun"] {
        let program = if name == "wharf-runtime" {
            Some(ours.clone())
        } else {
            on_path(name)
        };
        let Some(program) = program else {
            absent.push(format!("{name}: absent (not on PATH)"));
            continue;
        };
        for filtered in [false, true] {
            let state = bundles.state(name);
            let mut runtime = Runtime {
                program: program.clone(),
                state,
                bundle: bundles.path(filtered),
                mounts: None,
            };
            let mut tried = runtime.try_once();
            if tried.is_err() && name == "crun" && is_hybrid() {
                runtime.mounts = Some(std::sync::Arc::new(OtherMounts::without_unified()));
                tried = runtime.try_once();
            }
            match tried {
                Ok(()) => {
                    let what = if filtered { "with seccomp" } else { "without" };
                    let name = format!("{name}, {what}");
                    found.push(Contestant {
                        name,
                        way: Way::Runtime(runtime),
                        costs: Vec::new(),
                    });
                }
                Err(why) => absent.push(format!("{name}: cannot run here: {}", why.trim())),
            }
        }
    }
    match Floor::new(bundles) {
        Ok(floor) => {
            let name = "bare system calls".to_owned();
            found.push(Contestant {
                name,
                way: Way::Floor(floor),
                costs: Vec::new(),
            });
        }
        Err(why) => absent.push(format!("bare system calls: cannot run here: {why}")),
    }
    absent.append(&mut ready);
    (found, absent)
}

impl Contestant {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts and ends one container.
    pub(crate) fn round(&mut self) {
        let cost = match &self.way {
            Way::Runtime(runtime) => runtime.within(|| {
                let mut command = runtime.command();
                measure(|| assert!(command.status().unwrap().success(), "{}", self.name))
            }),
            Way::Floor(floor) => measure(|| floor.run()),
        };
        self.costs.push(cost);
    }
}

impl Runtime {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(&self.state)
            .arg("run")
            .arg("--bundle")
            .arg(&self.bundle)
            .arg("true");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Does something in the mount namespace that this runtime wants.
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(mounts) = &self.mounts else { return work() };
        setns(&mounts.namespace, CloneFlags::CLONE_NEWNS).unwrap();
        let done = work();
        setns(&mounts.own, CloneFlags::CLONE_NEWNS).unwrap();
        done
    }

    fn try_once(&self) -> Result<(), String> {
        let output = self.within(|| self.command().stderr(Stdio::piped()).output());
        let output = output.map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// A mount namespace in which `/sys/fs/cgroup/unified` is not mounted: crun refuses a hybrid tree.
struct OtherMounts {
    holder: Child,
    namespace: File,
    own: File,
}

impl OtherMounts {
    fn without_unified() -> Self {
        let script = "umount /sys/fs/cgroup/unified && echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        let namespace = File::open(format!("/proc/{}/ns/mnt", holder.id())).unwrap();
        let own = File::open("/proc/self/ns/mnt").unwrap();
        Self {
            holder,
            namespace,
            own,
        }
    }
}

impl Drop for OtherMounts {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

fn is_hybrid() -> bool {
    Path::new("/sys/fs/cgroup/unified/cgroup.controllers").exists()
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Builds the program as it is shipped: static, for size.
fn build() -> (PathBuf, Vec<String>) {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--profile",
            "runtime",
            "-p",
            "wharf-runtime",
            "--bin",
            "wharf-runtime",
        ])
        .args(["--target", &triple])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C relocation-model=static",
        )
        .status()
        .unwrap();
    assert!(status.success(), "the runtime does not build");
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let target = PathBuf::from(metadata.get("target_directory").unwrap().as_str().unwrap());
    let program = target.join(&triple).join("runtime").join("wharf-runtime");
    let size = program.metadata().unwrap().len();
    (program, vec![format!("wharf-runtime is {size} bytes")])
}

fn measure(work: impl FnOnce()) -> Cost {
    let before = cpu();
    let start = Instant::now();
    work();
    let elapsed = start.elapsed();
    Cost {
        elapsed,
        cpu: cpu().saturating_sub(before),
    }
}

fn cpu() -> Duration {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .map(|who| getrusage(who).unwrap())
        .flat_map(|usage| [usage.user_time(), usage.system_time()])
        .map(|time| {
            let seconds = u64::try_from(time.tv_sec()).unwrap();
            Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap())
        })
        .sum()
}
