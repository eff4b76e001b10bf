"""The C files of a model: header, entry points, kernel wrappers per instruction set, weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

import edgeseq
from edgeseq.lower import uses
from edgeseq.lower.arena import Layout
from edgeseq.lower.calls import Names, Printer
from edgeseq.lower.interface import ABI, CTYPES, Interface, Tensor
from edgeseq.lower.weights import Weights

_MACROS = """#define ES_MAX(x, y) ((x) > (y) ? (x) : (y))
#define ES_ALIGN(n) (((n) + 63) / 64 * 64)
"""
# What TVM writes has variables that it does not use.
_QUIET = """#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-variable"
#endif
"""
_QUIET_END = """#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
"""


@dataclasses.dataclass(frozen=True)
class Sources:
    """The text of every C file of a model.

    Args:
        header: `<m>.h`.
        entry: Entry points (native: calls kernels through a table).
        table: Declaration of the kernel table, included by `entry` and every kernel file.
        kernels: Instruction set -> kernel wrappers.
        single: Everything in one file (the `c` target), or None.
    """

    header: str
    entry: str
    table: str
    kernels: Mapping[str, str]


def native(
    interface: Interface, layouts: Mapping[str, Layout], weights: Weights, isas: Sequence[str]
) -> Sources:
    """Sources of a library that dispatches over instruction sets.

    Args:
        interface: The model from outside.
        layouts: `step` and/or `run`.
        weights: The constants of all layouts.
        isas: SIMD headers, e.g. ("avx2", "avx512"), worst first.
    """
    m = interface.name
    names = Names(m)
    printers = _printers(interface, layouts, weights, names, dispatch=True)
    functions = _functions(printers, names)
    table = _table(names)
    tir = sorted(set(re.findall(rf"\b{m}_t_\w+(?=\()", "".join(functions))))
    declarations = [f"extern void {name}();" for name in tir]
    top = [
        f'#include "{m}.h"',
        '#include "entry.h"',
        '#include "cpu.h"',
        *(['#include "team.h"'] if interface.threads > 1 else []),
        '#include "table.h"',
        _MACROS,
        f"extern const uint8_t {m}_weights[];",
        *declarations,
        _dispatch(m, isas),
        *_team(interface),
    ]
    probe = _probe(m, isas)
    entry = "\n".join(top) + "\n\n" + _api(interface, printers, functions, probe)
    kernels = {isa: _kernel_file(names, isa) for isa in isas}
    return Sources(_header(interface, printers), entry, table_file(m, table, isas), kernels)


def single(
    interface: Interface, layouts: Mapping[str, Layout], weights: Weights, tir: str
) -> tuple[str, str]:
    """(header, source) of the `c` target: one file, plain C99, no other file but the header.

    Args:
        interface: The model from outside.
        layouts: `step` and/or `run`.
        weights: The constants of all layouts.
        tir: TVM's kernels as C.
    """
    m = interface.name
    names = Names(m)
    printers = _printers(interface, layouts, weights, names, dispatch=False)
    functions = _functions(printers, names)
    wrappers = [
        w.text(f"{m}_{name}", "static ES_NOINLINE") + "\n" for w, name in names.wrappers.items()
    ]
    sources = list(dict.fromkeys(w.kernel.source for w in names.wrappers))
    sources += ["team.h"] if interface.threads > 1 else []
    sources += ["shares.h"] if _shared(names) else []
    parts = [
        f'#include "{m}.h"',
        "#define ES_ISA_SCALAR 1",
        *uses.defines(names.wrappers),
        _inlined(["entry.h", *(["esm.h"] if "esm_" in tir else []), *sources]),
        _MACROS,
        *(_weight_array(m, i, a) for i, a in enumerate(weights.arrays)),
        _QUIET,
        tir,
        _QUIET_END,
        *wrappers,
        *_team(interface),
        _api(interface, printers, functions, "(void)level;"),
    ]
    return _header(interface, printers), "\n".join(parts)


def _printers(
    interface: Interface,
    layouts: Mapping[str, Layout],
    weights: Weights,
    names: Names,
    *,
    dispatch: bool,
) -> dict[str, Printer]:
    return {
        name: Printer(interface, layout, weights, names, dispatch)
        for name, layout in layouts.items()
    }


def _parameters(interface: Interface) -> str:
    inputs = [f", const {t.c_type} *{t.c_name}" for t in interface.inputs]
    outputs = [f", {t.c_type} *{t.c_name}" for t in interface.outputs]
    return "".join([*inputs, *outputs])


def _arguments(interface: Interface) -> str:
    return "".join(f", {t.c_name}" for t in (*interface.inputs, *interface.outputs))


def _functions(printers: Mapping[str, Printer], names: Names) -> list[str]:
    """The entries, and before them the loops that they run."""
    entries = [_program(printer, name) for name, printer in printers.items()]
    return [*(loop.text for loop in names.loops.values()), *entries]


def _program(printer: Printer, name: str) -> str:
    interface, m = printer.interface, printer.interface.name
    lines = list(printer.lines())
    body = "\n".join(f"    {line}" for line in lines)
    used = "\n".join(f"    (void){v};" for v in _unused(body, interface, name, printer.dispatch))
    setup = ["    uint8_t *const s = (uint8_t *)state;", "    uint8_t *const a = (uint8_t *)arena;"]
    if printer.dispatch:
        setup.append(f"    const struct {m}_kernels *const k = {m.upper()}_KERNELS(state);")
        setup.append(f"    const uint8_t *const w = {m}_weights;")
    t = ", int64_t T" if name == "run" else ""
    head = f"static void {m}_compute_{name}(void *state, void *arena{t}{_parameters(interface)}) {{"
    return "\n".join([head, *setup, used, body, "}"])


def _unused(body: str, interface: Interface, entry: str, dispatch: bool) -> list[str]:
    names = ["s", "a", *(["k", "w"] if dispatch else []), *(["T"] if entry == "run" else [])]
    names += [t.c_name for t in interface.inputs]
    return [n for n in names if not re.search(rf"\b{n}\b", body)]


def _table(names: Names) -> str:
    members = [f"    void (*{name})({w.parameters()});" for w, name in names.wrappers.items()]
    return "\n".join(members or ["    int none;"])


def table_file(m: str, members: str, isas: Sequence[str]) -> str:
    """The kernel table's declaration."""
    externs = "\n".join(f"extern const struct {m}_kernels {m}_kernels_{isa};" for isa in isas)
    return (
        "#include <stddef.h>\n#include <stdint.h>\n"
        f"struct {m}_kernels {{\n{members}\n}};\n{externs}\n"
    )


