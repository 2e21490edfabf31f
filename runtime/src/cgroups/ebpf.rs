//! The rules for device nodes as a program of cgroup v2.
//!
//! The kernel calls it with a context of three words: `access << 16 | kind`, major, minor; it answers 1 to let
//! an access through. The last rule that fits decides, so the rules are tried from the end.

use rustix::fs::{Mode, OFlags, open};

use super::{
    Hierarchy,
    devices::{Access, Rule},
};
use crate::{
    error::{Doing, Error},
    sys::{BpfInsn, attach_device_program, detach_device_program, device_programs, load_device_program},
};

const ACC_MKNOD: i32 = 1;
const ACC_READ: i32 = 2;
const ACC_WRITE: i32 = 4;
const DEV_BLOCK: i32 = 1;
const DEV_CHAR: i32 = 2;

/// Attaches the program of `rules` and only then takes the earlier ones off, so that no moment is without.
pub(super) fn replace(hierarchy: &Hierarchy, rules: &[Rule]) -> Result<(), Error> {
    let doing = |what: &'static str| move || format!("linux.resources.devices: {what}");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(hierarchy.container_path(), flags, Mode::empty()).doing(doing("open the cgroup"))?;
    let earlier = device_programs(&folder).doing(doing("list the programs"))?;
    let program = load_device_program(&assemble(rules)).doing(doing("load the program"))?;
    attach_device_program(&folder, &program).doing(doing("attach the program"))?;
    for old in earlier {
        detach_device_program(&folder, &old).doing(doing("detach the earlier program"))?;
    }
    Ok(())
}

const fn op(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> BpfInsn {
    BpfInsn {
        code,
        regs: (src << 4) | dst,
        off,
        imm,
    }
}

/// r2 = kind, r3 = access, r4 = major, r5 = minor, r1 = context.
fn assemble(rules: &[Rule]) -> Vec<BpfInsn> {
    let mut program = vec![
        op(0x61, 2, 1, 0, 0),      // r2 = *(u32 *)(r1 + 0)
        op(0xbc, 3, 2, 0, 0),      // w3 = w2
        op(0x54, 2, 0, 0, 0xFFFF), // w2 &= 0xFFFF
        op(0x74, 3, 0, 0, 16),     // w3 >>= 16
        op(0x61, 4, 1, 4, 0),      // r4 = major
        op(0x61, 5, 1, 8, 0),      // r5 = minor
    ];
    for rule in rules.iter().rev() {
        append(&mut program, rule);
        if rule.kind == b'a'
            && rule.access
                == (Access {
                    read: true,
                    write: true,
                    mknod: true,
                })
        {
            // Nothing below a rule about everything is reached.
            return program;
        }
    }
    program.extend(answer(false));
    program
}

fn append(program: &mut Vec<BpfInsn>, rule: &Rule) {
    let mut checks: Vec<BpfInsn> = Vec::with_capacity(7);
    match rule.kind {
        b'b' => checks.push(op(0x56, 2, 0, 0, DEV_BLOCK)),
        b'c' => checks.push(op(0x56, 2, 0, 0, DEV_CHAR)),
        _ => {}
    }
    let Access { read, write, mknod } = rule.access;
    let bits = [(read, ACC_READ), (write, ACC_WRITE), (mknod, ACC_MKNOD)];
    let mask = bits
        .iter()
        .filter(|(on, _)| *on)
        .fold(0, |mask, (_, bit)| mask | bit);
    if mask != ACC_READ | ACC_WRITE | ACC_MKNOD {
        // A permission must cover all that is asked; a denial of any of it denies the whole.
        checks.push(op(0xbc, 1, 3, 0, 0));
        checks.push(op(0x54, 1, 0, 0, mask));
        checks.push(if rule.allow {
            op(0x5e, 1, 3, 0, 0)
        } else {
            op(0x16, 1, 0, 0, 0)
        });
    }
    if let Some(major) = rule.major {
        checks.push(op(0x56, 4, 0, 0, major.cast_signed()));
    }
    if let Some(minor) = rule.minor {
        checks.push(op(0x56, 5, 0, 0, minor.cast_signed()));
    }
    // Each failed check jumps over the rest of them and the two instructions of the answer.
    let count = checks.len();
    for (index, check) in checks.iter_mut().enumerate() {
        if matches!(check.code, 0x56 | 0x5e | 0x16) {
            check.off = i16::try_from(count - index + 1).unwrap_or(i16::MAX);
        }
    }
    program.extend(checks);
    program.extend(answer(rule.allow));
}

fn answer(allow: bool) -> [BpfInsn; 2] {
    [op(0xb4, 0, 0, 0, i32::from(allow)), op(0x95, 0, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::devices::rules;

    /// Runs a program as the kernel would.
    fn run(program: &[BpfInsn], kind: i64, access: i64, major: i64, minor: i64) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_i64; 11];
        let mut at = 0_usize;
        loop {
            let BpfInsn { code, regs, off, imm } = program[at];
            let (dst, src) = (usize::from(regs & 15), usize::from(regs >> 4));
            let jump = |taken: bool| at + 1 + if taken { usize::try_from(off).unwrap() } else { 0 };
            let mut next = at + 1;
            match code {
                0x61 => registers[dst] = context[usize::try_from(off).unwrap() / 4],
                0xbc => registers[dst] = registers[src],
                0x54 => registers[dst] &= i64::from(imm),
                0x74 => registers[dst] >>= imm,
                0xb4 => registers[dst] = i64::from(imm),
                0x56 => next = jump(registers[dst] != i64::from(imm)),
                0x5e => next = jump(registers[dst] != registers[src]),
                0x16 => next = jump(registers[dst] == i64::from(imm)),
                0x95 => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
            at = next;
        }
    }

    #[test]
    fn the_program_answers_as_the_rules_say() {
        let resources = serde_json::from_str(
            r#"{"devices":[{"allow":true,"type":"b","major":8,"access":"r"},{"allow":false,"type":"b","major":8,"minor":1,"access":"r"}]}"#,
        )
        .unwrap();
        let program = assemble(&rules(Some(&resources)).unwrap());
        for (kind, access, major, minor, expected) in [
            (2, 6, 1, 3, true),
            (2, 2, 1, 4, false),
            (2, 1, 200, 7, true),
            (2, 3, 200, 7, false),
            (2, 6, 136, 40, true),
            (1, 2, 8, 0, true),
            (1, 6, 8, 0, false),
            (1, 2, 8, 1, false),
            (1, 1, 8, 1, true),
        ] {
            assert_eq!(
                run(&program, kind, access, major, minor),
                expected,
                "{kind} {access} {major}:{minor}"
            );
        }
    }

    #[test]
    fn a_privileged_container_may_use_every_device() {
        let resources = serde_json::from_str(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#).unwrap();
        let program = assemble(&rules(Some(&resources)).unwrap());
        assert!(run(&program, 1, 6, 259, 4));
        assert_eq!(program.len(), 8);
    }
}
