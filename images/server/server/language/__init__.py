"""Serving of language models: many requests share one forward pass a step, and a cache of keys and values in blocks.

tokens.py     text <-> tokens of a byte model, the chat template, stop strings (pure)
blocks.py     which block of the cache belongs to whom (pure)
scheduler.py  what the next step computes, whom it lets in and whom it sends back (pure)
sequences.py  the sequences themselves: tokens, blocks, ranks
pages.py      the tensors of the cache, and attention over them
decoding.py   the trainer's models, one step at a time
sampling.py   logits -> the next token of each sequence
engine.py     asyncio in front, one compute thread behind
serving.py    a loaded model of text: its engine, and embeddings
requests.py   bodies of OpenAI's routes, checked (pure)
replies.py    their answers (pure)
metrics.py    what /metrics shows of it
limits.py     how much of everything, read from the environment
"""
