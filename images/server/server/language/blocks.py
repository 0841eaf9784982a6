"""Which block of the key-value cache belongs to whom. Bookkeeping only; the tensors are in pages.py.

A full block is known by a digest of its tokens and of all before them, so that sequences which begin alike hold the same
blocks. Only full blocks are shared and nobody writes to a full block, so none is ever copied. A block that nobody holds
keeps its content until it is needed for something else, the one idle longest first.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

Key = bytes


class OutOfBlocks(Exception):  # noqa: N818 - a state of the pool that the scheduler rules out, not a caller's error
    """More blocks were asked for than nobody holds."""


class BlockPool:
    """Blocks 0 to count - 1, each held by none, one or, when full, several sequences."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._holders = [0] * count
        self._blank = list(range(count - 1, -1, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()  # nobody's, with content worth finding; longest idle first
        self._known: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}

    @property
    def free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._blank) + len(self._idle)

    def holders(self, block: int) -> int:
        return self._holders[block]

    def allocate(self, count: int) -> list[int]:
        """Blocks for one holder, whose content is lost. Raises OutOfBlocks, and then nothing has changed."""
        if count > self.free:
            raise OutOfBlocks(f"{count} blocks asked, {self.free} of {self.count} are free")
        taken = [self._blank.pop() if self._blank else self._evict() for _ in range(count)]
        for block in taken:
            self._holders[block] = 1
        return taken

    def find(self, keys: Sequence[Key]) -> list[int]:
        """Blocks of the longest known beginning of keys. They may be evicted until somebody holds them."""
        found: list[int] = []
        for key in keys:
            block = self._known.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def hold(self, blocks: Sequence[int]) -> None:
        """One holder more for each of the blocks, which `find` gave."""
        for block in blocks:
            self._idle.pop(block, None)
            self._holders[block] += 1

    def release(self, blocks: Sequence[int]) -> None:
        """One holder less. A sequence releases its last block first: a beginning is of use to more others than an end."""
        for block in blocks:
            self._holders[block] -= 1
            if self._holders[block] == 0:
                if block in self._keys:
                    self._idle[block] = None
                else:
                    self._blank.append(block)

    def publish(self, block: int, key: Key) -> None:
        """Let others find a held block that is now full. Where another with this content is known, that one stays."""
        if key not in self._known and block not in self._keys:
            self._known[key] = block
            self._keys[block] = key

    def forget(self, blocks: Sequence[int]) -> None:
        """Let nobody find the blocks any more."""
        for block in blocks:
            key = self._keys.pop(block, None)
            if key is not None:
                del self._known[key]
            if block in self._idle:
                del self._idle[block]
                self._blank.append(block)

    def _evict(self) -> int:
        block, _ = self._idle.popitem(last=False)
        del self._known[self._keys.pop(block)]
        return block


def next_key(before: Key, tokens: Sequence[int]) -> Key:
    """Key of a full block: of its tokens and, through the key of the block before (b"" for none), of all before them."""
    digest = blake2b(before, digest_size=16)
    digest.update(b",".join(b"%d" % token for token in tokens))
    return digest.digest()


def blocks_for(tokens: int, size: int) -> int:
    """Blocks of `size` tokens that hold so many tokens."""
    return -(-tokens // size)
