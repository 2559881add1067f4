// Imports what it is told on stdin, a case a line, with ipfs-unixfs-importer, and answers with the root CID of
// each, a line a case; a digest case is hashed with @noble/hashes instead.
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize, rabin } from 'ipfs-unixfs-importer/chunker'
import { balanced, trickle } from 'ipfs-unixfs-importer/layout'
import { BlackHoleBlockstore } from 'blockstore-core/black-hole'
import { sha1 } from '@noble/hashes/legacy.js'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { keccak_256, keccak_512, sha3_224, sha3_256, sha3_384, sha3_512, shake256 } from '@noble/hashes/sha3.js'
import { blake2b, blake2s } from '@noble/hashes/blake2.js'
import { blake3 } from '@noble/hashes/blake3.js'

// SHA-256(label + ":" + n) for n = 0, 1, 2, … cut at size bytes.
function content ({ label, size }) {
  const out = Buffer.alloc(Math.ceil(size / 32) * 32)
  for (let n = 0; n * 32 < size; n++) createHash('sha256').update(`${label}:${n}`).digest().copy(out, n * 32)
  return new Uint8Array(out.subarray(0, size))
}

const functions = {
  sha1,
  'sha2-256': sha256,
  'sha2-512': sha512,
  'sha3-224': sha3_224,
  'sha3-256': sha3_256,
  'sha3-384': sha3_384,
  'sha3-512': sha3_512,
  'keccak-256': keccak_256,
  'keccak-512': keccak_512,
  'shake-256': data => shake256(data, { dkLen: 64 }),
  'dbl-sha2-256': data => sha256(sha256(data)),
  'blake2s-256': data => blake2s(data),
  blake3: data => blake3(data)
}

function digest (name, data) {
  const bits = /^blake2b-(\d+)$/.exec(name)
  const hash = bits == null ? functions[name] : data => blake2b(data, { dkLen: Number(bits[1]) / 8 })
  return Buffer.from(hash(data)).toString('hex')
}

function * entries (list) {
  for (const { path, kind, target, mode, mtime, ...file } of list) {
    const entry = { path, mode, mtime: mtime && { secs: BigInt(mtime[0]), nsecs: mtime[1] } }
    if (kind === 'file') yield { ...entry, content: content(file) }
    else if (kind === 'symlink') yield { ...entry, link: target }
    else yield entry
  }
}

async function root (test) {
  const { chunker, layout, links } = test
  const options = {
    profile: 'unixfs-v0-2015',
    cidVersion: test.cid_version,
    rawLeaves: test.raw_leaves,
    chunker: chunker.size != null
      ? fixedSize({ chunkSize: chunker.size })
      : rabin({ minChunkSize: chunker.min, avgChunkSize: chunker.avg, maxChunkSize: chunker.max }),
    layout: (layout === 'trickle' ? trickle : balanced)({ maxChildrenPerNode: links }),
    leafType: layout === 'trickle' ? 'raw' : 'file',
    reduceSingleLeafToSelf: layout !== 'trickle',
    shardSplitThresholdBytes: test.directory_bytes,
    shardSplitStrategy: 'links-bytes',
    shardFanoutBits: test.fanout_bits,
    wrapWithDirectory: test.wrap
  }
  let last
  for await (const entry of importer(entries(test.entries), new BlackHoleBlockstore(), options)) last = entry
  return last.cid.toString()
}

for await (const line of createInterface({ input: process.stdin })) {
  const test = JSON.parse(line)
  let answer
  try {
    answer = test.digest == null ? { cid: await root(test) } : { digest: digest(test.digest, content(test)) }
  } catch (error) {
    answer = { error: String(error.stack) }
  }
  console.log(JSON.stringify(answer))
}
