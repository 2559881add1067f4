"""Holds idle connections to a port until its input ends: idle.py PORT COUNT"""
import resource
import socket
import sys

port, count = int(sys.argv[1]), int(sys.argv[2])
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
try:
    while len(held) < count:
        held.append(socket.create_connection(("127.0.0.1", port), timeout=5))
except OSError:
    # A few back, so that others can still connect.
    for connection in held[-20:]:
        connection.close()
    del held[-20:]
print(len(held), flush=True)
sys.stdin.read()