def _kernel_file(names: Names, isa: str) -> str:
    m = names.prefix
    sources = list(dict.fromkeys(w.kernel.source for w in names.wrappers))
    if _shared(names):
        sources.append("shares.h")
    top = ['#include "team.h"'] if _shared(names) else []
    lines = [f"#define ES_ISA_{isa.upper()} 1", *uses.defines(names.wrappers), *top]
    lines += ['#include "table.h"', '#include "es.h"']
    lines += [f'#include "{source}"' for source in sources]
    lines += [w.text(name, "static") for w, name in names.wrappers.items()]
    members = ", ".join(names.wrappers.values()) or "0"
    lines.append(f"const struct {m}_kernels {m}_kernels_{isa} = {{{members}}};")
    return "\n".join(lines) + "\n"


def _dispatch(m: str, isas: Sequence[str]) -> str:
    """How a state finds its kernels: what `init` chose, or the only ones there are."""
    if len(isas) == 1:
        return f"#define {m.upper()}_KERNELS(state) (&{m}_kernels_{isas[0]})"
    tables = ", ".join(f"&{m}_kernels_{isa}" for isa in isas)
    return (
        f"static const struct {m}_kernels *const {m}_tables[] = {{{tables}}};\n"
        f"#define {m.upper()}_KERNELS(state) {m}_tables[((const struct {m}_header *)state)->isa]"
    )


def _shared(names: Names) -> bool:
    """Whether threads share any of the calls."""
    return any(w.cuts for w in names.wrappers)


def _team(interface: Interface) -> list[str]:
    """How a call finds the threads that `<m>_parallel` gave to a stream."""
    m = interface.name
    macro = f"#define {m.upper()}_TEAM(state) (&((const struct {m}_header *)state)->team)"
    return [macro] if interface.threads > 1 else []


def _probe(m: str, isas: Sequence[str]) -> str:
    tests = [f"if (es_cpu_has_{isa}()) level = {i};" for i, isa in enumerate(isas)]
    missing = f"if (level < 0) return {m.upper()}_ERROR_CPU;"
    return "\n    ".join(["level = -1;", *tests, missing])


def _api(
    interface: Interface,
    printers: Mapping[str, Printer],
    functions: Sequence[str],
    probe: str,
) -> str:
    m, upper = interface.name, interface.name.upper()
    return _template("model.c.j2").render(
        m=m,
        M=upper,
        hash_bytes=", ".join(f"0x{b:02x}" for b in bytes.fromhex(interface.model_hash)[:8]),
        programs="\n\n".join(functions),
        arena_size="\n    ".join(_arena_size(interface, printers)),
        probe=probe,
        initial=[_initial(s.offset, s.init) for s in interface.states if s.init],
        entries="\n".join(_entries(interface)),
        version_text=f"edgeseq {edgeseq.__version__}, model {interface.model_hash[:16]}",
        max_t=interface.max_t,
        threads=interface.threads,
    )


def _initial(offset: int, init: bytes | None) -> str:
    assert init is not None
    values = ", ".join(str(b) for b in init)
    return (
        f"{{ static const uint8_t start[] = {{{values}}}; "
        f"for (size_t i = 0; i < sizeof start; i++) s[{offset} + i] = start[i]; }}"
    )


def _arena_size(interface: Interface, printers: Mapping[str, Printer]) -> list[str]:
    step, run = printers.get("step"), printers.get("run")
    if run is None:
        assert step is not None
        return ["(void)T;", f"return {max(step.layout.arena_size, 64)};"]
    lines = [f"if (T < 1 || T > {interface.name.upper()}_MAX_T) return 0;"]
    if step is not None:
        lines.append(f"if (T == 1) return {max(step.layout.arena_size, 64)};")
    return [*lines, "{", *(f"    {x}" for x in run.arena_bytes()), "}"]


