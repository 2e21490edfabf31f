//! `cargo x guest`: the walk in a small Debian under QEMU, with systemd and version 2 control
//! groups alone, which the machine that builds may not have.
//!
//! Two disks: the system, made once and kept, and the payload (programs, roots, this program),
//! made at each run. The guest has no network; it says how the walk went on its serial console.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{self, Workspace};
use crate::{dist, install, roots, say};

const PACKAGES: &str =
    "systemd-sysv,linux-image-cloud-amd64,busybox-static,curl,iproute2,kmod,procps,udev,util-linux";

/// Ends the guest's console when the walk did, with how it went.
const VERDICT: &str = "the walk ended:";

/// What the walk's first line begins with.
const FIRST_WORDS: &str = "== ";
/// On hardware a kernel that boots at all is at the walk in seconds.
const BOOTED_ON_KVM_WITHIN: Duration = Duration::from_secs(45);
/// Emulated it takes a minute of a core.
const BOOTED_WITHIN: Duration = Duration::from_secs(300);
/// Some twenty times what the walk takes outside.
const WALKED_WITHIN: Duration = Duration::from_secs(1800);

/// Runs once the payload is mounted; the machine is switched off however the walk ends.
const UNIT: &str = "\
[Unit]
Description=The walk
RequiresMountsFor=/wharf
SuccessAction=poweroff
FailureAction=poweroff

[Service]
Type=oneshot
ExecStart=/wharf/xtask walk --programs /wharf --cache /wharf/try
ExecStopPost=/bin/sh -c 'echo the walk ended: $SERVICE_RESULT'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0

[Install]
WantedBy=multi-user.target
";

/// Makes the root a disk. No getty may hang up the console that the walk writes to.
const LINES: &str = "\
    mkdir -p root/etc/systemd/system/multi-user.target.wants && \
    ln -s ../walk.service root/etc/systemd/system/multi-user.target.wants/ && \
    ln -s /dev/null root/etc/systemd/system/serial-getty@ttyS0.service && \
    cp root/boot/vmlinuz-* kernel && cp root/boot/initrd.img-* initrd && \
    mke2fs -q -t ext4 -d root part 3G && rm -rf root && mv part disk";

/// The installer writes this file, mmdebstrap does not.
const HOSTS: &str = "127.0.0.1 localhost guest\n::1 localhost\n";

const FSTAB: &str = "/dev/vda / ext4 defaults 0 1\n/dev/vdb /wharf ext4 defaults 0 2\n";

/// Makes the disks and runs the guest to its end. Without a folder of programs the release
/// programs are built first.
pub fn command(workspace: &Workspace, programs: Option<&Path>) -> Result<()> {
    install::packages(install::FOR_GUEST)?;
    let programs = match programs {
        Some(folder) => folder.to_owned(),
        None => dist::build(workspace)?,
    };
    let cache = workspace::cache()?.join("guest");
    let _lock = workspace::lock(&cache)?;
    say::step("the guest's disks");
    let system = system(&cache)?;
    let payload = payload(&programs, &cache)?;
    say::step("the guest");
    let began = Instant::now();
    let verdict = run(&system, &payload)?;
    fs::remove_file(&payload).with_context(|| format!("cannot remove {}", payload.display()))?;
    say::line(&format!(
        "{:.1} min in the guest",
        began.elapsed().as_secs_f64() / 60.0
    ));
    ensure!(
        verdict.as_deref() == Some("success"),
        "the walk failed in the guest: {verdict:?}"
    );
    Ok(())
}

