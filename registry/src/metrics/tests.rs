use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::operation::Kind;

/// The largest page: every number of every metric is shown.
const PAGE_BYTES: usize = 160 << 10;

fn new() -> Metrics {
    Metrics::new(Timestamp::from_millis(1_700_000_000_500))
}

fn indices_are_places<L: Label>() {
    for (place, label) in L::every().enumerate() {
        assert_eq!(label.index(), place, "{label:?}");
    }
}

#[test]
fn a_label_s_index_is_its_place() {
    indices_are_places::<Request>();
    indices_are_places::<StorageError>();
    indices_are_places::<UploadEvent>();
    indices_are_places::<BadLogin>();
    indices_are_places::<Lookup>();
    indices_are_places::<Sweep>();
    for (place, kind) in Kind::EVERY.iter().enumerate() {
        assert_eq!(*kind as usize, place, "{kind:?}");
    }
}

#[test]
fn the_page_has_an_end_however_much_has_happened() {
    let metrics = new();
    for request in Request::every() {
        metrics.requests.add(request, u64::MAX);
    }
    for kind in Kind::EVERY {
        metrics.durations.observe(*kind, Duration::MAX);
    }
    for format in [Format::OpenMetrics, Format::Text] {
        let page = metrics.page(format).unwrap();
        assert!(page.len() <= PAGE_BYTES, "{} bytes", page.len());
    }
}

#[test]
fn a_duration_is_within_the_first_bound_that_it_does_not_pass() {
    let metrics = new();
    for us in [500, 501, 300_000_001] {
        metrics
            .durations
            .observe(Kind::ReadBlob, Duration::from_micros(us));
    }
    let page = metrics.page(Format::OpenMetrics).unwrap();
    let bucket = |le: &str| {
        let start =
            format!("wharf_registry_request_duration_seconds_bucket{{le=\"{le}\",operation=\"ReadBlob\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("{start} is not in {page}"))
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(
        [bucket("0.0005"), bucket("0.001"), bucket("300.0"), bucket("+Inf")],
        [1, 2, 2, 3]
    );
    let sum = "wharf_registry_request_duration_seconds_sum{operation=\"ReadBlob\"} 300.001002";
    assert!(page.contains(sum), "{page}");
}

#[test]
fn a_name_stands_once_on_the_page() {
    let page = new().page(Format::OpenMetrics).unwrap();
    let names: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let distinct: BTreeSet<&&str> = names.iter().collect();
    assert_eq!(names.len(), distinct.len(), "{names:?}");
    assert!(page.ends_with("# EOF\n"), "{page}");
}

#[test]
fn a_failure_of_the_database_is_found_behind_another_error() {
    let metrics = new();
    let unavailable = || metadata::Error::Unavailable("gone".into());
    metrics.database_failed(&crate::repo::Error::from(unavailable()));
    metrics.database_failed(&unavailable());
    metrics.database_failed(&crate::repo::Error::DeletesOff);
    metrics.database_failed(&metadata::Error::UploadBusy);
    let page = metrics.page(Format::Text).unwrap();
    let line = "wharf_registry_storage_errors_total{store=\"metadata\",kind=\"unavailable\"} 2";
    assert!(page.contains(line), "{page}");
}

#[test]
fn each_failure_of_a_store_is_counted_as_what_it_is() {
    use crate::blobs::BlobError as B;
    use metadata::Error as M;
    let source = || std::io::Error::other("gone");
    let (doing, what) = ("opening", || "it".to_owned());
    let unavailable = |source| B::Unavailable {
        doing,
        what: what(),
        source,
    };
    let blobs = [
        (unavailable(source().into()), Some(Fault::Unavailable)),
        (unavailable(M::Unavailable("gone".into()).into()), None),
        (B::Full, Some(Fault::Full)),
        (B::WritesStopped, Some(Fault::WritesStopped)),
        (B::SessionLost, Some(Fault::Damaged)),
        (B::io(doing, what(), source()), Some(Fault::Other)),
        (B::Busy, None),
        (B::Cut("gone".into()), None),
    ];
    for (error, fault) in blobs {
        assert_eq!(Fault::of_blobs(&error), fault, "{error:?}");
    }
    let damaged = M::Corrupt {
        database: what(),
        detail: "torn".into(),
        way_out: "restore it",
    };
    let other = M::Io {
        doing,
        source: std::sync::Arc::new(sqlx::Error::RowNotFound),
    };
    let rows = [
        (M::Unavailable("gone".into()), Some(Fault::Unavailable)),
        (M::Full("full".into()), Some(Fault::Full)),
        (M::WritesStopped("torn".into()), Some(Fault::WritesStopped)),
        (damaged, Some(Fault::Damaged)),
        (other, Some(Fault::Other)),
        (M::RepositoryUnknown, None),
    ];
    for (error, fault) in rows {
        assert_eq!(Fault::of_database(&error), fault, "{error:?}");
    }
}
