//! The `Authorization` header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a request shows of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// Nothing.
    None,
    /// Something that can't be read: as good as wrong.
    Unreadable,
    /// A name and a password.
    Basic {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// A token.
    Bearer(&'a str),
}

impl<'a> Credentials<'a> {
    /// Reads the header's value (RFC 7617, RFC 6750). The scheme's case does not matter.
    pub fn parse(header: Option<&'a [u8]>) -> Self {
        let Some(header) = header else { return Self::None };
        let Some((scheme, rest)) = std::str::from_utf8(header)
            .ok()
            .and_then(|text| text.split_once(' '))
        else {
            return Self::Unreadable;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Bearer(rest);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Unreadable;
        }
        let decoded = STANDARD
            .decode(rest)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            // Some clients send an empty login where they have none.
            Some(("", "")) => Self::None,
            Some((name, password)) => Self::Basic {
                name: name.to_owned(),
                password: password.to_owned(),
            },
            None => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_password_may_hold_colons() {
        let header = format!("basic {}", STANDARD.encode("bob:a:b"));
        let basic = Credentials::Basic {
            name: "bob".to_owned(),
            password: "a:b".to_owned(),
        };
        assert_eq!(Credentials::parse(Some(header.as_bytes())), basic);
    }

    #[test]
    fn what_cannot_be_read_is_not_nothing() {
        for header in ["", "Basic", "Basic !", "Basic Ym9i", "Digest x", "Bearer"] {
            assert_eq!(
                Credentials::parse(Some(header.as_bytes())),
                Credentials::Unreadable,
                "{header:?}"
            );
        }
        assert_eq!(Credentials::parse(None), Credentials::None);
    }

    proptest! {
        #[test]
        fn a_login_is_read_back_as_it_was_written(name in "[^:]{1,20}", password in ".{0,40}") {
            let header = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
            prop_assert_eq!(Credentials::parse(Some(header.as_bytes())), Credentials::Basic { name, password });
        }

        #[test]
        fn no_header_is_too_much(header in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Credentials::parse(Some(&header));
        }
    }
}
