"""`python -m reliq.testing.servers`: the path of every server binary on this machine, the preferred one first."""

from __future__ import annotations

from reliq.testing.servers.binaries import found_redis

if __name__ == "__main__":
    for binary in found_redis():
        print(binary.path)
