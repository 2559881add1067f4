//! Use cases of the Pinning Service API.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::atomic::Ordering,
};

use ipfs_cluster_protocol::{
    api::{
        pinning::{Filter, PinResults, PinStatus, Status, Wanted},
        time::Time,
    },
    id::{Cid, Seq},
    limits,
    pin::{Pin, PinSpec, PinType, Replication},
    request::{Request, RequestId, RequestKey},
    rpc::Op,
    state::query,
};

use super::{Cluster, error::ClusterError, shown::Roster};

/// What is said of every request.
const INFO: [(&str, &str); 1] = [("source", "IPFS cluster API")];

/// Something that a list may show: a request, or a pin that nobody requested, which older clients
/// know by its CID.
#[derive(Debug, Clone)]
struct Entry {
    key: RequestKey,
    created: Time,
    wanted: Wanted,
    pin: Pin,
}

impl Entry {
    fn of_request(request: Request, pin: Pin) -> Self {
        Self {
            key: RequestKey::Id(request.id),
            created: request.id.created(),
            wanted: Wanted {
                cid: pin.spec.cid,
                name: request.name,
                origins: request.origins,
                meta: request.metadata,
            },
            pin,
        }
    }

    fn of_pin(pin: Pin) -> Self {
        let spec = &pin.spec;
        Self {
            key: RequestKey::Cid(spec.cid),
            created: Time::from(pin.timestamp),
            wanted: Wanted {
                cid: spec.cid,
                name: spec.name.clone(),
                origins: spec.origins.clone(),
                meta: spec.metadata.clone(),
            },
            pin,
        }
    }
}

impl Cluster {
    /// Accepts a request for a pin, in the place of another if that is named.
    pub async fn request(
        &self,
        wanted: Wanted,
        replaces: Option<RequestKey>,
    ) -> Result<PinStatus, ClusterError> {
        let (min, max) = self.0.settings.default_factors;
        let replication =
            Replication::new(min, max).map_err(|e| ClusterError::Invalid(e.to_string()))?;
        let mut spec = PinSpec::new(wanted.cid, replication);
        spec.name.clone_from(&wanted.name);
        spec.origins.clone_from(&wanted.origins);
        spec.metadata.clone_from(&wanted.meta);
        let id = self.next_request_id().await?;
        let op = Op::Request {
            id,
            spec: Box::new(spec),
            replaces,
        };
        let (pin, _) = self.landed(self.submit(op).await?)?;
        let entry = Entry {
            key: RequestKey::Id(id),
            created: id.created(),
            wanted,
            pin,
        };
        // It was accepted just now: nobody can have done more than queue it.
        Ok(self.pin_status(entry, Status::Queued))
    }

    /// An id that was never given.
    async fn next_request_id(&self) -> Result<RequestId, ClusterError> {
        let me = self.0.me.clone();
        let member = self.read(move |state| query::member(state, &me)).await?;
        let member = member.ok_or_else(|| {
            ClusterError::Unavailable("this peer is not a member of the cluster".into())
        })?;
        let now = self.wall_clock();
        let after = |last: u64| Some(now.0.max(last + 1));
        let last = &self.0.last_request;
        let before = last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        let ms = now.0.max(before.unwrap_or_default() + 1);
        let at = ipfs_cluster_protocol::time::Timestamp(ms);
        Ok(RequestId::new(at, member.no))
    }

    /// Withdraws a request. A CID stands for its pin with all requests for it.
    pub async fn withdraw(&self, key: RequestKey) -> Result<(), ClusterError> {
        match key {
            RequestKey::Id(id) => self.submit(Op::Withdraw { id }).await.map(drop),
            RequestKey::Cid(cid) => self.unpin(cid).await.map(drop),
        }
    }

    /// A request. A CID stands for the newest one for it, or for its pin.
    pub async fn requested(&self, key: RequestKey) -> Result<PinStatus, ClusterError> {
        let found = self.read(move |state| {
            let id = match key {
                RequestKey::Id(id) => id,
                RequestKey::Cid(cid) => {
                    let Some(pin) = query::pin_by_cid(state, &cid)? else {
                        return Ok(None);
                    };
                    // Named by its CID it is shown by its CID: that is what the client knows.
                    let newest = match query::requests_of(state, pin.seq)?.last() {
                        Some(id) => query::request(state, *id)?,
                        None => None,
                    };
                    return Ok(Some(match newest {
                        Some(request) => Entry {
                            key,
                            ..Entry::of_request(request, pin)
                        },
                        None => Entry::of_pin(pin),
                    }));
                }
            };
            let Some(request) = query::request(state, id)? else {
                return Ok(None);
            };
            let pin = query::stored(state, request.seq)?.and_then(query::Stored::live);
            Ok(pin.map(|pin| Entry::of_request(request, pin)))
        });
        let entry = found.await?.ok_or(ClusterError::NotPinned)?;
        let roster = self.roster(false).await?;
        match self.request_status(&entry.pin, &roster) {
            Some(status) => Ok(self.pin_status(entry, status)),
            None => Err(ClusterError::NotPinned),
        }
    }

