"""The header of a GGUF file: metadata and the table of its tensors, checked, without weights.

It is read before anything slow: a file that is damaged, incomplete, split, or in an unreadable
quantisation is refused here, in milliseconds. The `gguf` library's own reader maps every metadata
value one by one, which takes many seconds for a large vocabulary; this module uses the library's
type names and sizes.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retriever.types import ModelError

_FORMATS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
    10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MAX_SMALL_ARRAY = 4096  # of longer ones (vocabularies) only the length is kept


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: shape, type, and the position of its bytes from the start of the file."""

    name: str
    shape: tuple[int, ...]  # in torch's order, rows first
    type: str  # "F32", "Q4_K", …
    start: int
    bytes: int

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """A GGUF file without its weights. For long arrays, `metadata` has their length."""

    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str:
        """llama.cpp's name for the model family, e.g. "llama"."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def elements(self) -> int:
        """The number of elements of all tensors."""
        return sum(tensor.elements for tensor in self.tensors)

    def value(self, key: str) -> Any:
        """The architecture's own metadata value, e.g. "context_length"; None if missing."""
        return self.metadata.get(f"{self.architecture}.{key}")


def read_header(path: Path) -> Header:
    """The header of the GGUF file at `path`.

    Raises ModelError if the file is not a GGUF file, is cut off, is a part of a split model, has no
    weights, or has weights of a type that cannot be dequantised.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{path.name!r} is not a GGUF file: its first bytes are others")
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = _Reader(data, path.name).header()
        except (struct.error, ValueError, IndexError, OverflowError, RecursionError):
            raise ModelError(
                f"the GGUF file {path.name!r} is damaged or incomplete; get it again"
            ) from None
    _check(header, path.name)
    end = max(tensor.start + tensor.bytes for tensor in header.tensors)
    if end > size:
        raise ModelError(
            f"the GGUF file {path.name!r} is incomplete: it has {size:,} bytes of {end:,}; "
            "get it again"
        )
    return header


def _check(header: Header, name: str) -> None:
    kind = str(header.metadata.get("general.type", "model"))
    if kind != "model":
        raise ModelError(f"the GGUF file {name!r} holds only a part of a model ({kind})")
    parts = int(header.metadata.get("split.count", 1) or 1)
    if parts > 1:
        number = int(header.metadata.get("split.no", 0)) + 1
        raise ModelError(
            f"{name!r} is part {number} of a model split into {parts} GGUF files; join them with "
            "llama-gguf-split --merge first, and give the joined file"
        )
    if not header.architecture:
        raise ModelError(f"the GGUF file {name!r} does not say which kind of model it holds")
    if not header.tensors:
        raise ModelError(f"the GGUF file {name!r} holds a vocabulary but no weights")
    if not header.metadata.get("tokenizer.ggml.tokens"):
        raise ModelError(f"the GGUF file {name!r} holds weights but no vocabulary")


class _Reader:
    """Reads the file once, in order. Reading past its end raises struct.error or ValueError."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self.data, self.name, self.position = data, name, 4

    def header(self) -> Header:
        version = self.take("<I")
        if version not in (2, 3):
            swapped = version != 0 and version % 65536 == 0
            raise ModelError(
                f"the GGUF file {self.name!r} is "
                + ("for big-endian machines" if swapped else f"of version {version}")
                + ", which cannot be read; convert the model again"
            )
        tensors, pairs = self.take("<Q"), self.take("<Q")
        metadata = {}
        for _ in range(pairs):
            key = self.string()
            metadata[key] = self.value(self.take("<I"))
        table = [self.entry() for _ in range(tensors)]
        alignment = int(metadata.get("general.alignment", 32))
        start = -(-self.position // alignment) * alignment if alignment else self.position
        return Header(
            metadata=metadata,
            tensors=tuple(
                Tensor(name, shape, kind, start + offset, _bytes(kind, math.prod(shape)))
                for name, shape, kind, offset in table
            ),
        )

    def take(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.data, self.position)
        self.position += struct.calcsize(form)
        return value

    def string(self) -> str:
        length = self.take("<Q")
        raw = self.data[self.position : self.position + length]
        if len(raw) < length:
            raise ValueError("cut off")
        self.position += length
        return raw.decode("utf-8")

    def skip_string(self) -> None:
        length = self.take("<Q")
        self.position += length

    def value(self, kind: int) -> Any:
        if kind in _FORMATS:
            return self.take(_FORMATS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            raise ValueError(f"no such type of value: {kind}")
        inner, count = self.take("<I"), self.take("<Q")
        if count <= _MAX_SMALL_ARRAY:
            return [self.value(inner) for _ in range(count)]
        if inner in _FORMATS:
            self.position += count * struct.calcsize(_FORMATS[inner])
        elif inner == _STRING:
            for _ in range(count):
                self.skip_string()
        else:
            raise ValueError("long arrays of arrays")
        return count

    def entry(self) -> tuple[str, tuple[int, ...], str, int]:
        """A row of the tensor table: name, shape, type, offset from the start of the data."""
        name = self.string()
        dimensions = self.take("<I")
        shape = tuple(self.take("<Q") for _ in range(dimensions))
        kind, offset = self.take("<I"), self.take("<Q")
        return name, tuple(reversed(shape)), _type_name(kind, self.name), offset


def _type_name(number: int, file: str) -> str:
    """A tensor type's name. Raises ModelError if it cannot be dequantised."""
    import numpy as np
    from gguf import GGMLQuantizationType, dequantize
    from gguf.constants import GGML_QUANT_SIZES

    if number in _known:
        return _known[number]
    try:
        kind = GGMLQuantizationType(number)
        plain = {"F32": np.float32, "F16": np.float16}.get(kind.name)
        _, size = GGML_QUANT_SIZES[kind]
        dequantize(np.zeros((1, 1 if plain else size), plain or np.uint8), kind)
    except (ValueError, KeyError, NotImplementedError):  # gguf raises the last one for such types
        names = {member.value: member.name for member in GGMLQuantizationType}
        raise ModelError(
            f"the GGUF file {file!r} is quantised as {names.get(number, f'type {number}')}, which "
            "cannot be read; take another quantisation, such as Q4_K_M, Q8_0 or F16"
        ) from None
    return _known.setdefault(number, kind.name)


_known: dict[int, str] = {}


def _bytes(kind: str, elements: int) -> int:
    from gguf import GGMLQuantizationType
    from gguf.constants import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return elements // block * size
