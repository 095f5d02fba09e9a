"""A folder with a model → tokenizer and causal language model, on the right device and precision.

`locate` finds the folder, `devices` chooses the device, `architectures` checks the model.
Where this package's own decoder and the library `tokenizers` give what transformers gives, which is
tried once, they load the model: the import of transformers takes longer than all else.
"""

from __future__ import annotations

import gc
import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from retriever.embedding.models import devices
from retriever.embedding.models.architectures import (
    TEXT_PART,
    check_complete,
    language_model_config,
    load_errors,
    quiet_transformers,
)
from retriever.embedding.models.locate import (
    locate,
    parameter_count,
    weight_files,
    weights_digest,
)
from retriever.types import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from retriever.embedding.models.decoder import DecoderSettings

log = logging.getLogger(__name__)

# Of two threads that import transformers at the same time, one finds it half imported. And while it
# makes a model, the model's dtype is torch's default in all threads: a second one got both dtypes.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A causal language model with its tokenizer.

    `weights` is the SHA-256 of weights and tokenizer; `device` is the device of the inputs;
    `devices` are those of all layers, more than one if the model is spread over several cards;
    `revision` is the commit of a model of the hub, whose `name` is without it.
    """

    name: str
    folder: Path
    weights: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    device: torch.device
    dtype: torch.dtype
    max_positions: int
    devices: tuple[str, ...] = ()
    revision: str = ""


def load_model(
    name: str, device: str | None = None, dtype: str | None = None, *, download: bool = True
) -> LoadedModel:
    """Load a model for embedding.

    `device` is a torch device ("cpu", "cuda", "cuda:1", "mps") or "auto", by default the best one;
    `dtype` is "float32", "bfloat16" or "float16", by default the fastest that is accurate enough:
    see `devices.choose_device`. Without `download` a model of the hub must be on this disk. Raises
    ModelError, in one sentence, if the model is not found,
    cannot be read or used, or does not fit.
    """
    devices.check_precision(dtype)
    found = locate(name, download=download)
    with _one_at_a_time:
        loaded = _load(found.name, found.folder, device, dtype)
    return replace(loaded, revision=found.revision)


def load_for_training(
    name: str, device: str | None = None, dtype: str | None = None
) -> LoadedModel:
    """The model as transformers' own class, to which adapters fit; on a CPU in float32."""
    import torch

    found = locate(name)
    on_card = torch.cuda.is_available() and not (device or "").startswith("cpu")
    half = on_card and torch.cuda.is_bf16_supported()
    with _one_at_a_time:
        precision = dtype or ("bfloat16" if half else "float32")
        loaded = _load_by_transformers(found.name, found.folder, device, precision)
    return replace(loaded, revision=found.revision)


def _load(name: str, folder: Path, device: str | None, dtype: str | None) -> LoadedModel:
    from retriever.embedding.models.decoder import read_settings

    settings = read_settings(folder)
    if settings is not None:
        plan = _plan(name, folder, device, dtype, text_only=False)
        own = _load_own(name, folder, settings, plan) if plan.device == "cpu" else None
        if own is not None:
            return own
    return _load_by_transformers(name, folder, device, dtype)


def _plan(
    name: str, folder: Path, device: str | None, dtype: str | None, *, text_only: bool
) -> devices.DevicePlan:
    parameters = parameter_count(folder, text_only=text_only)
    return devices.choose_device(name, parameters, devices.inspect_machine(), device, dtype)


