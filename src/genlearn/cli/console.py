"""Results on stdout, progress and errors on stderr; every error is one line."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NoReturn, TypeAlias

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from genlearn.progress import say
from genlearn.words import shortened

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
LAUNCHED = "GENLEARN_LAUNCHED"

# typer carries its own copy of click in newer releases: the base class of usage errors is found from a public name.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]
LONGEST = 1000  # letters of an error
# What torch says of tensors for which there is no memory, or no number as large as their size.
TOO_LARGE = ("can't allocate memory", "out of memory", "Storage size calculation overflowed", "Overflow when unpacking")
EXPECTED = (ValueError, OSError, FloatingPointError, MemoryError, ModuleNotFoundError)


class OneLine(TyperGroup):
    """Commands whose errors are one line on stderr: exit code 2 for usage, 1 for the rest, 130 when interrupted."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command; never returns in standalone mode."""
        extra["standalone_mode"] = False
        if not standalone_mode:
            return super().main(*args, **extra)
        return _leave(self._code(*args, **extra))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; typer would end an interrupted one without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None

    def _code(self, *args: Any, **extra: Any) -> int:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *place: say(f"warning: {_flat(str(message))}")
                code = super().main(*args, **extra)
        except UsageError as error:
            message = _flat(error.format_message())  # type: ignore[attr-defined]
            context = error.ctx  # type: ignore[attr-defined]
            fix = f"; the usual fix is in {context.command_path} --help" if context else ""
            # Newer releases of typer do not say what they got.
            refused: list[Any] = getattr(error.__cause__, "errors", list)()
            got = f", got {shortened(refused[0]['input'])}" if refused else ""
            say(f"error: {message.rstrip('.')}{got}{fix}")
            return 2
        except typer.Abort:
            say("error: interrupted")
            return 130
        except Exception as error:
            if os.environ.get("GENLEARN_DEBUG"):
                traceback.print_exc()
            _fail(describe(error))
            return 1
        return code if isinstance(code, int) else 0


def _leave(code: int) -> NoReturn:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Threads of gloo may still hold tensors: taking the interpreter down under them aborts the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _flat(text: str) -> str:
    """In one line that can be read: a name may have thousands of letters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def describe(error: BaseException) -> str:
    """An error in one line; what is no fault of the user says so."""
    if isinstance(error, OSError) and error.strerror:
        return _flat(f"{error.strerror}{f': {error.filename}' if error.filename else ''}")
    text = _flat(str(error)) or ("out of memory" if isinstance(error, MemoryError) else "")
    if isinstance(error, EXPECTED) and text:
        return text
    if any(words in text for words in TOO_LARGE):
        return (
            f"out of memory: {text.split(' Exception raised from')[0][:200]}; the usual fix is a smaller model or batch"
        )
    return f"{type(error).__name__}: {text} (unexpected; GENLEARN_DEBUG=1 shows where it happened)"


def _fail(message: str) -> None:
    """Print the error; a process of torchrun leaves it where its parent looks, which prints it once."""
    path = os.environ.get(ERROR_FILE)
    if path:
        extra = {"py_callstack": message, "timestamp": str(int(time.time()))}
        with open(path, "w") as file:
            json.dump({"message": {"message": message, "extraInfo": extra}}, file)
    if not (path and os.environ.get(LAUNCHED)):
        say(f"error: {message}")


def listing(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Rows of text under bold headings."""
    filled = Table(*heads, header_style="bold", box=None, pad_edge=False)
    for row in rows:
        filled.add_row(*(Text(str(cell)) for cell in row))
    return filled


def answer(as_json: bool, content: Any, *readable: str | Table) -> None:
    """`content` as JSON, or what is `readable`, on stdout."""
    if as_json:
        print(json.dumps(content, indent=2, default=str))
        return
    # Wide where it is no terminal, so that nothing is cut.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)
    for part in readable:
        console.print(part, soft_wrap=isinstance(part, str))
