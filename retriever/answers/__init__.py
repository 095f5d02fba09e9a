"""Answers to questions: sentences of the documents, word for word, or text with checked quotes.

`best_sentences` needs no other model. `write_answer` lets a chat model write, which the caller
names, and checks what it quotes.
"""

from retriever.answers.sentences import Answer, BestSentence, best_sentences
from retriever.answers.written import Citation, WrittenAnswer, WrittenSentence, write_answer

__all__ = [
    "Answer",
    "BestSentence",
    "Citation",
    "WrittenAnswer",
    "WrittenSentence",
    "best_sentences",
    "write_answer",
]
