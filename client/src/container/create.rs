//! Making a container of an image and a user's wishes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wharf_protocol::digest::Digest;

use super::{
    Containers, Durability, Id, Lock, State, Status, is_valid_name, made_up_name, spec,
    state::{Host, Image, NetworkMode, Process, VERSION},
};
use crate::{
    error::{Error, Kind, Result},
    image::config::{ImageConfig, RunConfig},
    network::PublishRequest,
};

/// How often another name is made up before it is given up.
const NAME_ATTEMPTS: u32 = 32;

/// The image that a container is made from.
#[derive(Debug, Clone)]
pub struct Source {
    /// As it was typed.
    pub reference: String,
    /// The digest of its configuration.
    pub id: Digest,
    /// Its topmost layer.
    pub top: Option<Digest>,
    /// Its configuration.
    pub config: ImageConfig,
}

/// What the user wishes; what is `None` or empty is the image's.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// The name; one is made up without.
    pub name: Option<String>,
    /// Replaces the image's entry point, and its command; an empty text removes it.
    pub entrypoint: Option<String>,
    /// Replaces the image's command.
    pub command: Vec<String>,
    /// `NAME=value`; a `NAME` alone takes the image's away.
    pub env: Vec<String>,
    /// The working folder.
    pub working_dir: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The host's name.
    pub hostname: Option<String>,
    /// Labels, above the image's.
    pub labels: BTreeMap<String, String>,
    /// It has a terminal.
    pub terminal: bool,
    /// Its standard input is held open.
    pub interactive: bool,
    /// Its output goes to the one who starts it.
    pub attached: bool,
    /// The signal that asks it to end.
    pub stop_signal: Option<String>,
    /// How long it may take to end, in seconds.
    pub stop_timeout_s: Option<u64>,
    /// Publish every port that the image says it listens on.
    pub publish_all: bool,
    /// How it is held.
    pub host: Host,
}

/// Makes a container. It is locked until the lock is dropped, or handed to the shim.
///
/// # Errors
/// [`Kind::Conflict`] for a name that is taken, [`Kind::BadArguments`] for one that cannot be,
/// [`Kind::CannotStart`] for an image without a command where none is given.
pub fn create(
    containers: &Containers<'_>,
    source: &Source,
    wishes: Wishes,
    now: Timestamp,
) -> Result<(State, Lock)> {
    if let Some(name) = wishes.name.as_ref().filter(|name| !is_valid_name(name)) {
        return Err(Error::engine(
            Kind::BadArguments,
            format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ));
    }
    let given_name = wishes.name.clone();
    let mut state = plan(source, wishes, Id::random(), now)?;
    let durability = if state.host.auto_remove {
        Durability::ThisBoot
    } else {
        Durability::Synced
    };
    let mut attempt = 0;
    loop {
        state.name = given_name.clone().unwrap_or_else(|| made_up_name(attempt));
        match containers.create(&state, source.top.as_ref(), &source.id, durability) {
            Err(error)
                if error.kind() == Kind::Conflict && given_name.is_none() && attempt < NAME_ATTEMPTS =>
            {
                attempt += 1;
            }
            created => return created.map(|lock| (state, lock)),
        }
    }
}

/// What the container will be: pure.
fn plan(source: &Source, wishes: Wishes, id: Id, now: Timestamp) -> Result<State> {
    let image = &source.config.config;
    let (entrypoint, command) = program(image, &wishes)?;
    let mut env = image.env.clone();
    for variable in &wishes.env {
        if variable.contains('=') {
            spec::set_variable(&mut env, variable);
        } else {
            env.retain(|other| other.split('=').next() != Some(variable));
        }
    }
    let mut labels = image.labels.clone();
    labels.extend(wishes.labels);
    let mut host = wishes.host;
    if host.network == NetworkMode::Bridge {
        publish_exposed(&mut host, image, wishes.publish_all);
    } else {
        host.publish.clear();
    }
    let hostname = match (wishes.hostname, host.network) {
        (Some(name), _) => name,
        (None, NetworkMode::Host) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        (None, _) => id.short().to_owned(),
    };
    let working_dir = wishes.working_dir.unwrap_or_else(|| image.working_dir.clone());
    if !working_dir.is_empty() && !working_dir.starts_with('/') {
        return Err(Error::engine(
            Kind::BadArguments,
            format!("the working directory '{working_dir}' is invalid, it needs to be an absolute path"),
        ));
    }
    let process = Process {
        entrypoint,
        command,
        env,
        working_dir,
        user: wishes.user.unwrap_or_else(|| image.user.clone()),
        hostname,
        labels,
        terminal: wishes.terminal,
        interactive: wishes.interactive,
        attached: wishes.attached,
        stop_signal: wishes.stop_signal.unwrap_or_else(|| image.stop_signal.clone()),
        stop_timeout_s: wishes.stop_timeout_s.or(image.stop_timeout.map(u64::from)),
    };
    let image = Image {
        reference: source.reference.clone(),
        id: source.id.to_string(),
        exposed_ports: image.exposed_ports.keys().cloned().collect(),
    };
    let status = Status::Created { failure: None };
    Ok(State {
        version: VERSION,
        id,
        name: String::new(),
        created: now,
        image,
        process,
        host,
        status,
    })
}

