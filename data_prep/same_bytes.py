"""Files with the same bytes: one is decoded, and the others are reported as its duplicates."""

from collections import Counter

from data_prep.music_files import Hashes, MusicFile
from data_prep.prepare_song import SourceRecord
from piano.foundation.prepared_song import LeftOut


def find_copies(sources: list[MusicFile], records: dict[str, SourceRecord], hashes: Hashes) -> list[list[MusicFile]]:
    """Rows of two or more files with the same bytes; first the one already prepared, else the first by name."""
    same_size = Counter(source.size for source in sources)
    twins = [source for source in sources if same_size[source.size] > 1]
    hashes.read(source for source in twins if source.name not in records)
    rows: dict[str, list[MusicFile]] = {}
    for source in sorted(twins, key=lambda source: (not has_song(records, source.name), source.name)):
        known = records.get(source.name)
        rows.setdefault(known.sha256 if known else hashes.of(source.path), []).append(source)
    return [row for row in rows.values() if len(row) > 1]


def has_song(records: dict[str, SourceRecord], name: str) -> bool:
    """Whether a file gave a song."""
    return name in records and records[name].song is not None


def next_of(row: list[MusicFile], records: dict[str, SourceRecord], done: set[str]) -> MusicFile | None:
    """Which of some files with the same bytes to decode now; None if one is a song, or all suffixes were tried."""
    tried = {source.path.suffix.lower() for source in row if source.name in records or source.name in done}
    if any(has_song(records, source.name) for source in row):
        return None
    return next((source for source in row if source.path.suffix.lower() not in tried), None)


def settle(
    row: list[MusicFile], records: dict[str, SourceRecord], failures: dict[str, LeftOut], left_out: list[LeftOut]
) -> None:
    """Report every file that has the same bytes as another one."""
    leader = next((source for source in row if has_song(records, source.name)), None)
    for source in row:
        if source == leader:
            continue
        if leader is not None:
            records.pop(source.name, None)
            failures.pop(source.name, None)
            left_out.append(LeftOut(source=source.name, reason="duplicate", detail=f"same as {leader.name}"))
        elif source.name not in records and source.name not in failures:
            twin = next(
                other
                for other in row
                if other.path.suffix.lower() == source.path.suffix.lower()
                and (other.name in records or other.name in failures)
            )
            entry = failures.get(twin.name) or records[twin.name].left_out
            assert entry is not None
            detail = "; ".join(part for part in (entry.detail, f"the same bytes as {twin.name}") if part)
            left_out.append(LeftOut(source=source.name, reason=entry.reason, detail=detail))
