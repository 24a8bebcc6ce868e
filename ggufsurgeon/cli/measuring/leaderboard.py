"""`ggufsurgeon leaderboard`."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.measuring.leaderboard_options import (
    AnswerContext,
    AnswerStore,
    Benchmarks,
    DataFolder,
    DocumentLimit,
    NamedPaths,
    OtherBase,
    Parallel,
    SubtaskDetails,
    TemplateVariables,
    ThinkingEnd,
    ThinkingTokens,
    UsesChatTemplate,
)
from ggufsurgeon.cli.output.further_models import tell_further_models
from ggufsurgeon.cli.output.models import all_on_disk, on_disk
from ggufsurgeon.cli.output.terminal import print_json, print_note, print_warning, watched
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.named_paths import add_named_paths
from ggufsurgeon.cli.shared_options.options import (
    Drops,
    Json,
    Layers,
    Quiet,
    Source,
    Times,
    Windows,
    With,
)
from ggufsurgeon.cli.shared_options.recipe_option import RecipeFile, asked_path_beside_model
from ggufsurgeon.container.quoting import shortened
from ggufsurgeon.errors import EngineError, UsageError

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.layer_path.edits import AnyPath
    from ggufsurgeon.leaderboard.run import RunSize

THINKING_END = "</think>"


@with_device_options
def leaderboard(
    model: Source,
    window: Windows = None,
    times: Times = None,
    drop: Drops = None,
    layers: Layers = None,
    recipe: RecipeFile = None,
    models: NamedPaths = None,
    with_: With = None,
    base: OtherBase = None,
    tasks: Benchmarks = None,
    limit: DocumentLimit = None,
    data: DataFolder = None,
    ctx: AnswerContext = None,
    parallel: Parallel = None,
    chat_template: UsesChatTemplate = False,
    chat_template_kwargs: TemplateVariables = None,
    thinking_tokens: ThinkingTokens = None,
    thinking_end: ThinkingEnd = None,
    store: AnswerStore = None,
    details: SubtaskDetails = False,
    *,
    devices: Devices,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the Open LLM Leaderboard's benchmarks by lm-evaluation-harness' own tasks.

    Layer paths run without a file and are compared with the unmodified model or with a base.
    """
    from ggufsurgeon.cli.measuring.leaderboard_results import print_leaderboard, results_as_json

    options = (window, times, drop, layers, None, False)
    paths: dict[str, AnyPath | None] = {}
    add_named_paths(paths, models or [])
    asked = asked_path_beside_model(model, recipe, options, with_, paths.values())
    if asked.path is not None:
        paths[""] = asked.path
    chat = _chat(chat_template, chat_template_kwargs, thinking_tokens, thinking_end)
    tell_further_models(model, asked.others, devices)
    others = all_on_disk(asked.others)
    with _telling_what_is_kept(store), gs.load(on_disk(model), devices, others=others) as loaded:
        tell_devices(loaded, devices)
        with watched() as progress:
            result = loaded.leaderboard(
                list(paths.values()),
                base=None if base is None else on_disk(base),
                benchmarks=None if tasks is None else [name.strip() for name in tasks.split(",")],
                limit=limit,
                data=data,
                chat=chat,
                n_ctx=ctx,
                n_parallel=parallel,
                store=store,
                progress=progress,
                on_size=_tell_size,
            )
    names = list(paths) or [""]
    if json:
        print_json(results_as_json(result, names, details=details))
    else:
        print_leaderboard(result, names, details=details)


def _chat(
    is_asked: bool, variables: str | None, n_tokens: int | None, end: str | None
) -> gs.ChatSettings | None:
    """What the options ask of the chat template."""
    if not is_asked:
        for name, value in {
            "--chat-template-kwargs": variables,
            "--thinking-tokens": n_tokens,
            "--thinking-end": end,
        }.items():
            if value is not None:
                raise UsageError(f"{name} requires --chat-template")
        return None
    return gs.ChatSettings(
        _variables(variables), n_tokens or 0, THINKING_END if end is None else end
    )


def _variables(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json_module.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(
            f"--chat-template-kwargs {shortened(text)}: expected a JSON object",
            hint="""For instance --chat-template-kwargs '{"enable_thinking": false}'.""",
        )
    return found


def _tell_size(size: RunSize) -> None:
    """Say how much there is to do, before a model answers."""
    from ggufsurgeon.reporting.lettering import counted

    table = size.table
    n_requests = len(table.n_tokens)
    print_note(
        f"{size.model}: {counted(size.n_documents, 'document')} of {size.n_on_leaderboard:,} on "
        f"the leaderboard, {counted(n_requests, 'request')} along "
        f"{counted(size.n_paths, 'layer path')}; {counted(size.n_missing, 'answer')} missing"
    )
    print_note(
        f"the prompts have {sum(table.n_tokens):,} tokens, of which {table.n_run:,} run along each "
        f"path, since shared prefixes run once; at most {table.n_most_generated:,} tokens are "
        "generated along each path"
    )
    if size.leaves_out_system:
        print_warning("the chat template accepts no system message: task descriptions are left out")
    if table.n_requests_cut:
        print_warning(
            f"longer than the context of {table.n_ctx:,} tokens, so that the beginning is lost: "
            f"{table.n_requests_cut:,} of {counted(n_requests, 'prompt')}"
        )


@contextmanager
def _telling_what_is_kept(store: Path | None) -> Iterator[None]:
    """Make the errors that end a run say where its answers are."""
    try:
        yield
    except Interrupted as interrupt:
        interrupt.state = _kept(store)
        raise
    except EngineError as error:
        error.state = _kept(store)
        raise


def _kept(store: Path | None) -> str:
    if store is None:
        return "Answers were not kept: only a run with --store FILE can be resumed."
    if not store.exists():
        return "No answer was computed yet."
    return f"{store} has all answers so far; the same command resumes from them."
