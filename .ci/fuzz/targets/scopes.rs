//! Scopes of token requests: written and read again, they ask for the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_protocol::scope::Scope;

fuzz_target!(|text: &str| {
    let Ok(scopes) = Scope::parse_list(text) else {
        return;
    };
    let written: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    let again = Scope::parse_list(&written.join(" ")).expect("what is written can be read");
    assert_eq!(again, scopes);
});
