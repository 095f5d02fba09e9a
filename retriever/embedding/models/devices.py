"""The device and precision for a model, and whether it fits, decided before it is loaded.

`inspect_machine` describes this machine, and `choose_device` decides from that description alone:
tests can decide for machines they do not run on. Sizes are bytes; GB in messages are 10⁹ bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from retriever.types import ModelError

if TYPE_CHECKING:
    import torch

PRECISIONS = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes per number."""

WORKING_ROOM = 500_000_000
"""Bytes for inference besides the weights; larger batches are split if necessary."""

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)
"""The files with a container's memory limit, usage and statistics: Linux cgroups v2 and v1."""


@dataclass(frozen=True, slots=True)
class Card:
    """A CUDA device: free memory in bytes, native bfloat16 or not, name."""

    free: int
    bfloat16: bool = True
    name: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """The devices of a machine. `memory` is free for the CPU, and for Apple's GPU, in bytes.

    `threads` is the number of CPU threads that torch uses.
    """

    memory: int
    cards: tuple[Card, ...] = ()
    mps: bool = False
    threads: int = 1


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """A device for a model. `cards`, if it needs several: pairs of a number and its bytes."""

    device: str
    dtype: str
    cards: tuple[tuple[int, int], ...] = ()

    def load_options(self) -> dict[str, object]:
        """The arguments of transformers' `from_pretrained` for this plan."""
        import torch

        options: dict[str, object] = {"dtype": getattr(torch, self.dtype)}
        if self.cards:
            options |= {"device_map": "auto", "max_memory": dict(self.cards)}
        elif self.device != "cpu":
            options["device_map"] = self.device
        return options


def inspect_machine() -> Machine:
    """The devices of this machine and their free memory."""
    import torch

    cards: tuple[Card, ...] = ()
    if torch.cuda.is_available():
        cards = tuple(_card(number) for number in range(torch.cuda.device_count()))
    apple = torch.backends.mps.is_available()
    return Machine(available_memory(), cards, apple, torch.get_num_threads())


def _card(number: int) -> Card:
    import torch

    free, _ = torch.cuda.mem_get_info(number)
    # Memory in torch's cache that is not in use is free for the next model.
    kept = torch.cuda.memory_reserved(number) - torch.cuda.memory_allocated(number)
    capability, name = torch.cuda.get_device_capability(number), torch.cuda.get_device_name(number)
    return Card(free + kept, capability[0] >= 8, name)


