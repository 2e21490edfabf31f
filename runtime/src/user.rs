//! What the container's own `/etc/passwd` says; read by hand, since a static binary loads no name service.

use std::io::Read;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

/// More than this of the file is not read.
const LIMIT: u64 = 1 << 20;

/// The home folder of a user, seen from inside the container; `/` if the file does not say.
pub(crate) fn home(uid: u32) -> Vec<u8> {
    passwd()
        .as_deref()
        .and_then(|passwd| home_in(passwd, uid))
        .unwrap_or_else(|| b"/".to_vec())
}

fn passwd() -> Option<Vec<u8>> {
    // The image may have put anything there: a pipe must not hold the start up.
    let file = open(
        c"/etc/passwd",
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    if FileType::from_raw_mode(fstat(&file).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file)
        .take(LIMIT)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

fn home_in(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
    let uid = uid.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let found = fields.next()? == uid.as_bytes();
        let home = fields.nth(2)?;
        (found && !home.is_empty() && !home.contains(&0)).then(|| home.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_the_sixth_field_of_the_users_line() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbroken\nx:x:10\nweb:x:10:10::/srv/web:/bin/sh\n";
        assert_eq!(home_in(passwd, 0).as_deref(), Some(b"/root".as_slice()));
        assert_eq!(home_in(passwd, 10).as_deref(), Some(b"/srv/web".as_slice()));
        assert_eq!(home_in(passwd, 1), None);
    }
}
