"""A run in words, and as JSON."""

from collections.abc import Iterator

from client.screen import Document, error_member
from client.sync.run_outcome import Outcome, shown_path
from client.sync.tally import Tally
from client.sync.wire_count import WireCount

COUNTS = {
    "uploaded": "sent up",
    "downloaded": "fetched",
    "moved_there": "moved on the server",
    "moved_here": "moved here",
    "deleted_there": "to the trash on the server",
    "deleted_here": "deleted here",
    "folders_made_there": "folders made on the server",
    "folders_made_here": "folders made here",
    "conflicts": "kept under another name",
    "failed": "failed",
}
"""What is counted of a run, and the words for it."""

_NOTES = 20


def ratio_of(tally: Tally, wire: WireCount) -> float | None:
    """Bytes on the wire, both ways, for a byte that changed; None when nothing did."""
    return round((wire.sent + wire.received) / tally.changed, 4) if tally.changed else None


def run_document(outcome: Outcome, tally: Tally, wire: WireCount) -> Document:
    """A run as JSON shows it; sizes in bytes."""
    document: Document = {
        "settled": outcome.settled,
        "rounds": outcome.rounds,
        "entries": outcome.entries,
        "done": {name: tally.counts[name] for name in COUNTS},
        "conflicts": [{"path": path, "copy": copy} for path, copy in tally.conflicts],
        "failed": [{"path": each.path, "error": error_member(each.error)} for each in tally.failures],
        "passed_over": [
            {"path": shown_path(each.path), "reason": each.reason} for each in outcome.passed_over
        ],
        "left_alone": [
            {"path": shown_path(each.path), "rule": each.rule.name, "why": each.rule.why}
            for each in outcome.reports
        ],
        "held": list(outcome.held),
        "bytes_changed": tally.changed,
        "wire": {"sent": wire.sent, "received": wire.received, "calls": wire.calls},
        "ratio": ratio_of(tally, wire),
    }
    return document


def run_line(outcome: Outcome, tally: Tally, wire: WireCount) -> str:
    """A run in one line."""
    words = [f"{tally.counts[name]:,} {words}" for name, words in COUNTS.items() if tally.counts[name]]
    line = ", ".join(words) or ("in step" if outcome.settled else "nothing to do")
    from rich import filesize

    travelled = f"{filesize.decimal(wire.sent)} sent, {filesize.decimal(wire.received)} received"
    ratio = ratio_of(tally, wire)
    if ratio is None:
        return f"{line}: {travelled}"
    return f"{line}: {filesize.decimal(tally.changed)} changed, {travelled} (ratio {ratio:g})"


def notes(outcome: Outcome) -> Iterator[str]:
    """What was left as it is, for people; not all of it when it is much."""
    told = [
        *(
            f"passed over {shown_path(each.path)}: {each.reason}"
            for each in outcome.passed_over
            if not each.error
        ),
        *(f"{shown_path(each.path)}: {each.rule.why}" for each in outcome.reports),
    ]
    yield from told[:_NOTES]
    if len(told) > _NOTES:
        yield f"and {len(told) - _NOTES:,} more (--json lists them)"
