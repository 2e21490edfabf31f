//! The rules for device nodes.

use rustix::fs::{Mode, OFlags};

use super::Hierarchy;
use crate::{
    error::{Doing, Error},
    spec::resources::{DeviceRule, Resources},
};

/// One rule; the last that fits decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    /// `a`, `b` or `c`.
    pub(super) kind: u8,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: Access,
    /// The place in `linux.resources.devices` that it comes from.
    field: String,
}

/// Which accesses a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) mknod: bool,
}

const ALL: Access = Access {
    read: true,
    write: true,
    mknod: true,
};

/// Nothing at first, then the bundle's rules, then what every container needs.
pub(super) fn rules(resources: Option<&Resources<'_>>) -> Result<Vec<Rule>, Error> {
    let everything = Rule {
        allow: false,
        kind: b'a',
        major: None,
        minor: None,
        access: ALL,
        field: String::new(),
    };
    let mut rules = vec![everything.clone()];
    for (index, rule) in resources
        .iter()
        .flat_map(|resources| &resources.devices)
        .enumerate()
    {
        rules.push(from_rule(index, rule)?);
    }
    if rules.last().is_some_and(|last| {
        *last
            == Rule {
                allow: true,
                field: last.field.clone(),
                ..everything
            }
    }) {
        return Ok(rules);
    }
    let node = |kind, major, minor, access| Rule {
        allow: true,
        kind,
        major,
        minor,
        access,
        field: "linux.resources.devices".to_owned(),
    };
    let make = Access {
        read: false,
        write: false,
        mknod: true,
    };
    rules.extend([node(b'c', None, None, make), node(b'b', None, None, make)]);
    for minor in [3, 5, 7, 8, 9] {
        rules.push(node(b'c', Some(1), Some(minor), ALL));
    }
    rules.extend([
        node(b'c', Some(5), Some(0), ALL),
        node(b'c', Some(5), Some(2), ALL),
        node(b'c', Some(136), None, ALL),
    ]);
    Ok(rules)
}

fn from_rule(index: usize, rule: &DeviceRule<'_>) -> Result<Rule, Error> {
    let field = format!("linux.resources.devices[{index}]");
    let kind = match rule.kind.as_deref().unwrap_or("a") {
        "" | "a" => b'a',
        "b" => b'b',
        "c" | "u" => b'c',
        other => {
            return Err(Error::refused(
                format!("{field}.type"),
                format!("unknown kind of device {other:?}"),
            ));
        }
    };
    let number = |name: &str, value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value).map(Some).map_err(|_range| {
            Error::refused(format!("{field}.{name}"), format!("{value} is no device number"))
        }),
    };
    let access = rule
        .access
        .as_deref()
        .filter(|access| !access.is_empty())
        .unwrap_or("rwm");
    if !access.bytes().all(|letter| b"rwm".contains(&letter)) {
        return Err(Error::refused(
            format!("{field}.access"),
            format!("{access:?} holds more than r, w and m"),
        ));
    }
    let (major, minor) = (number("major", rule.major)?, number("minor", rule.minor)?);
    if kind == b'a' && (major.is_some() || minor.is_some()) {
        return Err(Error::refused(
            format!("{field}.type"),
            "\"a\" stands for every device, without numbers",
        ));
    }
    let access = Access {
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    };
    Ok(Rule {
        allow: rule.allow,
        kind,
        major,
        minor,
        access,
        field,
    })
}

/// Writes the rules to `devices.allow` and `devices.deny`.
pub(super) fn write_v1(hierarchy: &Hierarchy, rules: &[Rule]) -> Result<(), Error> {
    // What stands before the last rule about everything is overruled by it.
    let everything = |rule: &Rule| rule.kind == b'a' && rule.access == ALL;
    let first = rules.iter().rposition(everything).unwrap_or(0);
    let open = |name: &str| {
        let path = hierarchy.container_path().join(name);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty()).doing(|| {
            format!(
                "linux.resources.devices: devices controller: open {}",
                path.display()
            )
        })
    };
    let (allow, deny) = (open("devices.allow")?, open("devices.deny")?);
    for rule in rules.iter().skip(first) {
        let (file, name) = if rule.allow {
            (&allow, "devices.allow")
        } else {
            (&deny, "devices.deny")
        };
        let value = v1_text(rule);
        rustix::io::write(file, value.as_bytes())
            .map(drop)
            .doing(|| format!("{}: devices controller: write {value:?} to {name}", rule.field))?;
    }
    Ok(())
}

fn v1_text(rule: &Rule) -> String {
    if rule.kind == b'a' && rule.access == ALL {
        return "a".to_owned();
    }
    let number = |value: Option<u32>| value.map_or("*".to_owned(), |value| value.to_string());
    let mut text = format!(
        "{} {}:{} ",
        char::from(rule.kind),
        number(rule.major),
        number(rule.minor)
    );
    for (letter, on) in [
        ('r', rule.access.read),
        ('w', rule.access.write),
        ('m', rule.access.mknod),
    ] {
        if on {
            text.push(letter);
        }
    }
    text
}
