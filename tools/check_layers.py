#!/usr/bin/env python3
"""Fails when an include in src/ points up or sideways, or when the core does what it must not.

A folder of src/ is a concept and has a layer. A file may include its own folder, folders of lower layers and
include/microlink. Two folders of one layer never include each other; they meet in core/. The same walk checks that the
core includes no header of an operating system and calls nothing that reads a clock, does I/O or allocates.

SPDX-License-Identifier: MIT
"""
import pathlib
import re
import sys

LAYERS = {
    "base": 0,
    "crypto": 1, "model": 1, "ip": 1,
    "stun": 2, "disco": 2, "derp": 2, "wg": 2, "noise": 2, "http": 2, "json": 2,
    "control": 3, "map": 3, "route": 3, "path": 3, "filter": 3,
    "core": 4,
}
# Freestanding C plus string.h, and each library where its one user lives.
SYSTEM = {"stdbool.h", "stddef.h", "stdint.h", "string.h", "limits.h", "stdalign.h"}
SYSTEM_BY_FOLDER = {"crypto": {"sodium.h", "openssl/evp.h"}, "http": {"nghttp2/nghttp2.h"}}
FORBIDDEN = re.compile(
    r"(?<![\w.>])(malloc|calloc|realloc|free|alloca|printf|fprintf|snprintf|sprintf|vsnprintf|fopen|time|clock_gettime|gettimeofday|"
    r"rand|random|getenv|abort|exit|socket|read|write|open|close|send|recv)\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')


def check(root: pathlib.Path) -> list[str]:
    bad = []
    src = root / "src"
    for path in sorted(src.rglob("*.[ch]")):
        folder = path.relative_to(src).parts[0]
        where = path.relative_to(root)
        if folder not in LAYERS:
            bad.append(f"{where}: folder {folder} has no layer (tools/check_layers.py)")
            continue
        text = path.read_text()
        if "SPDX-License-Identifier: MIT" not in text:
            bad.append(f"{where}: no SPDX line")
        for number, line in enumerate(text.splitlines(), 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            kind, name = m.groups()
            if kind == "<":
                if name not in SYSTEM and name not in SYSTEM_BY_FOLDER.get(folder, ()):
                    bad.append(f"{where}:{number}: <{name}> is not for {folder}/")
                continue
            other = name.split("/")[0]
            if other == "microlink":
                continue
            if other not in LAYERS:
                bad.append(f'{where}:{number}: "{name}" is not written from src/')
            elif other != folder and LAYERS[other] >= LAYERS[folder]:
                way = "up" if LAYERS[other] > LAYERS[folder] else "sideways"
                bad.append(f"{where}:{number}: {folder}/ includes {way} to {other}/")
        code = STRING.sub('""', COMMENT.sub(lambda c: "\n" * c.group().count("\n"), text))
        for number, line in enumerate(code.splitlines(), 1):
            m = FORBIDDEN.search(line)
            if m and not (folder == "crypto" and m.group(1) in ("free",)):
                bad.append(f"{where}:{number}: {m.group(1)}() in the core")
    for path in sorted((root / "include").rglob("*.h")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            m = INCLUDE.match(line)
            if m and m.group(1) == "<" and m.group(2) not in SYSTEM:
                bad.append(f"{path.relative_to(root)}:{number}: <{m.group(2)}> in a public header")
    return bad


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent)
    bad = check(root)
    for line in bad:
        print(line)
    print(f"check_layers: {len(bad)} problems" if bad else "check_layers: ok")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