/// The system's folder: `disk`, `kernel` and `initrd`, made on first use.
fn system(cache: &Path) -> Result<PathBuf> {
    let typed = format!(
        "mmdebstrap --mode=root --variant=minbase --include={PACKAGES} {} root",
        roots::suite()?
    );
    let made_of = [&typed, UNIT, FSTAB, HOSTS, LINES].concat();
    let kept = cache.join(install::fingerprint(made_of.as_bytes()));
    if kept.join("disk").exists() {
        return Ok(kept);
    }
    let making = cache.join("making");
    if making.exists() {
        fs::remove_dir_all(&making).with_context(|| format!("cannot remove {}", making.display()))?;
    }
    fs::create_dir_all(&making).with_context(|| format!("cannot make {}", making.display()))?;
    roots::apart(&typed, &making)?;
    let root = making.join("root");
    put(&root, "etc/fstab", FSTAB)?;
    put(&root, "etc/systemd/system/walk.service", UNIT)?;
    put(&root, "etc/hostname", "guest\n")?;
    put(&root, "etc/hosts", HOSTS)?;
    fs::create_dir_all(root.join("wharf")).context("cannot make the guest's /wharf")?;
    roots::apart(LINES, &making)?;
    fs::rename(&making, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    Ok(kept)
}

fn put(root: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(root.join(name), text).with_context(|| format!("cannot write the guest's /{name}"))
}

/// A disk with what the walk needs, sized so that it can be walked on.
fn payload(programs: &Path, cache: &Path) -> Result<PathBuf> {
    let folder = cache.join("payload");
    let walk = folder.join("try");
    fs::create_dir_all(&walk).with_context(|| format!("cannot make {}", walk.display()))?;
    for name in dist::PROGRAMS {
        copy(&programs.join(name), &folder.join(name))?;
    }
    copy(
        &std::env::current_exe().context("cannot find this program")?,
        &folder.join("xtask"),
    )?;
    for root in [&roots::NGINX, &roots::PYTHON] {
        let tar = root.tarball(&cache.join("roots"))?;
        copy(
            &tar,
            &walk.join(tar.file_name().context("a root without a name")?),
        )?;
    }
    let disk = cache.join("payload.ext4");
    roots::apart(
        "rm -f payload.ext4 && mke2fs -q -t ext4 -d payload payload.ext4 4G && rm -rf payload",
        cache,
    )?;
    Ok(disk)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(|_| ())
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Runs the guest and returns what stands behind [`VERDICT`]. A /dev/kvm that opens may still be
/// unable to run a kernel (virtual machines in virtual machines): emulation then does, slower.
fn run(system: &Path, payload: &Path) -> Result<Option<String>> {
    if kvm_opens() {
        match boot("kvm", BOOTED_ON_KVM_WITHIN, system, payload)? {
            Boot::Ended(verdict) => return Ok(verdict),
            Boot::Silent => say::line("nothing boots under KVM here: emulating"),
        }
    }
    match boot("tcg", BOOTED_WITHIN, system, payload)? {
        Boot::Ended(verdict) => Ok(verdict),
        Boot::Silent => bail!("the guest did not boot"),
    }
}

/// How a guest came to its end.
enum Boot {
    /// It switched itself off.
    Ended(Option<String>),
    /// It never came as far as the walk, and was ended.
    Silent,
}

/// Boots the guest and passes its console through.
fn boot(accelerator: &str, within: Duration, system: &Path, payload: &Path) -> Result<Boot> {
    let mut command = Command::new("qemu-system-x86_64");
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-machine",
        &format!("q35,accel={accelerator}"),
    ]);
    command.args([
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        "2048",
        "-nographic",
        "-no-reboot",
    ]);
    command.args(["-serial", "stdio", "-nic", "none"]);
    command
        .arg("-kernel")
        .arg(system.join("kernel"))
        .arg("-initrd")
        .arg(system.join("initrd"));
    command.args([
        "-append",
        "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0 panic=-1",
    ]);
    for disk in [system.join("disk"), payload.to_owned()] {
        // What the guest writes is thrown away.
        command.arg("-drive").arg(format!(
            "file={},if=virtio,format=raw,snapshot=on",
            disk.display()
        ));
    }
    say::running(&command);
    let mut guest = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run QEMU")?;
    let lines = console(guest.stdout.take().context("QEMU has no stdout")?);
    let (mut verdict, mut walking) = (None, false);
    let began = Instant::now();
    loop {
        let limit = if walking { WALKED_WITHIN } else { within };
        match lines.recv_timeout(limit.saturating_sub(began.elapsed())) {
            Ok(line) => {
                walking |= line.starts_with(FIRST_WORDS);
                verdict = verdict_of(&line).or(verdict);
                say::line(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                guest
                    .kill()
                    .and_then(|()| guest.wait())
                    .context("cannot end QEMU")?;
                ensure!(
                    !walking,
                    "the guest was not done in {} minutes",
                    WALKED_WITHIN.as_secs() / 60
                );
                return Ok(Boot::Silent);
            }
        }
    }
    let status = guest.wait().context("QEMU was lost")?;
    ensure!(status.success(), "QEMU ended with {status}");
    Ok(Boot::Ended(verdict))
}

/// The console's lines as they come.
fn console(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn verdict_of(line: &str) -> Option<String> {
    line.split_once(VERDICT)
        .map(|(_, verdict)| verdict.trim().to_owned())
}

/// Says whether this machine offers hardware for virtual machines.
fn kvm_opens() -> bool {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_read_from_the_console() {
        assert_eq!(verdict_of("the walk ended: success"), Some("success".to_owned()));
        assert_eq!(
            verdict_of("[    1.2] x the walk ended: exit-code\r"),
            Some("exit-code".to_owned())
        );
        assert_eq!(verdict_of("$ wharf login"), None);
    }

    #[test]
    fn the_unit_says_what_is_read() {
        assert!(UNIT.contains(&format!("echo {VERDICT} $SERVICE_RESULT")));
    }
}
