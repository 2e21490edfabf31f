//! Prometheus' own parsers read the registry's page.

use std::fs;
use std::process::Command;

use crate::support::programs::{said, tool};
use crate::support::registry::Registry;

/// Reads a page and prints its families: name, type, how many numbers.
const READ: &str = r#"
import sys
if sys.argv[1] == "openmetrics":
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
else:
    from prometheus_client.parser import text_string_to_metric_families as read
for family in read(open(sys.argv[2]).read()):
    print(family.name, family.type, len(family.samples))
"#;

#[test]
fn prometheus_parsers_read_the_page_in_both_forms() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page");
    let url = |path: &str| format!("http://{}{path}", registry.address());
    let get = |path: &str, accept: &str| {
        let header = format!("accept: {accept}");
        let credentials = registry.credentials();
        said(Command::new("curl").args(["-sS", "-u", &credentials, "-H", &header, &url(path)]))
    };
    get("/v2/_catalog", "*/*");
    for (form, accept) in [
        ("openmetrics", "application/openmetrics-text;version=1.0.0"),
        ("text", "text/plain"),
    ] {
        fs::write(&page, get("/metrics", accept)).unwrap();
        let families = said(tool("python3").args(["-c", READ, form]).arg(&page));
        for family in [
            "wharf_registry_requests counter",
            "wharf_registry_request_duration_seconds histogram",
            "wharf_registry_connections_open gauge 1",
            "wharf_registry_storage_errors counter 10",
            "process_resident_memory_bytes gauge 1",
        ] {
            assert!(families.contains(family), "{family}: {families}");
        }
    }
}
