"""The commands of `wva`: each takes its parsed options, calls one function, prints, returns a code.

Heavy modules are imported by the command that needs them.
"""
