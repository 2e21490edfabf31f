//! Writes the table of system call names and numbers that the seccomp generator looks names up in, and names the
//! program's first instruction.
//!
//! The table is made here, not linked from the crate it comes from, so that the program holds one
//! packed table of five architectures without a single pointer to relocate at start.

use std::{collections::BTreeMap, env, error::Error, ffi::c_long, fmt::Write as _, fs, path::PathBuf};

use syscall_numbers::{aarch64, arm, x32, x86, x86_64};

#[path = "src/seccomp/hash.rs"]
mod hash;

/// The number of a call that an architecture does not have.
const ABSENT: u32 = u32::MAX;

/// The columns of the table, in the order that `seccomp::table` reads them.
const COLUMNS: [fn(c_long) -> Option<&'static str>; 5] = [
    x86_64::sys_call_name,
    x86::sys_call_name,
    x32::sys_call_name,
    aarch64::sys_call_name,
    arm::sys_call_name,
];
const X32_COLUMN: usize = 2;
const ARM_COLUMN: usize = 4;
const X32_BIT: c_long = 0x4000_0000;

/// Calls of 32-bit ARM outside the ordinary range (`__ARM_NR_*` of the kernel's headers).
const ARM_PRIVATE: [(&str, u32); 6] = [
    ("breakpoint", 0x000f_0001),
    ("cacheflush", 0x000f_0002),
    ("usr26", 0x000f_0003),
    ("usr32", 0x000f_0004),
    ("set_tls", 0x000f_0005),
    ("get_tls", 0x000f_0006),
];

/// Calls that 32-bit x86 also reaches through `socketcall` and `ipc`, with the selector in the first argument.
const SOCKETCALL: [(&str, u32); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];
const IPC: [(&str, u32); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

#[derive(Clone, Copy)]
struct Row {
    numbers: [u32; COLUMNS.len()],
    multiplexed: &'static str,
    selector: u32,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            numbers: [ABSENT; COLUMNS.len()],
            multiplexed: "No",
            selector: 0,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/seccomp/hash.rs");
    if env::var_os("CARGO_CFG_TARGET_ARCH").is_some_and(|architecture| architecture == "x86_64") {
        // The program begins in `sys::entry`, which goes on to the C library's start.
        println!("cargo::rustc-link-arg-bins=-Wl,-e,wharf_runtime_entry");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("syscalls.rs"), render(&rows()?)?)?;
    Ok(())
}

fn rows() -> Result<BTreeMap<&'static str, Row>, Box<dyn Error>> {
    let mut rows: BTreeMap<&'static str, Row> = BTreeMap::new();
    for (column, name_of) in COLUMNS.into_iter().enumerate() {
        let base = if column == X32_COLUMN { X32_BIT } else { 0 };
        for number in base..base + 1024 {
            if let Some(name) = name_of(number) {
                set(&mut rows, name, column, u32::try_from(number)?);
            }
        }
    }
    for (name, number) in ARM_PRIVATE {
        set(&mut rows, name, ARM_COLUMN, number);
    }
    for (multiplexed, calls) in [("Socketcall", SOCKETCALL.as_slice()), ("Ipc", IPC.as_slice())] {
        for &(name, selector) in calls {
            let row = rows.entry(name).or_default();
            row.multiplexed = multiplexed;
            row.selector = selector;
        }
    }
    Ok(rows)
}

fn set(rows: &mut BTreeMap<&'static str, Row>, name: &'static str, column: usize, number: u32) {
    if let Some(cell) = rows.entry(name).or_default().numbers.get_mut(column) {
        *cell = number;
    }
}

fn render(rows: &BTreeMap<&'static str, Row>) -> Result<String, Box<dyn Error>> {
    let mut names = String::new();
    let mut entries = String::new();
    let mut slots = vec![0_u16; hash::SLOTS];
    for (index, (name, row)) in rows.iter().enumerate() {
        writeln!(
            entries,
            "    Entry {{ name: {}, length: {}, numbers: {:?}, multiplexed: Multiplexed::{}, selector: {} }},",
            names.len(),
            name.len(),
            row.numbers,
            row.multiplexed,
            row.selector
        )?;
        names.push_str(name);
        let mut slot = hash::first_slot(name.as_bytes());
        loop {
            let cell = slots.get_mut(slot).ok_or("a slot lies inside the table")?;
            if *cell == 0 {
                *cell = u16::try_from(index + 1)?;
                break;
            }
            slot = hash::next_slot(slot);
        }
    }
    Ok(format!(
        "static NAMES: &str = {names:?};\n\n\
         static ENTRIES: [Entry; {}] = [\n{entries}];\n\n\
         static SLOTS: [u16; {}] = {slots:?};\n",
        rows.len(),
        hash::SLOTS
    ))
}
