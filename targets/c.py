"""Plain C99 source: one file that gcc or clang turns into the model, no dependency at all."""

from edgeseq.targets._target import Form, Target

TARGET = Target(
    name="c",
    summary="C99 source and header for gcc or clang (cc -O2 model.c), no dependency",
    triple="",
    tvm={"kind": "c"},
    isas=(),
    generated="",
    machines=(),
    form=Form.SOURCE,
)
