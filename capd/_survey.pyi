"""One pass over the bytes of a segment; the code is in `_survey.c`."""

from mmap import mmap

Content = bytes | bytearray | memoryview | mmap

def survey(
    content: Content, start: int, limit: int, link_type: int, sketch: bool, /
) -> tuple[int, int, int, int, int, int, int, int, bytes]:
    """Walk the whole blocks of `content` from `start`; `capd.survey.survey` says the rest.

    Gives (end, fault, link_type, packets, first, last, lost, closed, sketch).  ValueError
    unless 0 <= start <= limit <= len(content) and link_type >= -1.
    """
