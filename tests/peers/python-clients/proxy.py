"""Python clients of Kubo's RPC, on the IPFS proxy or an IPFS node: proxy.py HOST PORT NOT_PINNED"""
import asyncio
import sys

import aioipfs
import ipfshttpclient

host, port = sys.argv[1], int(sys.argv[2])


def blocking():
    # `connect` refuses nodes after version 0.8, which Kubo is long past: users make a client.
    with ipfshttpclient.Client(f"/ip4/{host}/tcp/{port}/http") as client:
        assert client.id()["ID"]
        cid = client.add_bytes(b"hello from ipfshttpclient")
        assert client.cat(cid) == b"hello from ipfshttpclient"
        assert cid in client.pin.ls()["Keys"]
        assert client.pin.add(cid)["Pins"] == [cid]
        assert client.pin.rm(cid)["Pins"] == [cid]
        try:
            client.pin.rm(cid)
        except ipfshttpclient.exceptions.ErrorResponse as error:
            assert sys.argv[3] in str(error), error
        else:
            raise AssertionError("it was unpinned twice")
        assert client.repo.stat()["RepoSize"] > 0
        client.swarm.peers()


async def waiting():
    client = aioipfs.AsyncIPFS(host=host, port=port)
    try:
        assert (await client.core.version())["Version"]
        entry = await client.add_bytes(b"hello from aioipfs")
        cid = entry["Hash"]
        assert await client.cat(cid) == b"hello from aioipfs"
        pins = await client.pin.ls()
        assert cid in pins["Keys"], pins
        async for _ in client.pin.add(cid):
            pass
        assert (await client.pin.rm(cid))["Pins"] == [cid]
        block = await client.block.get(cid)
        assert block
        assert (await client.repo.stat())["RepoSize"] > 0
    finally:
        await client.close()


blocking()
asyncio.run(waiting())
print("2 passed, 0 failed")
