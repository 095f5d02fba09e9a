"""Which models an index may load by its own word: an index may come from somebody else.

The name of a model in an index is a claim. It loads at once if it is a preset, which is pinned by a
hash; if its user has loaded these weights from this place before; or if its user has named it, on
the page or with `wva models fetch`. A model of the hub loads from this disk; only one that its user
has named is downloaded for an index.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from retriever.cache import cache_folder, write_atomically
from retriever.embedding.models.locate import known_digests, split_hub_name
from retriever.embedding.models.presets import PRESETS
from retriever.settings import EmbedderSettings
from retriever.types import ModelError

FILE = "named-models.json"
"""The models that the user has named, in the cache folder."""


def trust(name: str) -> None:
    """Remember that the user has named a model."""
    if not name or name in PRESETS or _key(name) in _named():
        return
    names = sorted({*_named(), _key(name)})
    write_atomically(cache_folder() / FILE, lambda file: file.write(json.dumps(names).encode()))


def check_trusted(name: str, weights: str = "", *, place: str) -> bool:
    """Whether the model that the index in `place` names may be downloaded, if it is not here.

    `weights` is the digest in the index; empty if it has none yet. Raises ModelError, before
    anything of the model is read, if it may not be loaded at all.
    """
    if name in PRESETS or _key(name) in _named():
        return True
    if split_hub_name(name) is not None or _was_loaded(name, weights):
        return False
    raise ModelError(
        f"the index in {place} names the model {name!r}, which you have not used here yet; if you "
        f"trust it, say so once with: wva models fetch {name!r}"
    )


def check_own(settings: EmbedderSettings | None, wished: str = "", *, place: str) -> bool:
    """`check_trusted` for an index's own model; for the `wished` one before it has settings."""
    if settings is None:
        return check_trusted(wished, place=place)
    return check_trusted(settings.model, settings.weights, place=place)


def _was_loaded(name: str, weights: str) -> bool:
    """Whether the folder or file `name` has been loaded here, with these weights if there are."""
    place = _key(name)
    return any(
        (key == place or key.startswith(place + os.sep)) and weights in ("", digest)
        for key, digest in known_digests().items()
    )


def _key(name: str) -> str:
    """A model's name, for a folder or file its place."""
    if split_hub_name(name) is not None or name in PRESETS:
        return name
    if name.startswith(("//", "\\\\")):  # another machine's folder is not even looked at
        return name
    return str(Path(name).expanduser().resolve())


def _named() -> frozenset[str]:
    try:
        found = json.loads((cache_folder() / FILE).read_text("utf-8"))
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()
    except (OSError, ValueError):
        return frozenset()


__all__ = ["FILE", "check_own", "check_trusted", "trust"]
