"""The C function of a kernel call that threads share: one share of it, and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseq.lower.threads import passes

if TYPE_CHECKING:
    from edgeseq.lower.calls import Wrapper


def text(wrapper: Wrapper, name: str, storage: str) -> str:
    """The function `name`, after the one that computes a share (kernels/c/shares.h)."""
    given = [p.rpartition(" ")[2].lstrip("*") for p in wrapper.declarations()]
    members = "".join(f"    {p};\n" for p in wrapper.declarations())
    t = ["    const int64_t T = c->T;"] if wrapper.takes_t else []
    cuts = ", ".join(map(str, wrapper.cuts))
    lines = [
        f"struct {name}_call {{\n{members}}};",
        f"static void {name}_share(const void *call, const es_share *share) {{",
        f"    const struct {name}_call *const c = (const struct {name}_call *)call;",
        *t,
        f"    {wrapper.call(f'{wrapper.kernel.name}_share', 'c->', ['share'])}",
        "}",
        f"{storage} void {name}({wrapper.parameters()}) {{",
        f"    static const int cuts[] = {{{cuts}}};",
        f"    const struct {name}_call call = {{{', '.join(given)}}};",
        f"    {_order(wrapper, name)}",
        "}",
    ]
    return "\n".join(lines)


def _order(wrapper: Wrapper, name: str) -> str:
    sharing = wrapper.kernel.sharing
    assert sharing is not None
    common = f"team, {name}_share, &call, cuts, {len(wrapper.cuts) - 1}"
    if not sharing.steps:
        return f"es_share_once({common});"
    sizes = dict(zip(wrapper.kernel.sizes, wrapper.sizes, strict=True))
    steps = sizes["T"].c() if sizes["T"].known else f"(int){sizes['T'].c()}"
    known = {n: s.constant for n, s in sizes.items() if s.known}
    chains = known["groups"] * known["directions"]
    walks, prepared = passes(known), int(sharing.prepared)
    return f"es_share_steps({common}, {steps}, {sharing.steps}, {chains}, {walks}, {prepared});"
