//! The steps of the walk, in order. Pure but for where the roots are.

use std::path::Path;

use anyhow::Result;

use crate::roots;

/// One line that a user types.
pub(super) struct Step {
    /// What this and the following lines are for.
    pub(super) why: Option<&'static str>,
    pub(super) line: String,
    /// What must stand in what it prints.
    pub(super) prints: Vec<&'static str>,
}

/// Folders of the walk's own in place of the machine's.
pub(super) const VARIABLES: [(&str, &str); 3] = [
    ("WHARF_ROOT", "wharf"),
    ("WHARF_RUN", "run"),
    ("DOCKER_CONFIG", "docker"),
];

/// How the registry is started.
pub(super) const SERVE: &str =
    "wharf-registry serve --listen 127.0.0.1:5000 --data-dir registry 2>registry.log &";

/// What stands behind the command in [`SERVE`] and is the shell's.
pub(super) const BEHIND: &str = " 2>registry.log &";

/// The line that sets [`VARIABLES`].
pub(super) fn exports() -> String {
    let words = VARIABLES.map(|(name, folder)| format!("{name}=$PWD/{folder}"));
    format!("export {}", words.join(" "))
}

fn step(line: impl Into<String>, prints: &[&'static str]) -> Step {
    Step {
        why: None,
        line: line.into(),
        prints: prints.to_vec(),
    }
}

fn first(why: &'static str, line: impl Into<String>, prints: &[&'static str]) -> Step {
    Step {
        why: Some(why),
        ..step(line, prints)
    }
}

/// All steps, from a user of one's own to the logout.
pub(super) fn all(cache: &Path) -> Result<Vec<Step>> {
    let mut steps = users();
    steps.extend(images(
        &roots::NGINX.tarball(cache)?,
        &roots::PYTHON.tarball(cache)?,
    ));
    steps.extend(there_and_back());
    steps.extend(containers());
    steps.extend(the_end());
    Ok(steps)
}

fn users() -> Vec<Step> {
    vec![
        first(
            "a user of one's own",
            "echo 'a long pass phrase' | wharf-registry user add ada --password-stdin --data-dir registry",
            &[],
        ),
        step(
            "echo 'a long pass phrase' | wharf login -u ada --password-stdin localhost:5000",
            &["Login Succeeded"],
        ),
    ]
}

fn images(nginx: &Path, python: &Path) -> Vec<Step> {
    vec![
        first(
            "images of real programs",
            "mkdir -p busybox/bin busybox/etc && cp /bin/busybox busybox/bin/ \
             && for applet in sh echo ls cat; do ln -s busybox busybox/bin/$applet; done",
            &[],
        ),
        step(
            "tar -C busybox -c . | wharf import --change 'CMD [\"sh\"]' - localhost:5000/ada/busybox",
            &["sha256:"],
        ),
        step(
            format!(
                "wharf import --change 'CMD [\"nginx\", \"-g\", \"daemon off;\"]' --change 'EXPOSE 80' {} \
                 localhost:5000/ada/nginx",
                nginx.display()
            ),
            &["sha256:"],
        ),
        step(
            format!(
                "wharf import --change 'CMD [\"python3\", \"-m\", \"http.server\", \"8000\"]' {} \
                 localhost:5000/ada/python",
                python.display()
            ),
            &["sha256:"],
        ),
        step(
            "wharf images",
            &["localhost:5000/ada/busybox", "localhost:5000/ada/nginx"],
        ),
    ]
}

fn there_and_back() -> Vec<Step> {
    vec![
        first(
            "push",
            "wharf push localhost:5000/ada/busybox",
            &["digest: sha256:"],
        ),
        step("wharf push localhost:5000/ada/nginx", &["digest: sha256:"]),
        step("wharf push localhost:5000/ada/python", &["digest: sha256:"]),
        first(
            "search",
            "wharf search localhost:5000/nginx",
            &["NAME", "ada/nginx"],
        ),
        first(
            "remove locally",
            "wharf rmi $(wharf images -q)",
            &["Deleted: sha256:"],
        ),
        step("wharf images", &["REPOSITORY"]),
        first(
            "pull",
            "wharf pull localhost:5000/ada/busybox",
            &[
                "Using default tag: latest",
                "Downloaded newer image for localhost:5000/ada/busybox:latest",
            ],
        ),
    ]
}

fn containers() -> Vec<Step> {
    vec![
        first(
            "run",
            "wharf run --rm localhost:5000/ada/busybox echo \"hello from busybox\"",
            &["hello from busybox"],
        ),
        first(
            "a page from a container, on a published port",
            "wharf run -d --name web -p 8080:80 localhost:5000/ada/nginx",
            &["Unable to find image 'localhost:5000/ada/nginx:latest' locally"],
        ),
        step(format!("{CURL} http://127.0.0.1:8080/"), &["Welcome to nginx!"]),
        first(
            "a server on the host's network",
            "wharf run -d --name files --network host -w /usr/share/python3 localhost:5000/ada/python",
            &[],
        ),
        step(
            format!("{CURL} http://127.0.0.1:8000/"),
            &["Directory listing for /"],
        ),
        step("wharf ps", &["CONTAINER ID", "0.0.0.0:8080->80/tcp", "files"]),
        step("wharf exec web nginx -v", &["nginx version:"]),
        step("wharf logs files", &["GET / HTTP/1.1"]),
    ]
}

fn the_end() -> Vec<Step> {
    vec![
        first("stop and remove", "wharf stop -t 1 web files", &["web", "files"]),
        step("wharf rm web files", &["web", "files"]),
        step("wharf ps -a", &["CONTAINER ID"]),
        step("wharf logout localhost:5000", &["localhost:5000"]),
    ]
}

/// Asks until the server inside has begun to listen.
const CURL: &str = "curl -sS --fail --retry 30 --retry-delay 1 --retry-all-errors";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_names_each_thing_that_a_newcomer_wants() {
        let roots = (Path::new("/c/nginx.tar"), Path::new("/c/python.tar"));
        let lines: Vec<String> = [
            users(),
            images(roots.0, roots.1),
            there_and_back(),
            containers(),
            the_end(),
        ]
        .into_iter()
        .flatten()
        .map(|step| step.line)
        .collect();
        for verb in [
            "login", "import", "push", "search", "rmi", "pull", "run", "ps", "logs", "stop", "logout",
        ] {
            assert!(
                lines.iter().any(|line| line.contains(&format!("wharf {verb} "))
                    || line.ends_with(&format!("wharf {verb}"))),
                "{verb}"
            );
        }
    }

    #[test]
    fn the_variables_are_shown_as_they_are_set() {
        assert_eq!(
            exports(),
            "export WHARF_ROOT=$PWD/wharf WHARF_RUN=$PWD/run DOCKER_CONFIG=$PWD/docker"
        );
        assert!(SERVE.ends_with(BEHIND));
    }
}
