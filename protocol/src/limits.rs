//! Every bound of the program in one place, with the relations between them asserted.

use crate::id::Epoch;

/// Commands in one log entry.
pub const ENTRY_COMMANDS_MAX: usize = 1024;
/// Encoded bytes of one log entry.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// Encoded bytes of one pin (spec and placement).
pub const PIN_BYTES_MAX: usize = 64 * 1024;
/// Bytes of what a user can make long in a pin's spec, without its allocations.
pub const SPEC_BYTES_MAX: usize = 12 * 1024;
/// Pins that one report of a peer's unpinning names.
pub const GONE_SEQS_MAX: usize = 1024;
/// Sizes of pins that one report tells.
pub const SIZES_PER_REPORT_MAX: usize = 1024;
/// Sizes of pins that wait to be told; what is beyond is not kept.
pub const SIZES_WAITING_MAX: usize = 16 * 1024;
/// Reports of one size; after the last it stays unknown until the pin is fetched again.
pub const SIZE_TELLS_MAX: u32 = 3;
/// Turns that a holder waits before it tells a size.
pub const SIZE_TURNS_MAX: u32 = 60;
/// Pins of a removed member that one command forgets.
pub const SWEEP_SEQS_MAX: usize = 1024;
/// Applied commands above its floor that a session remembers.
pub const SESSION_WINDOW_MAX: u64 = 16 * 1024;
/// Labels of a member.
pub const LABELS_MAX: usize = 64;
/// Bytes of a member's name, and of a label's key or value.
pub const LABEL_BYTES_MAX: usize = 256;
/// Bytes of one row of the state.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;
/// Rows that one query returns.
pub const PAGE_MAX: usize = 4096;
/// Encoded bytes at which an append request takes no further entry.
pub const APPEND_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one frame on a stream between peers.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Append requests in flight to one follower.
pub const APPEND_IN_FLIGHT_MAX: usize = 64;
/// Voters that hold the log.
pub const VOTERS_MAX: usize = 7;
/// Learners: ready to replace a voter, and all further members until the log can be read from others than
/// the leader.
pub const STAND_INS_MAX: usize = 25;
/// The highest epoch: each one numbers its pins in a range of its own.
pub const EPOCH_MAX: Epoch = Epoch(u32::MAX as u64);
/// A recovery raises the epoch by a number drawn from 1 up to this: two recoveries of one cluster
/// that know nothing of each other must not come to the same epoch.
pub const EPOCH_STEP_MAX: u64 = 1 << 20;
/// Entries whose state hashes a peer remembers, to compare them with those of others.
pub const WITNESS_ENTRIES_MAX: usize = 16 * 1024;
/// State hashes that are kept of each other member, and that one message may carry.
pub const WITNESS_STATEMENTS_MAX: usize = 8;
/// Members of a cluster.
pub const MEMBERS_MAX: usize = 1024;
/// Bytes of applied commands that wait to be written to the state file.
pub const OVERLAY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one gossip message.
pub const GOSSIP_BYTES_MAX: usize = 256 * 1024;
/// Characters of a pin's name.
pub const NAME_CHARS_MAX: usize = 255;
/// Key/value pairs of a pin's metadata.
pub const METADATA_PAIRS_MAX: usize = 1024;
/// Requests of the Pinning Service API for one CID.
pub const REQUESTS_PER_PIN_MAX: usize = 256;
/// Requests of the Pinning Service API in one answer.
pub const REQUESTS_LISTED_MAX: usize = 1000;
/// Origins of a pin.
pub const ORIGINS_MAX: usize = 64;
/// User allocations of a pin.
pub const USER_ALLOCATIONS_MAX: usize = MEMBERS_MAX;
/// Bytes of an IPFS block (bitswap's and Kubo's limit is 2 MiB; a wire message holds one whole).
pub const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a chunk of a file: a block with room for its UnixFS envelope.
pub const CHUNK_BYTES_MAX: usize = BLOCK_BYTES_MAX - 256;
/// Links of a node of a file; a link takes its CID and up to 32 bytes for its length and sizes.
pub const FILE_LINKS_MAX: usize = 8192;
/// Levels of a file read back.
pub const FILE_DEPTH_MAX: usize = 64;
/// Names of a path.
pub const PATH_DEPTH_MAX: usize = 256;
/// Bytes of names and CIDs from which on a folder is sharded (Kubo's threshold).
pub const DIRECTORY_BYTES_MAX: usize = 256 * 1024;
/// Blocks that garbage collection marks: what pins of an IPFS node hold (17 bytes each in memory).
pub const GC_MARKS_MAX: usize = 16 * 1024 * 1024;
/// Blocks put and not yet pinned that garbage collection remembers; with more it waits.
pub const GC_TOUCHED_MAX: usize = 2 * 1024 * 1024;
/// Bytes of the digest in a CID: of a block that its name carries (Kubo's bound).
pub const CID_DIGEST_BYTES_MAX: usize = 128;
/// Bytes of a CID: a version, two numbers of up to 9 bytes, and a length before the digest.
pub const CID_BYTES_MAX: usize = CID_DIGEST_BYTES_MAX + 21;
/// Maps and lists within each other in a block that is shown as JSON (serde_json's bound).
pub const IPLD_DEPTH_MAX: usize = 128;
/// Blocks that one shard lists, and shards that one cluster DAG lists, so that the list is one block
/// (the Go cluster's number).
pub const SHARD_LINKS_MAX: usize = 5984;
/// Bytes of a shard where no size is given (the Go cluster's).
pub const SHARD_BYTES: u64 = 100 * 1024 * 1024;
/// Parts of a sharded DAG that are unpinned at a time.
pub const SHARDS_UNPINNED_MAX: usize = 64;
/// Entries of a folder that the gateway shows on one page.
pub const GATEWAY_ENTRIES_MAX: usize = 10_000;
/// Bytes of the header of a CAR archive.
pub const CAR_HEADER_BYTES_MAX: usize = 1024 * 1024;
/// Roots of a CAR archive.
pub const CAR_ROOTS_MAX: usize = 8192;
/// Links of a block of a sharded folder (Kubo's bound).
pub const HAMT_FANOUT_MAX: usize = 1024;
/// Blocks of a sharded folder that are read to list it.
pub const HAMT_NODES_MAX: usize = 1024 * 1024;
/// Levels of a sharded folder: the 64 bits of a name's hash, three at a time.
pub const HAMT_DEPTH_MAX: usize = 22;
/// Bytes of one bitswap message.
pub const BITSWAP_MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of bitswap messages of all peers that are being read or handled.
pub const BITSWAP_READ_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages of one peer that are being read or handled.
pub const BITSWAP_READS_PER_PEER_MAX: usize = 4;
/// Bytes of blocks from which on a bitswap message takes no further one.
pub const BITSWAP_BATCH_BYTES_MAX: usize = 512 * 1024;
/// Entries of one message's wantlist that are read, and wants remembered per peer.
pub const BITSWAP_WANTS_PER_PEER_MAX: usize = 4096;
/// Blocks asked of the network at a time; Kubo remembers 1024 wants of a peer.
pub const BITSWAP_WANTS_MAX: usize = 512;
/// Answers that wait to be sent to one peer; then no more of its messages are read.
pub const BITSWAP_ANSWERS_PER_PEER_MAX: usize = 8192;
/// Wants and cancels that wait to be sent to one peer.
pub const BITSWAP_ASKS_PER_PEER_MAX: usize = 4096;
/// Peers connected to the embedded IPFS node.
pub const IPFS_PEERS_MAX: u32 = 512;
/// Connections of one such peer.
pub const IPFS_CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// Inbound streams of all such connections that are being served.
pub const IPFS_STREAMS_MAX: usize = 8192;
/// Addresses that the embedded IPFS node keeps dialling.
pub const IPFS_DIALS_MAX: usize = 4 * MEMBERS_MAX;
/// Blocks of one DAG that are fetched at a time.
pub const DAG_FETCHES_MAX: usize = 128;
/// Bytes of them, by the mean of those that came before.
pub const DAG_FETCH_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Links of one DAG that wait to be followed.
pub const DAG_PENDING_MAX: usize = 1024 * 1024;
/// Inner nodes of one DAG remembered as seen; further ones are visited each time they are linked.
pub const DAG_SEEN_MAX: usize = 512 * 1024;
/// Missing or corrupt blocks told of one pin.
pub const BAD_BLOCKS_MAX: usize = 1024;
/// Leaves of a file read ahead of its reader.
pub const FILE_AHEAD_MAX: usize = 16;
/// Blocks written in one go, and their bytes.
pub const STORE_BATCH_BLOCKS_MAX: usize = 64;
/// Bytes of a block that shares a file with others (a pack).
pub const PACKED_BLOCK_BYTES_MAX: usize = 512 * 1024;
/// Bytes of blocks written to a pack before they are synced.
pub const PACK_WRITE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Leaves of which is remembered that they link to nothing.
pub const LEAVES_KNOWN_MAX: usize = 128 * 1024;
/// Bytes and blocks at which a pack takes no more; one batch may go beyond.
pub const PACK_BYTES: u64 = 16 * 1024 * 1024;
/// See [`PACK_BYTES`].
pub const PACK_RECORDS_MAX: usize = 8 * 1024;
/// Bytes of the list of blocks at the end of a pack.
pub const PACK_FOOTER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a pack in all.
pub const PACK_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of imported blocks that wait to be written.
pub const IMPORT_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one frame of the file of pins.
pub const PIN_FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the file of pins.
pub const PIN_FILE_BYTES_MAX: u64 = 1 << 30;
/// HTTP connections to one server, busy and idle, unless told otherwise.
pub const HTTP_CONNECTIONS_MAX: usize = 128;
/// Idle HTTP connections to one server; of more, the oldest is closed.
pub const HTTP_IDLE_MAX: usize = 16;
/// Bytes of an HTTP response's head.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Blocks in one request to an IPFS node.
pub const BLOCK_PUT_BLOCKS_MAX: usize = 256;
/// Bytes of a pin's name that an IPFS node takes.
pub const IPFS_PIN_NAME_BYTES_MAX: usize = 255;
/// Writes of one follower under way at the leader.
pub const FORWARD_IN_FLIGHT_MAX: usize = 4096;
/// Questions of other peers under way at once.
pub const RPC_IN_FLIGHT_MAX: usize = 256;
/// Times a placement is decided anew because the pin changed meanwhile.
pub const DECISIONS_MAX: usize = 16;
/// Pins read from the state at once for a list.
pub const LIST_PAGE_PINS: usize = 256;
/// Pins of an IPFS node that are listed at once; with more, each is asked for by itself.
pub const LISTED_PINS_MAX: usize = 16 << 20;
/// Pins that one `recover` of everything queues.
pub const RECOVERED_PINS_MAX: usize = 65_536;
/// Bytes of blocks in one frame of an add, unless one block alone is larger.
pub const BLOCK_BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a JSON body.
pub const JSON_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Characters of a duration.
pub const DURATION_CHARS_MAX: usize = 64;
/// Bytes of a file in the configuration folder.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Addresses asked one after the other for a configuration.
pub const CONFIG_REDIRECTS_MAX: usize = 10;
/// Bytes of an encoded `Hello` or its answer.
pub const HELLO_BYTES_MAX: usize = 4096;
/// Reads thrown away before hanging up on a wrong secret, as an unread byte would turn the end
/// into a reset.
pub const NET_DRAIN_READS_MAX: usize = 64;
/// Bytes of the `peerstore` file.
pub const PEERSTORE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Lines of the `peerstore` file that are used.
pub const PEERSTORE_LINES_MAX: usize = 16 * 1024;
/// Commands that wait for the network's event loop.
pub const NET_COMMANDS_MAX: usize = 512;
/// Streams being negotiated on one connection: bursts are normal.
pub const NET_NEGOTIATING_MAX: usize = 1024;
/// Room for the envelope around a gossip body, gossipsub's own fields included.
pub const GOSSIP_ENVELOPE_BYTES_MAX: usize = 4096;
/// Messages that a heartbeat of gossip announces to one peer.
pub const GOSSIP_ANNOUNCED_MAX: usize = 500;
/// Bytes of what gossip says of its messages at once. A larger one ends the stream it comes on.
pub const GOSSIP_CONTROL_BYTES_MAX: usize = 16 * 1024;
/// Hosts and Go peers whose visits are remembered.
pub const NET_STRANGERS_MAX: usize = 1024;
/// Streams being introduced at a time; the others wait in their connections.
pub const NET_INTRODUCTIONS_MAX: usize = 1024;
/// Addresses a peer tells others.
pub const NET_ADVERTISED_MAX: usize = 16;
/// Peers in the address book.
pub const NET_PEERS_MAX: usize = 4096;
/// Addresses kept per peer that others mentioned.
pub const NET_HINTS_MAX: usize = 8;
/// Connections being made, each way.
pub const NET_HANDSHAKES_MAX: u32 = 512;
/// Connections with one peer that is no member.
pub const NET_CONNECTIONS_PER_STRANGER_MAX: u32 = 8;
/// Callers that wait for the same peer.
pub const NET_DIAL_WAITERS_MAX: usize = 1024;
/// Peers being connected to.
pub const NET_DIALS_MAX: usize = 1024;
/// Searches for peers at a time.
pub const NET_SEARCHES_MAX: usize = 16;
/// Peers whose refusal was logged.
pub const NET_LOGGED_MAX: usize = 1024;
/// Connection events a slow listener may lag behind.
pub const NET_EVENTS_MAX: usize = 1024;
/// Further attempts to open a stream when a connection ends while it is being opened.
pub const NET_OPEN_RETRIES_MAX: u32 = 2;
/// Streams of one protocol that wait to be served.
pub const NET_ACCEPTED_PER_PROTOCOL_MAX: usize = 256;
/// Gossip messages of one topic that wait for their subscriber.
pub const GOSSIP_WAITING_MAX: usize = 1024;
/// Streams open at a time on one connection.
pub const NET_STREAMS_PER_CONNECTION_MAX: usize = 2048;
/// Streams accepted by all connections that wait for the acceptor.
pub const NET_ACCEPTED_MAX: usize = 512;
/// Streams negotiated on one connection that wait for room among the accepted.
pub const NET_WAITING_PER_CONNECTION_MAX: usize = 1024;
/// Streams being opened on one connection at a time.
pub const NET_OPENING_PER_CONNECTION_MAX: usize = 512;
/// Streams asked for on one connection that wait for their turn.
pub const NET_WANTED_PER_CONNECTION_MAX: usize = 4096;
/// Bytes of a request's head; of a longer one hyper says that it is too long.
pub const FRAMING_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request.
pub const FRAMING_HEADERS_MAX: usize = 128;
/// Characters of a chunk's size line, extensions included.
pub const FRAMING_CHUNK_LINE_MAX: usize = 256;
/// Characters of an error in a trailer.
pub const STREAM_TRAILER_CHARS_MAX: usize = 4096;
/// Lines of an access log that wait to be written to its file.
pub const ACCESS_LOG_LINES_MAX: usize = 16 * 1024;
/// Blocks that one peer's garbage collection names; further ones are removed unnamed.
pub const GC_KEYS_MAX: usize = 64 * 1024;
/// Bytes of the blocks of one upload to the embedded node's `block/put`.
pub const BLOCK_UPLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Nodes named to which one IPFS node is connected.
pub const SWARM_PEERS_MAX: usize = 32 * 1024;
/// Connections of clients to a libp2p host of an API's own.
pub const HTTP_HOST_CONNECTIONS_MAX: u32 = 400;
/// Spans that wait to be sent; further ones are lost.
pub const SPAN_QUEUE_MAX: usize = 2048;
/// Spans sent at once.
pub const SPAN_BATCH_MAX: usize = 512;
/// Bytes of a request's path in its span.
pub const SPAN_PATH_BYTES_MAX: usize = 256;
/// Bytes of a `traceparent` that a peer sends along: version, trace, span and flags are 55.
pub const TRACEPARENT_BYTES_MAX: usize = 64;
/// Bytes of an answer of the collector of spans.
pub const COLLECTOR_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Arguments of one call.
pub const PINS_ARGUMENTS_MAX: usize = 1024;
/// Bytes of a part of a host name (RFC 1035).
pub const HOST_LABEL_BYTES_MAX: usize = 63;
/// Pins that the embedded node lists in one object; more come line by line.
pub const PIN_LIST_MAX: usize = 512 * 1024;
/// Results that wait for the client to read them: many clients read only after they have sent
/// everything.
pub const ADD_LINES_MAX: usize = 32 * 1024;
/// Bytes of the head of a part.
pub const MULTIPART_PART_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Characters of a boundary, as its specification says.
pub const MULTIPART_BOUNDARY_MAX: usize = 70;
/// White space between a boundary and the end of its line.
pub const MULTIPART_PADDING_MAX: usize = 128;
/// CIDs that one request may ask for.
pub const PINS_CIDS_MAX: usize = 16 * 1024;
/// Bytes of a symlink's target.
pub const UPLOAD_TARGET_BYTES_MAX: usize = 4096;
/// Bytes of an upload that are read after it has failed.
pub const UPLOAD_DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Parts of one upload: the tree of their names is held until its end.
pub const UPLOAD_PARTS_MAX: usize = 4 * 1024 * 1024;
/// Admissions under way at one peer.
pub const JOIN_ADMISSIONS_MAX: usize = 16;
/// Entries a peer may lack and still count as caught up.
pub const MEMBERSHIP_LAG_MAX: u64 = 512;
/// Commands that may wait.
pub const PROPOSER_WAITING_MAX: usize = 8192;
/// Entries under way.
pub const PROPOSER_IN_FLIGHT_MAX: usize = 8;
/// Streams of one kind served at a time: 32 peers with a few each, and some that are going away.
pub const SERVER_STREAMS_MAX: usize = 256;
/// Encoded bytes of an identity at most.
pub const START_IDENTITY_BYTES_MAX: usize = 1024;
/// Entries applied in one visit to the state's lane.
pub const STATE_MACHINE_BATCH_MAX: usize = 64;
/// Bytes of one message of a snapshot, for deadlines.
pub const WIRE_CHUNK_MAX: usize = FRAME_BYTES_MAX;
/// Encoded bytes of what is kept in a slot of the log file at most.
pub const WIRE_SLOT_BYTES_MAX: usize = 64 * 1024;
/// Pins that wait of which the room they need is counted; what is beyond is not promised.
pub const COMMITTED_PINS_MAX: usize = 16 * 1024;
/// Tags that are told; a few of the metrics of a peer are others.
pub const SAMPLE_TAGS_MAX: usize = METRICS_PER_PEER_MAX - 8;
/// Addresses tried of one node in one look.
pub const SWARM_ADDRESSES_MAX: usize = 8;
/// Addresses in one ping at most.
pub const PING_ADDRESSES_MAX: usize = 64;
/// Bytes of one address or text in it at most.
pub const PING_TEXT_BYTES_MAX: usize = 256;
/// Sizes that wait to be taken up; what is beyond is left to the other holders.
pub const SERVING_SIZES_MAX: usize = 4096;
/// Reports of what is gone that wait.
pub const SERVING_GONE_MAX: usize = 1024;
/// Tables pulled at once.
pub const PULLS_MAX: usize = 4;
/// Pullers served at once; more wait.
pub const PULL_SERVED_MAX: usize = 16;
/// Peers tried in one pull: the owner and some others.
pub const PULL_SERVERS_MAX: usize = 3;
/// After many.
pub const SCHEDULE_BACKOFF_MS_MAX: u64 = 30_000;
/// Bytes of `meta.json` that are read at most.
pub const FOLDER_META_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of appended entries that wait for the disk; then appending waits.
pub const RAFT_LOG_QUEUE_BYTES_MAX: usize = 32 << 20;
/// Bytes of recent entries kept in memory.
pub const RAFT_LOG_TAIL_BYTES_MAX: usize = 8 << 20;
/// Files up to this length are verified as a whole when opened; the rows always are.
pub const RAFT_LOG_VERIFY_BYTES_MAX: u64 = 64 << 20;
/// Purged rows removed with one commit.
pub const COMMIT_CLEAN_MAX: u64 = 512;
/// Encoded bytes of a [`Position`] at most: a membership of 32 peers fits many times.
pub const TABLES_POSITION_BYTES_MAX: usize = 64 * 1024;
/// Bytes that a line of a state file may take: JSON is a few times longer than a stored pin.
pub const EXPORT_LINE_BYTES_MAX: usize = 8 * PIN_BYTES_MAX;
/// Addresses of one peer in these messages.
pub const JOIN_ADDRESSES_MAX: usize = 32;
/// Orders that wait.
pub const TRACKER_ORDERS_MAX: usize = 64;
/// Bytes of the file that are read at most: 10 million pins ordered and forgotten ten times over.
pub const LEDGER_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

