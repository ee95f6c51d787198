"""What a process takes, as Linux tells it."""

import dataclasses
import pathlib
import re
from collections import Counter


@dataclasses.dataclass
class Footprint:
    """Of one process."""

    peak_mb: float  # resident, since its start; MB of 1,000,000 bytes
    threads: Counter  # by name without its number

    @property
    def compute_threads(self):
        return self.threads["compute"]


def of(process):
    folder = pathlib.Path(f"/proc/{process.pid}")
    peak = re.search(r"^VmHWM:\s+(\d+) kB", (folder / "status").read_text(), re.MULTILINE)
    names = [thread.read_text().strip() for thread in folder.glob("task/*/comm")]
    return Footprint(int(peak[1]) * 1024 / 1e6, Counter(re.sub(r"-?\d+$", "", name) for name in names))
