"""From the prepared graph to libraries: the only folder (with kernels/schedules) that imports tvm.

select   which nodes become calls of hand-written kernels
relax    the rest of the graph -> Relax -> fused TIR
program  fused Relax -> a flat list of calls over buffers and views
arena    buffers -> offsets in the caller's memory
tir      scheduled TIR -> object code or C with plain pointer parameters
entry    a program -> the C source of the model's entry points
link     sources and objects -> libraries
build    all of the above, for each target
"""
