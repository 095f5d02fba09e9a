"""A file becomes pages, in a process of its own; pages become pictures."""