def available_memory() -> int:
    """Bytes of main memory available without swapping, within a container's limit."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for files in CGROUPS:
        try:
            limit, used, statistics = (Path(name).read_text("ascii") for name in files)
            cached = dict(line.split() for line in statistics.splitlines()).get("inactive_file", 0)
            free = min(free, int(limit) - int(used) + int(cached))
        except (OSError, ValueError):
            continue  # not Linux, no container, or no limit ("max")
    return max(free, 0)


def needed_memory(parameters: int, dtype: str) -> int:
    """Bytes that a model needs in `dtype`: weights, a tenth for buffers, and `WORKING_ROOM`."""
    return round(1.1 * parameters * PRECISIONS[dtype]) + WORKING_ROOM


def gigabytes(size: float) -> str:
    """A size in GB.

    >>> gigabytes(30_440_000_000)
    '30.4 GB'
    """
    return f"{size / 1e9:,.1f} GB"


# Choosing a device


def choose_device(
    name: str,
    parameters: int,
    machine: Machine,
    device: str | None = None,
    dtype: str | None = None,
) -> DevicePlan:
    """The device and precision for model `name` with this number of parameters.

    Without `device` (or with "auto"): one CUDA card if the model fits on it, several if it fits on
    all together, else Apple's GPU, else the CPU. "cuda" excludes the CPU; "cuda:1" allows that card
    only. Without `dtype` the precision is bfloat16 on a card (float32 on older cards, which only
    emulate bfloat16: float16 overflows in many models), float32 on MPS, and the faster one on a
    CPU. Raises ModelError, with the sizes, if the model does not fit.
    """
    check_precision(dtype)
    device = None if device == "auto" else device
    kind, number = _parse_device(device, machine)
    if kind == "cuda" or (device is None and machine.cards):
        plan = _plan_cards(parameters, machine.cards, dtype, number)
        if plan is not None:
            return plan
        if kind == "cuda":
            raise _too_large_error(name, parameters, *_card_limit(machine.cards, dtype, number))
    on = kind or ("mps" if machine.mps else "cpu")
    chosen = dtype or ("float32" if on == "mps" else cpu_precision())
    if needed_memory(parameters, chosen) > machine.memory:
        raise _too_large_error(name, parameters, chosen, machine.memory, "this machine")
    return DevicePlan(on, chosen)


def check_precision(dtype: str | None) -> None:
    """Raise ModelError if the precision is unknown."""
    if dtype is not None and dtype not in PRECISIONS:
        raise ModelError(f"unknown precision {dtype!r}: use {', '.join(PRECISIONS)}")


def _parse_device(device: str | None, machine: Machine) -> tuple[str | None, int | None]:
    """Kind and number of the given device. Raises ModelError if the machine lacks it."""
    if device is None:
        return None, None
    kind, _, digits = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (digits and not digits.isdigit()):
        raise ModelError(f"unknown device {device!r}: use auto, cpu, cuda, cuda:1, or mps")
    if kind == "cuda" and not machine.cards:
        raise ModelError("no CUDA device was found; use --device cpu, or install torch for CUDA")
    if kind == "mps" and not machine.mps:
        raise ModelError("no MPS device was found; use --device cpu")
    if kind != "cuda" or not digits:
        return kind, None
    if int(digits) >= len(machine.cards):
        last = len(machine.cards) - 1
        raise ModelError(f"there is no device {device!r}: this machine has cuda:0 to cuda:{last}")
    return kind, int(digits)


def _plan_cards(
    parameters: int, cards: tuple[Card, ...], dtype: str | None, number: int | None
) -> DevicePlan | None:
    """The first card the model fits on, else all cards together; None if it does not fit."""
    for index, card in enumerate(cards):
        chosen = dtype or _card_precision(card)
        if number in (None, index) and needed_memory(parameters, chosen) <= card.free:
            return DevicePlan(f"cuda:{index}", chosen)
    if number is not None or len(cards) < 2:
        return None
    chosen, room, _ = _card_limit(cards, dtype, None)
    if needed_memory(parameters, chosen) > room:
        return None
    # Each card keeps working room; weights outside the layers go to the card with most memory.
    shares = tuple((index, card.free - WORKING_ROOM) for index, card in enumerate(cards))
    return DevicePlan("cuda:0", chosen, tuple(share for share in shares if share[1] > 0))


def _card_precision(card: Card) -> str:
    return "bfloat16" if card.bfloat16 else "float32"


def _card_limit(
    cards: tuple[Card, ...], dtype: str | None, number: int | None
) -> tuple[str, int, str]:
    """Precision, free bytes, and name, of card `number` or of all cards."""
    if number is not None:
        return dtype or _card_precision(cards[number]), cards[number].free, f"cuda:{number}"
    chosen = dtype or ("bfloat16" if all(card.bfloat16 for card in cards) else "float32")
    if len(cards) == 1:
        return chosen, cards[0].free, "the GPU"
    # A layer is not split: the rest of each card's memory is lost.
    room = sum(max(card.free - WORKING_ROOM, 0) for card in cards)
    return chosen, round(0.95 * room), f"the {len(cards)} GPUs together"


def _too_large_error(name: str, parameters: int, dtype: str, free: int, where: str) -> ModelError:
    have = "have" if where.endswith("together") else "has"
    smaller = ""
    if dtype == "float32" and needed_memory(parameters, "bfloat16") <= free:
        smaller = f"--dtype bfloat16 ({gigabytes(needed_memory(parameters, 'bfloat16'))}), "
    return ModelError(
        f"the model {name!r} needs about {gigabytes(needed_memory(parameters, dtype))} in {dtype}, "
        f"and {where} {have} {gigabytes(free)} free; use {smaller}a smaller model, or close other "
        "programs"
    )


# The precision for a CPU


@cache
def cpu_precision() -> str:
    """bfloat16 if this processor is clearly faster in it, else float32; measured once."""
    speeds = measure_precisions()
    return "bfloat16" if speeds["bfloat16"] > 1.2 * speeds["float32"] else "float32"


def measure_precisions(size: int = 256, rounds: int = 20) -> dict[str, float]:
    """GFLOP/s of a (size × size) matrix product on one core, by precision; takes milliseconds.

    Processors without bfloat16 instructions emulate them, many times slower than float32. The
    measurement takes one thread and the best of many rounds, since other programs disturb any other
    one on a busy machine.
    """
    import torch

    def best(dtype: torch.dtype) -> float:
        matrix = torch.full((size, size), 0.5, dtype=dtype)
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            times.append(time.perf_counter() - start)
        return 2 * size**3 / min(times) / 1e9

    with one_thread():
        return {"float32": best(torch.float32), "bfloat16": best(torch.bfloat16)}


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block torch computes in one thread.

    Several wait for each other on a busy machine, which takes ten times the processor time of what
    little there is to compute.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
