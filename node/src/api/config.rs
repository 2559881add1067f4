//! What the configuration's HTTP sections mean to the servers.

use std::{collections::BTreeMap, fmt, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{ApiConfig, Cors, Credentials, ProxiedNode, ProxyConfig, ServerLimits};
use crate::config;

/// Stands for "without limit", which a timer cannot be.
const WITHOUT_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// A header that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderError {
    /// Its name.
    pub name: String,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no HTTP header, or its value is none", self.name)
    }
}

impl std::error::Error for HeaderError {}

/// How long things may take, as configured.
struct Times {
    read: Duration,
    head: Duration,
    write: Duration,
    idle: Duration,
}

fn limits(times: &Times, head_bytes: usize) -> ServerLimits {
    let limit = |d: Duration| if d.is_zero() { WITHOUT_LIMIT } else { d };
    let optional = |d: Duration| Some(d).filter(|d| !d.is_zero());
    let default = ServerLimits::default();
    ServerLimits {
        head_timeout: limit(times.head),
        idle_timeout: limit(times.idle),
        read_timeout: optional(times.read),
        write_timeout: optional(times.write),
        head_bytes_max: if head_bytes == 0 {
            default.head_bytes_max
        } else {
            head_bytes
        },
        ..default
    }
}

fn name(text: &str) -> Result<HeaderName, HeaderError> {
    text.parse().map_err(|_| HeaderError {
        name: text.to_owned(),
    })
}

fn headers(
    map: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<(HeaderName, HeaderValue)>, HeaderError> {
    let mut all = Vec::new();
    for (key, values) in map {
        for value in values {
            let value =
                HeaderValue::from_str(value).map_err(|_| HeaderError { name: key.clone() })?;
            all.push((name(key)?, value));
        }
    }
    Ok(all)
}

impl From<&config::Cors> for Cors {
    fn from(c: &config::Cors) -> Self {
        Self {
            origins: c.allowed_origins.clone(),
            methods: c.allowed_methods.clone(),
            headers: c.allowed_headers.clone(),
            exposed: c.exposed_headers.clone(),
            credentials: c.allow_credentials,
            max_age: c.max_age,
        }
    }
}

impl TryFrom<&config::HttpServer> for ApiConfig {
    type Error = HeaderError;

    fn try_from(c: &config::HttpServer) -> Result<Self, HeaderError> {
        let users = c.basic_auth.iter().flatten();
        let users = users.map(|(user, password)| (user.clone(), password.expose().clone()));
        Ok(Self {
            listen: c.listen.clone(),
            tls: None,
            limits: limits(
                &Times {
                    read: c.read_timeout,
                    head: c.read_header_timeout,
                    write: c.write_timeout,
                    idle: c.idle_timeout,
                },
                c.max_header_bytes,
            ),
            log_file: c.log_file.clone(),
            credentials: Credentials::new(users.collect()),
            cors: Cors::from(&c.cors),
            headers: headers(&c.headers)?,
        })
    }
}

impl ProxyConfig {
    /// As configured, in front of `node`.
    pub fn new(c: &config::Proxy, node: ProxiedNode) -> Result<Self, HeaderError> {
        let extra = c.extract_headers.iter().map(|text| name(text));
        Ok(Self {
            listen: c.listen.clone(),
            limits: limits(
                &Times {
                    read: c.read_timeout,
                    head: c.read_header_timeout,
                    write: c.write_timeout,
                    idle: c.idle_timeout,
                },
                c.max_header_bytes,
            ),
            log_file: c.log_file.clone(),
            node,
            extract_headers: extra.collect::<Result<_, _>>()?,
            extract_path: c.extract_headers_path.clone(),
            extract_ttl: c.extract_headers_ttl,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_is_no_limit_and_headers_are_checked() {
        let times = Times {
            read: Duration::ZERO,
            head: Duration::ZERO,
            write: Duration::from_secs(2),
            idle: Duration::from_secs(1),
        };
        let l = limits(&times, 0);
        assert_eq!(
            (l.read_timeout, l.write_timeout),
            (None, Some(Duration::from_secs(2)))
        );
        assert_eq!(
            (l.head_timeout, l.idle_timeout),
            (WITHOUT_LIMIT, Duration::from_secs(1))
        );
        let two = BTreeMap::from([("X-A".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        assert_eq!(headers(&two).unwrap().len(), 2);
        let bad = BTreeMap::from([("X A".to_owned(), vec!["1".to_owned()])]);
        assert_eq!(headers(&bad).unwrap_err().name, "X A");
        let bad = BTreeMap::from([("X-A".to_owned(), vec!["1\n2".to_owned()])]);
        assert!(headers(&bad).is_err());
    }
}
