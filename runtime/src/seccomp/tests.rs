mod interpreter;
mod naive;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    ACTIONS, ARCHITECTURES, Architecture, Call, FLAGS, OPERATORS, Program, SeccompError, compile_for,
};
use crate::spec::{
    LinuxSeccomp, Text,
    seccomp::{LinuxSeccompArg, LinuxSyscall, SeccompAction, SeccompOperator},
};
use interpreter::Data;
use naive::{AARCH64, ARM, X86, X86_64};

fn profile(json: &str) -> LinuxSeccomp<'_> {
    serde_json::from_str(json).unwrap()
}

fn program(json: &str) -> Program {
    compile_for(&profile(json), Architecture::X86_64).unwrap()
}

fn answer(program: &Program, architecture: u32, number: u32, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    interpreter::run(
        &program.instructions,
        &Data {
            number,
            architecture,
            arguments: all,
        },
    )
}

const ALLOW: u32 = 0x7fff_0000;
const ENOSYS: u32 = 0x0005_0026;
const EPERM: u32 = 0x0005_0001;
const KILL: u32 = 0x8000_0000;

#[test]
fn every_name_of_the_table_is_found_with_its_numbers() {
    for call in Call::all() {
        assert_eq!(Call::named(call.name()).unwrap().name(), call.name());
    }
    let numbers = |name: &str| {
        let call = Call::named(name).unwrap();
        let all = [
            Architecture::X86_64,
            Architecture::X86,
            Architecture::X32,
            Architecture::Aarch64,
            Architecture::Arm,
        ];
        all.map(|architecture| call.number(architecture))
    };
    assert_eq!(
        numbers("read"),
        [Some(0), Some(3), Some(0x4000_0000), Some(63), Some(3)]
    );
    assert_eq!(
        numbers("openat2"),
        [
            Some(437),
            Some(437),
            Some(0x4000_0000 + 437),
            Some(437),
            Some(437)
        ]
    );
    assert_eq!(
        numbers("arch_prctl"),
        [Some(158), Some(384), Some(0x4000_0000 + 158), None, None]
    );
    assert_eq!(numbers("set_tls"), [None, None, None, None, Some(0xf_0005)]);
    assert!(Call::named("no_such_call").is_none());
    assert!(Call::named("").is_none());
}

#[test]
fn numbers_agree_with_those_of_libc() {
    let of = |name: &str| {
        Call::named(name)
            .unwrap()
            .number(Architecture::NATIVE)
            .map(i64::from)
    };
    for (name, number) in [
        ("clone3", libc::SYS_clone3),
        ("seccomp", libc::SYS_seccomp),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("execveat", libc::SYS_execveat),
        ("fchmodat2", libc::SYS_fchmodat2),
        ("socket", libc::SYS_socket),
    ] {
        assert_eq!(of(name), Some(number), "{name}");
    }
}