    /// The newest requests that match, and how many match in all.
    pub async fn requests(&self, filter: Filter) -> Result<PinResults, ClusterError> {
        let mut page = Page {
            roster: self.roster(false).await?,
            count: 0,
            newest: BinaryHeap::new(),
            filter,
        };
        if page.filter.cids.is_empty() {
            self.all_requests(&mut page).await?;
            self.all_unrequested(&mut page).await?;
        } else {
            for cid in page.filter.cids.clone() {
                for entry in self.entries_of(cid).await? {
                    page.take(self, entry);
                }
            }
        }
        let mut newest = page.newest.into_sorted_vec();
        newest.truncate(page.filter.limit);
        let shown = |Reverse(kept): Reverse<Kept>| self.pin_status(kept.entry, kept.status);
        Ok(PinResults {
            count: page.count,
            results: newest.into_iter().map(shown).collect(),
        })
    }

    async fn all_requests(&self, page: &mut Page) -> Result<(), ClusterError> {
        let mut next = Some(RequestId(0));
        while let Some(from) = next {
            let read = self.read(move |state| {
                let (requests, next) = query::requests(state, from, limits::LIST_PAGE_PINS)?;
                let mut entries = Vec::with_capacity(requests.len());
                for request in requests {
                    let pin = query::stored(state, request.seq)?.and_then(query::Stored::live);
                    entries.extend(pin.map(|pin| Entry::of_request(request, pin)));
                }
                Ok((entries, next))
            });
            let (entries, after) = read.await?;
            for entry in entries {
                page.take(self, entry);
            }
            next = after;
        }
        Ok(())
    }

    async fn all_unrequested(&self, page: &mut Page) -> Result<(), ClusterError> {
        let mut next = Some(Seq(0));
        while let Some(from) = next {
            let read = self.read(move |state| {
                let found = query::pins(state, from, limits::LIST_PAGE_PINS, &|_| true)?;
                let mut entries = Vec::with_capacity(found.items.len());
                for pin in found.items {
                    if query::requests_of(state, pin.seq)?.is_empty() {
                        entries.push(Entry::of_pin(pin));
                    }
                }
                Ok((entries, found.next))
            });
            let (entries, after) = read.await?;
            for entry in entries {
                page.take(self, entry);
            }
            next = after;
        }
        Ok(())
    }

    async fn entries_of(&self, cid: Cid) -> Result<Vec<Entry>, ClusterError> {
        self.read(move |state| {
            let Some(pin) = query::pin_by_cid(state, &cid)? else {
                return Ok(Vec::new());
            };
            let mut entries = Vec::new();
            for id in query::requests_of(state, pin.seq)? {
                let request = query::request(state, id)?;
                entries.extend(request.map(|r| Entry::of_request(r, pin.clone())));
            }
            if entries.is_empty() {
                entries.push(Entry::of_pin(pin));
            }
            Ok(entries)
        })
        .await
    }

    fn request_status(&self, pin: &Pin, roster: &Roster) -> Option<Status> {
        if pin.spec.pin_type != PinType::Data {
            return None;
        }
        let info = self.0.tables.look(|look| roster.pin(pin, look));
        Status::of(info.peer_map.values().map(|peer| peer.status))
    }

    fn pin_status(&self, entry: Entry, status: Status) -> PinStatus {
        let info = INFO.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        PinStatus {
            requestid: match entry.key {
                RequestKey::Id(id) => id.to_string(),
                RequestKey::Cid(cid) => cid.to_string(),
            },
            status,
            created: entry.created,
            pin: entry.wanted,
            delegates: self.delegates(&entry.pin),
            info: info.collect::<BTreeMap<_, _>>(),
        }
    }

    /// Addresses of the IPFS nodes that fetch a pin.
    fn delegates(&self, pin: &Pin) -> Vec<String> {
        let members = self.0.consensus.members();
        let everybody: Vec<_> = members.borrow().keys().cloned().collect();
        let peers = if pin.allocations.is_empty() {
            everybody
        } else {
            pin.allocations.clone()
        };
        let pings = peers.iter().filter_map(|peer| self.0.monitor.ping(peer));
        let addresses = pings.flat_map(|ping| ping.ipfs_addresses);
        addresses.take(limits::PING_ADDRESSES_MAX).collect()
    }
}

/// What a list has come to.
struct Page {
    filter: Filter,
    roster: Roster,
    count: u64,
    /// The newest so far, the oldest of them on top.
    newest: BinaryHeap<Reverse<Kept>>,
}

/// An entry in its place: by time, and by id where times are the same.
struct Kept {
    entry: Entry,
    status: Status,
}

impl Kept {
    fn place(&self) -> (Time, Seq) {
        (self.entry.created, self.entry.pin.seq)
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

impl Page {
    /// Counts an entry that matches, and keeps it if it is among the newest.
    fn take(&mut self, cluster: &Cluster, entry: Entry) {
        let wanted = &entry.wanted;
        if !self
            .filter
            .matches(&wanted.name, entry.created, &wanted.meta)
        {
            return;
        }
        let status = cluster.request_status(&entry.pin, &self.roster);
        let Some(status) = status.filter(|s| self.filter.matches_status(Some(*s))) else {
            return;
        };
        self.count += 1;
        self.newest.push(Reverse(Kept { entry, status }));
        if self.newest.len() > self.filter.limit {
            self.newest.pop();
        }
    }
}
