"""How the words of a model look in Kotlin and Swift."""

from __future__ import annotations

import re
from collections.abc import Iterable

KOTLIN = frozenset(
    """as break class continue do else false for fun if in interface is null object package return
    super this throw true try typealias typeof val var when while step run reset save load close
    state input output maxSteps memory places
    open part check sizes""".split()
)
SWIFT = frozenset(
    """associatedtype class deinit enum extension fileprivate func import init inout internal let
    open operator private protocol public rethrows static struct subscript typealias var break case
    continue default defer do else fallthrough for guard if in repeat return switch where while as
    catch false is nil super self throw throws true try step run reset save load state
    memory maxSteps arena check""".split()
)


def lower_camel(name: str, words: frozenset[str]) -> str:
    """`conv_out` -> `convOut`, and no word of the language."""
    first, *rest = [p for p in re.split(r"_+", name) if p] or ["value"]
    text = first[:1].lower() + first[1:] + "".join(p[:1].upper() + p[1:] for p in rest)
    return f"{text}Value" if text in words or not text[0].isalpha() else text


def distinct(names: Iterable[str]) -> list[str]:
    """Number those that came before."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, count = name, 2
        while candidate in taken:
            candidate, count = f"{name}{count}", count + 1
        taken.add(candidate)
        result.append(candidate)
    return result