def _entries(interface: Interface) -> list[str]:
    m, upper = interface.name, interface.name.upper()
    params, args = _parameters(interface), _arguments(interface)
    checks = [f"    const int error = {m}_check(state, arena);", "    if (error) return error;"]
    pointers = [t.c_name for t in (*interface.inputs, *interface.outputs)]
    null = " || ".join(f"!{p}" for p in pointers)
    checks.append(f"    if ({null}) return {upper}_ERROR_NULL;")
    out: list[str] = []
    if interface.step:
        out += [f"int {m}_step(void *state, void *arena{params}) {{", *checks]
        out += [f"    {m}_compute_step(state, arena{args});", f"    return {upper}_OK;", "}", ""]
    out += [f"int {m}_run(void *state, void *arena, int64_t T{params}) {{", *checks]
    out.append(f"    if (T < {interface.min_t} || T > {upper}_MAX_T) return {upper}_ERROR_LENGTH;")
    if interface.graph:
        out.append(f"    {m}_compute_run(state, arena, T{args});")
    else:
        steps = "".join(
            f", {t.c_name} + t * {t.elements().c()}"
            for t in (*interface.inputs, *interface.outputs)
        )
        out += [
            "    for (int64_t t = 0; t < T; t++) {",
            f"        {m}_compute_step(state, arena{steps});",
            "    }",
        ]
    return [*out, f"    return {upper}_OK;", "}", ""]


def _header(interface: Interface, printers: Mapping[str, Printer]) -> str:
    step = printers.get("step")
    return _template("model.h.j2").render(
        m=interface.name,
        M=interface.name.upper(),
        version=edgeseq.__version__,
        hash=interface.model_hash,
        passes=", ".join(interface.passes) or "none",
        abi=ABI,
        state_size=interface.state_size,
        step=interface.step,
        step_arena=max(step.layout.arena_size, 64) if step else 0,
        graph=interface.graph,
        max_t=interface.max_t,
        step_doc=[_describe(t, "1") for t in (*interface.inputs, *interface.outputs)],
        run_doc=[_describe(t, "T") for t in (*interface.inputs, *interface.outputs)],
        step_params=_parameters(interface),
        run_params=_parameters(interface),
        threads=interface.threads,
    )


def pool(interface: Interface) -> str:
    """`<m>_threads.c`: threads for those who have none of their own."""
    m = interface.name
    return _template("threads.c.j2").render(m=m, M=m.upper(), version=edgeseq.__version__)


def _describe(tensor: Tensor, t: str) -> str:
    dims = [str(d).replace("T", t) if isinstance(d, str) else str(d) for d in tensor.shape]
    if t == "T" and tensor.time_axis is None and not any(isinstance(d, str) for d in tensor.shape):
        dims = ["T", *dims]
    return f"{tensor.c_name}: {tensor.c_type}[{', '.join(dims)}]"


def _weight_array(m: str, index: int, array: npt.NDArray[Any]) -> str:
    ctype = CTYPES[str(array.dtype)]
    flat = array.reshape(-1)
    if array.dtype == np.float16:
        flat = flat.view(np.uint16)
    show: Callable[[Any], str] = _float if flat.dtype.kind == "f" else str
    rows = [", ".join(show(v) for v in flat[i : i + 12].tolist()) for i in range(0, len(flat), 12)]
    body = ",\n    ".join(rows) or "0"
    return f"static const {ctype} {m}_w{index}[] __attribute__((aligned(64))) = {{\n    {body}\n}};"


def _float(value: float) -> str:
    if value != value:
        return '__builtin_nanf("")'
    if value in (float("inf"), float("-inf")):
        return "__builtin_inff()" if value > 0 else "-__builtin_inff()"
    return f"{value:.9g}f" if "." in f"{value:.9g}" or "e" in f"{value:.9g}" else f"{value:.1f}f"


def _inlined(names: Sequence[str]) -> str:
    """Kernel sources with their own `#include "..."` lines replaced by the files, once each.

    Of the instruction sets only plain C is kept: the file is compiled for no other.
    """
    others = {f"simd/{p.name}" for p in (kernel_folder() / "simd").glob("*.h")}
    done = others - {"simd/scalar.h"}
    return "\n".join(_expand(Path(name), done) for name in names)


def kernel_folder() -> Path:
    """Where the C sources of the kernels stand."""
    return Path(str(files("edgeseq.kernels"))) / "c"


def _expand(name: Path, seen: set[str]) -> str:
    root = kernel_folder()
    key = str(name)
    if key in seen:
        return ""
    seen.add(key)

    def include(match: re.Match[str]) -> str:
        beside = name.parent / match[1]
        return _expand(beside if (root / beside).exists() else Path(match[1]), seen)

    text = (root / name).read_text()
    return re.sub(r'(?m)^\s*#\s*include\s+"([^"]+)"\s*$', include, text)


def _template(name: str) -> jinja2.Template:
    folder = Path(str(files("edgeseq.lower"))) / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(name)
