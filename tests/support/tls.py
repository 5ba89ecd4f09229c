"""Certificates for tests of TLS. `tools.proxies` has the proxy that uses them."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import trustme


class Authority:
    """Signs certificates, and knows the files that they are in."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def context(
        self,
        *names: str,
        expired: bool = False,
        wants_certificate: bool = False,
        version: ssl.TLSVersion | None = None,
    ) -> ssl.SSLContext:
        """Returns what a server with a certificate for these names needs."""
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        issued = self._ca.issue_cert(*names, not_after=yesterday if expired else None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        if wants_certificate:
            self._ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        if version is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")  # without this no server speaks an old one
            context.minimum_version = context.maximum_version = version
        return context

    def client_files(self) -> dict[str, str]:
        """Returns the option `tls` of a client with a certificate of its own."""
        issued = self._ca.issue_cert("client.example")
        cert, key = self._folder / "client.pem", self._folder / "client.key"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        return {"ca": self.file, "cert": str(cert), "key": str(key)}
