use super::*;

fn parsed(line: &str) -> Result<Request, Refusal> {
    parse(line.split_whitespace().map(str::to_owned))
}

#[test]
fn every_command_of_the_usage_is_known() {
    let lines = USAGE.lines().filter_map(|line| line.strip_prefix("  "));
    let named = lines
        .filter_map(|line| line.split(' ').next())
        .filter(|word| !word.is_empty());
    for command in named {
        let unknown = matches!(parsed(command), Err(Refusal::UnknownCommand(_)));
        assert!(!unknown, "{command} stands in the usage alone");
    }
}

#[test]
fn nothing_asked_and_an_unknown_command_are_refused_with_the_usage() {
    assert_eq!(parsed(""), Err(Refusal::NoCommand));
    let refusal = parsed("tset").unwrap_err();
    assert_eq!(refusal, Refusal::UnknownCommand("tset".into()));
    assert!(refusal.to_string().contains(USAGE));
}

#[test]
fn arguments_that_a_command_lacks_are_refused_by_name() {
    assert_eq!(
        parsed("tidy --fast"),
        Err(Refusal::UnknownArgument {
            command: "tidy",
            argument: "--fast".into()
        })
    );
    assert_eq!(
        parsed("test it"),
        Err(Refusal::UnknownArgument {
            command: "test",
            argument: "it".into()
        })
    );
    assert_eq!(
        parsed("image --programs"),
        Err(Refusal::MissingValue("--programs"))
    );
}

#[test]
fn arguments_after_the_dashes_go_to_nextest() {
    assert_eq!(
        parsed("test -- -p wharf --no-capture"),
        Ok(Request::Test {
            nextest: vec!["-p".into(), "wharf".into(), "--no-capture".into()]
        })
    );
}

#[test]
fn fuzz_takes_a_time_and_names() {
    let each = Duration::from_secs(60);
    assert_eq!(
        parsed("fuzz names --seconds 60"),
        Ok(Request::Fuzz {
            each,
            only: vec!["names".into()]
        })
    );
    assert_eq!(parsed("fuzz --seconds x"), Err(Refusal::NoNumber("--seconds")));
    assert_eq!(
        parsed("fuzz --minutes 1"),
        Err(Refusal::UnknownArgument {
            command: "fuzz",
            argument: "--minutes".into()
        })
    );
}

#[test]
fn a_walk_needs_its_programs() {
    let walk = Walk {
        programs: "d".into(),
        cache: "c".into(),
    };
    assert_eq!(parsed("walk --cache c --programs d"), Ok(Request::Walk(walk)));
    assert_eq!(
        parsed("walk --programs d"),
        Err(Refusal::MissingFlag {
            command: "walk",
            flag: "--cache"
        })
    );
}

#[test]
fn image_takes_a_folder_of_programs() {
    assert_eq!(
        parsed("image --programs d"),
        Ok(Request::Image {
            programs: Some("d".into())
        })
    );
}
