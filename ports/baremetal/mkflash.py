#!/usr/bin/env python3
"""Makes the flash of the emulated board: the image, the boot configuration and the trusted roots.

Usage: mkflash.py [--ca PEM_FILE] IMAGE.bin OUT [NAME=VALUE ...]

The names are read by ports/baremetal/node.c and netif.c: control_url, auth_key, hostname, ip (ADDRESS/BITS; without it DHCP),
gateway, dns, host ("ADDRESS NAME", several), verbose; args, the words for an example's main(), by posix/posix.c. OUT is as long as QEMU's flash but sparse.

SPDX-License-Identifier: MIT
"""
import argparse
import base64
import pathlib
import re
import struct

FLASH, CONFIG, ROOTS, END = 32 << 20, 1 << 20, (1 << 20) + 0x2000, 4 << 20


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("image", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--ca", type=pathlib.Path)
    p.add_argument("settings", nargs="*")
    a = p.parse_args()
    image = a.image.read_bytes()
    text = "".join(f"{s}\n" for s in a.settings).encode() + b"\0"
    roots = b""
    if a.ca:
        for block in re.findall(r"-----BEGIN CERTIFICATE-----(.+?)-----END", a.ca.read_text(), re.S):
            der = base64.b64decode(block)
            roots += struct.pack("<I", len(der)) + der + b"\0" * (-len(der) % 4)
    roots += struct.pack("<I", 0)
    if len(image) > CONFIG or len(text) > ROOTS - CONFIG or len(roots) > END - ROOTS:
        raise SystemExit("mkflash: does not fit")
    with a.out.open("wb") as f:
        f.write(image)
        f.seek(CONFIG)
        f.write(text)
        f.seek(ROOTS)
        f.write(roots)
        f.truncate(FLASH)


if __name__ == "__main__":
    main()
