//! Slows down the guessing of passwords.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Over how long failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// How many accounts and addresses are counted at most; past it, everything is forgotten. One address alone can't get
/// there: it is stopped after its own failures.
const COUNTED: usize = 65_536;

/// Counts failed logins by account and by address.
#[derive(Debug)]
pub struct Throttle {
    per_account: u32,
    per_address: u32,
    failures: Mutex<HashMap<Whose, Window>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Whose {
    Account(String),
    Address(IpAddr),
}

#[derive(Debug)]
struct Window {
    since: Instant,
    failures: u32,
}

impl Throttle {
    /// Allows so many failures a minute.
    pub fn new(per_account: u32, per_address: u32) -> Self {
        Self {
            per_account,
            per_address,
            failures: Mutex::default(),
        }
    }

    /// Lets a login be tried, or says when to come back.
    ///
    /// # Errors
    /// The time until the account, or the address, may try again.
    pub fn check(&self, account: &str, address: IpAddr) -> Result<(), Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        for (whose, limit) in self.counted(account, address) {
            if let Some(window) = failures.get(&whose)
                && window.failures >= limit
                && let Some(left) = WINDOW.checked_sub(window.since.elapsed())
            {
                return Err(left.max(Duration::from_secs(1)));
            }
        }
        Ok(())
    }

    /// Counts a failed login.
    pub fn failed(&self, account: &str, address: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= COUNTED {
            failures.retain(|_, window| window.since.elapsed() < WINDOW);
            if failures.len() >= COUNTED {
                failures.clear();
            }
        }
        for (whose, _) in self.counted(account, address) {
            let window = failures.entry(whose).or_insert_with(|| Window {
                since: Instant::now(),
                failures: 0,
            });
            if window.since.elapsed() >= WINDOW {
                *window = Window {
                    since: Instant::now(),
                    failures: 0,
                };
            }
            window.failures = window.failures.saturating_add(1);
        }
    }

    fn counted(&self, account: &str, address: IpAddr) -> [(Whose, u32); 2] {
        // Who has one IPv6 address has its network's 2^64.
        let address = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
            v4 @ IpAddr::V4(_) => v4,
        };
        let account = account.chars().take(255).collect();
        [
            (Whose::Account(account), self.per_account),
            (Whose::Address(address), self.per_address),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_account_is_stopped_from_every_address() {
        let throttle = Throttle::new(2, 100);
        throttle.failed("bob", address("10.0.0.1"));
        assert!(throttle.check("bob", address("10.0.0.3")).is_ok());
        throttle.failed("bob", address("10.0.0.2"));
        assert!(throttle.check("bob", address("10.0.0.3")).is_err());
        assert!(throttle.check("alice", address("10.0.0.1")).is_ok());
    }

    #[test]
    fn an_address_is_stopped_for_every_account_and_ipv6_by_its_network() {
        let throttle = Throttle::new(100, 2);
        throttle.failed("a", address("2001:db8::1"));
        throttle.failed("b", address("2001:db8::2"));
        assert!(throttle.check("c", address("2001:db8::3")).is_err());
        assert!(throttle.check("c", address("2001:db8:0:1::3")).is_ok());
    }
}
