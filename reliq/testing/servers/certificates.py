"""A throw-away authority and what it certifies, for servers that speak TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from reliq.errors import MissingExtra

__all__ = ["Certificates"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files: the authority's certificate, the server's certificate and its key."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, *names: str) -> Certificates:
        """New ones, for `names` (by default localhost and 127.0.0.1), each time of an authority of their own."""
        try:
            import trustme
        except ImportError as error:
            raise MissingExtra("certificates are made by trustme: pip install 'reliq-queue[test]'") from error
        made = cls(folder / "ca.pem", folder / "server.pem", folder / "server.key")
        authority = trustme.CA()
        server = authority.issue_cert(*(names or ("localhost", "127.0.0.1")))
        authority.cert_pem.write_to_path(made.authority)
        for n, blob in enumerate(server.cert_chain_pems):
            blob.write_to_path(made.certificate, append=n > 0)
        made.key.touch(mode=0o600)
        server.private_key_pem.write_to_path(made.key)
        return made

    def serve(self) -> ssl.SSLContext:
        """For a server with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def settings(self) -> dict[str, str]:
        """For the configuration of a Redis with this certificate; it asks its clients for none."""
        return {
            "tls-ca-cert-file": str(self.authority),
            "tls-cert-file": str(self.certificate),
            "tls-key-file": str(self.key),
            "tls-auth-clients": "no",
        }
