"""The Python client of the REST API: rest.py URL"""
import asyncio
import sys

from asyncipfscluster import IPFSClient
from asyncipfscluster.exceptions import IPFSException


async def main(url):
    async with IPFSClient(url.rstrip("/")) as client:
        cid = await client.add_bytes(b"hello from python", "text/plain", name="py")
        assert cid.startswith("Qm"), cid
        named = await client.add_bytes(b"with a name", "text/plain", filename="n.txt")
        assert named != cid
        await client.pin(cid, name="again") if hasattr(client, "pin") else None
        await client.remove(cid)
        # It takes 404 for done, too.
        await client.remove(cid)
        try:
            await client.remove("Q" * 46)
        except IPFSException:
            pass
        else:
            raise AssertionError("a CID that is none was removed")


asyncio.run(main(sys.argv[1]))
print("1 passed, 0 failed")
