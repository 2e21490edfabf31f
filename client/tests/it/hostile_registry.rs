//! Registries that lie, steal, break off or are none: what is said then, and that nothing is lost or kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::image::{digest, gzip, noise, of_layers, of_layers_for, of_parts, tar};
use crate::support::registry::{Answer, Registry, hold, part_of};
use crate::support::wharf::Wharf;

fn unauthorized(challenge: String) -> Answer {
    Answer::new(
        401,
        r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
    )
    .header("WWW-Authenticate", challenge)
}

#[test]
fn cve_2020_15157_a_login_is_not_sent_to_a_foreign_realm() {
    let thief = Registry::start(|_| Answer::new(200, r#"{"token":"stolen"}"#));
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"x\"", thief.host);
    let registry = Registry::start(move |_| unauthorized(realm.clone()));
    let wharf = Wharf::new();
    wharf.log_in(&registry.host, "me", "secret");
    let error = wharf.fails(&["pull", &format!("{}/app", registry.host)]);
    assert!(error.contains("the login was not sent there"), "{error}");
    assert!(error.contains(&thief.host), "{error}");
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
}

#[test]
fn a_redirect_to_another_host_carries_no_login() {
    let image = of_layers(&[tar(&[("a", b"hello")])]);
    let honest = image.clone();
    let elsewhere = Registry::start(move |request| {
        let wanted = request.target.rsplit('/').next().unwrap();
        honest
            .blobs
            .get(wanted)
            .map_or_else(|| Answer::new(404, ""), |blob| part_of(blob, request))
    });
    let storage = elsewhere.host.clone();
    let registry = Registry::start(move |request| {
        if request.header("authorization").is_none() {
            return unauthorized("Basic realm=\"x\"".to_owned());
        }
        if request.target.contains("/blobs/") {
            return Answer::new(307, "").header("Location", format!("http://{storage}{}", request.target));
        }
        hold(&[("latest", image.clone())], request)
    });
    let wharf = Wharf::new();
    wharf.log_in(&registry.host, "me", "secret");
    wharf.ok(&["pull", &format!("{}/app", registry.host)]);
    assert!(!elsewhere.asked().is_empty());
    for request in elsewhere.asked() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
}

#[test]
fn a_web_page_is_said_to_be_one() {
    let page = "<html><body>Sign in to the hotel's network</body></html>";
    let registry =
        Registry::start(move |_| Answer::new(200, page).header("Content-Type", "text/html; charset=utf-8"));
    let error = Wharf::new().fails(&["pull", &format!("{}/app", registry.host)]);
    assert!(
        error.contains("web page") && error.contains("Check the host's name"),
        "{error}"
    );
}

#[test]
fn garbage_instead_of_a_manifest_is_named() {
    let registry = Registry::start(|_| Answer::new(200, vec![0xff; 100]));
    let error = Wharf::new().fails(&["pull", &format!("{}/app", registry.host)]);
    assert!(error.contains("did not answer as a registry does"), "{error}");
}

#[test]
fn cve_2021_41190_a_manifest_under_two_media_types_is_refused() {
    let image = of_layers(&[tar(&[("a", b"hello")])]);
    let registry = Registry::start(move |_| {
        Answer::new(200, image.manifest.clone()).header(
            "Content-Type",
            "application/vnd.docker.distribution.manifest.v2+json",
        )
    });
    let error = Wharf::new().fails(&["pull", &format!("{}/app", registry.host)]);
    assert!(error.contains("mediaType"), "{error}");
}

#[test]
fn cve_2024_3727_a_layer_with_another_digest_is_refused_and_nothing_of_it_kept() {
    let image = of_layers(&[tar(&[("a", &noise(1, 10_000))])]);
    let evil = gzip(&tar(&[("a", &noise(2, 10_000))]));
    let mut lying = image.clone();
    let mut swapped = evil;
    swapped.resize(image.blobs[&image.layers[0]].len(), 0);
    lying.blobs.insert(image.layers[0].clone(), swapped);
    let registry = Registry::holding(vec![("latest", lying)]);
    let wharf = Wharf::new();
    let error = wharf.fails(&["pull", &format!("{}/app", registry.host)]);
    assert!(error.contains(&image.layers[0]), "{error}");
    assert_eq!(wharf.ok(&["images", "-q"]), "");
    assert!(
        !wharf
            .kept()
            .iter()
            .any(|kept| kept.starts_with("layers") || kept.starts_with("images"))
    );
    // The honest registry's image is pulled into the same store as if nothing had been.
    let registry = Registry::holding(vec![("latest", image)]);
    wharf.ok(&["pull", &format!("{}/app", registry.host)]);
}

#[test]
fn a_layer_whose_diff_id_is_another_is_refused() {
    let image = of_parts(
        "amd64",
        &[gzip(&tar(&[("a", b"hello")]))],
        &[digest(b"something else")],
    );
    let registry = Registry::holding(vec![("latest", image)]);
    let wharf = Wharf::new();
    let error = wharf.fails(&["pull", &format!("{}/app", registry.host)]);
    assert!(error.contains("unpacks to the diff id"), "{error}");
    assert!(
        !wharf.kept().iter().any(|kept| kept.starts_with("layers")),
        "{:?}",
        wharf.kept()
    );
}

#[test]
fn a_damaged_layer_is_said_to_be_damaged() {
    let damaged = b"\x1f\x8b\x08\x00 this is no deflate stream at all".to_vec();
    let image = of_parts("amd64", &[damaged], &[digest(b"x")]);
    let registry = Registry::holding(vec![("latest", image)]);
    let wharf = Wharf::new();
    let error = wharf.fails(&["pull", &format!("{}/app", registry.host)]);
    assert!(error.contains("damaged"), "{error}");
    assert!(
        !wharf
            .kept()
            .iter()
            .any(|kept| kept.starts_with("layers") || kept.starts_with("snapshots"))
    );
}

#[test]
fn a_layer_that_leaves_the_root_is_refused_and_the_store_unchanged() {
    let wharf = Wharf::new();
    let good = of_layers(&[tar(&[("a", b"hello")])]);
    let registry = Registry::holding(vec![
        ("good", good),
        ("dots", of_layers(&[tar(&[("../../evil", b"x")])])),
    ]);
    wharf.ok(&["pull", &format!("{}/app:good", registry.host)]);
    let before = wharf.kept();
    let error = wharf.fails(&["pull", &format!("{}/app:dots", registry.host)]);
    assert!(error.contains("refused") && error.contains("evil"), "{error}");
    let new: Vec<String> = wharf
        .kept()
        .into_iter()
        .filter(|kept| !before.contains(kept))
        .collect();
    // Of the refused image there is at most its configuration, which nothing names and the next removal takes.
    assert!(
        new.iter().all(|kept| kept.starts_with("content/")) && new.len() <= 1,
        "{new:?}"
    );
}

#[test]
fn a_download_that_breaks_off_is_gone_on_with_by_range() {
    let image = of_layers(&[tar(&[("a", &noise(3, 300_000))])]);
    let cuts = Arc::new(AtomicUsize::new(0));
    let served = image.clone();
    let registry = Registry::start(move |request| {
        let mut answer = hold(&[("latest", served.clone())], request);
        if request.target.contains(&served.layers[0]) && cuts.fetch_add(1, Ordering::SeqCst) < 2 {
            answer.cut_after = Some(100_000);
        }
        answer
    });
    let wharf = Wharf::new();
    wharf.ok(&["pull", &format!("{}/app", registry.host)]);
    let ranges: Vec<Option<String>> = registry
        .asked()
        .iter()
        .filter(|request| request.target.contains(&image.layers[0]))
        .map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=100000-".to_owned()),
            Some("bytes=200000-".to_owned())
        ]
    );
}

