//! Rows that one replica writes and another one reads at the next request.

use serde_json::{Value, json};
use storage_tests::content::content;
use storage_tests::fleet::Fleet;
use storage_tests::fleet::client::{answer, descriptor, sha256};
use wharf_protocol::media_type::{OCI_CONFIG, OCI_MANIFEST};

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_moved_on_one_replica_is_moved_on_all_at_the_next_request() {
    let fleet = Fleet::three().await;
    let path = "/v2/team/app/manifests/latest";
    for round in 0..20 {
        let writer = fleet.admin_at(round % 3);
        let manifest = writer.push_image("team/app", "latest", round as u64).await;
        for reader in 0..3 {
            // Twice: the second answer may come from memory.
            for _ in 0..2 {
                let got = fleet.admin_at((round + reader) % 3).get(path).await.expect(200);
                assert!(got.body == manifest, "replica {reader} after {round} rounds");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_deletes_is_404_on_all_at_the_next_request() {
    let fleet = Fleet::three().await;
    for round in 0..9_usize {
        let (writer, seed) = (fleet.admin_at(round % 3), round as u64);
        let manifest = writer.push_image("team/app", "kept", seed).await;
        let _ = writer
            .put_manifest("team/app", "gone", &manifest, &[])
            .await
            .expect(201);
        let digest = sha256(&manifest);
        let blob = writer.push_blob("team/app", &content(seed + 100, 900)).await;
        let paths = [
            "/v2/team/app/manifests/gone".to_owned(),
            format!("/v2/team/app/manifests/{digest}"),
            format!("/v2/team/app/blobs/{blob}"),
        ];
        for path in &paths {
            for reader in 0..3 {
                let _ = fleet.admin_at(reader).get(path).await.expect(200);
            }
            let deleter = fleet.admin_at((round + 1) % 3);
            let _ = deleter.send("DELETE", path).await.expect(202);
            for reader in 0..3 {
                for method in ["GET", "HEAD"] {
                    let got = fleet.admin_at(reader).send(method, path).await;
                    assert_eq!(got.status, 404, "{method} {path} of replica {reader}");
                }
            }
        }
        // A manifest's tags go with it.
        let tag = fleet.admin_at(round % 3).get("/v2/team/app/manifests/kept").await;
        assert_eq!(tag.status, 404);
    }
}

/// What was deleted and pushed again has another object: no replica may look for the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_pushed_again_after_its_deletion_is_read_from_its_new_object_by_all() {
    let fleet = Fleet::three().await;
    let bytes = content(7, 3000);
    let path = format!("/v2/team/app/blobs/{}", sha256(&bytes));
    for round in 0..4 {
        fleet.admin_at(round % 3).push_blob("team/app", &bytes).await;
        for reader in 0..3 {
            let got = fleet.admin_at(reader).get(&path).await.expect(200);
            assert!(got.body == bytes);
        }
        let deleter = fleet.admin_at((round + 1) % 3);
        let _ = deleter.send("DELETE", &path).await.expect(202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_at_all_replicas_who_race_for_a_tag_exactly_one_wins() {
    let fleet = Fleet::three().await;
    let mut images = Vec::new();
    for seed in 0..4 {
        images.push(fleet.admin_at(0).push_image("team/app", "base", seed).await);
    }
    for round in 0..10 {
        let (name, path) = (
            format!("race-{round}"),
            format!("/v2/team/app/manifests/race-{round}"),
        );
        let first = race(&fleet, &name, &images[..3], ("if-none-match", "*")).await;
        let current = format!("\"{}\"", sha256(&images[first]));
        // The next change is from what the first race left.
        let others: Vec<_> = images
            .iter()
            .filter(|image| **image != images[first])
            .cloned()
            .collect();
        let second = race(&fleet, &name, &others, ("if-match", &current)).await;
        for reader in 0..3 {
            let got = fleet.admin_at(reader).get(&path).await.expect(200);
            assert!(got.body == others[second], "round {round}, replica {reader}");
        }
    }
}

/// Lets three writers put a tag at the same moment, each at its own replica; returns the one that won.
async fn race(fleet: &Fleet, tag: &str, images: &[Vec<u8>], header: (&str, &str)) -> usize {
    let headers = [header];
    let put = |index: usize| {
        let (caller, image, headers) = (fleet.admin_at(index), &images[index], &headers);
        async move { caller.put_manifest("team/app", tag, image, headers).await.status }
    };
    let (a, b, c) = tokio::join!(put(0), put(1), put(2));
    let statuses = [a, b, c];
    let mut sorted = statuses;
    sorted.sort_unstable();
    assert_eq!(sorted, [201, 412, 412], "{tag} with {header:?}");
    statuses.iter().position(|status| *status == 201).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_pushed_at_all_replicas_are_listed_by_all() {
    let fleet = Fleet::three().await;
    let subject = fleet.admin_at(0).push_image("team/app", "1", 1).await;
    fleet.admin_at(1).push_blob("team/app", b"{}").await;
    let mut expected = Vec::new();
    for number in 0..6 {
        let referrer = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.signature",
            "config": descriptor(OCI_CONFIG, b"{}"),
            "layers": [],
            "subject": descriptor(OCI_MANIFEST, &subject),
            "annotations": { "number": number.to_string() },
        });
        let bytes = serde_json::to_vec(&referrer).unwrap();
        let digest = sha256(&bytes).to_string();
        let caller = fleet.admin_at(number % 3);
        let put = caller.put_manifest("team/app", &digest, &bytes, &[]).await;
        assert_eq!(
            put.expect(201).header("oci-subject"),
            sha256(&subject).to_string()
        );
        expected.push(digest);
        expected.sort();
        for reader in 0..3 {
            let path = format!("/v2/team/app/referrers/{}", sha256(&subject));
            let list = fleet.admin_at(reader).get(&path).await.expect(200).json();
            let mut listed = texts(&list["manifests"], |entry| &entry["digest"]);
            listed.sort();
            assert_eq!(listed, expected, "replica {reader}");
        }
    }
}

/// Each page is asked of another replica, through the proxy.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_on_on_another_replica_where_the_page_before_it_ended() {
    let fleet = Fleet::three().await;
    let admin = fleet.admin();
    let manifest = admin.push_image("team/app", "base", 1).await;
    // PostgreSQL's own order has neither the capitals first nor the punctuation where bytes have it.
    let mut tags: Vec<String> = ["a", "B", "b.1", "b-1", "b_1", "Z", "z", "base", "0", "_x"]
        .map(str::to_owned)
        .into();
    for tag in &tags {
        let _ = admin
            .put_manifest("team/app", tag, &manifest, &[])
            .await
            .expect(201);
    }
    tags.sort();
    let all = walk(&fleet, "/v2/team/app/tags/list?n=3", "tags").await;
    assert_eq!(all, tags);

    let mut names = vec!["team/app".to_owned()];
    for name in ["team/a-b", "team/ab", "team/a.b", "other/x"] {
        admin.push_image(name, "1", 5).await;
        names.push(name.to_owned());
    }
    names.sort();
    assert_eq!(walk(&fleet, "/v2/_catalog?n=2", "repositories").await, names);
}

/// Follows a listing to its end.
async fn walk(fleet: &Fleet, first: &str, field: &str) -> Vec<String> {
    let (admin, mut path, mut all) = (fleet.admin(), first.to_owned(), Vec::new());
    loop {
        let page = answer(admin.ask("GET", &path)).await.unwrap().expect(200);
        all.extend(texts(&page.json()[field], |entry| entry));
        match page.header("link").strip_prefix('<') {
            Some(link) => path = link.split('>').next().unwrap().to_owned(),
            None => return all,
        }
    }
}

fn texts(list: &Value, text: impl Fn(&Value) -> &Value) -> Vec<String> {
    let entries = list.as_array().unwrap().iter();
    entries
        .map(|entry| text(entry).as_str().unwrap().to_owned())
        .collect()
}
