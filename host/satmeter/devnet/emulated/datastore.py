"""The datastore of an emulated node: text under a key of words, a generation that counts its changes."""

from ...core.plain import Plain
from .errors import (
    DATASTORE_EXISTS,
    DATASTORE_HAS_CHILDREN,
    DATASTORE_IS_CHILD,
    DATASTORE_UNKNOWN,
    INVALID_PARAMS,
    RpcFault,
)

Key = tuple[str, ...]
MODES = ("must-create", "must-replace", "create-or-replace")


class Datastore:
    """Texts under keys, each key a list of strings, as CLN's `datastore` keeps them."""

    def __init__(self) -> None:
        self._held: dict[Key, tuple[str, int]] = {}
        """key -> its text, and its generation"""

    def put(self, key: object, text: str, mode: str) -> Plain:
        """Stores a text under a key and returns its row, whose generation counts its changes from 0.

        Args:
            key: A list of strings, or one string.
            text: The text.
            mode: must-create, must-replace or create-or-replace.

        Raises:
            RpcFault: 1202 if the key exists but must not, 1203 if it does not but must, 1205 if a
                longer key begins with it, 1206 if a shorter key is its beginning, -32602 for a bad key
                or mode.
        """
        if mode not in MODES:
            raise RpcFault(INVALID_PARAMS, f"mode: should be 'mode', the emulated node knows {', '.join(MODES)}")
        words = _words(key)
        if words not in self._held and mode == "must-replace":
            raise RpcFault(DATASTORE_UNKNOWN, "Key does not exist")
        if words in self._held and mode == "must-create":
            raise RpcFault(DATASTORE_EXISTS, "Key already exists")
        if any(words[:n] in self._held for n in range(1, len(words))):
            raise RpcFault(DATASTORE_IS_CHILD, "Parent key already exists")
        if any(known[: len(words)] == words for known in self._held if known != words):
            raise RpcFault(DATASTORE_HAS_CHILDREN, "Key has children already")
        generation = self._held[words][1] + 1 if words in self._held else 0
        self._held[words] = (text, generation)
        return self._row(words)

    def found(self, key: object) -> list[Plain]:
        """Return what a key holds; of one that others begin with, the next word of each."""
        words = _words(key) if key else ()
        if words in self._held:
            return [self._row(words)]
        n = len(words)
        under = sorted({known[: n + 1] for known in self._held if known[:n] == words})
        return [self._row(known) if known in self._held else {"key": list(known)} for known in under]

    def _row(self, words: Key) -> Plain:
        text, generation = self._held[words]
        return {"key": list(words), "generation": generation, "hex": text.encode().hex(), "string": text}


def _words(key: object) -> Key:
    words = key if isinstance(key, list) else [key]
    if not words or not all(isinstance(word, (str, int)) and str(word) for word in words):
        raise RpcFault(INVALID_PARAMS, "key: should be a non-empty array of strings")
    return tuple(map(str, words))