#[test]
fn a_layer_that_never_arrives_whole_fails_and_the_next_pull_goes_on_where_it_stopped() {
    let image = of_layers(&[tar(&[("a", &noise(4, 300_000))])]);
    let stuck = image.clone();
    let registry = Registry::start(move |request| {
        let mut answer = hold(&[("latest", stuck.clone())], request);
        if request.target.contains(&stuck.layers[0]) {
            answer.cut_after = Some(if request.header("range").is_some() {
                0
            } else {
                120_000
            });
        }
        answer
    });
    let wharf = Wharf::new();
    let error = wharf.fails(&["pull", &format!("{}/app", registry.host)]);
    assert!(
        error.contains("broke off") && error.contains("what has arrived is kept"),
        "{error}"
    );
    let honest = Registry::holding(vec![("latest", image.clone())]);
    wharf.ok(&["pull", &format!("{}/app", honest.host)]);
    let asked = honest.asked();
    let layer = asked
        .iter()
        .find(|request| request.target.contains(&image.layers[0]))
        .unwrap();
    assert_eq!(layer.header("range"), Some("bytes=120000-"));
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says() {
    let image = of_layers(&[tar(&[("a", b"hello")])]);
    let busy = AtomicUsize::new(0);
    let registry = Registry::start(move |request| {
        if busy.fetch_add(1, Ordering::SeqCst) < 2 {
            return Answer::new(429, "").header("Retry-After", "0");
        }
        hold(&[("latest", image.clone())], request)
    });
    Wharf::new().ok(&["pull", &format!("{}/app", registry.host)]);
}

#[test]
fn an_image_for_another_machine_is_refused_with_the_way_out() {
    let other = if std::env::consts::ARCH == "x86_64" {
        "s390x"
    } else {
        "amd64"
    };
    let registry = Registry::holding(vec![("latest", of_layers_for(other, &[tar(&[("a", b"hello")])]))]);
    let wharf = Wharf::new();
    let name = format!("{}/app", registry.host);
    let error = wharf.fails(&["pull", &name]);
    let platform = format!("linux/{other}");
    assert!(error.contains(&format!("--platform {platform}")), "{error}");
    wharf.ok(&["pull", "--platform", &platform, &name]);
}

#[test]
fn an_unknown_tag_and_a_closed_port_are_told_apart() {
    let registry = Registry::holding(Vec::new());
    let wharf = Wharf::new();
    let error = wharf.fails(&["pull", &format!("{}/app:nope", registry.host)]);
    assert!(
        error.contains(&format!("manifest for {}/app:nope not found", registry.host)),
        "{error}"
    );
    let host = registry.host.clone();
    drop(registry);
    let error = wharf.fails(&["pull", &format!("{host}/app:nope")]);
    assert!(error.contains("Connection refused"), "{error}");
}
