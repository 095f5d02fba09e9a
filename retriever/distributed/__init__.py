"""Other machines do the work of a run: Ray's tasks read, Ray's actors embed.

`ray_hands` gives the `hands` of `Index.sync`. Nothing here imports Ray before it is asked for.
"""

from retriever.distributed.hands import RayHands, ray_hands
from retriever.distributed.worker import EmbeddingWorker

__all__ = ["EmbeddingWorker", "RayHands", "ray_hands"]