#[test]
fn a_number_above_the_newest_named_is_unknown() {
    let filter = program(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],
            "syscalls":[{"names":["read","openat2","a_call_of_2040"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(answer(&filter, X86_64, 437, &[]), ALLOW);
    assert_eq!(answer(&filter, X86_64, 436, &[]), EPERM);
    assert_eq!(answer(&filter, X86_64, 438, &[]), ENOSYS);
    assert_eq!(answer(&filter, X86_64, 0x4000_0000, &[]), ALLOW);
    assert_eq!(answer(&filter, X86_64, 0x4000_0001, &[]), EPERM);
    assert_eq!(answer(&filter, X86_64, 0x4000_0000 + 438, &[]), ENOSYS);
}

#[test]
fn empty_architectures_do_not_switch_the_answer_to_unknown_numbers_off() {
    let filter = program(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":[],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(answer(&filter, X86_64, 0, &[]), ALLOW);
    assert_eq!(answer(&filter, X86_64, 1, &[]), ENOSYS);
}

#[test]
fn a_permissive_default_and_one_that_says_enosys_answer_for_unknown_numbers_themselves() {
    for (default, expected) in [
        (r#""SCMP_ACT_ALLOW""#, ALLOW),
        (r#""SCMP_ACT_LOG""#, 0x7ffc_0000),
        (r#""SCMP_ACT_TRACE""#, 0x7ff0_0001),
        (r#""SCMP_ACT_ERRNO","defaultErrnoRet":38"#, ENOSYS),
        (r#""SCMP_ACT_ERRNO","defaultErrnoRet":5"#, ENOSYS),
        (r#""SCMP_ACT_KILL_PROCESS""#, ENOSYS),
    ] {
        let json = format!(
            r#"{{"defaultAction":{default},"syscalls":[{{"names":["read"],"action":"SCMP_ACT_TRAP"}}]}}"#
        );
        assert_eq!(answer(&program(&json), X86_64, 5000, &[]), expected, "{default}");
    }
}

#[test]
fn an_architecture_outside_the_profile_kills() {
    let filter = program(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    assert_eq!(answer(&filter, X86_64, 59, &[]), ALLOW);
    assert_eq!(answer(&filter, X86, 11, &[]), KILL);
    assert_eq!(answer(&filter, AARCH64, 221, &[]), KILL);
    assert_eq!(answer(&filter, X86_64, 0x4000_0000, &[]), KILL);
    assert_eq!(
        answer(&filter, X86_64, u32::MAX, &[]),
        ALLOW,
        "a tracer's skipped call"
    );
}

#[test]
fn an_architecture_that_the_machine_cannot_run_adds_nothing() {
    let native = program(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    let many = program(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_S390X","SCMP_ARCH_AARCH64","SCMP_ARCH_X86_64"],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(native.instructions.len(), many.instructions.len());
    assert_eq!(answer(&many, AARCH64, 63, &[]), KILL);
}

#[test]
fn two_conditions_on_one_argument_are_alternatives_and_on_two_a_conjunction() {
    let filter = program(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":0,"op":"SCMP_CMP_EQ"},{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]},
            {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#,
    );
    for (value, expected) in [(0, ALLOW), (8, ALLOW), (4, EPERM), (8 << 32, EPERM)] {
        assert_eq!(
            answer(&filter, X86_64, 135, &[value]),
            expected,
            "personality({value})"
        );
    }
    for (arguments, expected) in [([1, 2], ALLOW), ([1, 1], EPERM), ([2, 2], EPERM)] {
        assert_eq!(
            answer(&filter, X86_64, 41, &arguments),
            expected,
            "socket{arguments:?}"
        );
    }
}

#[test]
fn a_socket_rule_holds_for_socketcall_too() {
    let filter = program(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[
            {"names":["socket"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":40,"op":"SCMP_CMP_EQ"}]},
            {"names":["shmget"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    assert_eq!(answer(&filter, X86, 102, &[1]), EPERM);
    assert_eq!(answer(&filter, X86, 102, &[2]), ALLOW);
    assert_eq!(answer(&filter, X86, 359, &[40]), EPERM);
    assert_eq!(answer(&filter, X86, 359, &[2]), ALLOW);
    assert_eq!(answer(&filter, X86, 117, &[23]), EPERM);
    assert_eq!(
        answer(&filter, X86, 117, &[23 | 1 << 16]),
        EPERM,
        "a version in the upper half"
    );
    assert_eq!(answer(&filter, X86, 117, &[24]), ALLOW);
}

#[test]
fn what_cannot_be_carried_out_is_refused_by_name() {
    for (json, field) in [
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/s"}"#,
            "defaultAction",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}"#,
            "defaultErrnoRet",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#,
            "defaultErrnoRet",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_Z80"]}"#,
            "architectures[0]",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_X"]}"#,
            "flags[0]",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"m"}"#,
            "listenerMetadata",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "listenerPath",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/s","syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "syscalls[0].action",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","errnoRet":1}]}"#,
            "syscalls[0].errnoRet",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "syscalls[0].args[0].index",
        ),
    ] {
        let error = compile_for(&profile(json), Architecture::X86_64).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("linux.seccomp.{field}: ")), "{text}");
    }
}

#[test]
fn a_program_longer_than_the_kernel_takes_is_refused() {
    let condition = |value: u64| LinuxSeccompArg {
        index: 0,
        value,
        value_two: 0,
        op: SeccompOperator::EqualTo,
    };
    let rule = |value: u64| LinuxSyscall {
        names: vec!["read".into()],
        action: SeccompAction::Errno,
        errno_ret: Some(u32::try_from(value).unwrap()),
        args: vec![condition(value)],
    };
    let mut long = profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    long.syscalls = (0..700).map(rule).collect();
    let fits = compile_for(&long, Architecture::X86_64).unwrap();
    assert_eq!(answer(&fits, X86_64, 0, &[699]), 0x0005_0000 | 699);
    assert_eq!(answer(&fits, X86_64, 0, &[700]), ALLOW);
    long.syscalls = (0..1500).map(rule).collect();
    assert!(
        matches!(compile_for(&long, Architecture::X86_64), Err(SeccompError::TooLong(length)) if length > 4096)
    );
}

#[test]
fn flags_become_those_of_the_system_call() {
    for (flags, notify, expected) in [
        ("", false, 0b100),
        (r#","flags":[]"#, false, 0),
        (
            r#","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC"]"#,
            false,
            0b11,
        ),
        (r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#, false, 0),
        (
            r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#,
            true,
            0b10_1000,
        ),
        (r#","flags":["SECCOMP_FILTER_FLAG_TSYNC"]"#, true, 0b1_1001),
        ("", true, 0b1100),
    ] {
        let action = if notify {
            "SCMP_ACT_NOTIFY"
        } else {
            "SCMP_ACT_TRAP"
        };
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/s"{flags},
                "syscalls":[{{"names":["mkdir"],"action":"{action}"}}]}}"#
        );
        let program = program(&json);
        assert_eq!((program.flags, program.notifies), (expected, notify), "{json}");
    }
}

#[test]
fn the_names_that_features_prints_are_those_that_are_read() {
    for action in ACTIONS {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/s","syscalls":[{{"names":["mkdir"],"action":"{action}"}}]}}"#
        );
        program(&json);
    }
    for operator in OPERATORS {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["mkdir"],"action":"SCMP_ACT_TRAP",
                "args":[{{"index":0,"value":1,"op":"{operator}"}}]}}]}}"#
        );
        program(&json);
    }
    for flag in FLAGS {
        program(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":["{flag}"]}}"#
        ));
    }
    for architecture in ARCHITECTURES {
        program(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":["{architecture}"]}}"#
        ));
    }
}

/// Calls next to each other and far apart, some on one architecture alone, some through a multiplexer.
const NAMES: [&str; 26] = [
    "read",
    "write",
    "open",
    "close",
    "stat",
    "socket",
    "bind",
    "shmget",
    "semop",
    "ipc",
    "socketcall",
    "clone",
    "clone3",
    "personality",
    "openat2",
    "set_tls",
    "arch_prctl",
    "recv",
    "mmap2",
    "getpid",
    "listns",
    "fchmodat2",
    "statmount",
    "listmount",
    "a_call_of_2040",
    "",
];

const VALUES: [u64; 8] = [0, 1, 23, 40, 0xffff_ffff, 0x1_0000_0000, 0x7e02_0000, u64::MAX];

fn any_condition() -> impl Strategy<Value = LinuxSeccompArg> {
    let operators = vec![
        SeccompOperator::NotEqual,
        SeccompOperator::LessThan,
        SeccompOperator::LessEqual,
        SeccompOperator::EqualTo,
        SeccompOperator::GreaterEqual,
        SeccompOperator::GreaterThan,
        SeccompOperator::MaskedEqual,
    ];
    (0..6_u32, select(&VALUES), select(&VALUES), select(operators)).prop_map(
        |(index, value, value_two, op)| LinuxSeccompArg {
            index,
            value,
            value_two,
            op,
        },
    )
}

fn any_action() -> impl Strategy<Value = (SeccompAction, Option<u32>)> {
    prop_oneof![
        select(vec![
            SeccompAction::Allow,
            SeccompAction::Log,
            SeccompAction::Trap,
            SeccompAction::KillThread,
            SeccompAction::KillProcess,
        ])
        .prop_map(|action| (action, None)),
        option::of(select(vec![1_u32, 22, 38])).prop_flat_map(|errno| (
            select(vec![SeccompAction::Errno, SeccompAction::Trace]),
            Just(errno)
        )),
    ]
}

fn any_rule() -> impl Strategy<Value = LinuxSyscall<'static>> {
    (
        vec(select(&NAMES), 0..6),
        any_action(),
        vec(any_condition(), 0..3),
    )
        .prop_map(|(names, (action, errno_ret), args)| LinuxSyscall {
            names: names.into_iter().map(Text::from).collect(),
            action,
            errno_ret,
            args,
        })
}

fn any_profile() -> impl Strategy<Value = LinuxSeccomp<'static>> {
    let architectures = [
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_ARM",
        "SCMP_ARCH_PPC",
    ];
    (
        any_action(),
        vec(select(architectures.to_vec()), 0..4),
        vec(any_rule(), 0..30),
    )
        .prop_map(
            |((default_action, default_errno_ret), architectures, syscalls)| LinuxSeccomp {
                default_action,
                default_errno_ret,
                architectures: architectures.into_iter().map(Text::from).collect(),
                flags: None,
                listener_path: None,
                listener_metadata: None,
                syscalls,
            },
        )
}

fn any_number() -> impl Strategy<Value = u32> {
    let named = select(&NAMES).prop_flat_map(|name| {
        let all = [
            Architecture::X86_64,
            Architecture::X86,
            Architecture::X32,
            Architecture::Aarch64,
            Architecture::Arm,
        ];
        let numbers: Vec<u32> = all
            .into_iter()
            .filter_map(|architecture| Call::named(name)?.number(architecture))
            .collect();
        select(if numbers.is_empty() {
            vec![u32::MAX, 0x3fff_ffff, 0x4000_0000]
        } else {
            numbers
        })
    });
    let near = named.prop_flat_map(|number| number.saturating_sub(1)..=number.saturating_add(1));
    prop_oneof![4 => near, 1 => 0_u32..480, 1 => any::<u32>()]
}

fn any_call() -> impl Strategy<Value = Data> {
    let value = prop_oneof![3 => select(&VALUES), 1 => 0_u64..30, 1 => any::<u64>()];
    (any_number(), select(&[X86_64, X86, AARCH64, ARM]), vec(value, 6)).prop_map(
        |(number, architecture, arguments)| Data {
            number,
            architecture,
            arguments: arguments.try_into().unwrap(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_program_answers_as_the_profile_read_line_by_line(profile in any_profile(), calls in vec(any_call(), 40)) {
        for native in [Architecture::X86_64, Architecture::Aarch64] {
            let program = compile_for(&profile, native).unwrap();
            for data in &calls {
                let got = interpreter::run(&program.instructions, data);
                let expected = naive::evaluate(&profile, native, data);
                prop_assert_eq!(got, expected, "{:?} on {:?}: {:#x} != {:#x}", data, native, got, expected);
            }
        }
    }
}
