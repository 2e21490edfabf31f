//! Images in a store: pulled once, shared, listed, removed; two at once; a full disk.

use crate::support::image::{noise, of_layers, tar};
use crate::support::registry::Registry;
use crate::support::wharf::{Wharf, ran};

#[test]
fn a_second_pull_asks_for_the_manifest_alone() {
    let registry = Registry::holding(vec![("latest", of_layers(&[tar(&[("a", b"hello")])]))]);
    let (wharf, name) = (Wharf::new(), format!("{}/app", registry.host));
    assert!(
        wharf
            .ok(&["pull", &name])
            .contains(&format!("Status: Downloaded newer image for {name}:latest"))
    );
    let before = registry.asked().len();
    assert!(
        wharf
            .ok(&["pull", &name])
            .contains(&format!("Status: Image is up to date for {name}:latest"))
    );
    let asked: Vec<String> = registry.asked()[before..]
        .iter()
        .map(|request| request.method.clone())
        .collect();
    assert_eq!(asked, ["HEAD"]);
}

#[test]
fn images_share_layers_and_a_removal_leaves_what_others_use() {
    let base = tar(&[("base", b"hello")]);
    let registry = Registry::holding(vec![
        ("one", of_layers(&[base.clone(), tar(&[("one", b"1")])])),
        ("two", of_layers(&[base, tar(&[("two", b"2")])])),
    ]);
    let wharf = Wharf::new();
    let name = |tag: &str| format!("{}/app:{tag}", registry.host);
    wharf.ok(&["pull", &name("one")]);
    let second = wharf.run(&["pull", &name("two")]);
    assert!(second.stderr.contains("Already exists"), "{}", second.stderr);
    let layers = |wharf: &Wharf| {
        wharf
            .kept()
            .iter()
            .filter(|kept| kept.starts_with("layers"))
            .count()
    };
    assert_eq!(layers(&wharf), 3);
    wharf.ok(&["rmi", &name("one")]);
    assert_eq!(layers(&wharf), 2);
    wharf.ok(&["rmi", &name("two")]);
    assert_eq!(wharf.kept(), Vec::<String>::new());
}

#[test]
fn two_pulls_of_one_layer_at_once_both_succeed_and_fetch_it_once() {
    let image = of_layers(&[tar(&[("a", &noise(5, 3_000_000))])]);
    let registry = Registry::holding(vec![("one", image.clone()), ("two", image.clone())]);
    let wharf = Wharf::new();
    let start = |tag: &str| {
        let mut command = wharf.command(&["pull", &format!("{}/app:{tag}", registry.host)]);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let both = [start("one"), start("two")];
    for pull in both {
        let ran = ran(pull.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    let fetched = registry
        .asked()
        .iter()
        .filter(|request| request.target.contains(&image.layers[0]))
        .count();
    assert_eq!(fetched, 1);
    assert_eq!(wharf.ok(&["images", "-q"]).lines().count(), 2);
}

#[test]
fn a_full_disk_in_mid_pull_is_said_and_heals() {
    let image = of_layers(&[tar(&[("a", &noise(6, 4_000_000))])]);
    let registry = Registry::holding(vec![("latest", image)]);
    let wharf = Wharf::new();
    let script = r#"
        set -e
        mkdir -p "$WHARF_ROOT"
        mount -t tmpfs -o size=3m tmpfs "$WHARF_ROOT"
        "$WHARF" pull "$NAME" >/dev/null 2>"$ERRORS" && exit 9
        "$WHARF" images -q
        mount -o remount,size=64m "$WHARF_ROOT"
        "$WHARF" pull -q "$NAME"
        "$WHARF" images --format '{{.Repository}}'
    "#;
    let mut command = wharf.program("unshare");
    command
        .args(["-m", "bash", "-c", script])
        .env("WHARF", env!("CARGO_BIN_EXE_wharf"))
        .env("NAME", format!("{}/app", registry.host))
        .env("ERRORS", wharf.path("errors"));
    let ran = ran(command.output().unwrap());
    let errors = std::fs::read_to_string(wharf.path("errors")).unwrap();
    assert_eq!(ran.code, Some(0), "{}{errors}", ran.stderr);
    assert!(
        errors.contains("No space left") && errors.contains("Free some space"),
        "{errors}"
    );
    assert_eq!(ran.stdout, format!("{0}/app:latest\n{0}/app\n", registry.host));
}

#[test]
fn what_is_saved_is_loaded_with_the_same_digests() {
    let registry = Registry::holding(vec![(
        "latest",
        of_layers(&[tar(&[("a", b"hello")]), tar(&[("b", b"there")])]),
    )]);
    let (wharf, other) = (Wharf::new(), Wharf::new());
    let name = format!("{}/app:latest", registry.host);
    wharf.ok(&["pull", &name]);
    let archive = wharf.path("archive.tar");
    wharf.ok(&["save", "-o", archive.to_str().unwrap(), &name]);
    assert_eq!(
        other.ok(&["load", "-i", archive.to_str().unwrap()]),
        format!("Loaded image: {name}\n")
    );
    assert_eq!(
        wharf.ok(&["images", "-q", "--no-trunc"]),
        other.ok(&["images", "-q", "--no-trunc"])
    );
    let blobs = |wharf: &Wharf| -> Vec<String> {
        wharf
            .kept()
            .into_iter()
            .filter(|kept| kept.starts_with("content") || kept.starts_with("layers"))
            .collect()
    };
    assert_eq!(blobs(&wharf), blobs(&other));
}

#[test]
fn a_store_of_a_newer_wharf_and_an_unwritable_folder_are_named() {
    let wharf = Wharf::new();
    wharf.ok(&["images"]);
    std::fs::write(wharf.path("root/store-version"), "99\n").unwrap();
    let error = wharf.fails(&["images"]);
    assert!(error.contains("layout 99"), "{error}");
    let mut command = wharf.command(&["images"]);
    let ran = ran(command.env("WHARF_ROOT", "/proc/nowhere").output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("/proc/nowhere") && ran.stderr.contains("WHARF_ROOT"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let wharf = Wharf::new();
    let mut command = wharf.program("bash");
    command
        .args(["-c", "set -o pipefail; \"$WHARF\" --help | true"])
        .env("WHARF", env!("CARGO_BIN_EXE_wharf"));
    let ran = ran(command.output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_damaged_store_lists_and_a_pull_heals_it() {
    let registry = Registry::holding(vec![("latest", of_layers(&[tar(&[("a", b"hello")])]))]);
    let (wharf, name) = (Wharf::new(), format!("{}/app", registry.host));
    wharf.ok(&["pull", &name]);
    for kept in wharf.kept() {
        let path = wharf.path("root").join(&kept);
        if kept.starts_with("layers") {
            std::fs::write(path.join("layer.json"), "{").unwrap();
        } else if kept.starts_with("images") || kept.starts_with("references") {
            std::fs::write(path, "{").unwrap();
        }
    }
    assert_eq!(wharf.ok(&["images", "-q"]), "");
    wharf.ok(&["pull", &name]);
    wharf.ok(&["inspect", &name]);
    wharf.ok(&["rmi", &name]);
    assert_eq!(wharf.kept(), Vec::<String>::new());
}
