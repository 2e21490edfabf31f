//! What wharf answers to a command, beside what docker answered to it.
//!
//! `tests/golden/cases` holds command lines, `tests/golden/recorded` docker's transcripts of them (see
//! `record.sh`). Each case is played again with wharf as `docker`, and compared command by command: output,
//! errors and exit code. What may differ is named here, command by command, with the reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::programs;

/// Commands whose text may differ from docker's, and why. The exit code must agree all the same.
const TEXT_DIFFERS: &[(&str, &str)] = &[
    ("docker run --rm busybox nosuchprogram", RUNTIME),
    ("docker run --rm busybox /nosuchdir/program", RUNTIME),
    ("docker run --rm busybox /etc", RUNTIME),
    ("docker run -d --rm busybox nosuchprogram | wc -c", RUNTIME),
    ("docker exec long nosuchprogram", RUNTIME),
    (
        "docker run --rm --network none busybox ip -o addr",
        "docker 28 leaves ::1 on the loopback device, 20.10 took it away",
    ),
    ("docker rm long", "docker 28's words, which changed since 20.10"),
    (
        "docker inspect -f '{{.Config.Image}} {{.Config.Cmd}} {{.HostConfig.NetworkMode}}' two",
        "docker 28 says bridge where 20.10 said default",
    ),
    (
        "docker logs --tail 1 logger",
        "which of two streams was read last is chance, also in docker",
    ),
    (
        "docker inspect -f '{{.Nope}}' two",
        "the template library's own words",
    ),
    ("docker rm --help", "--link is refused by name"),
    ("docker logs --help", "--details is refused by name"),
    (
        "docker exec --help",
        "--detach-keys and --privileged are refused by name",
    ),
];

/// The runtime names the field of its configuration where docker's names itself.
const RUNTIME: &str = "the runtime's own words stand in the middle";

/// Commands that wharf refuses by name, so that even the exit code differs.
const REFUSED: &[(&str, &str)] = &[(
    "docker run --rm -v /nosuch/../relative busybox true",
    "anonymous volumes are not built yet",
)];

/// One command of a transcript.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    command: String,
    stdout: String,
    stderr: String,
    code: String,
}

#[test]
fn run_answers_as_docker_does() {
    compare("run");
}

#[test]
fn the_life_of_a_container_answers_as_docker_does() {
    compare("lifecycle");
}

#[test]
fn images_answer_as_docker_does() {
    compare("images");
}

#[test]
fn every_recorded_case_is_compared() {
    let mut names: Vec<_> = std::fs::read_dir(golden().join("cases"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["images.case", "lifecycle.case", "run.case"]);
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn compare(case: &str) {
    let docker = answers(&std::fs::read_to_string(golden().join(format!("recorded/{case}.txt"))).unwrap());
    let wharf = answers(&play(case));
    assert_eq!(docker.len(), wharf.len(), "both transcripts have every command");
    let mut differences = Vec::new();
    for (docker, wharf) in docker.iter().zip(&wharf) {
        let text_differs = TEXT_DIFFERS.iter().any(|(command, _)| *command == docker.command);
        if REFUSED.iter().any(|(command, _)| *command == docker.command) {
            assert!(wharf.stderr.contains("not supported yet"), "{}", shown(wharf));
            continue;
        }
        if docker.code != wharf.code || (!text_differs && docker != wharf) {
            differences.push(format!("docker: {}\nwharf:  {}", shown(docker), shown(wharf)));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ\n\n{}",
        differences.len(),
        docker.len(),
        differences.join("\n\n")
    );
}

fn shown(answer: &Answer) -> String {
    format!(
        "$ {}\n{}[stderr]\n{}[exit {}]",
        answer.command, answer.stdout, answer.stderr, answer.code
    )
}

/// Plays a case in a network and a mount namespace of its own, on a store that is removed with it.
fn play(case: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        set -e
        ip link set lo up
        mkdir -p "$WORK/root/bin" "$WORK/root/etc" "$WORK/root/tmp"
        cp "$(command -v busybox)" "$WORK/root/bin/busybox"
        for applet in $(busybox --list); do ln -s busybox "$WORK/root/bin/$applet" 2>/dev/null || true; done
        printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$WORK/root/etc/passwd"
        printf 'root:x:0:\nnogroup:x:65534:\n' >"$WORK/root/etc/group"
        tar -C "$WORK/root" --owner=0 --group=0 -c . >"$WORK/busybox.tar"
        trap '"$DOCKER_PROGRAM" ps -aq | xargs -r "$DOCKER_PROGRAM" rm -f >&2' EXIT
        "$DOCKER_PROGRAM" import -c 'CMD ["sh"]' "$WORK/busybox.tar" busybox:latest >&2
        bash "$GOLDEN/play.sh" "$GOLDEN/cases/$CASE.case"
    "#;
    let output = Command::new("unshare")
        .args(["-n", "-m", "bash", "-c", script])
        .env("WORK", dir.path())
        .env("GOLDEN", golden())
        .env("CASE", case)
        .env("DOCKER_PROGRAM", programs::wharf())
        .env("WHARF_RUNTIME", programs::runtime())
        .env("WHARF_ROOT", dir.path().join("store"))
        .env("WHARF_RUN", dir.path().join("run"))
        .env("DOCKER_CONFIG", dir.path().join("config"))
        .env("HOME", dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn answers(transcript: &str) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    let mut in_stderr = false;
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.to_owned();
            answers.push(Answer {
                command,
                stdout: String::new(),
                stderr: String::new(),
                code: String::new(),
            });
            in_stderr = false;
            continue;
        }
        let answer = answers.last_mut().unwrap();
        if line == "[stderr]" {
            in_stderr = true;
        } else if let Some(code) = line
            .strip_prefix("[exit ")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            answer.code = code.to_owned();
        } else {
            let text = if in_stderr {
                &mut answer.stderr
            } else {
                &mut answer.stdout
            };
            text.push_str(&filtered(line));
            text.push('\n');
        }
    }
    answers
}

/// Replaces what no two runs have in common: ids and digests, and the program's own name.
fn filtered(line: &str) -> String {
    let mut filtered = String::new();
    let mut word = String::new();
    for character in line.chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        let is_hex = word
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match (is_hex, word.len()) {
            (true, 64) => filtered.push_str("<id>"),
            (true, 12) => filtered.push_str("<short id>"),
            _ if word == "wharf" => filtered.push_str("docker"),
            _ => filtered.push_str(&word),
        }
        word.clear();
        filtered.push(character);
    }
    filtered.trim_end_matches('\n').to_owned()
}
