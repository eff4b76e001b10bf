"""The group of commands, and the one place where failures become messages and exit codes."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import sys
import traceback
from typing import cast

import click

import edgeseq
from edgeseq import cli
from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.registry import hint

INTERRUPTED = 130


@dataclasses.dataclass
class Session:
    """What `run` must know when a command has failed."""

    debug: bool = False


class Commands(click.Group):
    """Finds `edgeseq/cli/<name>.py` and its function `<name>`; imports none before it is asked."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the files of this folder that do not start with an underscore."""
        found = pkgutil.iter_modules(cli.__path__)
        return sorted(m.name for m in found if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        """Import the file of a command."""
        known = self.list_commands(ctx)
        if name not in known:
            raise UsageError(f"unknown command '{name}'", fix=hint(name, known))
        command = cast(
            click.Command, getattr(importlib.import_module(f"{cli.__name__}.{name}"), name)
        )
        if not any(p.name == "debug" for p in command.params):
            command.params.append(_debug_option())
        return command


def _debug_option() -> click.Option:
    def remember(ctx: click.Context, _: click.Parameter, given: bool) -> None:
        ctx.ensure_object(Session).debug |= given

    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show the traceback of an error.",
    )


@click.group(
    cls=Commands,
    name="edgeseq",
    params=[_debug_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(edgeseq.__version__, message="edgeseq %(version)s")
def app() -> None:
    """Compile sequence models into tiny, dependency-free streaming libraries."""


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code."""
    session = Session()
    try:
        code = app.main(argv, prog_name="edgeseq", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message())
        return UsageError.exit_code
    except BaseException as e:
        return _report(e, session.debug)


def _report(error: BaseException, debug: bool) -> int:
    """Print one failure on stderr and return its exit code."""
    if debug and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    match error:
        case KeyboardInterrupt() | click.Abort():
            click.echo("edgeseq: interrupted", err=True)
            # CPython notes an interrupt that went through exec() of a string (dataclasses do that),
            # and `python -m` then ends by signal, not by our code. The next exec() forgets it.
            exec("")
            return INTERRUPTED
        case SystemExit():  # click has handled it, e.g. the reader of our output has gone
            return error.code if isinstance(error.code, int) else 1
        case EdgeseqError():
            click.echo(f"edgeseq: error: {error}", err=True)
            return error.exit_code
        case click.ClickException():
            return _report_usage(error)
        case OSError():
            click.echo(f"edgeseq: error: {error}", err=True)
            return 1
    if not debug:
        traceback.print_exception(error)
    click.echo(
        f"edgeseq: internal error: {type(error).__name__}: {error}\n"
        "  why: this is a defect of edgeseq, not of your model\n"
        "  fix: please report it with the lines above and the output of `edgeseq doctor`",
        err=True,
    )
    return 1


def _report_usage(error: click.ClickException) -> int:
    """`No such option '--targt'. (Did you mean ...)` in our own form."""
    message = error.message if isinstance(error, click.NoSuchOption) else error.format_message()
    message = message.rstrip(".")
    context = getattr(error, "ctx", None)
    fix = f"{context.command_path if context else 'edgeseq'} --help"
    if near := getattr(error, "possibilities", None):
        fix = f"did you mean '{near[0]}'? all of them: {fix}"
    click.echo(f"edgeseq: error: {message[:1].lower()}{message[1:]}\n  fix: {fix}", err=True)
    return UsageError.exit_code
