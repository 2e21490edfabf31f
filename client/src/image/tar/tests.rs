use std::io::{Cursor, Read};
use std::process::Command;

use proptest::prelude::*;

use super::*;

/// An entry and its data.
type Item = (Entry, Vec<u8>);

fn archive(items: &[Item]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in items {
        writer.append(entry, data.as_slice()).unwrap();
    }
    writer.finish().unwrap()
}

fn read_all(stream: impl Read) -> Result<Vec<Item>, Error> {
    let mut reader = Reader::new(stream);
    let mut items = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut data = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                n => data.extend_from_slice(&buffer[..n]),
            }
        }
        items.push((entry, data));
    }
    Ok(items)
}

fn file(path: &str, data: &[u8]) -> Item {
    let mut entry = Entry::new(path, Kind::File);
    entry.size = data.len() as u64;
    (entry, data.to_vec())
}

/// A header block with one field replaced and the checksum made right again.
fn patched(mut archive: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    archive[at..at + bytes.len()].copy_from_slice(bytes);
    let block = at / BLOCK * BLOCK;
    archive[block + 148..block + 156].copy_from_slice(b"        ");
    let sum: u64 = archive[block..block + BLOCK].iter().map(|b| u64::from(*b)).sum();
    archive[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive
}

#[test]
fn what_was_written_is_read_back() {
    let mut odd = Entry::new("d".repeat(300), Kind::Symlink);
    odd.link = b"../".repeat(60);
    (odd.uid, odd.gid, odd.mtime) = (4_000_000_000, 65_534, (-5, 250_000_000));
    let (mut attributed, data) = file("a", b"hello");
    attributed.xattrs = vec![(b"security.capability".to_vec(), vec![0, 10, b'=', 255])];
    let mut device = Entry::new("dev/x", Kind::BlockDevice);
    device.device = (8, 17);
    let items = vec![
        (odd, vec![]),
        (attributed, data),
        (device, vec![]),
        (Entry::new("d/", Kind::Directory), vec![]),
    ];
    assert_eq!(read_all(Cursor::new(archive(&items))).unwrap(), items);
}

#[test]
fn a_real_tar_program_reads_what_was_written_and_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let long = "long/".repeat(40) + "name";
    std::fs::write(
        dir.path().join("in.tar"),
        archive(&[file(&long, b"text"), file("b", &[7; 1000])]),
    )
    .unwrap();
    let run = |args: &[&str]| {
        let output = Command::new("tar")
            .current_dir(dir.path())
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(&["-xf", "in.tar"]);
    assert_eq!(std::fs::read(dir.path().join(&long)).unwrap(), b"text");
    for format in ["gnu", "pax", "ustar", "oldgnu", "v7"] {
        let name = if format == "ustar" || format == "v7" {
            "b"
        } else {
            "long"
        };
        run(&["--format", format, "-cf", "out.tar", name]);
        let stream = std::fs::File::open(dir.path().join("out.tar")).unwrap();
        let items = read_all(stream).unwrap_or_else(|e| panic!("{format}: {e}"));
        let (entry, data) = items.iter().find(|(entry, _)| entry.kind == Kind::File).unwrap();
        let (path, content) = if name == "b" {
            ("b", vec![7; 1000])
        } else {
            (long.as_str(), b"text".to_vec())
        };
        assert_eq!(
            (entry.path.as_slice(), data),
            (path.as_bytes(), &content),
            "{format}"
        );
    }
}

#[test]
fn sparse_files_of_every_format_are_read_as_their_parts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let sparse = std::fs::File::create(&path).unwrap();
    sparse.set_len(8 << 20).unwrap();
    for part in 1..8u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[part.to_le_bytes()[0]; 4096], part << 20)
            .unwrap();
    }
    for format in [
        ["--format", "gnu"],
        ["--sparse-version", "0.0"],
        ["--sparse-version", "0.1"],
        ["--sparse-version", "1.0"],
    ] {
        let format: Vec<&str> = if format[0] == "--format" {
            format.to_vec()
        } else {
            [&["--format", "pax"], &format[..]].concat()
        };
        let output = Command::new("tar")
            .current_dir(dir.path())
            .args(&format)
            .args(["-Scf", "-", "s"])
            .output()
            .unwrap();
        let items = read_all(Cursor::new(output.stdout)).unwrap();
        let (entry, data) = items.first().unwrap();
        let parts = entry.sparse.as_ref().unwrap();
        assert_eq!(
            (entry.size, entry.path.as_slice()),
            (8 << 20, b"s".as_slice()),
            "{format:?}"
        );
        let mut whole = vec![0; 8 << 20];
        let mut rest = data.as_slice();
        for (offset, length) in parts {
            let (part, next) = rest.split_at(usize::try_from(*length).unwrap());
            whole[usize::try_from(*offset).unwrap()..][..part.len()].copy_from_slice(part);
            rest = next;
        }
        assert!(
            whole == std::fs::read(&path).unwrap() && rest.is_empty(),
            "{format:?}"
        );
    }
}

