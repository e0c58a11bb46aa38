//! The parts of an address that is called. The state holds only those that [`domain::command`] has checked.

/// `http` or `https`, host, port and what is asked for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) target: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Option<Url> {
        let (tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        if !text.chars().all(|c| c.is_ascii_graphic() && c != '#') {
            return None;
        }
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(split);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
        let (host, port) = match colon {
            Some(colon) => (&authority[..colon], authority[colon + 1..].parse().ok()?),
            None => (authority, if tls { 443 } else { 80 }),
        };
        (!host.is_empty() && !host.contains('@') && port > 0).then(|| Url { tls, host: host.to_owned(), port, target })
    }

    /// As the `Host` header names it.
    pub(crate) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// Host and port of `host:port`.
pub(crate) fn host_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<(bool, &str, u16, &str)>) {
        let found = Url::parse(text);
        assert_eq!(found.as_ref().map(|url| (url.tls, url.host.as_str(), url.port, url.target.as_str())), expect, "{text}");
    }

    #[test]
    fn addresses_are_taken_apart() {
        check("https://hooks.example/in?x=1", Some((true, "hooks.example", 443, "/in?x=1")));
        check("http://hooks.example:8080", Some((false, "hooks.example", 8080, "/")));
        check("https://[::1]:8443/a", Some((true, "[::1]", 8443, "/a")));
        check("https://[fd00::2]/a", Some((true, "[fd00::2]", 443, "/a")));
        check("https://h?x", Some((true, "h", 443, "/?x")));
        for bad in
            ["", "ftp://h/", "https://", "https:///a", "https://u@h/", "https://h:0/", "https://h:x/", "https://h/a b", "https://h/#a"]
        {
            check(bad, None);
        }
    }
}
