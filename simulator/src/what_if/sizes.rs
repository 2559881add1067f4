//! How large pins really are: an export does not say, a list beside it can.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::id::Cid;

/// Bytes of content by CID.
pub type Sizes = BTreeMap<Cid, u64>;

/// Reads a list: a CID and its bytes per line, with blanks or a comma between them. Empty lines and
/// those that begin with `#` are skipped.
pub fn read_sizes(text: &str) -> Result<Sizes, String> {
    let lines = text.lines().zip(1..).map(|(line, n)| (line.trim(), n));
    let said = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    said.map(|(line, n)| {
        let wrong = || format!("line {n}: {line:?} is no CID and a number of bytes");
        let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        let (Some(cid), Some(bytes), None) = (words.next(), words.next(), words.next()) else {
            return Err(wrong());
        };
        let cid = cid.parse().map_err(|_| wrong())?;
        Ok((cid, bytes.parse().map_err(|_| wrong())?))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_errors_name_the_line() {
        let cid = crate::workload::cid(1).unwrap();
        let sizes = read_sizes(&format!("# ours\n\n{cid} 17\n")).unwrap();
        assert_eq!(sizes, [(cid, 17)].into());
        assert_eq!(read_sizes(&format!("{cid},18")).unwrap()[&cid], 18);
        for bad in [
            "x 17".to_owned(),
            format!("{cid}"),
            format!("{cid} -1"),
            format!("{cid} 1 2"),
        ] {
            let error = read_sizes(&format!("#\n{bad}")).unwrap_err();
            assert!(error.starts_with("line 2: "), "{error}");
        }
    }
}
