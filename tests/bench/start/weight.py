"""What an executable weighs, by section and by the library or crate that its symbols come from.

usage: weight.py BINARY BINARY_WITH_SYMBOLS BUILD_FOLDER

A C symbol belongs to the static library in BUILD_FOLDER that defines it. A Rust symbol belongs to the crate that
its demangled name begins with; a generic function therefore counts for the crate that wrote it, not for the one
that made the instance.
"""

import pathlib
import re
import subprocess
import sys
from collections import Counter

ROWS = 25  # crates and libraries that are listed; the rest is one row
SECTION_SHARE_MIN = 0.005  # smaller sections are one row
TOOL_LIMIT_S = 300

# Archives whose names are not, or not alone, those of their product.
LIBRARIES = {"crypto": "openssl", "ssl": "openssl", "z": "zlib"}
RUST_PATH = re.compile(r"^[<&*\[(\s]*(?:(?:mut|const|dyn|unsafe|extern \"C\"|for<[^>]*>)\s+)*([A-Za-z_]\w*)(?=::)")


def main():
    binary, with_symbols, build = map(pathlib.Path, sys.argv[1:4])
    size = binary.stat().st_size
    owners = archive_symbols(build)
    parts, named = by_owner(symbols(with_symbols), owners)
    print(f"\n{binary.name}: {mib(size)} MiB\n")
    table("section", sections(binary), size, cut=SECTION_SHARE_MIN)
    table("crate or library", parts, size, rows=ROWS)
    print(f"no symbol of their own (constants, unwind and relocation tables): {mib(size - named)} MiB\n")


def archive_symbols(build):
    """The library of each symbol, local ones included, that a static C library below `build` defines."""
    owners = {}
    for archive in sorted(build.glob("**/*.a")):
        stem = re.sub(r"^lib|-(dbg|static)$|_core_.*$", "", archive.stem)
        name = f"{LIBRARIES.get(stem, stem)} (C)"
        for line in run("nm", "--defined-only", "--no-sort", str(archive)).splitlines():
            fields = line.split()
            if len(fields) == 3:
                owners.setdefault(fields[2], name)
    return owners


def symbols(binary):
    """Size and name, as it stands and demangled, of each symbol that takes room in the file."""
    lines = [run("nm", "--print-size", "--size-sort", "--radix=d", *style, str(binary)).splitlines()
             for style in ([], ["--demangle"])]
    seen = set()
    for raw, plain in zip(*lines, strict=True):
        address, size, kind, name = raw.split(maxsplit=3)
        # Aliases share an address; zeroed memory (b) takes no room in the file.
        if address not in seen and kind not in "bBvVwW":
            seen.add(address)
            yield int(size), name, plain.split(maxsplit=3)[3]


def by_owner(found, owners):
    parts, named = Counter(), 0
    for size, name, plain in found:
        named += size
        parts[owner(name, plain, owners)] += size
    return parts, named


def owner(name, plain, owners):
    if name in owners:
        return owners[name]
    # Link-time optimisation adds a suffix to local functions of both languages.
    if name.split(".")[0] in owners:
        return owners[name.split(".")[0]]
    # The code that drops a value is the value's.
    path = RUST_PATH.match(plain.removeprefix("core::ptr::drop_in_place<"))
    return path.group(1) if path else "others (C start-up, primitive types)"


def sections(binary):
    found = Counter()
    for line in run("readelf", "--sections", "--wide", str(binary)).splitlines():
        fields = re.match(r"\s*\[\s*\d+\]\s+(\.\S+)\s+(\S+)\s+\S+\s+\S+\s+([0-9a-f]+)", line)
        if fields and fields.group(2) != "NOBITS":
            found[fields.group(1)] += int(fields.group(3), 16)
    return found


def table(title, parts, size, rows=None, cut=0.0):
    listed = [(name, bytes_) for name, bytes_ in parts.most_common(rows) if bytes_ >= cut * size]
    rest = sum(parts.values()) - sum(bytes_ for _, bytes_ in listed)
    print(f"| {title} | MiB | % of the file |\n|---|---:|---:|")
    for name, bytes_ in [*listed, (f"{len(parts) - len(listed)} others", rest)]:
        print(f"| {name} | {mib(bytes_)} | {100 * bytes_ / size:.1f} |")
    print()


def mib(bytes_):
    return f"{bytes_ / 2**20:.2f}"


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace",
                          timeout=TOOL_LIMIT_S, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
