//! Docker's words for each command: how its arguments are written, how many there are, its names.

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// Exactly so many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// So many or more; from the first one on, nothing is a flag of ours.
    Program(usize),
}

/// The words of one command.
#[derive(Debug)]
pub(crate) struct Words {
    /// The paths that lead to it.
    pub(crate) paths: &'static [&'static str],
    /// What follows the path in `Usage:`.
    pub(crate) usage: &'static str,
    /// How many arguments it takes.
    pub(crate) arguments: Arguments,
    /// What it does.
    pub(crate) about: &'static str,
    /// What it does in the list of commands, where that is shorter.
    pub(crate) short: &'static str,
    /// The line under `Aliases:`, or nothing.
    pub(crate) aliases: &'static str,
}

use Arguments::{AtLeast, AtMost, Exactly, Program};

/// The commands that stand first in `wharf --help`, in this order.
pub(crate) const COMMON: &[&str] = &[
    "run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info",
];

/// The groups of commands and what they are for.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("image", "Manage images"),
    ("container", "Manage containers"),
    ("system", "Manage Docker"),
];

const fn row(
    paths: &'static [&'static str],
    usage: &'static str,
    arguments: Arguments,
    about: &'static str,
    aliases: &'static str,
) -> Words {
    Words {
        paths,
        usage,
        arguments,
        about,
        short: about,
        aliases,
    }
}

const ALL: &[Words] = &[
    row(
        &["import", "image import"],
        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        AtLeast(1),
        "Import the contents from a tarball to create a filesystem image",
        "wharf image import, wharf import",
    ),
    row(
        &["images", "image ls"],
        "[OPTIONS] [REPOSITORY[:TAG]]",
        AtMost(1),
        "List images",
        "wharf image ls, wharf image list, wharf images",
    ),
    row(
        &["info", "system info"],
        "[OPTIONS]",
        Exactly(0),
        "Display system-wide information",
        "wharf system info, wharf info",
    ),
    row(
        &["inspect"],
        "[OPTIONS] NAME|ID [NAME|ID...]",
        AtLeast(1),
        "Return low-level information on Docker objects",
        "",
    ),
    row(
        &["image inspect"],
        "[OPTIONS] IMAGE [IMAGE...]",
        AtLeast(1),
        "Display detailed information on one or more images",
        "",
    ),
    row(
        &["load", "image load"],
        "[OPTIONS]",
        Exactly(0),
        "Load an image from a tar archive or STDIN",
        "wharf image load, wharf load",
    ),
    Words {
        short: "Authenticate to a registry",
        ..row(
            &["login"],
            "[OPTIONS] [SERVER]",
            AtMost(1),
            "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
            "",
        )
    },
    Words {
        short: "Log out from a registry",
        ..row(
            &["logout"],
            "[SERVER]",
            AtMost(1),
            "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
            "",
        )
    },
    row(
        &["pull", "image pull"],
        "[OPTIONS] NAME[:TAG|@DIGEST]",
        Exactly(1),
        "Download an image from a registry",
        "wharf image pull, wharf pull",
    ),
    row(
        &["push", "image push"],
        "[OPTIONS] NAME[:TAG]",
        Exactly(1),
        "Upload an image to a registry",
        "wharf image push, wharf push",
    ),
    row(
        &["container inspect"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        AtLeast(1),
        "Display detailed information on one or more containers",
        "",
    ),
    row(
        &["rm", "container rm"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        AtLeast(1),
        "Remove one or more containers",
        "wharf container rm, wharf container remove, wharf rm",
    ),
    row(
        &["run", "container run"],
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        Program(1),
        "Create and run a new container from an image",
        "wharf container run, wharf run",
    ),
    row(
        &["create", "container create"],
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        Program(1),
        "Create a new container",
        "wharf container create, wharf create",
    ),
    row(
        &["stop", "container stop"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        AtLeast(1),
        "Stop one or more running containers",
        "wharf container stop, wharf stop",
    ),
    row(
        &["kill", "container kill"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        AtLeast(1),
        "Kill one or more running containers",
        "wharf container kill, wharf kill",
    ),
    row(
        &["ps", "container ls"],
        "[OPTIONS]",
        Exactly(0),
        "List containers",
        "wharf container ls, wharf container list, wharf container ps, wharf ps",
    ),
    row(
        &["logs", "container logs"],
        "[OPTIONS] CONTAINER",
        Exactly(1),
        "Fetch the logs of a container",
        "wharf container logs, wharf logs",
    ),
    row(
        &["attach", "container attach"],
        "[OPTIONS] CONTAINER",
        Exactly(1),
        "Attach local standard input, output, and error streams to a running container",
        "wharf container attach, wharf attach",
    ),
    row(
        &["start", "container start"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        AtLeast(1),
        "Start one or more stopped containers",
        "wharf container start, wharf start",
    ),
    row(
        &["wait", "container wait"],
        "CONTAINER [CONTAINER...]",
        AtLeast(1),
        "Block until one or more containers stop, then print their exit codes",
        "wharf container wait, wharf wait",
    ),
    row(
        &["port", "container port"],
        "CONTAINER [PRIVATE_PORT[/PROTO]]",
        AtLeast(1),
        "List port mappings or a specific mapping for the container",
        "wharf container port, wharf port",
    ),
    row(
        &["exec", "container exec"],
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        Program(2),
        "Execute a command in a running container",
        "wharf container exec, wharf exec",
    ),
    row(
        &["rmi", "image rm"],
        "[OPTIONS] IMAGE [IMAGE...]",
        AtLeast(1),
        "Remove one or more images",
        "wharf image rm, wharf image remove, wharf rmi",
    ),
    row(
        &["save", "image save"],
        "[OPTIONS] IMAGE [IMAGE...]",
        AtLeast(1),
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
        "wharf image save, wharf save",
    ),
    row(
        &["search"],
        "[OPTIONS] TERM",
        Exactly(1),
        "Search Docker Hub for images",
        "",
    ),
    row(
        &["tag", "image tag"],
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        Exactly(2),
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        "wharf image tag, wharf tag",
    ),
    row(
        &["version"],
        "[OPTIONS]",
        Exactly(0),
        "Show the Docker version information",
        "",
    ),
];

/// The row of a command, by its path (`pull`, `image pull`).
pub(crate) fn of(path: &str) -> Option<&'static Words> {
    ALL.iter().find(|words| words.paths.contains(&path))
}

/// Every row.
#[cfg(test)]
pub(crate) fn all() -> &'static [Words] {
    ALL
}

impl Arguments {
    /// What is wrong with this number of arguments, in docker's words, and how its help is announced.
    pub(crate) fn refuse(self, count: usize) -> Option<(String, &'static str)> {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        match self {
            Exactly(0) if count > 0 => Some(("accepts no arguments".to_owned(), "Run")),
            Exactly(n) if count != n => Some((format!("requires {n} {}", plural(n)), "Run")),
            // Docker 28.2's own slip of the pen, kept since its texts are compared with ours.
            AtMost(n) if count > n => Some((format!("requires at most {n} {}", plural(n)), "SRun")),
            AtLeast(n) | Self::Program(n) if count < n => {
                Some((format!("requires at least {n} {}", plural(n)), "See"))
            }
            _ => None,
        }
    }
}
