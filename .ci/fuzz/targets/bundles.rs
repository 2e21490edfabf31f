//! A bundle's `config.json`, up to the plan of what would be done: refused or planned, nothing carried out.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wharf_runtime::plan::plan;
use wharf_runtime::spec::Spec;

fuzz_target!(|text: &str| {
    let Ok(spec) = serde_json::from_str::<Spec<'_>>(text) else {
        return;
    };
    let id = "fuzz".parse().expect("it is a container's id");
    let _ = plan(&spec, id, Path::new("/nonexistent"));
});
