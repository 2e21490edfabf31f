//! Replicas that start: the first ones of an empty database, and one that joins.

use storage_tests::fleet::client::{Login, sha256};
use storage_tests::fleet::{Fleet, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn three_first_starts_at_once_make_one_admin_and_one_key() {
    let fleet = Plan::new().await.without_password().start(3).await;
    let passwords: Vec<String> = (0..3)
        .filter_map(|index| std::fs::read_to_string(fleet.data_dir(index).join("admin-password")).ok())
        .collect();
    assert_eq!(
        passwords.len(),
        1,
        "who made the user wrote its password, nobody else"
    );
    let login = Login::Basic("admin".to_owned(), passwords[0].trim().to_owned());
    let mut rows = fleet.rows().await;
    for (table, count) in [("users", 1), ("signing_keys", 1), ("wharf_schema", 1)] {
        let query = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let found: i64 = sqlx::query_scalar(query).fetch_one(&mut rows).await.unwrap();
        assert_eq!(found, count, "{table}");
    }
    for index in 0..3 {
        let _ = fleet.at(index, login.clone()).get("/v2/").await.expect(200);
        let _ = fleet
            .at(index, Login::password("admin"))
            .get("/v2/")
            .await
            .expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_joins_serves_all_that_there_is_and_goes_on_with_open_uploads() {
    let mut fleet = Fleet::three().await;
    let manifest = fleet.admin().push_image("team/app", "1", 1).await;
    let upload = fleet.admin().begin("team/app").await;
    let taken = fleet.admin().patch(&upload, b"begun before").await.expect(202);
    let fourth = fleet.add().await;
    fleet.start(fourth).await;
    let joined = fleet.admin_at(fourth);
    let got = joined.get("/v2/team/app/manifests/1").await.expect(200);
    assert!(got.body == manifest);
    let whole = b"begun before, ended by the new one";
    let ended = joined
        .finish(
            taken.header("location"),
            &sha256(whole),
            b", ended by the new one",
        )
        .await;
    assert_eq!(ended.status, 201, "{ended:?}");
    // The proxy uses it: of four requests each reaches another replica.
    for _ in 0..4 {
        let path = format!("/v2/team/app/blobs/{}", sha256(whole));
        let _ = fleet.admin().get(&path).await.expect(200);
    }
}
