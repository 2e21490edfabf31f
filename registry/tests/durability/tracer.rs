//! Stands between a process and the kernel, and fails or kills it at a system call that a test names.
//!
//! All of a process's threads share one count, so "the n-th call" is one moment of the whole process. The n-th call
//! itself does not happen.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What to do at which calls.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// Kill the process when it is about to make the `n`-th (from 1) of the calls that change what is on the disk.
    KillAt(usize),
    /// Let syncs of files and folders under a path fail.
    FailSyncsUnder(PathBuf),
}

/// The calls that change what is on the disk, or what of it is durable.
const POINTS: [i64; 13] = [
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_openat,
    libc::SYS_ftruncate,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_write,
];

/// A process under a plan, until it ends.
#[derive(Debug)]
pub(crate) struct Traced {
    thread: JoinHandle<usize>,
}

impl Traced {
    /// Takes hold of all threads of a running process.
    pub(crate) fn attach(process: u32, plan: Plan) -> Self {
        let (attached, is_attached) = mpsc::channel();
        let process = Pid::from_raw(process.cast_signed());
        let thread = std::thread::spawn(move || {
            seize_all(process);
            attached.send(()).unwrap();
            Tracer {
                process,
                plan,
                points: 0,
                failing: HashSet::new(),
            }
            .run()
        });
        is_attached.recv().expect("the process can be traced");
        Self { thread }
    }

    /// Waits until the process has ended; returns how many points it passed or was killed at.
    pub(crate) fn join(self) -> usize {
        self.thread.join().unwrap()
    }
}

/// Takes hold of the threads there are; those to come follow by themselves.
fn seize_all(process: Pid) {
    let mut seen = HashSet::new();
    loop {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let tasks = tasks.map(|task| {
            task.unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse::<i32>()
                .unwrap()
        });
        let new: Vec<_> = tasks.filter(|task| !seen.contains(task)).collect();
        if new.is_empty() {
            return;
        }
        for task in new {
            let options = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACESYSGOOD;
            // One that has ended meanwhile, or was taken with its parent, needs nothing.
            if ptrace::seize(Pid::from_raw(task), options).is_ok() {
                let _ = ptrace::interrupt(Pid::from_raw(task));
            }
            seen.insert(task);
        }
    }
}

struct Tracer {
    process: Pid,
    plan: Plan,
    points: usize,
    /// Threads whose present call was made void and is to return an error.
    failing: HashSet<Pid>,
}

impl Tracer {
    fn run(mut self) -> usize {
        loop {
            let (task, signal) = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(WaitStatus::PtraceSyscall(task)) => {
                    self.at_call(task);
                    (task, None)
                }
                Ok(WaitStatus::PtraceEvent(task, ..)) => (task, None),
                Ok(WaitStatus::Stopped(task, signal)) => (task, Some(signal)),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => return self.points,
            };
            // A task that was killed meanwhile has its end reported by the next wait.
            let _ = ptrace::syscall(task, signal);
        }
    }

    /// A task is about to make a call, or has made one.
    fn at_call(&mut self, task: Pid) {
        let (Ok(info), Ok(mut registers)) = (ptrace::syscall_info(task), ptrace::getregs(task)) else {
            return;
        };
        if info.op == libc::PTRACE_SYSCALL_INFO_EXIT {
            if self.failing.remove(&task) {
                registers.rax = (-i64::from(libc::EIO)).cast_unsigned();
                let _ = ptrace::setregs(task, registers);
            }
            return;
        }
        let call = registers.orig_rax.cast_signed();
        match &self.plan {
            Plan::KillAt(n) => {
                if POINTS.contains(&call) && touches_disk(task, call, &registers) {
                    self.points += 1;
                    if self.points == *n {
                        let _ = kill(self.process, Signal::SIGKILL);
                    }
                }
            }
            Plan::FailSyncsUnder(path) => {
                let target = fs::read_link(format!("/proc/{task}/fd/{}", registers.rdi));
                if [libc::SYS_fsync, libc::SYS_fdatasync].contains(&call)
                    && target.is_ok_and(|target| target.starts_with(path))
                {
                    registers.orig_rax = u64::MAX;
                    if ptrace::setregs(task, registers).is_ok() {
                        self.failing.insert(task);
                    }
                }
            }
        }
    }
}

/// Whether a call of the list changes a disk: sockets, pipes and the log are not what a crash loses, and most files
/// are opened without being made.
fn touches_disk(task: Pid, call: i64, registers: &libc::user_regs_struct) -> bool {
    if call == libc::SYS_openat {
        return registers.rdx & u64::from(libc::O_CREAT.cast_unsigned()) != 0;
    }
    if ![libc::SYS_write, libc::SYS_pwrite64, libc::SYS_pwritev].contains(&call) {
        return true;
    }
    fs::read_link(format!("/proc/{task}/fd/{}", registers.rdi)).is_ok_and(|target| {
        target.starts_with("/") && !target.starts_with("/proc") && !target.ends_with("log")
    })
}