// A placed pin names at most every member once, in at most 48 encoded bytes each.

const _: () = assert!(SPEC_BYTES_MAX + MEMBERS_MAX * 48 + 2048 <= PIN_BYTES_MAX);
const _: () = assert!(GONE_SEQS_MAX * 9 + 256 <= ENTRY_BYTES_MAX);
const _: () = assert!(SIZES_PER_REPORT_MAX * 28 + 256 <= ENTRY_BYTES_MAX);
const _: () = assert!(PIN_BYTES_MAX <= ROW_BYTES_MAX);
const _: () = assert!(PIN_BYTES_MAX * 2 <= ENTRY_BYTES_MAX);
const _: () = assert!(ENTRY_BYTES_MAX * 2 <= APPEND_BYTES_MAX);
const _: () = assert!(APPEND_BYTES_MAX + ENTRY_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(GOSSIP_BYTES_MAX <= FRAME_BYTES_MAX);
const _: () = assert!(SHARD_LINKS_MAX * (CID_BYTES_MAX + 16) <= BLOCK_BYTES_MAX);
const _: () = assert!(FILE_LINKS_MAX * (CID_BYTES_MAX + 32) <= BLOCK_BYTES_MAX);
const _: () =
    assert!(BITSWAP_MESSAGE_BYTES_MAX * BITSWAP_READS_PER_PEER_MAX < BITSWAP_READ_BYTES_MAX);
const _: () = assert!(BITSWAP_WANTS_MAX * 2 <= BITSWAP_ASKS_PER_PEER_MAX);
const _: () = assert!(PACKED_BLOCK_BYTES_MAX <= PACK_WRITE_BYTES_MAX);
const _: () = assert!(
    (PACK_RECORDS_MAX + STORE_BATCH_BLOCKS_MAX) * (CID_BYTES_MAX + 9) < PACK_FOOTER_BYTES_MAX
);
const _: () = assert!(
    PACK_BYTES as usize
        + PACK_WRITE_BYTES_MAX
        + STORE_BATCH_BLOCKS_MAX * (CID_BYTES_MAX + 9)
        + PACK_FOOTER_BYTES_MAX
        < PACK_FILE_BYTES_MAX as usize
);
const _: () = assert!(BITSWAP_BATCH_BYTES_MAX + BLOCK_BYTES_MAX < BITSWAP_MESSAGE_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES_MAX < BITSWAP_MESSAGE_BYTES_MAX);
/// Bytes of one error text in a status table.
pub const STATUS_ERROR_BYTES_MAX: usize = 256;
/// Pins of one status table that carry an error text, attempts and a time; more show their phase alone.
pub const STATUS_DETAILS_MAX: usize = 128 * 1024;
/// Blocks (of 65 536 pins each) of one status table.
pub const STATUS_BLOCKS_MAX: usize = 64 * 1024;
/// Estimated bytes at which a status delta takes no further pin.
pub const STATUS_DELTA_BYTES: usize = 96 * 1024;
/// Estimated bytes at which a page of a pulled status table takes no further range.
pub const STATUS_PAGE_BYTES: usize = 1024 * 1024;
/// Block hashes in one pull request.
pub const STATUS_HASHES_MAX: usize = 8192;
/// Bytes of status deltas per peer that wait for an earlier one.
pub const STATUS_PENDING_BYTES_MAX: usize = 1024 * 1024;
/// Metrics of one peer that are kept, and that one message may carry.
pub const METRICS_PER_PEER_MAX: usize = 64;
/// Bytes of a metric's name.
pub const METRIC_NAME_BYTES_MAX: usize = 256;
/// Bytes of a metric's value (a ping carries addresses).
pub const METRIC_VALUE_BYTES_MAX: usize = 32 * 1024;
/// Milliseconds that a metric can count for.
pub const METRICS_TTL_MS_MAX: u64 = 24 * 3600 * 1000;
/// Alerts raised at a time; further ones wait until some are over.
pub const ALERTS_MAX: usize = 1000;

const _: () = assert!(2 * STATUS_DELTA_BYTES <= GOSSIP_BYTES_MAX);
const _: () = assert!(2 * STATUS_PAGE_BYTES <= FRAME_BYTES_MAX);
const _: () = assert!(STATUS_HASHES_MAX * 32 <= STATUS_PAGE_BYTES);
const _: () = assert!(METRIC_VALUE_BYTES_MAX * 2 <= GOSSIP_BYTES_MAX);
const _: () = assert!(LIST_PAGE_PINS <= PAGE_MAX);
const _: () = assert!(BLOCK_BATCH_BYTES_MAX + BLOCK_BYTES_MAX < FRAME_BYTES_MAX);
