"""Search over the number type and the density of every layer, for bytes, time and error at once.

space      what each layer may be, its bytes and its predicted seconds
trial      a point of the space, measured
starts     points that are worth a look before anything is bred
study      NSGA-II over the space, in a storage that survives a kill and serves several machines
pareto     what is left: points that no other beats; as a table, a plot and recipes
"""