def _load_own(
    name: str, folder: Path, settings: DecoderSettings, plan: devices.DevicePlan
) -> LoadedModel | None:
    """The model as this package's own decoder; None where that differs from transformers'."""
    import torch

    from retriever.embedding.models.decoder import read_decoder
    from retriever.embedding.models.tokenizer import OwnTokenizer
    from retriever.embedding.self_checks import remembered_outcome

    dtype, weights = getattr(torch, plan.dtype), weights_digest(folder)
    facts = ((folder / "config.json").read_bytes(), OwnTokenizer.files_digest(folder))
    try:
        same = remembered_outcome(
            *("decoder", weights, "cpu", str(dtype), facts),
            lambda: _own_agrees(name, folder, settings, plan),
        )
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - transformers loads the model then
        log.debug("the own decoder cannot be compared: %s", error)
        return None
    if not same:
        return None
    with load_errors(name), devices.one_thread():
        model = read_decoder(settings, weight_files(folder), dtype)
        tokenizer = OwnTokenizer.read(folder)
    if model is None:
        return None
    return LoadedModel(
        name=name,
        folder=folder,
        weights=weights,
        # They have all that is used of transformers' classes.
        model=cast("PreTrainedModel", model),
        tokenizer=cast("PreTrainedTokenizerFast", tokenizer),
        device=torch.device("cpu"),
        dtype=dtype,
        max_positions=settings.max_position_embeddings,
        devices=("cpu",),
    )


def _own_agrees(
    name: str, folder: Path, settings: DecoderSettings, plan: devices.DevicePlan
) -> bool:
    """Whether own decoder and tokenizer give, bit for bit, what those of transformers give."""
    from retriever.embedding.models.decoder import agrees, with_weights
    from retriever.embedding.models.tokenizer import OwnTokenizer

    loaded, own = _load_by_transformers(name, folder, plan.device, plan.dtype), None
    try:
        own = with_weights(settings, loaded.model.state_dict())
        with devices.one_thread():
            same = own is not None and agrees(own, loaded.model)
        return same and OwnTokenizer.read(folder).agrees(loaded.tokenizer)
    finally:
        del loaded, own
        gc.collect()  # a module and its parts refer to each other


def _load_by_transformers(
    name: str, folder: Path, device: str | None, dtype: str | None
) -> LoadedModel:
    import torch
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    whole = _read_config(name, folder)
    config = language_model_config(name, whole)
    text_only = config is not whole
    plan = _plan(name, folder, device, dtype, text_only=text_only)
    with load_errors(name):
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            key_mapping=TEXT_PART if text_only else None,
            **_unpacking(whole),
            **plan.load_options(),
        )
        check_complete(name, model, set(report["missing_keys"]))
        tokenizer = load_tokenizer(folder)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad = False
    used = _devices(name, model, plan)
    return LoadedModel(
        name=name,
        folder=folder,
        weights=weights_digest(folder),
        model=model,
        tokenizer=tokenizer,
        device=model.get_input_embeddings().weight.device,
        dtype=getattr(torch, plan.dtype),
        max_positions=_max_positions(config),
        devices=used,
    )


def _read_config(name: str, folder: Path) -> Any:
    from transformers import AutoConfig

    with load_errors(name):
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _unpacking(config: Any) -> dict[str, Any]:
    """The options that dequantise safetensors on loading; {} if they are not quantised."""
    quantisation = getattr(config, "quantization_config", None)
    if not quantisation:
        return {}
    import transformers

    kinds = {"mxfp4": "Mxfp4Config", "fp8": "FineGrainedFP8Config"}
    kind = kinds[quantisation["quant_method"]]
    # transformers merges this with the model's own quantisation settings.
    return {"quantization_config": getattr(transformers, kind)(dequantize=True)}


def _devices(name: str, model: Any, plan: devices.DevicePlan) -> tuple[str, ...]:
    """All devices that hold weights, in the order of the layers."""
    used = tuple(dict.fromkeys(str(parameter.device) for parameter in model.parameters()))
    if plan.cards and any(not device.startswith("cuda") for device in used):
        raise ModelError(
            f"the model {name!r} does not fit on the {len(plan.cards)} GPUs; "
            "use a smaller model, or --device cpu"
        )
    return used


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in a model's folder. Raises ModelError if it gives no character positions."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer in {folder.name!r} gives no character positions; "
            "a tokenizer.json file is needed"
        )
    return tokenizer


def _max_positions(config: Any) -> int:
    for name in ("max_position_embeddings", "n_positions", "seq_length"):
        value = getattr(config, name, None)
        if value:
            return int(value)
    return 2048
