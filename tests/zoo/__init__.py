"""Small PyTorch models that many tests use.

Each function returns `(module, example_inputs, dynamic)`, as a factory given to the command line
does. Weights come from the seed each of them sets, so the same call gives the same model.
"""
