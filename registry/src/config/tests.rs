use std::time::Duration;

use super::*;

fn load(file: Option<&str>, environment: &[(&str, &str)], serve: &Serve) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let mut places = Places::default();
    if let Some(text) = file {
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        places.config = Some(path);
    }
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_layers(&places, serve, environment)
}

fn refusal(file: Option<&str>, environment: &[(&str, &str)]) -> String {
    load(file, environment, &Serve::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn defaults_are_enough() {
    let config = load(None, &[], &Serve::default()).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(config.anonymous, Anonymous::None);
    assert_eq!(config.limits.manifest_bytes, 4 << 20);
    assert_eq!(config.token_life, Duration::from_secs(300));
}

#[test]
fn flags_win_over_environment_and_environment_over_file() {
    let file = Some("listen = \"127.0.0.1:1\"\ndatabase = \"sqlite:/f\"\nservice = \"file\"");
    let environment = [
        ("WHARF_REGISTRY_LISTEN", "127.0.0.1:2"),
        ("WHARF_REGISTRY_DATABASE", "sqlite:/e"),
    ];
    let serve = Serve {
        listen: Some("127.0.0.1:3".to_owned()),
        ..Serve::default()
    };
    let config = load(file, &environment, &serve).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.database, DatabaseUrl::Sqlite("/e".into()));
    assert_eq!(config.service, "file");
}

#[test]
fn two_underscores_nest() {
    let config = load(
        None,
        &[("WHARF_REGISTRY_LIMITS__PAGE_ENTRIES", "7")],
        &Serve::default(),
    )
    .unwrap();
    assert_eq!(config.limits.page_entries, 7);
}

#[test]
fn issuers_are_tables_of_the_file_or_toml_in_the_environment() {
    let file = r#"
        [[issuers]]
        name = "ci"
        issuer = "https://i.example"
        audience = "us"
        [[issuers.rules]]
        claims = { repository = "acme/app" }
        allow = ["acme/**:pull"]
    "#;
    let config = load(Some(file), &[], &Serve::default()).unwrap();
    assert_eq!(config.issuers[0].rules[0].allow[0].to_string(), "acme/**:pull");
    let shown = config.shown.iter().find(|(key, _, _)| key == "issuers").unwrap();
    let environment = [("WHARF_REGISTRY_ISSUERS", shown.1.replace("\"ci\"", "\"other\""))];
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let other = load(Some(file), &environment, &Serve::default()).unwrap();
    assert_eq!(
        (other.issuers.len(), other.issuers[0].name.as_str()),
        (1, "other")
    );
    let text = refusal(Some(&file.replace("allow", "permit")), &[]);
    assert!(text.contains("issuers: ") && text.contains("permit"), "{text}");
}

#[test]
fn an_unknown_key_in_the_file_is_an_error_with_the_nearest_name() {
    let text = refusal(Some("listne = \"127.0.0.1:1\""), &[]);
    assert!(
        text.contains("listne: unknown setting") && text.contains("did you mean listen?"),
        "{text}"
    );
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let config = load(
        None,
        &[("WHARF_REGISTRY_PORT", "tcp://10.0.0.1:5000")],
        &Serve::default(),
    )
    .unwrap();
    assert!(
        config
            .warnings
            .iter()
            .any(|line| line.contains("WHARF_REGISTRY_PORT")),
        "{:?}",
        config.warnings
    );
}

#[test]
fn every_bad_value_is_named_with_its_source_and_the_fix() {
    let text = refusal(
        Some("listen = \"nowhere\"\ntoken_life = \"1s\"\ndeletes = \"maybe\""),
        &[],
    );
    for part in [
        "listen: \"nowhere\"",
        "must be IP:PORT",
        "token_life: \"1s\"",
        "deletes: \"maybe\"",
        "config.toml",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_key_without_its_certificate_is_refused() {
    let text = refusal(Some("tls_key = \"/k.pem\""), &[]);
    assert!(text.contains("tls_cert: not set, but tls_key is"), "{text}");
}

#[test]
fn dashes_in_the_file_are_underscores() {
    let config = load(Some("data-dir = \"/srv/r\""), &[], &Serve::default()).unwrap();
    assert_eq!(config.data_dir, std::path::Path::new("/srv/r"));
    assert_eq!(config.storage, StorageUrl::File("/srv/r/storage".into()));
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    let config = load(
        Some("database = \"postgres://u:secret@h/d\""),
        &[],
        &Serve::default(),
    )
    .unwrap();
    assert!(!format!("{:?}", config.shown).contains("secret"));
    let text = refusal(Some("database = \"mysql://u:secret@h/d\""), &[]);
    assert!(
        !text.contains("secret") && text.contains("must be sqlite:PATH"),
        "{text}"
    );
}

#[test]
fn durations_and_sizes_have_units() {
    assert_eq!(
        value::duration("1h30m", 0, 99999).unwrap(),
        Duration::from_secs(5400)
    );
    assert_eq!(value::duration("90", 0, 99999).unwrap(), Duration::from_secs(90));
    for bad in ["", "h", "1x", "1h-", "99999999999999999999d"] {
        assert!(value::duration(bad, 0, u64::MAX).is_err(), "{bad}");
    }
    assert_eq!(value::size("4 MiB", 0, u64::MAX).unwrap(), 4 << 20);
    for bad in ["", "MiB", "4MB", "-1", "99999999TiB"] {
        assert!(value::size(bad, 0, u64::MAX).is_err(), "{bad}");
    }
}

#[test]
fn networks_match_by_their_bits() {
    let nets = value::networks("10.0.0.0/8, ::1, 0.0.0.0/0").unwrap();
    assert!(
        nets[0].contains("10.200.0.1".parse().unwrap()) && !nets[0].contains("11.0.0.1".parse().unwrap())
    );
    assert!(nets[0].contains("::ffff:10.0.0.1".parse().unwrap()));
    assert!(nets[1].contains("::1".parse().unwrap()) && !nets[1].contains("::2".parse().unwrap()));
    assert!(nets[2].contains("1.2.3.4".parse().unwrap()));
    assert!(value::networks("10.0.0.0/33").is_err());
}

#[test]
fn settings_of_postgres_are_a_warning_beside_sqlite() {
    let file =
        |database: &str| format!("database = \"{database}\"\n[postgres]\nreaders = 3\nlock_timeout = \"2s\"");
    let config = load(Some(&file("postgres://a@b/c")), &[], &Serve::default()).unwrap();
    assert_eq!(config.postgres.readers, 3);
    assert_eq!(config.postgres.lock_timeout, Duration::from_secs(2));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let config = load(Some(&file("sqlite:/rows.db")), &[], &Serve::default()).unwrap();
    let warnings = config.warnings.join("\n");
    assert!(
        warnings.contains("postgres.readers") && warnings.contains("postgres.lock_timeout"),
        "{warnings}"
    );
    assert!(!warnings.contains("postgres.writers"), "{warnings}");
}
