//! What the command line must refuse, and in which words.

use super::walk::{Request, walk};
use super::*;

fn refused(words: &[&str]) -> Error {
    match walk(&Cli::command(), words) {
        Err(error) => error,
        Ok(_) => panic!("{words:?} was accepted"),
    }
}

#[test]
fn clap_agrees_with_the_tree() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_its_words_and_every_row_a_command() {
    let mut paths = Vec::new();
    let tree = Cli::command();
    for command in tree.get_subcommands() {
        if command.has_subcommands() {
            paths.extend(
                command
                    .get_subcommands()
                    .map(|sub| format!("{} {}", command.get_name(), sub.get_name())),
            );
        } else {
            paths.push(command.get_name().to_owned());
        }
    }
    for path in &paths {
        assert!(words::of(path).is_some(), "{path} has no row in cli/words.rs");
    }
    for row in words::all() {
        assert!(
            row.paths
                .iter()
                .all(|path| paths.iter().any(|known| known == path)),
            "{:?}",
            row.paths
        );
    }
}

#[test]
fn an_unknown_flag_is_named_and_ends_with_125() {
    let error = refused(&["version", "--foo"]);
    assert_eq!(error.exit_code(), 125);
    assert_eq!(
        error.to_string(),
        "unknown flag: --foo\n\nUsage:  wharf version [OPTIONS]\n\nRun 'wharf version --help' for more information"
    );
    assert!(
        refused(&["version", "-z"])
            .to_string()
            .starts_with("unknown shorthand flag: 'z' in -z\n")
    );
    assert!(
        refused(&["version", "-f"])
            .to_string()
            .starts_with("flag needs an argument: 'f' in -f\n")
    );
    assert!(
        refused(&["version", "--format"])
            .to_string()
            .starts_with("flag needs an argument: --format\n")
    );
}

#[test]
fn an_unknown_command_is_named_and_a_docker_command_not_built_is_named_as_such() {
    let error = refused(&["foo"]);
    assert_eq!(error.exit_code(), 1);
    assert_eq!(
        error.to_string(),
        "wharf: unknown command: wharf foo\n\nRun 'wharf --help' for more information"
    );
    let error = refused(&["swarm", "init"]);
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(
        error
            .to_string()
            .contains("'swarm' is a command of docker that wharf does not have"),
        "{error}"
    );
}

#[test]
fn a_wrong_number_of_arguments_shows_the_usage() {
    let error = refused(&["version", "x"]);
    assert_eq!(error.exit_code(), 1);
    assert_eq!(
        error.to_string(),
        "wharf: 'wharf version' accepts no arguments\n\nUsage:  wharf version [OPTIONS]\n\nRun 'wharf version --help' for more information"
    );
}

#[test]
fn help_and_version_are_found_anywhere_before_the_arguments() {
    let tree = Cli::command();
    assert!(matches!(walk(&tree, &[]).unwrap(), Request::Help { path, .. } if path.is_empty()));
    assert!(
        matches!(walk(&tree, &["version", "--help"]).unwrap(), Request::Help { path, .. } if path == ["version"])
    );
    assert!(
        matches!(walk(&tree, &["help", "version"]).unwrap(), Request::Help { path, .. } if path == ["version"])
    );
    assert!(matches!(walk(&tree, &["-v"]).unwrap(), Request::Version));
}

proptest::proptest! {
    #[test]
    fn no_arguments_make_it_panic(words in proptest::collection::vec("(-{0,2}[a-zA-Z=]{0,8}|--|-|pull|run|images|image|.{0,6})", 0..6)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let tree = Cli::command();
        if let Ok(Request::Run { path, arguments }) = walk(&tree, &words)
            && let Err(error) = tree.clone().try_get_matches_from(arguments)
        {
            // Whatever clap refuses has words and a code of ours.
            proptest::prop_assert!(super::walk::bad_value(&tree, &path, &error).exit_code() != 0);
        }
    }
}
