"""The commands of `wva`: each takes parsed options, calls the library, prints, returns a code.

Heavy modules are imported by the command that needs them.
"""
