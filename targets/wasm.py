"""WebAssembly: modules without imports, and an npm package around them.

Every browser since 2023 has simd128. A second module uses relaxed-simd, whose multiply-add is one
instruction; the package chooses when it loads. Weights stand beside the modules, once.
"""

from edgeseq.targets._target import Form, Isa, Target

_COMMON = ["+simd128", "+bulk-memory", "+nontrapping-fptoint", "+sign-ext"]

TARGET = Target(
    name="wasm",
    summary="WebAssembly: npm package with types for browsers, Node, AudioWorklets; no imports",
    triple="wasm32-freestanding",
    tvm={"kind": "llvm", "mtriple": "wasm32-unknown-unknown"},
    isas=(
        Isa("simd128", "wasm", "generic+simd128", {"mattr": _COMMON}),
        Isa(
            "relaxed-simd",
            "wasm",
            "generic+simd128+relaxed_simd",
            {"mattr": [*_COMMON, "+relaxed-simd"]},
        ),
    ),
    generated="simd128",
    machines=(),
    form=Form.WASM,
    package="npm",
    threads=False,
    engines=("wasmtime", "node", "chromium"),
)
