"""The device for a model, decided for simulated machines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from retriever.embedding.models import devices
from retriever.embedding.models.devices import Card, DevicePlan, Machine, choose_device
from retriever.types import ModelError

GB = 10**9
SMALL, LARGE, HUGE = 10**9, 20 * 10**9, 10**12  # parameters: 2.7, 44.5, 2200.5 GB in bfloat16

LAPTOP = Machine(8 * GB)
APPLE = Machine(32 * GB, mps=True)
ONE = Machine(64 * GB, (Card(24 * GB),))
FOUR = Machine(64 * GB, (Card(24 * GB),) * 4)
OLD = Machine(64 * GB, (Card(16 * GB, bfloat16=False),))


@pytest.fixture(autouse=True)
def bfloat16_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cpu_precision", lambda: "bfloat16")


@pytest.mark.parametrize(
    ("parameters", "machine", "device", "dtype", "expected"),
    [
        (SMALL, LAPTOP, None, None, DevicePlan("cpu", "bfloat16")),
        (SMALL, LAPTOP, "auto", "float32", DevicePlan("cpu", "float32")),
        (SMALL, APPLE, None, None, DevicePlan("mps", "float32")),
        (SMALL, APPLE, "cpu", None, DevicePlan("cpu", "bfloat16")),
        (SMALL, APPLE, "mps", "bfloat16", DevicePlan("mps", "bfloat16")),
        (SMALL, ONE, None, None, DevicePlan("cuda:0", "bfloat16")),
        (SMALL, ONE, "cpu", None, DevicePlan("cpu", "bfloat16")),
        (SMALL, OLD, None, None, DevicePlan("cuda:0", "float32")),
        (SMALL, OLD, "cuda", "float16", DevicePlan("cuda:0", "float16")),
        (SMALL, FOUR, "cuda:2", None, DevicePlan("cuda:2", "bfloat16")),
        (LARGE, ONE, None, None, DevicePlan("cpu", "bfloat16")),  # the GPU is too small for it
        (
            SMALL,
            Machine(GB, (Card(GB), Card(4 * GB))),
            None,
            None,
            DevicePlan("cuda:1", "bfloat16"),
        ),
    ],
)
def test_one_place(
    parameters: int, machine: Machine, device: str | None, dtype: str | None, expected: DevicePlan
) -> None:
    assert choose_device("m", parameters, machine, device, dtype) == expected


@pytest.mark.parametrize("device", [None, "auto", "cuda"])
def test_what_fits_no_card_is_spread_over_all(device: str | None) -> None:
    place = choose_device("m", LARGE, FOUR, device)
    assert (place.device, place.dtype) == ("cuda:0", "bfloat16")
    assert [number for number, _ in place.cards] == [0, 1, 2, 3]
    assert all(share < 24 * GB for _, share in place.cards)
    assert sum(share for _, share in place.cards) > 2 * LARGE
    options = place.load_options()
    assert options["device_map"] == "auto"
    assert options["max_memory"] == dict(place.cards)
    mixed = Machine(GB, (Card(40 * GB), Card(30 * GB, bfloat16=False)))
    assert choose_device("m", LARGE, mixed, "cuda", "bfloat16").cards
    full = Machine(GB, (Card(30 * GB), Card(30 * GB), Card(1000)))
    assert [number for number, _ in choose_device("m", LARGE, full).cards] == [0, 1]


@pytest.mark.parametrize(
    ("parameters", "machine", "device", "message"),
    [
        (LARGE, LAPTOP, None, r"about 44\.5 GB in bfloat16, and this machine has 8\.0 GB free"),
        (LARGE, FOUR, "cuda:1", r"about 44\.5 GB in bfloat16, and cuda:1 has 24\.0 GB free"),
        (LARGE, ONE, "cuda", r"in bfloat16, and the GPU has 24\.0 GB free"),
        (HUGE, FOUR, "cuda", r"2,200\.5 GB in bfloat16, and the 4 GPUs together have 89\.3 GB"),
        (HUGE, FOUR, None, r"2,200\.5 GB in bfloat16, and this machine has 64\.0 GB free"),
        (5 * SMALL, OLD, "cuda", r"22\.5 GB in float32.*; use --dtype bfloat16 \(11\.5 GB\), a"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(
    parameters: int, machine: Machine, device: str | None, message: str
) -> None:
    with pytest.raises(ModelError, match=rf"the model 'm' needs.*{message}"):
        choose_device("m", parameters, machine, device)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu", "unknown device 'tpu'"),
        ("cuda:x", "unknown device 'cuda:x'"),
        ("cuda", "no CUDA device was found"),
        ("mps", "no MPS device was found"),
    ],
)
def test_a_missing_device_is_named(device: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        choose_device("m", SMALL, LAPTOP, device)


def test_a_card_or_precision_there_is_not() -> None:
    with pytest.raises(ModelError, match=r"there is no device 'cuda:4': .* cuda:0 to cuda:3"):
        choose_device("m", SMALL, FOUR, "cuda:4")
    with pytest.raises(ModelError, match="unknown precision 'int8'"):
        choose_device("m", SMALL, LAPTOP, dtype="int8")


def test_options_for_loading() -> None:
    assert DevicePlan("cpu", "float32").load_options() == {"dtype": torch.float32}
    on_card = DevicePlan("cuda:1", "bfloat16").load_options()
    assert on_card == {"dtype": torch.bfloat16, "device_map": "cuda:1"}


def test_cards_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "is_available": True,
        "device_count": 2,
        "mem_get_info": (5 * GB, 24 * GB),
        "memory_reserved": 3 * GB,
        "memory_allocated": GB,
        "get_device_capability": (7, 5),
        "get_device_name": "Some card",
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    assert devices.inspect_machine().cards == (Card(7 * GB, bfloat16=False, name="Some card"),) * 2


def test_memory_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(str(tmp_path / name) for name in ("max", "current", "stat"))
    monkeypatch.setattr(devices, "CGROUPS", (files, ("none", "none", "none")))
    whole = devices.available_memory()
    assert whole > 10**8
    for name, text in zip(
        files, ("3000000\n", "2500000\n", "anon 5\ninactive_file 7\n"), strict=True
    ):
        Path(name).write_text(text)
    assert devices.available_memory() == 500_007
    Path(files[0]).write_text("max\n")
    assert devices.available_memory() == pytest.approx(whole, rel=0.3)


def test_precision_is_chosen_by_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for faster, expected in ((3.0, "bfloat16"), (0.2, "float32")):
        devices.cpu_precision.cache_clear()
        speeds = {"float32": 100.0, "bfloat16": 100.0 * faster}
        monkeypatch.setattr(devices, "measure_precisions", lambda speeds=speeds: speeds)
        assert devices.cpu_precision() == expected
    devices.cpu_precision.cache_clear()


def test_processors_are_measured() -> None:
    speeds = devices.measure_precisions(size=64, rounds=2)
    assert set(speeds) == {"float32", "bfloat16"}
    assert min(speeds.values()) > 0
