//! The command line, beside a server that runs and without one.

use std::process::{Command, Output, Stdio};

use crate::support::server::Server;

fn program(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf-registry"));
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn users_are_added_listed_and_removed() {
    let server = Server::start();
    server.add_user("bob");
    let ls = server.run(&["user", "ls"]);
    assert_eq!(stdout(&ls), "admin\tadmin\nbob\n");
    assert_eq!(
        stdout(&server.run(&["rules", "ls"])),
        "admin\tadmin/**\tpull,push,delete\nbob\tbob/**\tpull,push,delete\n"
    );
    assert!(server.run(&["user", "rm", "bob"]).status.success());
    assert_eq!(stdout(&server.run(&["user", "ls"])), "admin\tadmin\n");
    let again = server.run(&["user", "rm", "bob"]);
    assert!(!again.status.success() && stderr(&again).contains("there is no user bob"));
}

#[tokio::test]
async fn rules_are_granted_listed_and_revoked() {
    let server = Server::start();
    server.add_user("bob");
    let grant = server.run(&["grant", "bob", "team/**", "push,pull"]);
    assert!(grant.status.success() && grant.stdout.is_empty(), "{grant:?}");
    assert!(stdout(&server.run(&["rules", "ls"])).contains("bob\tteam/**\tpull,push\n"));
    assert!(server.run(&["revoke", "bob", "team/**"]).status.success());
    let again = server.run(&["revoke", "bob", "team/**"]);
    assert!(!again.status.success() && stderr(&again).contains("no rule of bob for team/**"));
}

#[tokio::test]
async fn wrong_names_patterns_and_actions_are_refused_with_what_is_right() {
    let server = Server::start();
    for (arguments, text) in [
        (&["grant", "Bob", "a", "pull"][..], "a-z"),
        (&["grant", "bob", "a//b", "pull"], "a//b"),
        (&["grant", "bob", "a", "fly"], "pull, push, delete"),
        (
            &["user", "add", "anonymous", "--password-stdin"],
            "a meaning of its own",
        ),
        (&["user", "add", "a/b", "--password-stdin"], "a-z"),
        (&["user", "add", "bob"], "--password-stdin"),
        (&["user", "add", "bob", "--password-stdin"], "1 to 1024 bytes"),
        (&["robot", "add", "a/b"], "a-z"),
        (&["robot", "add", "ci", "--scope", "team/**"], "PATTERN:ACTIONS"),
        (
            &["robot", "add", "ci", "--scope", "team/**:fly"],
            "pull, push, delete",
        ),
        (&["robot", "add", "ci", "--expires", "soon"], "like 90s"),
        (&["robot", "rm", "ci"], "there is no robot/ci"),
        (&["key", "add", "admin"], "--scope"),
        (&["key", "add", "who", "--scope", "**:pull"], "no user who"),
        (&["key", "rm", "0123"], "no key of the id 0123"),
    ] {
        let output = server.run(arguments);
        assert!(
            !output.status.success() && stderr(&output).contains(text),
            "{arguments:?}: {output:?}"
        );
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for arguments in [
        &["gc", "--dry-run"][..],
        &["why", "sha256:x"],
        &["restore", "a", "--all"],
        &["check", "--read"],
    ] {
        let output = program(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(
            stderr(&output),
            format!("wharf-registry: {} is not built yet\n", arguments[0])
        );
    }
}

#[test]
fn the_settings_are_checked_and_shown_with_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "anonymous = \"pull\"\n[limits]\npage_entries = 5\n").unwrap();
    let file = file.to_str().unwrap();
    let output = program(&["config", "check", "--config", file, "--listen", "127.0.0.1:0"]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    for line in [
        format!("anonymous = \"pull\"  # {file}"),
        format!("limits.page_entries = \"5\"  # {file}"),
        "listen = \"127.0.0.1:0\"  # --listen".to_owned(),
        "token_life = \"5m\"  # default".to_owned(),
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn without_a_password_file_one_is_made_up_and_said_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wharf-registry"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    let path = data.join("admin-password");
    let password = std::fs::read_to_string(&path).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    let client = reqwest::Client::new();
    let answer = client
        .get(format!("http://{address}/v2/"))
        .basic_auth("admin", Some(password.trim()));
    let status = answer.send().await.unwrap().status().as_u16();
    assert!(
        Command::new("kill")
            .arg(child.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    assert!(child.wait().unwrap().success());
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!((status, mode & 0o777), (200, 0o600));
    assert!(
        log.contains(path.to_str().unwrap()) && !log.contains(password.trim()),
        "{log}"
    );
}

#[test]
fn the_help_of_every_command_is_known() {
    let mut all = String::new();
    for command in [
        "",
        "serve",
        "user",
        "user add",
        "user rm",
        "user ls",
        "robot",
        "robot add",
        "robot rm",
        "robot ls",
        "key",
        "key add",
        "key rm",
        "key ls",
        "grant",
        "revoke",
        "rules",
        "rules ls",
        "config",
        "config check",
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = program(&arguments);
        assert!(output.status.success(), "{output:?}");
        all.push_str(&format!(
            "$ wharf-registry {}\n{}\n",
            arguments.join(" "),
            stdout(&output)
        ));
    }
    insta::assert_snapshot!("help", all);
}
