"""operators.md is what lowering takes; `python tests/lower/test_operators_doc.py` writes it."""

from __future__ import annotations

from pathlib import Path

import onnx

from edgeseq import registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"

TEXT = """# Operators

Written by `python tests/lower/test_operators_doc.py` from the compiler's tables; a test compares.
`edgeseq inspect model.onnx --why` says for each node what computes it and why.

Opsets 7 to 26 are read and brought to opset 26; of newer ones, what they share with 26, and some
more that are named below. Constants are folded first, so an operator on constants alone never
reaches this list. Every operator needs shapes that are known up to the time axis, constant axes
and bounds, and results whose size does not depend on values. An index outside its axis
(`Gather`) takes the nearest element.

## With a kernel of ours
Where the weights are constant and the attributes allow. Convolutions and products go to generated
code otherwise; the recurrent ones need constant weights.

{kernels}

## With generated code
{generated}

## Gone before lowering
The passes replace these where their inputs allow: `If` when its condition is constant
(`--const`), or when both branches have one shape and can be computed; `ScatterND` and
`ScatterElements` with constant indices, `SplitToSequence` read by `SequenceAt` with constant
indices (`chunk` and `split` of PyTorch), `Dropout`, `Identity`, `Constant`, `Col2Im` (`fold` of
PyTorch) of known sizes, not dilated and apart at once, and `STFT` and `DFT`
of a known length. These are replaced by what ONNX defines them by:

{expanded}

So are these of opsets 27 and 28; linear attention runs in the kernels for its recurrences
([kernels-scan.md](kernels-scan.md)):

{newer}

These become products and convolutions of integers ([quantization.md](quantization.md)); those of
ONNX Runtime's domain `com.microsoft` are read as the standard operators they are made of:

{quantized}

## Refused
All of them are listed at once with their nodes, exit code 3.

{refused}
"""


def page() -> str:
    from edgeseq.frontends import onnx_contrib, onnx_newer
    from edgeseq.lower import select
    from edgeseq.lower.relax_import import supported_ops

    supported, kernels = supported_ops(), select.ops()
    expanded = registry.find("passes", "expand-functions").OPS
    quantized = frozenset(registry.find("passes", "expand-quantized").PASS.ops)
    gone = expanded | quantized | onnx_newer.OPS | {"Col2Im", "STFT", "DFT"}
    standard = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
    return TEXT.format(
        newer=listed(onnx_newer.OPS),
        kernels=listed(kernels),
        generated=listed(supported - kernels - gone),
        expanded=listed(expanded),
        quantized=listed(quantized | onnx_contrib.OPS),
        refused=listed(standard - supported - gone),
    )


def listed(names: frozenset[str] | set[str]) -> str:
    """Names in code type, a line of text as wide as the page."""
    lines = [""]
    for name in sorted(names):
        word = f"`{name}`"
        if len(lines[-1]) + len(word) > 98:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def test_the_page_is_the_tables() -> None:
    want = page()
    assert PAGE.read_text(encoding="utf-8") == want, "python tests/lower/test_operators_doc.py"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
