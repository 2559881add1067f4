//! The W3C trace context of a request: what a caller's trace and the lines of this peer's log have in
//! common.

use http::HeaderMap;

/// The trace that a request belongs to: 32 hex digits out of its `traceparent`
/// (<https://www.w3.org/TR/trace-context/>), if that is whole.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = parts.next()?;
    // Later versions may say more behind; version ff never comes.
    let whole = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    let known = version != "ff" && (version != "00" || parts.next().is_none());
    let some = trace.bytes().any(|b| b != b'0') && parent.bytes().any(|b| b != b'0');
    (whole && known && some).then_some(trace)
}

fn is_hex(text: &str, digits: usize) -> bool {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == digits && text.bytes().all(lower)
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_tests::fuzz;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", text.parse().ok()?);
        trace_id(&headers).map(str::to_owned)
    }

    #[test]
    fn the_example_of_the_standard_is_read_and_what_it_forbids_is_not() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(read(&good).as_deref(), Some(id));
        assert_eq!(
            read(&format!("cc-{id}-00f067aa0ba902b7-01-more")).as_deref(),
            Some(id)
        );
        for bad in [
            format!("{good}-more"),
            good.to_uppercase(),
            format!("ff-{id}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{id}-0000000000000000-01"),
            format!("00-{id}"),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn changed_headers_are_a_whole_trace_or_none() {
        let mut seeds = fuzz::recorded();
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        seeds.extend(vec![good.as_bytes().to_vec(); 1000]);
        fuzz::feed(&seeds, |_, text| {
            if let Some(id) = read(text) {
                assert!(is_hex(&id, 32), "{text:?}");
            }
        });
    }

    proptest! {
        #[test]
        fn garbage_is_no_trace(text in "[ -~]{0,70}") {
            if let Some(id) = read(&text) {
                prop_assert!(is_hex(&id, 32));
            }
        }
    }
}
