#!/usr/bin/env python3
"""Fails when an object of src/ has static data that can change: `.data` and `.bss` must be empty.

Usage: check_static.py BUILD_DIR    (a normal build; sanitizers add data of their own)

SPDX-License-Identifier: MIT
"""
import pathlib
import subprocess
import sys


def main() -> int:
    build = pathlib.Path(sys.argv[1])
    libs = sorted(build.glob("libml_*.a"))
    libs = [p for p in libs if not p.name.startswith("libml_port")]
    if not libs:
        print(f"check_static: no libml_*.a in {build}")
        return 1
    bad = 0
    objects = 0
    for lib in libs:
        out = subprocess.run(["size", "-A", str(lib)], check=True, capture_output=True, text=True).stdout
        name = "?"
        for line in out.splitlines():
            if " (ex " in line:
                name = line.split(" ")[0]
                objects += 1
            words = line.split()
            if len(words) >= 2 and (words[0].startswith((".data", ".bss", ".tdata", ".tbss"))) \
                    and not words[0].startswith(".data.rel.ro") and words[1].isdigit() and int(words[1]) > 0:
                print(f"{lib.name}({name}): {words[1]} bytes of {words[0]}")
                bad += 1
    print(f"check_static: {bad} problems in {objects} objects" if bad else f"check_static: ok, {objects} objects without .data or .bss")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
