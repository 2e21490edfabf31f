use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::*;
use crate::image::tar::Writer;

struct Layer {
    dir: tempfile::TempDir,
}

impl Layer {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("layer").join(name)
    }
}

fn entry(path: &str, kind: Kind) -> Entry {
    Entry::new(path, kind)
}

fn link(path: &str, kind: Kind, target: &str) -> Entry {
    Entry {
        link: target.as_bytes().to_vec(),
        ..Entry::new(path, kind)
    }
}

/// Unpacks entries; a file's data is its own path.
fn unpack_entries(entries: &[Entry]) -> (Layer, Result<Summary, Error>) {
    let mut writer = Writer::new(Vec::new());
    for entry in entries {
        let mut entry = entry.clone();
        let data = if entry.kind == Kind::File {
            entry.path.clone()
        } else {
            Vec::new()
        };
        entry.size = data.len() as u64;
        writer.append(&entry, data.as_slice()).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("layer");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(dir.path().join("outside"), "untouched").unwrap();
    let into = std::fs::File::open(&folder).unwrap();
    let result = unpack(
        writer.finish().unwrap().as_slice(),
        into.as_fd(),
        &Options::default(),
    );
    (Layer { dir }, result)
}

fn unpacked(entries: &[Entry]) -> Layer {
    let (layer, result) = unpack_entries(entries);
    result.unwrap();
    layer
}

fn refused(entries: &[Entry]) -> String {
    let (layer, result) = unpack_entries(entries);
    assert_eq!(
        std::fs::read_to_string(layer.dir.path().join("outside")).unwrap(),
        "untouched"
    );
    let outside: Vec<_> = std::fs::read_dir(layer.dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(outside.len(), 2, "{outside:?}");
    match result {
        Err(error @ Error::Escape { .. }) => error.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    rustix::fs::getxattr(path, "trusted.overlay.opaque", &mut value).is_ok_and(|n| value[..n] == *b"y")
}

fn is_whiteout(path: &Path) -> bool {
    let meta = std::fs::symlink_metadata(path).unwrap();
    meta.file_type().is_char_device() && meta.rdev() == 0
}

#[test]
fn owners_modes_times_and_kinds_are_the_layers() {
    let mut program = entry("bin/su", Kind::File);
    (program.mode, program.uid, program.gid, program.mtime) = (0o4755, 0, 42, (1_000_000_000, 5));
    let mut folder = entry("bin", Kind::Directory);
    (folder.mode, folder.uid, folder.mtime) = (0o1777, 7, (99, 0));
    let mut device = entry("null", Kind::CharDevice);
    (device.device, device.mode) = ((1, 3), 0o666);
    let layer = unpacked(&[
        folder,
        program,
        link("bin/ls", Kind::HardLink, "/bin/su"),
        link("sh", Kind::Symlink, "/nowhere/../at all"),
        device,
        entry("pipe", Kind::Fifo),
    ]);
    let meta = std::fs::metadata(layer.path("bin/su")).unwrap();
    assert_eq!(
        (meta.mode() & 0o7777, meta.gid(), meta.mtime(), meta.mtime_nsec()),
        (0o4755, 42, 1_000_000_000, 5)
    );
    assert_eq!(std::fs::metadata(layer.path("bin/ls")).unwrap().ino(), meta.ino());
    let meta = std::fs::metadata(layer.path("bin")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.mtime()), (0o1777, 7, 99));
    assert_eq!(
        std::fs::read_link(layer.path("sh")).unwrap(),
        Path::new("/nowhere/../at all")
    );
    let meta = std::fs::metadata(layer.path("null")).unwrap();
    assert_eq!(
        (meta.rdev(), meta.mode() & 0o777),
        (rustix::fs::makedev(1, 3), 0o666)
    );
    assert!(
        std::fs::metadata(layer.path("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

#[test]
fn parents_that_the_stream_does_not_name_are_made() {
    let layer = unpacked(&[entry("./a/b/c", Kind::File), entry("/a/d", Kind::File)]);
    assert_eq!(std::fs::read_to_string(layer.path("a/b/c")).unwrap(), "./a/b/c");
    assert_eq!(
        std::fs::metadata(layer.path("a/b")).unwrap().mode() & 0o777,
        0o755
    );
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let layer = unpacked(&[
        entry("x", Kind::Directory),
        entry("x/deep/er", Kind::File),
        entry("x", Kind::File),
        entry("y", Kind::File),
        entry("y", Kind::Directory),
        entry("y/z", Kind::File),
        link("l", Kind::Symlink, "../outside"),
        entry("l", Kind::File),
    ]);
    assert_eq!(std::fs::read_to_string(layer.path("x")).unwrap(), "x");
    assert!(layer.path("y/z").is_file());
    assert_eq!(std::fs::read_to_string(layer.path("l")).unwrap(), "l");
    assert_eq!(
        std::fs::read_to_string(layer.dir.path().join("outside")).unwrap(),
        "untouched"
    );
}

#[test]
fn whiteouts_become_overlayfs_ones() {
    let layer = unpacked(&[
        entry(".wh.gone", Kind::File),
        entry("d", Kind::Directory),
        entry("d/.wh..wh..opq", Kind::File),
        entry("d/kept", Kind::File),
        entry(".wh..wh.plnk", Kind::File),
    ]);
    assert!(is_whiteout(&layer.path("gone")));
    assert!(is_opaque(&layer.path("d")) && layer.path("d/kept").exists());
    assert_eq!(std::fs::read_dir(layer.path("")).unwrap().count(), 2);
}

#[test]
fn a_folder_that_is_hidden_and_made_anew_is_opaque_in_either_order() {
    let before = unpacked(&[
        entry(".wh.d", Kind::File),
        entry("d", Kind::Directory),
        entry("d/x", Kind::File),
    ]);
    let after = unpacked(&[
        entry("d", Kind::Directory),
        entry("d/x", Kind::File),
        entry(".wh.d", Kind::File),
    ]);
    for layer in [before, after] {
        assert!(is_opaque(&layer.path("d")) && layer.path("d/x").is_file());
    }
}

#[test]
fn cve_2018_15664_names_that_climb_are_refused() {
    for path in ["../outside", "a/../../outside", "/../outside", "..", "a/.."] {
        assert!(refused(&[entry(path, Kind::File)]).contains("\"..\""), "{path}");
    }
}

#[test]
fn cve_2019_10152_nothing_is_written_through_a_linked_parent() {
    for target in ["..", "/", "../", "/etc", "."] {
        let said = refused(&[link("l", Kind::Symlink, target), entry("l/outside", Kind::File)]);
        assert!(said.contains("symbolic link"), "{target}: {said}");
    }
    refused(&[
        link("l", Kind::Symlink, ".."),
        entry("l/new/dir", Kind::Directory),
    ]);
    refused(&[link("l", Kind::Symlink, ".."), entry("l/.wh.outside", Kind::File)]);
    refused(&[
        link("l", Kind::Symlink, ".."),
        entry("l/.wh..wh..opq", Kind::File),
    ]);
}

#[test]
fn hard_links_out_of_the_layer_are_refused() {
    refused(&[link("h", Kind::HardLink, "../outside")]);
    refused(&[
        link("l", Kind::Symlink, ".."),
        link("h", Kind::HardLink, "l/outside"),
    ]);
    let (_, result) = unpack_entries(&[link("h", Kind::HardLink, "/etc/passwd")]);
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
}

#[test]
fn cve_2026_33056_a_folder_entry_does_not_change_what_a_link_of_its_name_points_at() {
    let (layer, result) = unpack_entries(&[
        link("l", Kind::Symlink, ".."),
        Entry {
            mode: 0o777,
            ..entry("l", Kind::Directory)
        },
    ]);
    result.unwrap();
    assert!(layer.path("l").is_dir() && !layer.path("l").is_symlink());
    assert_ne!(std::fs::metadata(layer.dir.path()).unwrap().mode() & 0o777, 0o777);
}

#[test]
fn whiteouts_that_hide_no_name_and_disguised_ones_are_refused() {
    for path in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        let (_, result) = unpack_entries(&[entry(path, Kind::File)]);
        assert!(matches!(result, Err(Error::Escape { .. })), "{path}: {result:?}");
    }
    let mut layer = entry("x", Kind::CharDevice);
    layer.device = (0, 0);
    assert!(refused(&[layer]).contains("disguise"));
}

#[test]
fn attributes_are_kept_but_those_for_overlayfs() {
    let mut file = entry("f", Kind::File);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.xattrs = vec![
        (b"security.capability".to_vec(), capability.to_vec()),
        (b"user.note".to_vec(), b"kept".to_vec()),
        (b"trusted.overlay.redirect".to_vec(), b"/etc".to_vec()),
    ];
    let layer = unpacked(&[file]);
    let mut value = [0; 64];
    let size = rustix::fs::getxattr(layer.path("f"), "security.capability", &mut value).unwrap();
    assert_eq!(value[..size], capability);
    assert!(rustix::fs::getxattr(layer.path("f"), "user.note", &mut value).is_ok());
    assert!(rustix::fs::getxattr(layer.path("f"), "trusted.overlay.redirect", &mut value).is_err());
}

#[test]
fn each_limit_is_refused_by_its_name() {
    let mut writer = Writer::new(Vec::new());
    for name in ["a", "b", "c"] {
        let mut file = entry(name, Kind::File);
        file.size = 100;
        writer.append(&file, std::io::repeat(1)).unwrap();
    }
    let stream = writer.finish().unwrap();
    for (options, what) in [
        (
            Options {
                max_entries: 2,
                ..Options::default()
            },
            "2 entries",
        ),
        (
            Options {
                max_bytes: 250,
                ..Options::default()
            },
            "250 bytes",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let into = std::fs::File::open(dir.path()).unwrap();
        let error = unpack(stream.as_slice(), into.as_fd(), &options).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}
