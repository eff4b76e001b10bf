"""Wrong command lines: whole messages and exit code 2, and nothing heavy was loaded for them."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    "bench, compile, doctor, inspect, passes, prune, quantize, search, serve, targets, validate"
)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["compil"], f"unknown command 'compil'\n  fix: did you mean 'compile'? known: {COMMANDS}"),
        (
            ["compile", "--targt", "c"],
            "no such option '--targt'\n"
            "  fix: did you mean '--target'? all of them: edgeseq compile --help",
        ),
        (
            ["compile", "m.onnx", "--seed", "x"],
            "invalid value for '--seed': 'x' is not a valid integer\n  fix: edgeseq compile --help",
        ),
        (["compile"], "MODEL is missing\n  fix: edgeseq compile MODEL -o DIR"),
        (["compile", "m.onnx"], "-o DIR is missing\n  fix: edgeseq compile MODEL -o DIR"),
        (
            ["compile", "m.onnx", "-o", "d", "--target", "x86-46"],
            "unknown target 'x86-46'\n  fix: did you mean 'x86-64'? known: arm64-android, "
            "arm64-ios, arm64-linux, arm64-macos, armv7-linux, c, wasm, x86-64",
        ),
        (
            ["compile", "m.onnx", "-o", "d", "--shape", "x=1,-3"],
            "cannot read --shape 'x=1,-3'\n"
            "  why: '-3' is neither a size of at least 1 nor a name\n"
            "  fix: for example: --shape x=1,T,80",
        ),
        (
            ["compile", "m.onnx", "-o", "d", "--dim", "T=9:3"],
            "cannot read --dim 'T=9:3'\n"
            "  why: '9:3' is neither a size of 'T' nor a range LOW:HIGH\n"
            "  fix: for example: --dim T=1:4096, or --dim batch=1",
        ),
        (
            ["compile", "m.onnx", "-o", "d", "--const", "sr"],
            "cannot read --const 'sr'\n"
            "  why: it has the form NAME=VALUE\n"
            "  fix: for example: --const sr=16000",
        ),
        (
            ["compile", "m.onnx", "-o", "d", "--state", "h="],
            "cannot read --state 'h='\n"
            "  why: it has the form NAME=VALUE\n"
            "  fix: for example: --state INPUT=OUTPUT",
        ),
        (
            ["compile", "--recipe", "none.toml"],
            "cannot read the recipe 'none.toml'\n  why: No such file or directory",
        ),
    ],
)
def test_wrong_command_lines(edgeseq, args: list[str], expected: str) -> None:
    done = edgeseq(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"edgeseq: error: {expected}\n"


def test_debug_adds_the_traceback(edgeseq) -> None:
    for args in (["--debug", "compile"], ["compile", "--debug"]):
        done = edgeseq(*args)
        assert done.returncode == 2
        assert done.stderr.startswith("Traceback (most recent call last)")
        assert done.stderr.endswith(
            "edgeseq: error: MODEL is missing\n  fix: edgeseq compile MODEL -o DIR\n"
        )


def test_no_command_shows_help(edgeseq) -> None:
    done = edgeseq()
    assert done.returncode == 2
    assert done.stdout == edgeseq("--help").stdout


def test_version(edgeseq) -> None:
    import edgeseq as package

    assert edgeseq("--version").stdout == f"edgeseq {package.__version__}\n"


def test_help_is_fast() -> None:
    """0.3 s of processor time, the best of five: the machine may be busy with other tests."""
    best = 10.0
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "edgeseq.cli", "--help"], check=True, stdout=-3)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, used)
    assert best < 0.3


def test_internal_errors_ask_for_a_report(tmp_path: Path) -> None:
    program = (
        "import sys; from edgeseq.cli import _app, _catalogue\n"
        "_catalogue.entries = lambda kind: 1 / 0\n"
        "sys.exit(_app.run(['passes']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.endswith(
        "edgeseq: internal error: ZeroDivisionError: division by zero\n"
        "  why: this is a defect of edgeseq, not of your model\n"
        "  fix: please report it with the lines above and the output of `edgeseq doctor`\n"
    )


def test_interrupt_and_disk_errors(tmp_path: Path) -> None:
    for raised, code, message in (
        ("KeyboardInterrupt()", 130, "edgeseq: interrupted\n"),
        (
            "OSError(28, 'No space left on device', 'x')",
            1,
            "edgeseq: error: [Errno 28] No space left on device: 'x'\n",
        ),
    ):
        program = (
            "import sys; from edgeseq.cli import _app, _catalogue\n"
            f"def fail(kind): raise {raised}\n"
            "_catalogue.entries = fail\n"
            "sys.exit(_app.run(['passes']))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert (done.returncode, done.stderr.lstrip("\n")) == (code, message)


def test_a_closed_pipe_is_not_an_error() -> None:
    command = f"{sys.executable} -m edgeseq.cli passes | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_click_the_message_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['click'] = None\n"
        "from edgeseq.cli import main; sys.exit(main(['passes']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 6
    assert done.stderr == (
        "edgeseq: error: the package 'click' is not installed\n"
        "  why: a bare `edgeseq` only loads and runs what was compiled\n"
        "  fix: pip install 'edgeseq[compile]'\n"
    )
