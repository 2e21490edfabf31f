//! The files that every container finds in `/etc`: hosts, host name, name servers.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

/// Used where the host names no server that a container can reach.
const FALLBACK_SERVERS: &[&str] = &["8.8.8.8", "8.8.4.4"];
/// systemd-resolved's list of the real servers, behind its stub on loopback.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The text of `/etc/hosts`; `own` is the container's address, if it has one.
pub(super) fn hosts(hostname: &str, own: Option<Ipv4Addr>, extra: &[(String, String)]) -> String {
    let mut text = "127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::\tip6-localnet\n\
                    ff00::\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n"
        .to_owned();
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if let Some(own) = own {
        text.push_str(&format!("{own}\t{hostname}\n"));
    }
    text
}

/// The text of `/etc/resolv.conf`: the host's, without servers that only the host reaches unless the
/// container shares the host's network.
pub(super) fn resolv_conf(shares_host: bool) -> io::Result<String> {
    let read = |path: &str| match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    };
    let host = read("/etc/resolv.conf")?;
    if shares_host {
        return Ok(host);
    }
    let reachable = without_loopback(&host);
    if reachable.is_some() {
        return Ok(reachable.unwrap_or_default());
    }
    let behind = if Path::new(RESOLVED).exists() {
        without_loopback(&read(RESOLVED)?)
    } else {
        None
    };
    Ok(behind.unwrap_or_else(|| with_servers(&host, FALLBACK_SERVERS)))
}

/// The text without servers on loopback; none when no server is left.
fn without_loopback(text: &str) -> Option<String> {
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| server(line).is_none_or(|server| !is_loopback(server)))
        .collect();
    kept.iter()
        .any(|line| server(line).is_some())
        .then(|| kept.join("\n") + "\n")
}

fn with_servers(text: &str, servers: &[&str]) -> String {
    let others = text
        .lines()
        .filter(|line| server(line).is_none())
        .map(str::to_owned);
    let lines: Vec<String> = servers
        .iter()
        .map(|server| format!("nameserver {server}"))
        .chain(others)
        .collect();
    lines.join("\n") + "\n"
}

fn server(line: &str) -> Option<&str> {
    line.trim_start()
        .strip_prefix("nameserver")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map(str::trim)
}

fn is_loopback(server: &str) -> bool {
    let address = server.split('%').next().unwrap_or_default();
    address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_loopback_are_left_out() {
        let text = "search example.org\nnameserver 127.0.0.53\nnameserver 10.0.0.1\noptions edns0\n";
        let expected = "search example.org\nnameserver 10.0.0.1\noptions edns0\n";
        assert_eq!(without_loopback(text).as_deref(), Some(expected));
        assert_eq!(without_loopback("nameserver ::1\nnameserver 127.0.0.1\n"), None);
        assert_eq!(
            with_servers("search a\nnameserver ::1\n", FALLBACK_SERVERS),
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch a\n"
        );
    }

    #[test]
    fn hosts_end_with_the_container_itself() {
        let extra = [("db".to_owned(), "10.0.0.9".to_owned())];
        let text = hosts("box", Some(Ipv4Addr::new(172, 17, 0, 2)), &extra);
        assert!(text.ends_with("10.0.0.9\tdb\n172.17.0.2\tbox\n"), "{text}");
    }
}
