// Kubo's JavaScript client, on the IPFS proxy or an IPFS node: node proxy.mjs URL NOT_PINNED
import assert from 'node:assert/strict'
import { create, CID } from 'kubo-rpc-client'

const ipfs = create({ url: process.argv[2] + 'api/v0' })
const collect = async source => {
  const items = []
  for await (const item of source) items.push(item)
  return items
}

assert.ok((await ipfs.version()).version)
assert.ok((await ipfs.id()).id)
const { cid } = await ipfs.add('hello from kubo-rpc-client', { pin: true })
assert.ok((await collect(ipfs.pin.ls())).some(pin => pin.cid.equals(cid)))
const bytes = await collect(ipfs.cat(cid))
assert.equal(Buffer.concat(bytes).toString(), 'hello from kubo-rpc-client')
const files = await collect(ipfs.addAll([
  { path: 'd/a', content: 'a' }, { path: 'd/b', content: 'b' }
], { wrapWithDirectory: true, progress: () => {} }))
assert.equal(files.at(-1).path, '')
const block = await ipfs.block.put(new TextEncoder().encode('a block'), { pin: true })
assert.ok((await collect(ipfs.pin.ls())).some(pin => pin.cid.equals(block)))
assert.equal(Buffer.from(await ipfs.block.get(block)).toString(), 'a block')
const other = (await ipfs.add('another', { pin: false })).cid
assert.deepEqual(await collect(ipfs.pin.addAll([other])).then(l => l.map(String)), [String(other)])
await ipfs.pin.rm(cid)
await assert.rejects(ipfs.pin.rm(cid), error => error.message.includes(process.argv[3]))
await assert.rejects(collect(ipfs.pin.ls({ paths: cid })), /is not pinned/)
const stat = await ipfs.repo.stat()
assert.ok(stat.repoSize > 0n && stat.storageMax > 0n)
await ipfs.swarm.peers()
assert.ok(CID.parse(String(other)))
console.log('1 passed, 0 failed')
