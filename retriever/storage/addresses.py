"""Addresses of indexes in Milvus, and how a client signs in.

    milvus://host[:port]/collection      a server; port 19530 if it is not given
    milvuss://host[:port]/collection     a server over TLS
    milvus+file:PATH[#collection]        Milvus Lite: a folder, usually named *.db

Passwords do not belong into an address, which is shown and stored: they come from the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from retriever.types import UsageError

PORT = 19530
COLLECTION = "wva"
"""The collection of an address that names none."""

SCHEMES = ("milvus:", "milvuss:", "milvus+file:")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_FORM = "milvus://host:port/collection, milvuss://… (TLS) or milvus+file:PATH"


def is_address(text: str) -> bool:
    """Whether a text names an index in Milvus rather than a folder."""
    return text.startswith(SCHEMES)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an index is. `uri` is as pymilvus takes it; `text` is the address for display."""

    uri: str
    collection: str
    text: str
    tls: bool = False

    @property
    def is_lite(self) -> bool:
        """Whether it is Milvus Lite in a file, which one process may open at a time."""
        return "://" not in self.uri

    @property
    def name(self) -> str:
        """The name of the index for display: that of the collection, or of the file of Lite."""
        if self.is_lite and self.collection == COLLECTION:
            return Path(self.uri).stem
        return self.collection

    def absolute(self) -> Address:
        """The same place, whatever becomes of the current folder."""
        if not self.is_lite:
            return self
        return Address(self.uri, self.collection, f"milvus+file:{self.uri}#{self.collection}")

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. Raises UsageError with the forms that there are."""
        if text.startswith("milvus+file:"):
            path, _, name = text.removeprefix("milvus+file:").partition("#")
            if not path:
                raise UsageError(f"the address {text!r} names no file; addresses are {_FORM}")
            return cls(str(Path(path).absolute()), _checked(name or COLLECTION, text), text)
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port or PORT
        except ValueError as error:
            raise UsageError(f"the address {text!r} is no address ({error}): {_FORM}") from None
        if not host or parts.scheme not in ("milvus", "milvuss"):
            raise UsageError(f"the address {text!r} is not one of {_FORM}")
        if parts.username or parts.password:
            raise UsageError(
                "an address has no name and password, since it is shown and stored; "
                "set MILVUS_USER and MILVUS_PASSWORD, or MILVUS_TOKEN"
            )
        if parts.query or parts.fragment:
            raise UsageError(f"the address {text!r} has parts that mean nothing; it is {_FORM}")
        tls = parts.scheme == "milvuss"
        shown = f"[{host}]" if ":" in host else host
        uri = f"{'https' if tls else 'http'}://{shown}:{port}"
        name = _checked(unquote(parts.path.strip("/")) or COLLECTION, text)
        return cls(uri, name, f"{parts.scheme}://{shown}:{port}/{name}", tls)

    def sign_in(self, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """The arguments of `MilvusClient` beside its URI, from the environment.

        MILVUS_TOKEN, or MILVUS_USER and MILVUS_PASSWORD; MILVUS_DB_NAME; for TLS MILVUS_CA_FILE,
        MILVUS_SERVER_NAME, and MILVUS_CERT_FILE with MILVUS_KEY_FILE for a certificate of one's
        own.
        """
        if self.is_lite:
            return {}
        names = {"token": "TOKEN", "user": "USER", "password": "PASSWORD", "db_name": "DB_NAME"}
        if self.tls:
            names |= {
                "server_pem_path": "CA_FILE",
                "server_name": "SERVER_NAME",
                "client_pem_path": "CERT_FILE",
                "client_key_path": "KEY_FILE",
            }
        given = {name: environment.get(f"MILVUS_{end}", "") for name, end in names.items()}
        known: dict[str, Any] = {name: value for name, value in given.items() if value}
        return known | ({"secure": True} if self.tls else {})


def _checked(name: str, text: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the collection {name!r} of {text!r} is no name that Milvus takes: letters, digits "
            "and underscores, not beginning with a digit"
        )
    return name


__all__ = ["COLLECTION", "PORT", "SCHEMES", "Address", "is_address"]
