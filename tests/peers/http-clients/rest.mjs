// The JavaScript client of the REST API: node rest.mjs URL
import assert from 'node:assert/strict'
import * as cluster from '@nftstorage/ipfs-cluster'

const config = { url: new URL(process.argv[2]), headers: {} }

assert.equal(await cluster.version(config), '1.1.6')
const info = await cluster.info(config)
assert.ok(info.id && info.ipfs.id, 'it says who it and its IPFS node are')

const added = await cluster.add(config, new File(['hello from js'], 'hello.txt'), { name: 'js' })
assert.match(added.cid, /^baf/)
const folder = await cluster.addDirectory(config, [
  new File(['one'], 'd/one.txt'),
  new File(['two'], 'd/two.txt')
])
assert.equal(folder.at(-1).name, '')

const until = async (what, look) => {
  for (let n = 0; n < 200; n++) {
    if (await look()) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  assert.fail(`${what}: not in time`)
}
await until('pinned', async () => {
  const { peerMap } = await cluster.status(config, added.cid)
  return Object.values(peerMap).every(peer => peer.status === 'pinned')
})
const allocation = await cluster.allocation(config, added.cid)
assert.equal(allocation.name, 'js')

const expireAt = new Date(Date.now() + 3600_000)
const pinned = await cluster.pin(config, folder.at(-1).cid, {
  name: 'again', metadata: { color: 'blue' }, expireAt, replicationFactorMin: 1, replicationFactorMax: 1
})
assert.equal(pinned.name, 'again')
const all = await cluster.statusAll(config, { filter: 'pinned,pinning,pin_queued' })
assert.ok(all.some(pin => pin.cid === added.cid))
assert.deepEqual(await cluster.statusAll(config, { cids: [added.cid] }).then(l => l.length), 1)
await cluster.recover(config, added.cid)
assert.ok((await cluster.metricNames(config)).includes('ping'))
assert.equal((await cluster.peerList(config)).length, 1)

const gone = await cluster.unpin(config, added.cid)
assert.equal(gone.cid, added.cid)
await assert.rejects(cluster.unpin(config, added.cid), /404/)
await assert.rejects(cluster.pin(config, 'abc'), /400/)
console.log('1 passed, 0 failed')
