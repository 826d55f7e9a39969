"""Files that hold the checksum of all their bytes: whoever writes one leaves a place for it, which is then filled in.

The place is a member `"sha256": "000…0"` of JSON, as a file of its own or as the head of a safetensors file.
"""

import hashlib
import re

EMPTY = "0" * 64
"""Stands where the checksum will."""
_PLACE = re.compile(rb'"sha256": ?"([0-9a-f]{64})"')


def with_checksum(content: bytes) -> bytes:
    """The content with its checksum in the place that it leaves for one."""
    place = _PLACE.search(content)
    if place is None or place[1] != EMPTY.encode():
        raise ValueError("the content has no place for a checksum")
    return _filled(content, place, hashlib.sha256(content).hexdigest().encode())


def is_unchanged(content: bytes) -> bool:
    """Whether not one bit differs from what `with_checksum` returned."""
    place = _PLACE.search(content)
    if place is None:
        return False
    return hashlib.sha256(_filled(content, place, EMPTY.encode())).hexdigest().encode() == place[1]


def _filled(content: bytes, place: re.Match[bytes], checksum: bytes) -> bytes:
    return content[: place.start(1)] + checksum + content[place.end(1) :]
