"""`wva mcp`: an index for agents and editors, by the Model Context Protocol.

The SDK is imported only by this folder, and this folder only by the command.
"""
