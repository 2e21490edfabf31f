//! A layer's stream of entries: refused, or read within bounds, each entry as long as it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf::image::tar::{MAX_PATH, Reader};

fuzz_target!(|stream: &[u8]| {
    let mut reader = Reader::new(stream);
    let mut buffer = [0; 4096];
    while let Ok(Some(entry)) = reader.next() {
        assert!(entry.path.len() <= MAX_PATH, "a path is bounded");
        let mut read = 0_u64;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => read += bytes as u64,
                Err(_) => return,
            }
        }
        assert_eq!(
            read,
            entry.stored_bytes(),
            "an entry gives as many bytes as it says"
        );
    }
});
