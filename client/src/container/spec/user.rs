//! Who a program runs as: `user[:group]`, looked up in the container's own files, which are hostile.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

/// The highest id that is given out; above it lie ids with a meaning of their own.
const ID_MAX: u32 = i32::MAX as u32;
/// `/etc/passwd` and `/etc/group` are read up to this size.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Groups of one user.
const GROUPS_MAX: usize = 65_536;

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// All groups' numbers, the first one too.
    pub groups: Vec<u32>,
    /// The folder that belongs to the user.
    pub home: String,
}

/// Why nobody can be found under a name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The container's files do not name the user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// The container's files do not name the group.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A number that no user or group can have.
    #[error("uids and gids must be in range 0-2147483647")]
    OutOfRange,
    /// A file that is there and cannot be read.
    #[error("read {path} of the container: {source}")]
    Io {
        /// The file, in the container.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Finds `user[:group]` in the files below `root`. An empty text is root.
///
/// # Errors
/// A name that the files do not have, a number out of range; never root instead.
pub fn resolve(root: BorrowedFd<'_>, text: &str) -> Result<User, UserError> {
    resolve_in(&read(root, "etc/passwd")?, &read(root, "etc/group")?, text)
}

fn resolve_in(passwd: &str, group: &str, text: &str) -> Result<User, UserError> {
    let (user_word, group_word) = match text.split_once(':') {
        Some((user, group)) => (user, group),
        None => (text, ""),
    };
    let user_word = if user_word.is_empty() { "0" } else { user_word };
    let number = parse_id(user_word)?;
    let account = passwd
        .lines()
        .filter_map(Account::parse)
        .find(|account| account.name == user_word || number.is_some_and(|number| account.uid == number));
    let uid = match (&account, number) {
        (Some(account), _) => account.uid,
        (None, Some(number)) => number,
        (None, None) => return Err(UserError::NoUser(user_word.to_owned())),
    };
    let mut gid = account.as_ref().map_or(0, |account| account.gid);
    let mut groups = Vec::new();
    if group_word.is_empty() {
        let name = account.as_ref().map(|account| account.name);
        groups.extend(
            group
                .lines()
                .filter_map(Group::parse)
                .filter(|group| group.has(name))
                .map(|group| group.gid),
        );
        groups.truncate(GROUPS_MAX);
    } else {
        gid = group_id(group, group_word)?;
    }
    if uid > ID_MAX || gid > ID_MAX || groups.iter().any(|gid| *gid > ID_MAX) {
        return Err(UserError::OutOfRange);
    }
    groups.retain(|other| *other != gid);
    groups.insert(0, gid);
    let home = account.map_or("/", |account| account.home).to_owned();
    Ok(User {
        uid,
        gid,
        groups,
        home,
    })
}

fn group_id(file: &str, word: &str) -> Result<u32, UserError> {
    let number = parse_id(word)?;
    let named = file
        .lines()
        .filter_map(Group::parse)
        .find(|group| group.name == word);
    named
        .map(|group| group.gid)
        .or(number)
        .ok_or_else(|| UserError::NoGroup(word.to_owned()))
}

/// A word of digits is a number, and no other name: a number out of range is not looked up.
fn parse_id(word: &str) -> Result<Option<u32>, UserError> {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match word.parse::<u32>() {
        Ok(number) if number <= ID_MAX => Ok(Some(number)),
        _ => Err(UserError::OutOfRange),
    }
}

/// One line of `/etc/passwd`.
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).filter(|home| home.starts_with('/')).unwrap_or("/");
        Some(Self { name, uid, gid, home })
    }
}

/// One line of `/etc/group`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Self {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    }

    fn has(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.members.split(',').any(|member| member.trim() == name))
    }
}

/// Reads a file inside the root; a missing one is empty.
fn read(root: BorrowedFd<'_>, path: &'static str) -> Result<String, UserError> {
    let failed = |source: io::Error| UserError::Io { path, source };
    let opened = match open_inside(root, path, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(String::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let status = fstat(&opened).map_err(|error| failed(error.into()))?;
    if !FileType::from_raw_mode(status.st_mode).is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    File::from(opened)
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens a path that stays inside the root, whatever links lie on its way.
///
/// # Errors
/// What the kernel says.
pub(crate) fn open_inside(root: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    // The kernel asks to try again when something on the way was renamed meanwhile.
    for _ in 0..32 {
        let opened = openat2(
            &root,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        );
        match opened {
            Err(rustix::io::Errno::AGAIN) => {}
            other => return Ok(other?),
        }
    }
    Err(io::Error::from(io::ErrorKind::ResourceBusy))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nme:x:7:8::/home/me:/bin/sh\n\
                          bad\nhuge:x:4294967295:1::/:\n12:x:13:13::/:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,me\nusers:x:100:me\nnogroup:x:65534:\n";

    /// CVE-2024-40635, CVE-2016-3697, CVE-2026-30892 and CVE-2022-36109 are rows here.
    #[test]
    fn every_form_of_user_and_group() {
        for (text, expected) in [
            ("", Some((0, 0, &[0, 10][..], "/root"))),
            ("root", Some((0, 0, &[0, 10], "/root"))),
            ("me", Some((7, 8, &[8, 10, 100], "/home/me"))),
            ("7", Some((7, 8, &[8, 10, 100], "/home/me"))),
            ("me:users", Some((7, 100, &[100], "/home/me"))),
            ("me:", Some((7, 8, &[8, 10, 100], "/home/me"))),
            (":users", Some((0, 100, &[100], "/root"))),
            ("1000", Some((1000, 0, &[0], "/"))),
            ("1000:50", Some((1000, 50, &[50], "/"))),
            ("nobody:0", Some((65534, 0, &[0], "/"))),
            ("nosuchuser", None),
            ("root:nosuchgroup", None),
            ("2147483648", None),
            ("4294967296", None),
            ("99999999999", None),
            ("-1", None),
            ("1000:2147483648", None),
            ("huge", None),
            ("bad", None),
        ] {
            let user = resolve_in(PASSWD, GROUP, text).ok();
            let found = user
                .as_ref()
                .map(|user| (user.uid, user.gid, &user.groups[..], user.home.as_str()));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn without_files_numbers_work_and_names_do_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = File::open(root.path()).unwrap();
        assert_eq!(resolve(folder.as_fd(), "").unwrap().uid, 0);
        assert_eq!(resolve(folder.as_fd(), "1000").unwrap().uid, 1000);
        assert!(matches!(
            resolve(folder.as_fd(), "root"),
            Err(UserError::NoUser(_))
        ));
    }

    #[test]
    fn the_host_s_files_are_not_reached_through_links_of_the_image() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("passwd"), "spy:x:1:1::/:\n").unwrap();
        std::os::unix::fs::symlink(outside.path().join("passwd"), root.path().join("etc/passwd")).unwrap();
        let folder = File::open(root.path()).unwrap();
        assert!(matches!(
            resolve(folder.as_fd(), "spy"),
            Err(UserError::NoUser(_))
        ));
        std::fs::remove_file(root.path().join("etc/passwd")).unwrap();
        std::fs::create_dir(root.path().join("etc/passwd")).unwrap();
        assert!(matches!(
            resolve(folder.as_fd(), "spy"),
            Err(UserError::Io { .. })
        ));
    }
}
