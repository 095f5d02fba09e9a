"""The training run: LoRA on the attention projections, by sentence-transformers' trainer.

A run is a folder: its rows, what it is trained with, and checkpoints. So a killed run goes on where
it stopped, and on several GPUs each process reads the same. For pairs of a question and a passage
the loss is contrastive, with in-batch negatives and the mined ones, in parts of a batch (GradCache,
arXiv 2101.06983); for rated pairs of sentences it is CoSENT. Both are sentence-transformers' own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from datasets.utils import disable_progress_bars
from peft import LoraConfig, PeftModel, get_peft_model
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.training_args import (
    BatchSamplers,
    SentenceTransformerTrainingArguments,
)
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, kl_div, log_softmax
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from retriever.arrays import Vectors
from retriever.embedding.inputs import appended_tokens, bounded
from retriever.embedding.models.devices import available_memory, cpu_precision
from retriever.embedding.models.load import LoadedModel, load_for_training
from retriever.embedding.pooling import AttentionPooler, find_attention_layers
from retriever.files.durable import replacing
from retriever.settings import EmbedderSettings
from retriever.tuning.module import PooledModel, Side
from retriever.tuning.recipe import POSITIVE, QUERY, Recipe
from retriever.types import ModelError

ROWS_FILE, RUN_FILE, MEANS_FILE, CLOCK_FILE = "rows.jsonl", "run.json", "means.npz", "clock.json"
CHECKPOINTS, STEPS_FILE = "checkpoints", "steps.jsonl"

LOOK_SECONDS = 0.5
"""Seconds between two looks at how far other processes are."""

CHECKPOINT_SECONDS = 90.0
"""A killed run loses at most this much, and a step."""

WARM_UP = 0.1
"""The share of a run in which the learning rate rises."""

TOKEN_BYTES = 100
"""Bytes that a token takes until its gradient is computed, for each trained layer and number of a
hidden state: 75 to 92 were measured, of a model of 135 million parameters in float32."""

NEVER = -1e9
"""The logarithm of a chance that is none."""

LEAST_AT_ONCE, MOST_AT_ONCE = 512, 16_384
"""Tokens computed together, however much memory is free."""

Told = Callable[["Step"], None]


@dataclass(frozen=True, slots=True)
class Step:
    """How far a run is: `share` of it is done, 0 to 1; `loss` is the latest mean of some steps."""

    number: int
    total: int
    share: float
    seconds: float
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What a run trains: a base model with its settings, on a device, by a recipe.

    `rated`: its rows are sentences with a score. `dtype` is the precision the base is computed in.
    """

    settings: EmbedderSettings
    recipe: Recipe
    rated: bool
    device: str | None = None
    dtype: str | None = None

    def write(self, folder: Path, rows: list[dict[str, Any]], means: dict[str, Vectors]) -> None:
        """Write all that the processes of a run read."""
        with replacing(folder / ROWS_FILE) as file:
            file.writelines(json.dumps(row).encode() + b"\n" for row in rows)
        with replacing(folder / MEANS_FILE) as file:
            np.savez(file, **means)  # type: ignore[arg-type]  # numpy's own signature
        values = {**asdict(self), "settings": self.settings.to_json()}
        with replacing(folder / RUN_FILE) as file:
            file.write(json.dumps(values, indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> Run:
        """What `write` wrote."""
        values = json.loads((folder / RUN_FILE).read_text("utf-8"))
        recipe = values["recipe"] | {"dimensions": tuple(values["recipe"]["dimensions"])}
        settings = EmbedderSettings.from_json(values["settings"])
        return cls(settings, Recipe(**recipe), *(values[n] for n in ("rated", "device", "dtype")))

    @property
    def sides(self) -> dict[str, tuple[str, ...]]:
        """The prompts of each side that rows have."""
        prompts = self.settings.prompts
        if self.rated:
            return {"sentence": (prompts.sentence,)}
        return {"query": prompts.queries, "passage": (prompts.passage,)}


@dataclass(frozen=True, slots=True)
class Adapted:
    """A base model with adapters, and the module that trains them."""

    loaded: LoadedModel
    peft: PeftModel
    module: PooledModel


def adapted(folder: Path, run: Run, *, dtype: str | None = None) -> Adapted:
    """The run's base with new adapters, whose sum with it is the base at first.

    `dtype` is by default the run's own; merging asks for float32. Raises ModelError if the base is
    not the one any more that the run began with.
    """
    loaded = load_for_training(run.settings.pinned_model, _device(run), dtype or run.dtype)
    if loaded.weights != run.settings.weights:
        raise ModelError(
            f"the model {run.settings.model!r} has other weights than when this run began; "
            "begin again with --restart"
        )
    torch.manual_seed(run.recipe.seed)
    peft = get_peft_model(loaded.model, _lora(loaded.model, run))
    pooler = AttentionPooler(
        loaded.model, run.settings.layers, run.settings.pooling, gradients=True
    )
    means = np.load(folder / MEANS_FILE, allow_pickle=False)
    sides = {name: Side(templates, means[name]) for name, templates in run.sides.items()}
    module = PooledModel(
        pooler,
        _tokenize(loaded),
        sides,
        max_tokens=min(run.recipe.max_tokens, loaded.max_positions),
        autocast=_autocast(loaded, dtype or run.dtype),
    )
    return Adapted(loaded, peft, module)


def _adapted_layers(run: Run) -> range:
    """The layers that get adapters: none after the last pooled one has a gradient."""
    first, end = run.settings.layers[0], run.settings.layers[-1] + 1
    return range(0 if run.recipe.adapt == "all" else min(first, end // 2), end)


def _lora(model: Any, run: Run) -> LoraConfig:
    """Adapters on all linear maps of the attention blocks that are trained."""
    names = {module: name for name, module in model.named_modules()}
    layers = find_attention_layers(model)
    blocks = [layers[at].block for at in _adapted_layers(run)]
    targets = [
        names[part]
        for block in blocks
        for part in block.modules()
        if isinstance(part, nn.Linear) or type(part).__name__ == "Conv1D"
    ]
    recipe = run.recipe
    return LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, target_modules=targets
    )


def _autocast(loaded: LoadedModel, dtype: str | None) -> torch.dtype | None:
    """The precision of products, where that is lower than the weights' and nobody chose."""
    if dtype is None and loaded.device.type == "cpu":
        return torch.bfloat16 if cpu_precision() == "bfloat16" else None
    return torch.bfloat16 if loaded.dtype == torch.bfloat16 else None


def _tokenize(loaded: LoadedModel) -> Callable[[list[str]], list[list[int]]]:
    """Token ids as an embedder makes them: without the special tokens that are appended."""
    tokenizer = loaded.tokenizer
    whole, bare = (
        list(tokenizer("a", add_special_tokens=special)["input_ids"]) for special in (True, False)
    )
    extra = appended_tokens(whole, bare)

    def tokenize(inputs: list[str]) -> list[list[int]]:
        rows = tokenizer([bounded(text) for text in inputs], verbose=False)["input_ids"]
        return [ids[: len(ids) - extra] for ids in rows]

    return tokenize


# Training


class _Clock(TrainerCallback):  # type: ignore[misc]  # it has no types
    """Ends a run when its time is over, asks for checkpoints, and tells how far it is.

    Of several processes all follow the clock of the first one: what only some of them did would
    leave the others waiting.
    """

    def __init__(self, minutes: float | None, told: Told) -> None:
        self.limit = None if minutes is None else 60 * minutes
        self.before = self.at = 0.0  # seconds of earlier processes; at the end of the last step
        self.told = told
        self.started = self.saved = time.monotonic()
        self.loss: float | None = None

    @property
    def seconds(self) -> float:
        """The seconds that the run has taken, in all processes one after the other."""
        return self.before + time.monotonic() - self.started

    def share(self, step: int, total: int) -> float:
        """The share of the run that is done, 0 to 1, by steps or by time."""
        by_time = 0.0 if self.limit is None else self.at / self.limit
        return min(1.0, max(step / max(1, total), by_time))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.started = self.saved = time.monotonic()
        self.at = _of_the_first(args.device, self.before)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        since = _of_the_first(args.device, time.monotonic() - self.saved)
        self.at = _of_the_first(args.device, self.seconds)
        share = self.share(state.global_step, state.max_steps)
        if self.limit is not None and self.at >= self.limit:
            control.should_training_stop = True
        if since > CHECKPOINT_SECONDS and share < 1:
            control.should_save = True
            self.saved = time.monotonic()
        self.told(Step(state.global_step, state.max_steps, share, self.at, self.loss))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.loss = (logs or {}).get("loss", self.loss)


def _of_the_first(device: torch.device, seconds: float) -> float:
    """The seconds of the first process."""
    if not torch.distributed.is_initialized():
        return seconds
    shared = torch.tensor([seconds], dtype=torch.float64, device=device)
    torch.distributed.broadcast(shared, 0)
    return float(shared)


class _Trainer(SentenceTransformerTrainer):  # type: ignore[misc]  # it has no types
    """The trainer, with checkpoints of the adapters alone, and a rate that knows the time."""

    module: PooledModel
    clock: _Clock

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Make no card of its own: it would read all texts again for it, and look for a hub."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.module.save(str(folder))
        (folder / CLOCK_FILE).write_text(json.dumps(self.clock.seconds))

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        self.module.restore(Path(checkpoint_path))
        self.clock.before = float(json.loads((Path(checkpoint_path) / CLOCK_FILE).read_text()))

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        def rate(step: int) -> float:
            share = self.clock.share(step, num_training_steps)
            return min((share + 0.01) / WARM_UP, (1 - share) / (1 - WARM_UP), 1.0)

        self.lr_scheduler: LambdaLR = LambdaLR(optimizer or self.optimizer, rate)
        return self.lr_scheduler


def train(folder: Path, told: Told = lambda step: None) -> None:
    """Train in this process, from the last checkpoint on if there is one; write the adapters.

    Under torch.distributed.run all processes call it; the first one writes.
    """
    disable_progress_bars()
    run = Run.read(folder)
    there = adapted(folder, run)
    model = SentenceTransformer(modules=[there.module], device=str(there.loaded.device))
    rows = [json.loads(line) for line in (folder / ROWS_FILE).read_text("utf-8").splitlines()]
    clock = _Clock(run.recipe.minutes, told)
    trainer = _Trainer(
        model=model,
        args=_arguments(folder, run, len(rows), on_cpu=there.loaded.device.type == "cpu"),
        train_dataset=Dataset.from_list(rows),
        loss=_loss(there, model, run),
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.module, trainer.clock = there.module, clock
    trainer.train(resume_from_checkpoint=_last_checkpoint(folder / CHECKPOINTS))
    if trainer.is_world_process_zero():
        there.module.save(str(folder))


def _last_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that was written whole; its state is what is written last."""
    for part in folder.glob("checkpoint-*"):
        try:
            json.loads((part / "trainer_state.json").read_text("utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(part, ignore_errors=True)
    found: str | None = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    return found


def _arguments(
    folder: Path, run: Run, count: int, *, on_cpu: bool
) -> SentenceTransformerTrainingArguments:
    recipe = run.recipe
    side = "sentence" if run.rated else "passage"
    columns = {f"negative_{at}": side for at in range(1, recipe.negatives + 1)}
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        prompts={QUERY: "sentence" if run.rated else "query", POSITIVE: side, **columns},
        num_train_epochs=recipe.epochs,
        # With several processes, rows that fill no batch of all are left out.
        per_device_train_batch_size=max(1, min(recipe.batch, count // _processes("WORLD_SIZE"))),
        learning_rate=recipe.learning_rate,
        max_grad_norm=1.0,
        weight_decay=0.0,
        batch_sampler=BatchSamplers.BATCH_SAMPLER if run.rated else BatchSamplers.NO_DUPLICATES,
        seed=recipe.seed,
        data_seed=recipe.seed,
        save_strategy="no",  # the clock asks for checkpoints
        save_total_limit=2,
        logging_steps=5,
        logging_strategy="steps",
        disable_tqdm=True,
        report_to="none",
        use_cpu=on_cpu,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=run.settings.pooling == "va",
    )


class Contrastive(losses.CachedMultipleNegativesRankingLoss):  # type: ignore[misc]  # no types
    """InfoNCE, and `teacher` times the divergence from a teacher's ranking of a row's passages.

    With `whole` a batch is computed in one pass if it fits into memory; otherwise in parts, each of
    them twice.
    """

    def __init__(
        self, model: SentenceTransformer, *, teacher: float, whole: bool, **more: Any
    ) -> None:
        super().__init__(model, **more)
        self.teacher, self.whole = teacher, whole

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The loss of a batch: of its queries, positives and negatives, a column each."""
        features = list(sentence_features)
        tokens = sum(int(each["attention_mask"].sum()) for each in features)
        if not self.whole or tokens > self.mini_batch_num_tokens:
            in_parts: Tensor = super().forward(features, labels)
            return in_parts
        vectors = [[self.model(each)["sentence_embedding"]] for each in features]
        return self.calculate_loss(vectors, labels)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """The loss of vectors: parts (b, dim) of each column; `labels` (B, 1 + m), the teacher's.

        With `with_backward` its gradients are computed here, as far as the vectors.
        """
        loss: Tensor = super().calculate_loss(reps, None, with_backward=with_backward)
        if not self.teacher or labels is None:
            return loss
        queries, *passages = (torch.cat(column) for column in reps)
        cosines = torch.stack([cosine_similarity(queries, each) for each in passages], dim=1)
        unknown = labels.isnan()  # what the teacher cannot say; the others are ranked
        own = log_softmax((self.loss.scale * cosines).masked_fill(unknown, NEVER), dim=1)
        taught = log_softmax(labels.to(own).masked_fill(unknown, NEVER), dim=1)
        diverging = self.teacher * kl_div(own, taught, reduction="batchmean", log_target=True)
        if with_backward:
            torch.autograd.backward(diverging)
            diverging = diverging.detach()
        return loss + diverging


def _loss(there: Adapted, model: SentenceTransformer, run: Run) -> nn.Module:
    recipe = run.recipe
    loss: nn.Module
    if run.rated:
        loss = losses.CoSENTLoss(model, scale=recipe.scale)
    else:
        spread = torch.distributed.is_initialized()
        loss = Contrastive(
            model,
            teacher=recipe.teacher,
            # In parts, processes stay in step; and so shortened vectors get their gradients.
            whole=not spread and not recipe.dimensions,
            scale=recipe.scale,
            mini_batch_num_tokens=recipe.part_tokens or _tokens_at_once(there, run),
            gather_across_devices=spread,
        )
    if recipe.dimensions:
        dimensions = sorted({*recipe.dimensions, run.settings.dimension}, reverse=True)
        loss = losses.MatryoshkaLoss(model, loss, matryoshka_dims=dimensions)
    return loss


def _tokens_at_once(there: Adapted, run: Run) -> int:
    """Tokens whose activations fit into half of the free memory."""
    device = there.loaded.device
    cuda = device.type == "cuda"
    own = available_memory() // _processes("LOCAL_WORLD_SIZE")
    free = torch.cuda.mem_get_info(device)[0] if cuda else own
    width = there.loaded.model.config.get_text_config().hidden_size
    each = TOKEN_BYTES * width * len(_adapted_layers(run))
    return min(MOST_AT_ONCE, max(LEAST_AT_ONCE, int(free / 2 / each)))


# Several processes, or cards


def _processes(name: str) -> int:
    """How many processes torch.distributed.run has started, by the name of its variable."""
    return int(os.environ.get(name, "1"))


def _device(run: Run) -> str | None:
    """Where this process computes: of several, each has a card of its own."""
    on_cpu = (run.device or "").startswith("cpu")
    if on_cpu or not torch.cuda.is_available():
        return run.device
    if "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return "cuda" if torch.cuda.device_count() == 1 else run.device


def _only_card(device: str | None) -> str | None:
    """The card that one process must see alone, as CUDA_VISIBLE_DEVICES; None if there is no other.

    The trainer would spread a batch over all that it sees, which hooks of one model do not survive.
    """
    if (device or "").startswith("cpu") or torch.cuda.device_count() < 2:
        return None
    index = int((device or "").partition(":")[2] or 0)
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return seen[index] if seen else str(index)


def train_on_all(folder: Path, processes: int, told: Told = lambda step: None) -> None:
    """Train with so many processes of this machine, a GPU each. Raises ModelError if one fails."""
    card = _only_card(Run.read(folder).device) if processes == 1 else None
    if processes == 1 and card is None:
        train(folder, told)
        return
    command, environment = [sys.executable, "-m"], dict(os.environ)
    if card is None:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    else:
        environment["CUDA_VISIBLE_DEVICES"] = card
    command += ["retriever.tuning.training", str(folder)]
    steps = folder / STEPS_FILE
    steps.unlink(missing_ok=True)
    with subprocess.Popen(command, env=environment) as done:  # noqa: S603 - ours
        seen = 0
        while True:
            ended = _ends_within(done, LOOK_SECONDS)
            # What comes after the last end of a line is being written.
            lines = steps.read_text("utf-8").split("\n")[:-1] if steps.exists() else []
            for line in lines[seen:]:
                told(Step(**json.loads(line)))
            seen = len(lines)
            if ended:
                break
    if done.returncode:
        raise ModelError(
            f"the training in {folder} ended with {done.returncode}; "
            "give the command again to go on"
        )


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _main(folder: Path) -> None:
    """Train as one of several processes; the first one writes down how far it is."""
    first = int(os.environ.get("RANK", "0")) == 0

    def told(step: Step) -> None:
        if first:
            with (folder / STEPS_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(step)) + "\n")

    train(folder, told)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))


__all__ = ["Adapted", "Contrastive", "Run", "Step", "adapted", "train", "train_on_all"]
