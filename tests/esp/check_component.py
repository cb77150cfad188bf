#!/usr/bin/env python3
"""Checks of what ESP-IDF's tools read: Kconfig (with esp-idf-kconfig), idf_component.yml (with idf-component-manager).

Run by .ci/esp.sh. Every option must say what it is for; every number must have a range and a cost or meaning in its help; the
names that earlier versions of the component used must exist; each CONFIG_MICROLINK_* that the port uses must be defined, and
each option must be used. The sources that every platform shares must not know ESP-IDF. SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import sys

import esp_kconfiglib.core as kconfiglib
from idf_component_tools.manager import ManifestManager

ROOT = pathlib.Path(__file__).resolve().parents[2]
V1_NAMES = ["MAX_PEERS", "ENABLE_DERP", "ENABLE_DISCO", "ENABLE_STUN", "HEARTBEAT_INTERVAL_MS", "CUSTOM_COORD_SERVER",
            "COORD_HOST", "COORD_PORT"]
problems = []


def check_kconfig():
    os.chdir(ROOT)
    conf = kconfiglib.Kconfig("tests/esp/Kconfig.check")
    options = {s.name: s for s in conf.unique_defined_syms if s.name.startswith("MICROLINK_")}
    for warning in conf.warnings:
        problems.append(f"Kconfig: {warning}")
    for name, sym in options.items():
        node = sym.nodes[0]
        if not node.help:
            problems.append(f"Kconfig: {name} has no help")
        if not sym.defaults:
            problems.append(f"Kconfig: {name} has no default")
        if sym.type == kconfiglib.INT:
            if not sym.ranges:
                problems.append(f"Kconfig: {name} has no range")
            elif not int(sym.ranges[0][0].str_value) <= int(sym.defaults[0][0].str_value) <= int(sym.ranges[0][1].str_value):
                problems.append(f"Kconfig: the default of {name} is out of its range")
    for name in V1_NAMES:
        if "MICROLINK_" + name not in options:
            problems.append(f"Kconfig: MICROLINK_{name} of the earlier component is missing")
    used = set()
    for path in [p for p in (ROOT / "ports/esp-idf").rglob("*") if p.suffix in (".c", ".h", ".cmake")]:
        used |= set(re.findall(r"CONFIG_(MICROLINK_\w+)", path.read_text()))
    for name in sorted(used - set(options)):
        problems.append(f"ports/esp-idf uses CONFIG_{name}, which Kconfig does not define")
    for name in sorted(set(options) - used):
        problems.append(f"Kconfig defines {name}, which ports/esp-idf does not use")
    documented = (ROOT / "docs/esp-idf.md").read_text()
    for name in sorted(options):
        if name not in documented:
            problems.append(f"docs/esp-idf.md does not mention {name}")
    print(f"Kconfig: {len(options)} options")


def check_manifest():
    version = re.search(r'MICROLINK_VERSION +"([^"]+)"', (ROOT / "include/microlink/version.h").read_text()).group(1)
    manager = ManifestManager(str(ROOT), "microlink")
    manager.validate()
    manifest = manager.load()
    if str(manifest.version) != version:
        problems.append(f"idf_component.yml has version {manifest.version}, version.h {version}")
    print(f"idf_component.yml: version {manifest.version}, needs {', '.join(manifest.dependencies)}")


def check_core():
    """One core for all: of the shared files only microlink.h knows ESP-IDF, whose esp_err_t it takes there."""
    for folder in ("src", "ports/common", "include"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            names = re.findall(r"\bESP_PLATFORM\b|\b(?:CONFIG|IDF|ESP_IDF)_\w+", path.read_text())
            if names and (path != ROOT / "include/microlink.h" or names != ["ESP_PLATFORM"]):
                problems.append(f"{path.relative_to(ROOT)} knows ESP-IDF: {names[0]}")


def check_partitions():
    """Two OTA slots and NVS within 4 MB, aligned, not overlapping."""
    for path in sorted((ROOT / "examples").glob("**/partitions.csv")):
        end, slots = 0x9000, 0
        for line in path.read_text().splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            name, kind, sub, offset, size = [f.strip() for f in line.split(",")[:5]]
            at, length = int(offset, 0), int(size[:-1]) * 1024 if size.endswith("K") else int(size, 0)
            align = 0x10000 if kind == "app" else 0x1000
            if at < end or at % align:
                problems.append(f"{path.relative_to(ROOT)}: {name} overlaps or is not aligned")
            slots += sub.startswith("ota_")
            end = at + length
        if end > 4 << 20 or slots != 2:
            problems.append(f"{path.relative_to(ROOT)}: ends at {end:#x} with {slots} OTA slots")


def check_examples():
    """Each sdkconfig.defaults names options that exist here, or that ESP-IDF owns."""
    own = {s.name for s in kconfiglib.Kconfig("tests/esp/Kconfig.check").unique_defined_syms}
    for path in sorted((ROOT / "examples").rglob("Kconfig.projbuild")):
        own |= {s.name for s in kconfiglib.Kconfig(str(path)).unique_defined_syms}
    for path in sorted((ROOT / "examples").rglob("sdkconfig.*")):
        for name in re.findall(r"^CONFIG_(MICROLINK_\w+|EXAMPLE_\w+)=", path.read_text(), re.M):
            if name not in own:
                problems.append(f"{path.relative_to(ROOT)}: {name} does not exist")


check_kconfig()
check_manifest()
check_core()
check_partitions()
check_examples()
for p in problems:
    print(p, file=sys.stderr)
sys.exit(1 if problems else 0)
