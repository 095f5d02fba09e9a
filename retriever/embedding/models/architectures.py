"""Checks that a model is, or contains, a causal language model.

Every other model is refused with a sentence that names the reason. Whether a model's attention can
be pooled is checked in `pooling`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from retriever.types import ModelError

_ADVICE = "use a decoder-only language model such as Llama, Qwen, Gemma or GPT-2"
_ENCODERS = ("ForMaskedLM", "ForPreTraining", "ForTokenClassification", "ForQuestionAnswering")

TEXT_PART = {
    r"^(model\.)?language_model\.lm_head\.": "lm_head.",
    r"^(model\.)?language_model\.(model\.)?": "model.",
}
"""Names of a language model's weights within a multimodal model → their names without it."""

OTHER_PARTS = ("vision", "visual", "audio", "multi_modal", "multimodal", "mm_")
"""Parts of the names of a multimodal model's other weights."""


def language_model_config(name: str, config: Any) -> Any:
    """The configuration of the causal language model that `config` describes or contains.

    Raises ModelError for encoders, encoder-decoders, and anything else that is not a causal
    language model.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    text = config.get_text_config(decoder=True)
    known = str(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(text.model_type, ""))
    if config.is_encoder_decoder:
        raise ModelError(
            f"{name!r} is an encoder-decoder ({config.model_type}); "
            "a decoder-only language model such as Llama, Qwen, Gemma or GPT-2 is needed"
        )
    if not known or known.endswith("ForConditionalGeneration"):
        if text is not config:
            raise ModelError(
                f"{name!r} is a {config.model_type} model for more than text, and its language "
                f"model ({text.model_type}) cannot be used on its own; {_ADVICE}"
            )
        raise ModelError(
            f"{name!r} is a {config.model_type} model, not a causal language model; {_ADVICE}"
        )
    architectures = config.architectures or []
    if text is config and architectures and all(a.endswith(_ENCODERS) for a in architectures):
        # A causal class exists for them, but the weights were trained with bidirectional attention.
        raise ModelError(
            f"{name!r} is an encoder ({architectures[0]}): its tokens see what follows them; "
            f"{_ADVICE}"
        )
    return text


def check_complete(name: str, model: Any, missing: set[str]) -> None:
    """Raise ModelError if weights of `model` are missing: transformers initialises them randomly.

    The vocabulary head is not needed, so a model saved without one is accepted.
    """
    head = model.get_output_embeddings()
    unneeded = {key for key, module in model.named_modules() if head is not None and module is head}
    lost = sorted(key for key in missing if key.rpartition(".")[0] not in unneeded)
    if lost:
        raise ModelError(
            f"the weights of {name!r} are incomplete: {len(lost)} that a "
            f"{model.config.model_type} model has are missing ({lost[0]}, …); get the model again, "
            "or use another"
        )


@contextmanager
def load_errors(name: str) -> Iterator[None]:
    """Turn any error of a library about a broken model into a ModelError of one sentence."""
    try:
        yield
    except ModelError:
        raise
    except MemoryError as error:
        raise ModelError(
            f"the model {name!r} does not fit in memory; use a smaller model"
        ) from error
    except Exception as error:
        raise ModelError(f"the model {name!r} cannot be loaded: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error message, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def quiet_transformers() -> None:
    """Switch off progress bars and load reports on the terminal; errors are still raised."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module=r"transformers\..*")
