//! Those who run the bundles, and what a run of each cost.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};

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
        let before = cpu();
        let start = Instant::now();
        match &self.way {
            Way::Runtime(runtime) => assert!(runtime.command().status().unwrap().success(), "{}", self.name),
            Way::Floor(floor) => floor.run(),
        }
        let elapsed = start.elapsed();
        self.costs.push(Cost {
            elapsed,
            cpu: cpu().saturating_sub(before),
        });
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
        let mounts = self.mounts.as_ref().map(|mounts| mounts.namespace.as_raw_fd());
        // SAFETY: between fork and exec nothing is done but one system call on a descriptor that outlives both.
        // It is asked for everybody, so that everybody is started by the same means.
        unsafe {
            command.pre_exec(move || match mounts {
                Some(namespace) if libc::setns(namespace, libc::CLONE_NEWNS) < 0 => {
                    Err(std::io::Error::last_os_error())
                }
                _ => Ok(()),
            });
        }
        command
    }

    fn try_once(&self) -> Result<(), String> {
        let output = self
            .command()
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| error.to_string())?;
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
        Self { holder, namespace }
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
