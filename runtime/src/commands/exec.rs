//! `exec`: another program in a running container.

use std::borrow::Cow;

use crate::{
    cli::ExecOptions,
    console,
    error::{Doing, Error},
    lifecycle::Store,
    log::{Level, Log},
    plan::{compile_seccomp, from_process},
    process::{self, Joining},
    spec::{
        Process, Spec, Text,
        process::{Capabilities, User},
    },
    state::Status,
};

/// Runs the program; in the foreground the answer is its exit code.
pub(super) fn exec(store: &Store, log: &mut Log, options: &ExecOptions) -> Result<u8, Error> {
    let folder = store.find(&options.id)?;
    let record = folder.load()?;
    match folder.status(&record) {
        Status::Running | Status::Created => {}
        Status::Paused if options.ignore_paused => {}
        Status::Paused => return Err(Error::State("cannot exec in a paused container".to_owned())),
        Status::Stopped => {
            return Err(Error::State(
                "cannot exec a container that has stopped: container not running".to_owned(),
            ));
        }
        Status::Creating => {
            return Err(Error::State(
                "container not running: it is being created".to_owned(),
            ));
        }
    }
    let config = folder.config()?;
    let spec = super::create::parse(&config)?;
    let file = match &options.process {
        Some(path) => {
            Some(std::fs::read_to_string(path).doing(|| format!("--process: read {}", path.display()))?)
        }
        None => None,
    };
    let asked = asked(options, &spec, file.as_deref())?;
    let mut warnings = Vec::new();
    let mut plan = from_process("process", &asked, &mut warnings)?;
    if !options.detach && plan.terminal && plan.console_size.is_none() {
        plan.console_size = console::own_size();
    }
    warnings
        .iter()
        .for_each(|warning| log.write(Level::Warning, warning));
    let of_container = spec
        .process
        .as_ref()
        .and_then(|process| process.capabilities.as_ref());
    let of_container =
        of_container.map(|sets| crate::capabilities::parse("process.capabilities", sets, &mut Vec::new()));
    let linux = spec.linux.as_ref();
    let seccomp = linux.map(compile_seccomp).transpose()?.flatten();
    let caught = process::catch_signals()?;
    let started = process::join(&Joining {
        record: &record,
        console_socket: options.console_socket.as_deref(),
        no_new_keyring: false,
        foreground: !options.detach,
        capabilities: plan.capabilities.or(of_container).unwrap_or_default(),
        process: &plan,
        seccomp: seccomp.as_ref(),
        preserved: options.preserve_fds,
    })?;
    if let Some(path) = &options.pid_file
        && let Err(error) = super::write_pid_file(path, started.pid)
    {
        let _ = crate::sys::pidfd_send_signal(&started.pidfd, libc::SIGKILL);
        let _ = process::exit_code(&started.pidfd);
        return Err(error);
    }
    if options.detach {
        Ok(0)
    } else {
        process::wait(&caught, &started)
    }
}

/// The process that is asked for: of the file, or the container's own with what the options change.
fn asked<'a>(
    options: &'a ExecOptions,
    spec: &'a Spec<'a>,
    file: Option<&'a str>,
) -> Result<Process<'a>, Error> {
    let mut process: Process<'a> = match file {
        Some(text) => serde_json::from_str(text).map_err(|error| Error::Malformed {
            what: "--process".to_owned(),
            why: error.to_string(),
        })?,
        None if options.arguments.is_empty() => {
            return Err(Error::Usage(
                "exec: a program is missing, and so is --process".to_owned(),
            ));
        }
        None => of_container(spec),
    };
    if file.is_none() {
        process.args = options
            .arguments
            .iter()
            .map(|argument| borrowed(argument))
            .collect();
        process.terminal = false;
    }
    process.terminal |= options.tty;
    process
        .env
        .extend(options.env.iter().map(|variable| borrowed(variable)));
    if let Some(cwd) = &options.cwd {
        process.cwd = borrowed(cwd);
    }
    if let Some(user) = &options.user {
        process.user = parse_user(user)?;
    }
    process.user.additional_gids.extend(&options.additional_gids);
    process.no_new_privileges |= options.no_new_privileges;
    if !options.capabilities.is_empty() {
        let sets = process.capabilities.get_or_insert_default();
        for capability in &options.capabilities {
            for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
                set.push(borrowed(capability));
            }
        }
    }
    Ok(process)
}

fn borrowed(text: &str) -> Text<'_> {
    Text(Cow::Borrowed(text))
}

/// The container's own process, as far as another one in it takes after it.
fn of_container<'a>(spec: &'a Spec<'a>) -> Process<'a> {
    let Some(own) = &spec.process else {
        return Process::default();
    };
    let all = |list: &'a [Text<'a>]| list.iter().map(|text| borrowed(text)).collect::<Vec<_>>();
    Process {
        cwd: borrowed(&own.cwd),
        env: all(&own.env),
        user: own.user.clone(),
        capabilities: own.capabilities.as_ref().map(|sets| Capabilities {
            bounding: all(&sets.bounding),
            effective: all(&sets.effective),
            inheritable: all(&sets.inheritable),
            permitted: all(&sets.permitted),
            ambient: all(&sets.ambient),
        }),
        no_new_privileges: own.no_new_privileges,
        oom_score_adj: own.oom_score_adj,
        ..Process::default()
    }
}

/// `uid` or `uid:gid`; a group that is not named is group 0, as for the container itself.
fn parse_user(text: &str) -> Result<User, Error> {
    let wrong = || Error::Usage(format!("--user: {text:?} is neither UID nor UID:GID"));
    let number = |part: &str| {
        // No sign, no space, and not the number that means "nobody at all".
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u32>()
            .ok()
            .filter(|id| digits && *id != u32::MAX)
            .ok_or_else(wrong)
    };
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (number(uid)?, number(gid)?),
        None => (number(text)?, 0),
    };
    Ok(User {
        uid,
        gid,
        umask: None,
        additional_gids: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::parse_user;

    #[test]
    fn cve_2026_30892_every_form_of_a_user_is_that_user_or_refused() {
        for (text, ids) in [
            ("0", (0, 0)),
            ("5", (5, 0)),
            ("5:6", (5, 6)),
            ("4294967294:1", (4_294_967_294, 1)),
        ] {
            let user = parse_user(text).unwrap();
            assert_eq!((user.uid, user.gid), ids, "{text}");
        }
        for text in [
            "",
            ":",
            "5:",
            ":6",
            "-1",
            "+5",
            "5:-1",
            "4294967295",
            "4294967296",
            "web",
            "5:6:7",
            "5 ",
        ] {
            assert!(parse_user(text).is_err(), "{text:?}");
        }
    }
}
