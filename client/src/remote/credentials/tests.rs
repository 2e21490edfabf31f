//! Logins as docker, helpers and older tools leave them.

use super::*;

fn with(config: &str) -> (tempfile::TempDir, Credentials) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let credentials = Credentials::load(folder.path()).unwrap();
    (folder, credentials)
}

fn password(user: &str, password: &str) -> Login {
    Login::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

#[test]
fn a_login_is_found_under_its_host_the_hubs_address_and_older_forms() {
    let (_folder, credentials) = with(
        r#"{"auths":{"r.example:5000":{"auth":"dTpw"},"https://index.docker.io/v1/":{"auth":"aDpw"},
            "https://old.example/v1/":{"auth":"bzpw"},"t.example":{"auth":"dTo=","identitytoken":"secret"}}}"#,
    );
    assert_eq!(
        credentials.get("r.example:5000").unwrap(),
        Some(password("u", "p"))
    );
    assert_eq!(credentials.get("docker.io").unwrap(), Some(password("h", "p")));
    assert_eq!(credentials.get("old.example").unwrap(), Some(password("o", "p")));
    assert_eq!(
        credentials.get("t.example").unwrap(),
        Some(Login::Token {
            user: "u".to_owned(),
            refresh_token: "secret".to_owned()
        })
    );
    assert_eq!(credentials.get("r.example").unwrap(), None);
}

#[test]
fn a_kept_login_leaves_the_rest_of_the_file_alone_and_the_file_private() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, mut credentials) = with(r#"{"auths":{"a":{"auth":"dTpw"}},"detachKeys":"ctrl-x"}"#);
    assert!(
        credentials
            .put("b.example", &password("me", "pass:word"))
            .unwrap()
    );
    let again = Credentials::load(folder.path()).unwrap();
    assert_eq!(again.get("b.example").unwrap(), Some(password("me", "pass:word")));
    assert_eq!(again.get("a").unwrap(), Some(password("u", "p")));
    let text = std::fs::read_to_string(credentials.path()).unwrap();
    assert!(text.contains("\"detachKeys\": \"ctrl-x\""), "{text}");
    assert_eq!(
        std::fs::metadata(credentials.path())
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert!(credentials.remove("b.example").unwrap());
    assert!(!credentials.remove("b.example").unwrap());
}

#[test]
fn a_secret_is_never_in_the_debug_form() {
    assert!(!format!("{:?}", password("u", "hunter2")).contains("hunter2"));
}

#[test]
fn a_missing_helper_is_named() {
    let (_folder, credentials) = with(r#"{"credHelpers":{"r.example":"nosuch-wharf"}}"#);
    let error = credentials.get("r.example").unwrap_err().to_string();
    assert!(error.contains("docker-credential-nosuch-wharf"), "{error}");
    assert_eq!(credentials.get("other.example").unwrap(), None);
}

#[test]
fn a_file_that_is_not_json_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{").unwrap();
    let error = Credentials::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json is not valid"), "{error}");
}
