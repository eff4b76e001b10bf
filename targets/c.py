"""Plain C99 source: one file that any compiler turns into the model, no dependency at all."""

from edgeseq.targets._target import Target

TARGET = Target(
    name="c",
    summary="C99 source and header, for any compiler (cc -O2 model.c), no dependency",
    triple="",
    tvm={"kind": "c"},
    isas=(),
    generated="",
    machines=(),
)
