//! `/dnsaddr/NAME`: the addresses that stand in the TXT records of `_dnsaddr.NAME`.

use hickory_resolver::{TokioResolver, proto::rr::RData};

use super::{addr::Target, error::Error};

/// Names that lead to names, at most.
const DEPTH: usize = 4;
/// Addresses taken from names, at most.
const ADDRESSES: usize = 64;

/// Replaces names by the addresses they stand for, in their place. Other targets stay as they are.
pub async fn resolve(targets: Vec<Target>) -> Result<Vec<Target>, Error> {
    let mut open: Vec<(Target, usize)> = targets.into_iter().rev().map(|t| (t, DEPTH)).collect();
    let mut found = Vec::new();
    while let Some((target, depth)) = open.pop() {
        let Target::DnsAddr(name) = &target else {
            found.push(target);
            continue;
        };
        let refuse = |why: &str| Error::Address {
            text: target.to_string(),
            why: why.to_owned(),
        };
        if depth == 0 {
            return Err(refuse("it leads from name to name"));
        }
        let listed = listed(&texts(name).await.map_err(|e| refuse(&e))?);
        if listed.is_empty() {
            return Err(refuse("its TXT records name no address that can be used"));
        }
        if open.len() + found.len() + listed.len() > ADDRESSES {
            return Err(refuse("it stands for too many addresses"));
        }
        open.extend(listed.into_iter().rev().map(|t| (t, depth - 1)));
    }
    Ok(found)
}

/// The TXT records of a name.
async fn texts(name: &str) -> Result<Vec<String>, String> {
    let resolver = TokioResolver::builder_tokio().map_err(|e| e.to_string())?;
    let resolver = resolver.build().map_err(|e| e.to_string())?;
    let answer = resolver.txt_lookup(format!("_dnsaddr.{name}")).await;
    let answer = answer.map_err(|e| e.to_string())?;
    let texts = answer
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        });
    Ok(texts
        .map(|t| String::from_utf8_lossy(&t).into_owned())
        .collect())
}

/// The targets that records name; others' records are skipped.
fn listed(texts: &[String]) -> Vec<Target> {
    let named = texts
        .iter()
        .filter_map(|text| text.strip_prefix("dnsaddr="));
    named.filter_map(|text| Target::parse(text).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";

    #[test]
    fn records_name_targets_of_every_kind() {
        let texts = [
            "dnsaddr=/ip4/192.0.2.1/tcp/9094".to_owned(),
            "v=spf1 -all".to_owned(),
            format!("dnsaddr=/ip4/192.0.2.1/tcp/9096/p2p/{PEER}"),
            "dnsaddr=/dnsaddr/b.example".to_owned(),
            "dnsaddr=nonsense".to_owned(),
        ];
        let found: Vec<String> = listed(&texts).iter().map(ToString::to_string).collect();
        let swarm = format!("/ip4/192.0.2.1/tcp/9096/p2p/{PEER}");
        assert_eq!(found, ["192.0.2.1:9094", &swarm, "/dnsaddr/b.example"]);
    }

    #[tokio::test]
    async fn what_is_no_name_stays_in_its_place() {
        let list = Target::parse_list("/unix/a,/ip4/192.0.2.1/tcp/1").unwrap();
        assert_eq!(resolve(list.clone()).await.unwrap(), list);
    }
}
