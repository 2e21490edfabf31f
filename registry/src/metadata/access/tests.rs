use super::*;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

#[test]
fn a_star_stays_within_a_component_and_two_span_one_or_more() {
    for (text, matching, other) in [
        (
            "alice/**",
            vec!["alice/a", "alice/a/b"],
            vec!["alice", "alicea/b", "bob/alice/a"],
        ),
        ("**", vec!["a", "a/b/c"], vec![]),
        (
            "*/app",
            vec!["a/app", "b-c/app"],
            vec!["app", "a/b/app", "a/apps"],
        ),
        (
            "a*b*c",
            vec!["abc", "a-b-b-c", "abbc"],
            vec!["ab", "abcd", "xabc", "a/bc"],
        ),
        (
            "**/tools/*",
            vec!["a/tools/x", "a/b/tools/x"],
            vec!["tools/x", "a/tools/x/y"],
        ),
        ("a*a", vec!["aa", "aba"], vec!["a"]),
        ("plain", vec!["plain"], vec!["plain/x", "plai"]),
    ] {
        for name in matching {
            assert!(pattern(text).matches(name), "{text} should match {name}");
        }
        for name in other {
            assert!(!pattern(text).matches(name), "{text} should not match {name}");
        }
    }
}

#[test]
fn a_pattern_that_no_name_could_match_is_refused() {
    for text in [
        "",
        "/a",
        "a//b",
        "a/",
        "A",
        "a b",
        "a**",
        "**b/c",
        "***",
        "**/**/**/**/**",
        "ü",
    ] {
        assert!(text.parse::<Pattern>().is_err(), "{text:?} should be refused");
    }
}

#[test]
fn ranges_cover_what_is_visible_once_and_in_order() {
    let visible = |patterns: &[&str]| Visible::Matching(patterns.iter().map(|p| pattern(p)).collect());
    let range = |start: &str, end: &str| (start.to_owned(), Some(end.to_owned()));
    assert_eq!(visible(&[]).ranges(), vec![]);
    assert_eq!(
        visible(&["b/**", "a/**"]).ranges(),
        vec![range("a/", "a0"), range("b/", "b0")]
    );
    assert_eq!(
        visible(&["a/b/**", "a/**", "a/c"]).ranges(),
        vec![range("a/", "a0")]
    );
    assert_eq!(visible(&["x", "x"]).ranges(), vec![range("x", "x!")]);
    assert_eq!(visible(&["b/**", "*/app"]).ranges(), vec![(String::new(), None)]);
    assert_eq!(Visible::All.ranges(), vec![(String::new(), None)]);
}

#[test]
fn what_is_seen_within_patterns_is_what_both_match() {
    let within = |outer: Visible, patterns: &[&str]| {
        Visible::Within(Box::new(outer), patterns.iter().map(|p| pattern(p)).collect())
    };
    let range = |start: &str, end: &str| (start.to_owned(), Some(end.to_owned()));
    let outer = Visible::Matching(vec![pattern("a/**"), pattern("*/app")]);
    let visible = within(outer, &["a/x/**", "b/*"]);
    for (name, seen) in [
        ("a/x/y", true),
        ("b/app", true),
        ("a/y", false),
        ("b/x", false),
        ("c/app", false),
    ] {
        assert_eq!(visible.includes(name), seen, "{name}");
    }
    assert_eq!(visible.ranges(), vec![range("a/x/", "a/x0"), range("b/", "b0")]);
    assert_eq!(within(Visible::All, &["a/**"]).ranges(), vec![range("a/", "a0")]);
    assert_eq!(
        within(Visible::Matching(vec![pattern("a/**")]), &["b/**"]).ranges(),
        vec![]
    );
}

#[test]
fn an_allowance_is_written_as_it_is_read() {
    for text in ["team/**:pull,push", "**:pull,push,delete", "a/b:delete"] {
        assert_eq!(text.parse::<Allowance>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "team/**",
        "team/**:",
        ":pull",
        "team/**:fly",
        "a b:pull",
        "a:pull:push",
    ] {
        assert!(text.parse::<Allowance>().is_err(), "{text:?}");
    }
}

#[test]
fn actions_are_written_as_they_are_read() {
    for text in ["pull", "pull,push", "pull,push,delete", "push,delete"] {
        assert_eq!(text.parse::<Actions>().unwrap().to_string(), text);
    }
    assert_eq!("*".parse::<Actions>().unwrap(), Actions::ALL);
    assert!("pull,read".parse::<Actions>().is_err());
    assert!("".parse::<Actions>().is_err());
}
