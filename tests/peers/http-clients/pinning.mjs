// A client generated from the specification of the Pinning Service API: node pinning.mjs URL
import assert from 'node:assert/strict'
import { Configuration, RemotePinningServiceClient, Status, TextMatchingStrategy } from '@ipfs-shipyard/pinning-service-client'

const client = new RemotePinningServiceClient(new Configuration({
  endpointUrl: process.argv[2].replace(/\/$/, ''), accessToken: process.argv[3]
}))
const one = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
const two = 'QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn'

const first = await client.pinsPost({ pin: { cid: one, name: 'First', meta: { app: 'js' } } })
assert.equal(first.pin.cid, one)
assert.notEqual(first.requestid, one)
const again = await client.pinsPost({ pin: { cid: one, name: 'second' } })
assert.notEqual(again.requestid, first.requestid)
for (let n = 0; n < 12; n++) await client.pinsPost({ pin: { cid: two, name: `page ${n}` } })

const any = new Set([Status.Queued, Status.Pinning, Status.Pinned, Status.Failed])
const named = await client.pinsGet({ name: 'first', match: TextMatchingStrategy.Iexact, status: any })
assert.deepEqual([...named.results].map(r => r.requestid), [first.requestid])
const meta = await client.pinsGet({ meta: { app: 'js' }, status: any })
assert.equal(meta.count, 1)

// Pages of five, the newest first, none twice and none left out.
const seen = []
let before
for (;;) {
  const page = await client.pinsGet({ cid: new Set([two]), status: any, limit: 5, before })
  const results = [...page.results]
  seen.push(...results.map(r => r.requestid))
  if (results.length < 5) break
  before = results.at(-1).created
}
assert.equal(new Set(seen).size, 12)

const replaced = await client.pinsRequestidPost({ requestid: first.requestid, pin: { cid: two, name: 'replaced' } })
assert.equal(replaced.pin.name, 'replaced')
await assert.rejects(client.pinsRequestidGet({ requestid: first.requestid }))
const kept = await client.pinsRequestidGet({ requestid: again.requestid })
assert.equal(kept.pin.name, 'second')
await client.pinsRequestidDelete({ requestid: again.requestid })
await assert.rejects(client.pinsRequestidDelete({ requestid: again.requestid }))
await assert.rejects(client.pinsPost({ pin: { cid: 'abc' } }))
console.log('1 passed, 0 failed')
