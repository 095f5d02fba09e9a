"""Texts with marks: HTML, Markdown, reStructuredText, Rich Text, and books made of HTML."""