#[test]
fn cve_2025_62518_a_pax_size_that_conflicts_with_the_headers_is_refused() {
    let good = archive(&[file("inner", &[0; 600])]);
    let mut record = Vec::new();
    record.extend_from_slice(b"12 size=600\n");
    let mut extended = Entry::new("x", Kind::File);
    extended.size = record.len() as u64;
    let mut writer = Writer::new(Vec::new());
    writer.append(&extended, record.as_slice()).unwrap();
    let mut head = writer.finish().unwrap();
    head.truncate(2 * BLOCK);
    let head = patched(head, 156, b"x");
    let agreed = [head.clone(), good.clone()].concat();
    assert_eq!(read_all(Cursor::new(agreed)).unwrap().len(), 1);
    for size in ["00000000000\0", "00000000001\0", "77777777777\0"] {
        let conflict = [head.clone(), patched(good.clone(), 124, size.as_bytes())].concat();
        let result = read_all(Cursor::new(conflict));
        assert!(
            matches!(result, Err(Error::Conflict { field: "size" })),
            "{size}: {result:?}"
        );
    }
}

#[test]
fn a_stream_that_ends_within_an_entry_is_truncated() {
    let whole = archive(&[file("a", &[1; 2000])]);
    for length in [100, BLOCK, BLOCK + 1, BLOCK + 1999, BLOCK + 2000] {
        let result = read_all(Cursor::new(whole[..length].to_vec()));
        assert!(matches!(result, Err(Error::Truncated)), "{length}: {result:?}");
    }
    assert_eq!(
        read_all(Cursor::new(whole[..BLOCK + 2048].to_vec()))
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn damaged_and_foreign_headers_are_refused() {
    let good = archive(&[file("a", b"x")]);
    let mut damaged = good.clone();
    damaged[3] ^= 1;
    assert!(matches!(read_all(Cursor::new(damaged)), Err(Error::Checksum)));
    let multi_volume = patched(good.clone(), 156, b"M");
    assert!(matches!(
        read_all(Cursor::new(multi_volume)),
        Err(Error::Unsupported('M'))
    ));
    let not_octal = patched(good.clone(), 124, b"0000000009x\0");
    assert!(matches!(
        read_all(Cursor::new(not_octal)),
        Err(Error::Field { field: "size", .. })
    ));
    let negative = patched(good, 124, &[0xff; 12]);
    assert!(matches!(
        read_all(Cursor::new(negative)),
        Err(Error::Field { field: "size", .. })
    ));
}

#[test]
fn numbers_of_base_256_are_read() {
    let mut uid = [0; 8];
    uid[0] = 0x80;
    uid[4..].copy_from_slice(&4_000_000_000u32.to_be_bytes());
    let items = read_all(Cursor::new(patched(archive(&[file("a", b"x")]), 108, &uid))).unwrap();
    assert_eq!(items[0].0.uid, 4_000_000_000);
    uid[4..].copy_from_slice(&u32::MAX.to_be_bytes());
    let result = read_all(Cursor::new(patched(archive(&[file("a", b"x")]), 108, &uid)));
    assert!(
        matches!(result, Err(Error::Field { field: "uid", .. })),
        "{result:?}"
    );
}

#[test]
fn an_extended_header_without_end_is_limited() {
    let (mut entry, _) = file("x", b"");
    entry.size = MAX_EXTENDED + 1;
    let mut bytes = Writer::new(Vec::new());
    bytes.append(&entry, std::io::repeat(b'a')).unwrap();
    let bytes = patched(bytes.finish().unwrap(), 156, b"x");
    assert!(matches!(
        read_all(Cursor::new(bytes)),
        Err(Error::Limit {
            field: "extended header",
            ..
        })
    ));
}

fn any_entry() -> impl Strategy<Value = Item> {
    let text = || prop::collection::vec(1u8..=255, 1..180);
    let numbers = (
        0u32..0o10000,
        0..u32::MAX,
        0..u32::MAX,
        -9_000_000_000i64..90_000_000_000,
        0u32..1_000_000_000,
    );
    (
        text(),
        text(),
        numbers,
        prop::collection::vec(any::<u8>(), 0..1500),
        0..3u8,
    )
        .prop_map(|(path, link, (mode, uid, gid, seconds, nanos), data, kind)| {
            let kind = [Kind::File, Kind::Symlink, Kind::Fifo][usize::from(kind)];
            let mut entry = Entry::new(path, kind);
            (entry.mode, entry.uid, entry.gid, entry.mtime) = (mode, uid, gid, (seconds, nanos));
            let data = if kind == Kind::File { data } else { Vec::new() };
            entry.size = data.len() as u64;
            if kind == Kind::Symlink {
                entry.link = link;
            }
            (entry, data)
        })
}

proptest! {
    #[test]
    fn any_entries_are_read_back(items in prop::collection::vec(any_entry(), 0..6)) {
        prop_assert_eq!(read_all(Cursor::new(archive(&items))).unwrap(), items);
    }

    #[test]
    fn no_damaged_stream_panics(items in prop::collection::vec(any_entry(), 1..3), at: usize, byte: u8, fix: bool) {
        let mut bytes = archive(&items);
        let at = at % bytes.len();
        bytes[at] = byte;
        let bytes = if fix { patched(bytes, at, &[byte]) } else { bytes };
        let _ = read_all(Cursor::new(bytes));
    }
}
