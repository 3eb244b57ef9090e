"""What a search has simulated so far, on disk: a search that was interrupted goes on where it was."""

import json
from pathlib import Path

from davinci_sim.errors import cannot_write


class Journal:
    """Cycles by fingerprint, a line each; without a path they are kept in memory only."""

    def __init__(self, path: Path | None) -> None:
        """Read what an earlier search has left; a last line that is cut off is forgotten."""
        self.path = path
        self.known: dict[str, int] = {}
        if path is not None and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self.known[str(entry["digest"])] = int(entry["cycles"])
        except (ValueError, KeyError, TypeError):
            return

    def cycles(self, key: str) -> int | None:
        """Return the cycles of a candidate that was simulated before."""
        return self.known.get(key)

    def note(self, key: str, cycles: int) -> None:
        """Keep the cycles of a candidate.

        Raises:
            CannotWrite: the file cannot be written.
        """
        self.known[key] = cycles
        if self.path is not None:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    # the line's end comes first: the line before may have been cut off
                    file.write("\n" + json.dumps({"digest": key, "cycles": cycles}))
            except OSError as error:
                raise cannot_write(self.path, error) from None

    def forget(self) -> None:
        """Remove the file: the search has come to its end."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
