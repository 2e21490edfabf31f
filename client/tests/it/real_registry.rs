//! The client and the project's own registry, from the login to the last removal.

use std::io::Write;
use std::process::Stdio;

use crate::support::image::{noise, tar};
use crate::support::server::Server;
use crate::support::wharf::{Wharf, ran};

/// Makes an image of a tar stream under this name.
fn import(wharf: &Wharf, name: &str, archive: &[u8]) {
    let file = wharf.path("archive.tar");
    std::fs::write(&file, archive).unwrap();
    wharf.ok(&["import", "-c", "CMD [\"true\"]", file.to_str().unwrap(), name]);
}

fn log_in(wharf: &Wharf, server: &Server, password: &str) -> (Option<i32>, String) {
    let mut command = wharf.command(&["login", "-u", "admin", "--password-stdin", &server.host]);
    let mut login = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    login
        .stdin
        .take()
        .unwrap()
        .write_all(format!("{password}\n").as_bytes())
        .unwrap();
    let ran = ran(login.wait_with_output().unwrap());
    (ran.code, format!("{}{}", ran.stdout, ran.stderr))
}

#[test]
fn login_push_search_rmi_pull_and_logout() {
    let (wharf, server) = (Wharf::new(), Server::start());
    let name = format!("{}/team/app:1", server.host);
    import(&wharf, &name, &tar(&[("a", &noise(8, 200_000))]));
    let denied = wharf.fails(&["push", &name]);
    assert!(
        denied.contains("denied: requested access") && denied.contains("wharf login"),
        "{denied}"
    );

    let (code, said) = log_in(&wharf, &server, "wrong");
    assert_eq!(code, Some(1));
    assert!(
        said.contains("unauthorized: incorrect username or password"),
        "{said}"
    );
    let (code, said) = log_in(&wharf, &server, &server.password());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Login Succeeded"), "{said}");
    let config = std::fs::read_to_string(wharf.path("docker/config.json")).unwrap();
    assert!(
        config.contains("identitytoken") && !config.contains(&server.password()),
        "{config}"
    );

    let pushed = wharf.ok(&["push", &name]);
    assert!(
        pushed.contains(&format!(
            "The push refers to repository [{}/team/app]",
            server.host
        )),
        "{pushed}"
    );
    assert!(pushed.contains("1: digest: sha256:"), "{pushed}");
    assert!(
        wharf
            .run(&["push", &name])
            .stderr
            .contains("Layer already exists")
    );
    let other = format!("{}/other/app:2", server.host);
    wharf.ok(&["tag", &name, &other]);
    assert!(
        wharf
            .run(&["push", &other])
            .stderr
            .contains("Mounted from team/app")
    );

    let found = wharf.ok(&["search", "--format", "{{.Name}}", &format!("{}/app", server.host)]);
    assert!(found.lines().any(|line| line == "team/app"), "{found}");
    let id = wharf.ok(&["images", "-q", "--no-trunc", &name]);
    wharf.ok(&["rmi", &name, &other]);
    assert_eq!(wharf.kept(), Vec::<String>::new());
    assert!(
        wharf
            .ok(&["pull", &name])
            .contains("Status: Downloaded newer image")
    );
    assert_eq!(wharf.ok(&["images", "-q", "--no-trunc", &name]), id);

    wharf.ok(&["logout", &server.host]);
    let denied = wharf.fails(&["pull", &name]);
    assert!(denied.contains("pull access denied"), "{denied}");
}

#[test]
fn a_bare_name_is_the_default_registrys_and_shown_as_typed() {
    let (wharf, server) = (Wharf::new(), Server::start());
    let full = format!("{}/app:latest", server.host);
    import(&wharf, &full, &tar(&[("a", b"hello")]));
    assert_eq!(log_in(&wharf, &server, &server.password()).0, Some(0));
    wharf.ok(&["push", &full]);
    wharf.ok(&["rmi", &full]);
    let mut pull = wharf.command(&["pull", "app"]);
    let pulled = ran(pull.env("WHARF_DEFAULT_REGISTRY", &server.host).output().unwrap());
    assert_eq!(pulled.code, Some(0), "{}", pulled.stderr);
    assert!(
        pulled
            .stdout
            .contains("Status: Downloaded newer image for app:latest"),
        "{}",
        pulled.stdout
    );
    assert!(pulled.stdout.ends_with(&format!("{full}\n")), "{}", pulled.stdout);
    let mut images = wharf.command(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let images = ran(images
        .env("WHARF_DEFAULT_REGISTRY", &server.host)
        .output()
        .unwrap());
    assert_eq!(images.stdout, "app:latest\n");
}
