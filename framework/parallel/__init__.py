"""Several ranks of one program: each with its own data, all together where they meet in collectives."""

from framework.parallel.communicator import CollectiveError, rank
from framework.parallel.together import together

__all__ = ["CollectiveError", "rank", "together"]