/// Entry point and command: the user's entry point takes the image's command away.
fn program(image: &RunConfig, wishes: &Wishes) -> Result<(Vec<String>, Vec<String>)> {
    let image_command = image.cmd.clone().unwrap_or_default();
    let (entrypoint, command) = match &wishes.entrypoint {
        Some(text) => {
            let entrypoint = if text.is_empty() {
                Vec::new()
            } else {
                vec![text.clone()]
            };
            (entrypoint, wishes.command.clone())
        }
        None => {
            let command = if wishes.command.is_empty() {
                image_command
            } else {
                wishes.command.clone()
            };
            (image.entrypoint.clone().unwrap_or_default(), command)
        }
    };
    if entrypoint.is_empty() && command.is_empty() {
        return Err(Error::engine(Kind::CannotStart, "no command specified"));
    }
    Ok((entrypoint, command))
}

/// Adds a request for every TCP port that the image says it listens on and that is not published.
fn publish_exposed(host: &mut Host, image: &RunConfig, all: bool) {
    let exposed = image.exposed_ports.keys().filter(|_| all).filter_map(|port| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        number.parse().ok().filter(|_| protocol == "tcp")
    });
    for container_port in exposed {
        if host
            .publish
            .iter()
            .all(|request| request.container_port != container_port)
        {
            host.publish.push(PublishRequest {
                container_port,
                host_ip: None,
                host_port: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_protocol::digest::Algorithm;

    use super::*;

    fn image(entrypoint: Option<&[&str]>, cmd: Option<&[&str]>) -> Source {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut config = ImageConfig::default();
        config.config.entrypoint = entrypoint.map(list);
        config.config.cmd = cmd.map(list);
        config.config.env = vec!["PATH=/bin".to_owned(), "A=image".to_owned()];
        config.config.exposed_ports = ["80/tcp", "53/udp"]
            .map(|port| (port.to_owned(), serde_json::json!({})))
            .into();
        Source {
            reference: "busybox".to_owned(),
            id: Digest::of(Algorithm::Sha256, b""),
            top: None,
            config,
        }
    }

    fn planned(source: &Source, wishes: Wishes) -> State {
        plan(source, wishes, Id::random(), Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn an_entry_point_of_the_user_takes_the_image_s_command_away() {
        let source = image(Some(&["/entry"]), Some(&["serve"]));
        assert_eq!(
            planned(&source, Wishes::default()).process.arguments(),
            ["/entry", "serve"]
        );
        let wishes = Wishes {
            command: vec!["x".to_owned()],
            ..Wishes::default()
        };
        assert_eq!(
            planned(&source, wishes.clone()).process.arguments(),
            ["/entry", "x"]
        );
        let wishes = Wishes {
            entrypoint: Some("sh".to_owned()),
            ..wishes
        };
        assert_eq!(planned(&source, wishes.clone()).process.arguments(), ["sh", "x"]);
        let wishes = Wishes {
            entrypoint: Some(String::new()),
            ..wishes
        };
        assert_eq!(planned(&source, wishes).process.arguments(), ["x"]);
        let none = plan(
            &image(None, None),
            Wishes::default(),
            Id::random(),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(none.unwrap_err().kind(), Kind::CannotStart);
    }

    #[test]
    fn variables_of_the_user_replace_and_remove_the_image_s() {
        let wishes = Wishes {
            env: vec!["B=1".to_owned(), "A=user".to_owned(), "PATH".to_owned()],
            ..Wishes::default()
        };
        assert_eq!(
            planned(&image(None, Some(&["x"])), wishes).process.env,
            ["A=user", "B=1"]
        );
    }

    #[test]
    fn publishing_all_leaves_out_what_is_published_and_what_is_not_tcp() {
        let wishes = Wishes {
            publish_all: true,
            ..Wishes::default()
        };
        let state = planned(&image(None, Some(&["x"])), wishes);
        assert_eq!(
            state.host.publish,
            [PublishRequest {
                container_port: 80,
                host_ip: None,
                host_port: None
            }]
        );
        assert_eq!(state.process.hostname, state.id.short());
    }
}
