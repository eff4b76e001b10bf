"""The graph IR: `onnx_ir.Model` plus facts about its values.

`ir` imports nothing of edgeseq but `errors` and `registry`.
"""
