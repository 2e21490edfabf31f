use proptest::prelude::*;
use wharf_protocol::range::ContentRange;
use wharf_protocol::scope::Action;

use super::*;
use crate::metadata::Precondition;
use crate::operation::{EntityTags, Need};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const LIMITS: ParseLimits = ParseLimits {
    manifest_tags: 10,
    page_entries: 100,
};

fn ask(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Operation, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    parse(&method.parse().unwrap(), &target.parse().unwrap(), &map, LIMITS)
}

#[test]
fn a_mount_names_both_repositories() {
    let operation = ask(
        "POST",
        &format!("/v2/a/blobs/uploads/?mount={DIGEST}&from=b/c"),
        &[],
    )
    .unwrap();
    let scopes: Vec<_> = operation
        .needs()
        .scopes()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(scopes, ["repository:a:pull,push", "repository:b/c:pull"]);
}

#[test]
fn deletes_need_delete_and_reads_pull() {
    for (method, action) in [
        ("GET", Action::Pull),
        ("HEAD", Action::Pull),
        ("DELETE", Action::Delete),
    ] {
        for target in [format!("/v2/a/blobs/{DIGEST}"), "/v2/a/manifests/t".to_owned()] {
            let operation = ask(method, &target, &[]).unwrap();
            assert!(
                matches!(operation.needs().must, Need::Repository { action: needed, .. } if needed == action)
            );
        }
    }
}

#[test]
fn a_chunks_range_and_length_must_agree() {
    let patch = |headers: &[_]| ask("PATCH", "/v2/a/blobs/uploads/u", headers);
    let agreed = patch(&[("content-range", "0-9"), ("content-length", "10")]).unwrap();
    assert!(
        matches!(agreed, Operation::AppendUpload(a) if a.range == Some(ContentRange { first: 0, last: 9 }))
    );
    for headers in [
        [("content-range", "0-9"), ("content-length", "9")],
        [("content-range", "9"), ("x", "y")],
    ] {
        assert!(
            matches!(patch(&headers), Err(Refusal::ContentRange(_))),
            "{headers:?}"
        );
    }
}

#[test]
fn a_closing_put_needs_its_digest() {
    assert_eq!(
        ask("PUT", "/v2/a/blobs/uploads/u", &[]).unwrap_err(),
        Refusal::DigestMissing
    );
    let unsupported = ask("PUT", "/v2/a/blobs/uploads/u?digest=md5:00", &[]).unwrap_err();
    assert!(matches!(
        unsupported,
        Refusal::Digest(DigestError::Unsupported { .. })
    ));
    let escaped = format!("/v2/a/blobs/uploads/u?digest={}", DIGEST.replace(':', "%3A"));
    assert!(matches!(
        ask("PUT", &escaped, &[]),
        Ok(Operation::FinishUpload(_))
    ));
}

#[test]
fn preconditions_are_digests_in_quotes() {
    let put = |name, value| ask("PUT", "/v2/a/manifests/t", &[(name, value)]);
    let quoted = format!("\"{DIGEST}\"");
    let precondition = |operation| match operation {
        Ok(Operation::WriteManifest(write)) => write.precondition,
        other => panic!("{other:?}"),
    };
    assert_eq!(precondition(put("if-none-match", "*")), Precondition::Absent);
    assert_eq!(precondition(put("if-match", "*")), Precondition::Exists);
    assert_eq!(
        precondition(put("if-match", &quoted)),
        Precondition::OneOf(vec![DIGEST.parse().unwrap()])
    );
    assert_eq!(
        precondition(put("if-match", "\"other\"")),
        Precondition::OneOf(vec![])
    );
    // RFC 9110: If-Match compares strongly, If-None-Match weakly.
    let weak = format!("W/{quoted}");
    assert_eq!(precondition(put("if-match", &weak)), Precondition::OneOf(vec![]));
    assert_eq!(
        precondition(put("if-none-match", &weak)),
        Precondition::NoneOf(vec![DIGEST.parse().unwrap()])
    );
    assert_eq!(
        put("if-match", DIGEST).unwrap_err(),
        Refusal::EntityTags("If-Match")
    );
}

#[test]
fn if_none_match_of_a_read_takes_weak_tags_and_lists() {
    let value = format!("W/\"{DIGEST}\", \"x\"");
    let Ok(Operation::ReadManifest(read)) = ask("GET", "/v2/a/manifests/t", &[("if-none-match", &value)])
    else {
        panic!("not a read");
    };
    assert!(
        read.if_none_match
            .is_some_and(|tags: EntityTags| tags.include(&DIGEST.parse().unwrap()))
    );
}

#[test]
fn pages_are_capped_and_bad_ones_refused() {
    let page = |query: &str| match ask("GET", &format!("/v2/a/tags/list?{query}"), &[]) {
        Ok(Operation::ListTags(list)) => Ok(list.page),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal),
    };
    assert_eq!(page("n=0").unwrap().n, Some(0));
    assert_eq!(page("n=99999999999999999999").unwrap().n, Some(100));
    assert_eq!(
        page("last=z").unwrap(),
        PageQuery {
            n: None,
            last: Some("z".to_owned())
        }
    );
    for bad in ["n=", "n=-1", "n=x", "n=1.5", "n=+1"] {
        assert!(matches!(page(bad), Err(Refusal::PageSize(_))), "{bad}");
    }
}

#[test]
fn tags_of_a_push_by_digest_are_counted() {
    let put = |count: usize| {
        let tags: Vec<_> = (0..count).map(|n| format!("tag=t{n}")).collect();
        ask(
            "PUT",
            &format!("/v2/a/manifests/{DIGEST}?{}", tags.join("&")),
            &[],
        )
    };
    assert!(matches!(put(10), Ok(Operation::WriteManifest(write)) if write.tags.len() == 10));
    assert_eq!(
        put(11).unwrap_err(),
        Refusal::TooManyTags { count: 11, limit: 10 }
    );
    assert_eq!(
        ask("PUT", "/v2/a/manifests/x?tag=y", &[]).unwrap_err(),
        Refusal::TagsWithoutDigest
    );
}

#[test]
fn methods_that_a_path_does_not_answer_name_those_it_does() {
    for (method, target) in [
        ("POST", "/v2/"),
        ("PUT", "/v2/_catalog"),
        ("GET", "/v2/a/blobs/uploads/"),
        ("POST", "/v2/a/manifests/t"),
        ("PATCH", "/v2/a/tags/list"),
        ("DELETE", "/token"),
        ("POST", "/healthz"),
    ] {
        assert!(
            matches!(ask(method, target, &[]), Err(Refusal::MethodNotAllowed { .. })),
            "{method} {target}"
        );
    }
    for target in ["/", "/v2/a", "/v3/", "/v2/_wharf/x", "/v2/a/../b/tags/list"] {
        assert!(ask("GET", target, &[]).is_err(), "{target}");
    }
}

proptest! {
    #[test]
    fn no_request_panics(method in "(GET|PUT|POST|PATCH|DELETE|HEAD)", path in "/(v2|v1|token)[a-z/:_%0-9]{0,60}",
                         query in "[a-z=&%:+0-9]{0,60}", range in "[ -~]{0,40}") {
        let headers = [("range", range.as_str()), ("content-range", &range), ("if-match", &range)];
        if let Ok(operation) = ask(&method, &format!("{path}?{query}"), &headers) {
            let _ = operation.needs().scopes();
        }
    }
}
