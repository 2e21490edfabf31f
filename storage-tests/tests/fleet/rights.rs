//! Rights and keys that change on one replica, or beside all.

use std::time::{Duration, Instant};

use sqlx::Row as _;
use storage_tests::fleet::client::Login;
use storage_tests::fleet::{Fleet, PASSWORD};

/// How long a right may live on that was taken away.
const AT_MOST: Duration = Duration::from_secs(5);

/// Asks every replica until it refuses, with each login; returns how long the last one took.
async fn until_refused(fleet: &Fleet, logins: &[Login], path: &str) -> Duration {
    let begin = Instant::now();
    let mut longest = Duration::ZERO;
    for index in 0..fleet.replicas.len() {
        for login in logins {
            let caller = fleet.at(index, login.clone());
            while caller.get(path).await.status == 200 {
                assert!(
                    begin.elapsed() < AT_MOST,
                    "replica {index} still allows {login:?}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            longest = longest.max(begin.elapsed());
        }
    }
    longest
}

/// Logs a user in, on every replica, and lets each remember it.
async fn logins(fleet: &Fleet, user: &str, path: &str) -> Vec<Login> {
    let password = Login::password(user);
    let token = fleet
        .at(0, password.clone())
        .token(&["repository:team/app:pull"])
        .await;
    let logins = vec![password, Login::Bearer(token)];
    for index in 0..fleet.replicas.len() {
        for login in &logins {
            let _ = fleet.at(index, login.clone()).get(path).await.expect(200);
        }
    }
    logins
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_taken_away_on_one_replica_holds_on_none_after_5_s() {
    let fleet = Fleet::three().await;
    fleet.admin_at(0).push_image("team/app", "1", 1).await;
    let path = "/v2/team/app/manifests/1";
    for user in ["ann", "ben", "cyd"] {
        fleet.replicas[0].set_password(user, PASSWORD);
        fleet.replicas[1].run(&["grant", user, "team/**", "pull"]);
    }
    let (ann, ben, cyd) = (
        logins(&fleet, "ann", path).await,
        logins(&fleet, "ben", path).await,
        logins(&fleet, "cyd", path).await,
    );
    fleet.replicas[1].run(&["revoke", "ann", "team/**"]);
    let revoked = until_refused(&fleet, &ann, path).await;
    fleet.replicas[2].run(&["user", "rm", "ben"]);
    let removed = until_refused(&fleet, &ben, path).await;
    fleet.replicas[0].set_password("cyd", "another password");
    let changed = until_refused(&fleet, &cyd, path).await;
    println!(
        "lived on: a revoked rule {revoked:?}, a removed user {removed:?}, a changed password {changed:?}"
    );
    let new = Login::Basic("cyd".to_owned(), "another password".to_owned());
    for index in 0..3 {
        let _ = fleet.at(index, new.clone()).get(path).await.expect(200);
    }
}

/// A right that is given holds as soon, and a token asked of one replica is good at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_replica_is_good_at_all_at_once_and_so_is_a_refresh_token() {
    let fleet = Fleet::three().await;
    fleet.admin_at(0).push_image("team/app", "1", 1).await;
    for issuer in 0..3 {
        let query = "/token?service=wharf-registry&scope=repository:team/app:pull&offline_token=true";
        let issued = fleet.admin_at(issuer).get(query).await.expect(200).json();
        let token = Login::Bearer(issued["token"].as_str().unwrap().to_owned());
        let refresh = issued["refresh_token"].as_str().unwrap();
        for index in 0..3 {
            let manifest = fleet
                .at(index, token.clone())
                .get("/v2/team/app/manifests/1")
                .await;
            assert_eq!(manifest.status, 200, "replica {index} of a token of {issuer}");
            let form = format!(
                "grant_type=refresh_token&service=wharf-registry&client_id=test&scope=repository:team/app:pull&refresh_token={refresh}"
            );
            let renewed = fleet
                .admin_at(index)
                .post_form("/token", form)
                .await
                .expect(200)
                .json();
            assert!(renewed["access_token"].is_string(), "{renewed}");
        }
    }
}

/// The keys come of age; the replica that starts next makes a new one. What it signs is good at those that have run on
/// since before, at once, and what they signed stays good with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_signing_key_of_one_replica_is_known_to_all_at_once() {
    let mut fleet = Fleet::three().await;
    fleet.admin_at(0).push_image("team/app", "1", 1).await;
    let scope = ["repository:team/app:pull"];
    let path = "/v2/team/app/manifests/1";
    let old = Login::Bearer(fleet.admin_at(0).token(&scope).await);
    let mut rows = fleet.rows().await;
    let month_ms = 31_i64 * 86_400_000;
    sqlx::query("UPDATE signing_keys SET created_ms = created_ms - $1, expires_ms = expires_ms - $1")
        .bind(month_ms)
        .execute(&mut rows)
        .await
        .unwrap();
    let fourth = fleet.add().await;
    fleet.start(fourth).await;
    let keys = sqlx::query("SELECT id FROM signing_keys")
        .fetch_all(&mut rows)
        .await
        .unwrap();
    assert_eq!(
        keys.len(),
        2,
        "{:?}",
        keys.iter().map(|key| key.get::<String, _>(0)).collect::<Vec<_>>()
    );
    let new = Login::Bearer(fleet.admin_at(fourth).token(&scope).await);
    for index in 0..4 {
        for (login, which) in [(&new, "new"), (&old, "old")] {
            let got = fleet.at(index, login.clone()).get(path).await;
            assert_eq!(got.status, 200, "replica {index}, the {which} key: {got:?}");
        }
    }
}
