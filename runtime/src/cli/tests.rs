use super::*;

fn parsed(line: &str) -> Result<Invocation, Error> {
    parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
}

fn refusal(line: &str) -> String {
    parsed(line).unwrap_err().to_string()
}

#[test]
fn the_shims_line_is_understood_in_both_forms() {
    for line in [
        "--root /r/ns --log /b/log.json --log-format json create --bundle /b --pid-file /b/pid --no-pivot web",
        "--root=/r/ns --log=/b/log.json -log-format=json create -b /b --pid-file=/b/pid -no-pivot=true web",
        "--root /r/ns --log /b/log.json --log-format json create web --bundle /b --pid-file /b/pid --no-pivot",
    ] {
        let Invocation { global, command } = parsed(line).unwrap();
        assert_eq!(
            (global.root, global.log_format),
            (Some("/r/ns".into()), Format::Json)
        );
        let Command::Create(create) = command else {
            panic!("{line}")
        };
        assert_eq!(
            (create.bundle, create.pid_file),
            ("/b".into(), Some("/b/pid".into()))
        );
        assert!(create.no_pivot && !create.no_new_keyring);
    }
}

#[test]
fn what_follows_the_id_of_exec_is_the_programs() {
    let Command::Exec(exec) = parsed("exec -t -e A=1 --env B=2 -u 5:6 -d web ls -l --env")
        .unwrap()
        .command
    else {
        panic!("not exec")
    };
    assert_eq!(exec.arguments, ["ls", "-l", "--env"]);
    assert_eq!(exec.env, ["A=1", "B=2"]);
    assert!(exec.tty && exec.detach);
    let Command::Exec(exec) = parsed("exec web -- ls").unwrap().command else {
        panic!("not exec")
    };
    assert_eq!(exec.arguments, ["--", "ls"]);
}

#[test]
fn kill_takes_its_words_in_any_order() {
    for line in ["kill --all web 9", "kill web 9 --all", "kill -a web 9"] {
        let Command::Kill { signal, all, .. } = parsed(line).unwrap().command else {
            panic!("{line}")
        };
        assert_eq!((signal.as_str(), all), ("9", true));
    }
}

#[test]
fn wrong_lines_are_refused_by_name() {
    assert_eq!(
        refusal("create --nope web"),
        "flag provided but not defined: \"--nope\""
    );
    assert_eq!(refusal("create --bundle"), "flag needs an argument: --bundle");
    assert_eq!(refusal("start"), "start: a container id is missing");
    assert_eq!(refusal("start a b"), "start: \"b\" is one argument too many");
    assert_eq!(refusal("frobnicate"), "no such command: \"frobnicate\"");
    assert!(refusal("--systemd-cgroup create x").contains("--systemd-cgroup"));
    assert!(refusal("checkpoint --help").contains("not supported"));
    assert!(refusal("state ../../etc").starts_with("invalid container id"));
    assert!(refusal("--log-format xml list").contains("xml"));
    assert!(refusal("create --preserve-fds=-1 x").contains("-1"));
    assert!(refusal("--rootless=true list").contains("--rootless"));
}

proptest::proptest! {
    #[test]
    fn any_line_is_understood_or_refused(words in proptest::collection::vec("(-{0,2}[a-z=]{0,8})|create|exec|run", 0..6)) {
        let _ = parse(&words.into_iter().map(OsString::from).collect::<Vec<_>>());
    }
}
