"""What a developer's tools expect around a library: one package per kind, `write` in each.

`write(interface, target, folder) -> [names]` adds files to a folder that holds the library.
"""
