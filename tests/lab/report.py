#!/usr/bin/env python3
"""Writes docs/nat-matrix.md and its picture from what the tests of tests/interop/lab measured.

    report.py FOLDER [DOCS]     FOLDER holds matrix.json, matrix-bad-links.json, silence.json and idle.json; what lacks is left out

SPDX-License-Identifier: MIT
"""
import datetime
import json
import os
import pathlib
import platform
import re
import sys
from html import escape

ROOT = pathlib.Path(__file__).resolve().parents[2]

COMBINATIONS = ("oo", "om", "mo", "mm")
NAMES = {"oo": "official to official", "om": "official to ours", "mo": "ours to official", "mm": "ours to ours"}

KINDS = {
    "none": "directly on the internet",
    "easy": "behind a router that keeps ports; only the address and port that was written to may answer",
    "hard": "behind a router with a random port for each destination; filters likewise",
    "cgnat": "an easy router behind an easy router of the provider",
    "blocked": "no UDP",
    "ipv6": "IPv6 behind a stateful filter, and IPv4 as in hard; the relays have IPv4 only",
    "hairpin": "networks of one router that reach each other only by the router's outer address; to others like easy",
}


def median(values):
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def seconds(ms):
    return f"{ms / 1000:.1f}" if ms >= 1000 else f"{ms / 1000:.2f}"


def figure(pair):
    """The text of one pair: seconds until direct, how many tries were direct when not all were, or "relay"."""
    if not pair["First"]:
        return "no answer"
    if not pair["Direct"]:
        return "relay"
    text = seconds(median(pair["Direct"]))
    if len(pair["Direct"]) < pair["Tries"]:
        text += f" ({len(pair['Direct'])}/{pair['Tries']})"
    return text


def cells(matrix):
    """(from, to) -> {combination: pair}."""
    found = {}
    for pair in matrix["Pairs"]:
        found.setdefault((pair["From"], pair["To"]), {})[pair["By"]] = pair
    return found


def matrix_table(matrix):
    found = cells(matrix)
    kinds = matrix["Kinds"]
    lines = ["| from \\ to | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for a in kinds:
        row = [f"**{a}**"]
        for b in kinds:
            four = [figure(found[a, b][by]) for by in COMBINATIONS]
            row.append("relay" if set(four) == {"relay"} else f"{four[0]} · **" + "** · **".join(four[1:]) + "**")
        lines.append("| " + " | ".join(row) + " |")
    return lines


def matrix_summary(matrix):
    """Sentences that count, so that nobody has to compare by eye."""
    pairs = later = below = missing = 0
    for four in cells(matrix).values():
        official = four["oo"]
        if len(official["Direct"]) < official["Tries"]:
            continue
        for by in COMBINATIONS[1:]:
            pairs += 1
            pair = four[by]
            if len(pair["Direct"]) < pair["Tries"]:
                missing += 1
                continue
            ours = median(pair["Direct"])
            later += ours > median(official["Direct"]) + 200
            below += ours < 1000
    shares = []
    for by in COMBINATIONS:
        times = [t for four in cells(matrix).values() for t in four[by]["Direct"]]
        if times:
            soon = 100 * sum(t < 1000 for t in times) / len(times)
            shares.append(f"| {NAMES[by]} | {len(times)} | {seconds(median(times))} | {soon:.0f} % | {seconds(max(times))} |")
    return [
        f"{pairs} combinations have a node of ours and kinds that are direct between official nodes in every try. "
        f"{pairs - missing} of them are direct in every try, {below} within a second (before the second ping of one a second). "
        f"{later} are direct later than official-official by more than 0.2 s, the time of two pings, which is how exact the "
        "figures are.",
        "",
        "All tries that became direct, together:",
        "",
        "| | tries | median, s | within 1 s | slowest, s |",
        "|---|---|---|---|---|",
        *shares,
    ]


def colour(pair):
    if not pair["First"]:
        return "#c0392b", "#ffffff"
    if not pair["Direct"]:
        return "#dfe3e8", "#5f6b7a"
    ms = median(pair["Direct"])
    if len(pair["Direct"]) < pair["Tries"]:
        return "#b39ddb", "#1c2733"
    if ms < 300:
        return "#1f8a53", "#ffffff"
    if ms < 1000:
        return "#7cc69a", "#1c2733"
    if ms < 3000:
        return "#f3dc8c", "#1c2733"
    return "#eeb263", "#1c2733"


def picture(matrix):
    found, kinds = cells(matrix), matrix["Kinds"]
    quad_w, quad_h, gap = 46, 24, 2
    cell_w, cell_h, left, top = 2 * quad_w + 10, 2 * quad_h + 10, 92, 64
    width, height = left + cell_w * len(kinds) + 12, top + cell_h * len(kinds) + 128
    tries = "1 try" if matrix["Tries"] == 1 else f'{matrix["Tries"]} tries'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, Helvetica, Arial, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="16" fill="#1c2733">Seconds from the first packet to a direct path (median, {tries})</text>',
        f'<text x="12" y="{top - 10}" fill="#5f6b7a">from \\ to</text>',
    ]

    def text(x, y, what, fill="#1c2733", anchor="middle"):
        out.append(f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}">{escape(what)}</text>')

    def box(x, y, pair):
        back, front = colour(pair)
        label = figure(pair).split(" ")[0]
        title = f"{pair['From']} to {pair['To']}, {NAMES[pair['By']]}: {figure(pair)}"
        out.append(f"<g><title>{escape(title)}</title>")
        out.append(f'<rect x="{x}" y="{y}" width="{quad_w}" height="{quad_h}" rx="3" fill="{back}"/>')
        text(x + quad_w / 2, y + 16, label, front)
        out.append("</g>")

    for j, b in enumerate(kinds):
        text(left + cell_w * j + cell_w / 2 - 4, top - 10, b)
    for i, a in enumerate(kinds):
        text(left - 10, top + cell_h * i + cell_h / 2, a, anchor="end")
        for j, b in enumerate(kinds):
            for k, by in enumerate(COMBINATIONS):
                x = left + cell_w * j + (k % 2) * (quad_w + gap)
                y = top + cell_h * i + (k // 2) * (quad_h + gap)
                box(x, y, found[a, b][by])
    y = top + cell_h * len(kinds) + 18
    text(12, y, "In each cell:", anchor="start")
    for k, by in enumerate(COMBINATIONS):
        x, row = left + 40 + (k % 2) * 190, y - 14 + (k // 2) * 26
        out.append(f'<rect x="{x}" y="{row}" width="184" height="22" rx="3" fill="none" stroke="#9aa5b1"/>')
        text(x + 92, row + 15, NAMES[by])
    legend = [
        ("#1f8a53", "below 0.3 s"),
        ("#7cc69a", "below 1 s"),
        ("#f3dc8c", "below 3 s"),
        ("#eeb263", "later"),
        ("#b39ddb", "not in all tries"),
        ("#dfe3e8", "relayed"),
        ("#c0392b", "no answer"),
    ]
    x, y = 12, y + 58
    for fill, label in legend:
        out.append(f'<rect x="{x}" y="{y}" width="14" height="14" rx="2" fill="{fill}"/>')
        text(x + 20, y + 12, label, anchor="start")
        x += 36 + 7 * len(label)
    out.append("</svg>")
    return "\n".join(out) + "\n"


def round_figures(values):
    return f"{seconds(median(values))} ({seconds(min(values))}–{seconds(max(values))})" if len(values) > 1 else seconds(values[0])


def silence_table(rows):
    lines = [
        "| after | official: silence, s | ours: silence, s | official: direct again, s | ours: direct again, s |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cols = [row["Event"], round_figures(row["Official"]), round_figures(row["Ours"])]
        for name in ("OfficialDirect", "OursDirect"):
            values = row.get(name) or []
            back = [v for v in values if v >= 0]
            cols.append("–" if not values else "not within 15 s" if not back else round_figures(back))
        lines.append("| " + " | ".join(cols) + " |")
    return lines


def idle_table(rows):
    lines = [
        "| node | packets a minute | bytes a minute | first ping to it, ms | first ping of a new process, ms |",
        "|---|---|---|---|---|",
    ]
    names = {"ts-idle": "tailscaled", "ml-idle": "microlink"}
    for row in rows:
        lines.append(f"| {names.get(row['Node'], row['Node'])} | {row['PacketsPerMinute']:.1f} | {row['BytesPerMinute']:.0f} | "
                     f"{row['FirstTo']} | {row['FirstFrom']} |")
    ratio = rows[1]["BytesPerMinute"] / rows[0]["BytesPerMinute"]
    counted = f"Counted over {rows[0]['Seconds']} s on the link of the node, both directions, all protocols"
    lines += ["", f"{counted}; bytes: {ratio:.2f} of tailscaled's."]
    return lines + [""] + kinds_table(rows, names)


def kinds_table(rows, names):
    kinds = [row.get("Kinds") or {} for row in rows]
    if not all(kinds):
        return []
    order = sorted(set().union(*kinds), key=lambda k: -max(of[k]["Bytes"] for of in kinds if k in of))
    rate = lambda of, k: f"{of[k]['Packets']:.1f} | {of[k]['Bytes']:.0f}" if k in of else "– | –"
    return [
        "| kind | " + " | ".join(f"{names.get(row['Node'], row['Node'])}: packets | bytes" for row in rows) + " |",
        "|---|" + "---|" * (2 * len(rows)),
        *("| " + " | ".join([k, *(rate(of, k) for of in kinds)]) + " |" for k in order),
    ]


def official_version():
    module = (ROOT / "tests/interop/go.mod").read_text()
    return re.search(r"tailscale\.com (v\S+)", module).group(1)


def document(data, measured):
    lines = [
        "# Paths through NATs, beside the official node",
        "",
        "Generated by `tests/lab/run.sh`; do not edit. Each figure of ours has the official node's beside it, from the same run: the same",
        "routers, relays and control server on one machine, at the same time (`tests/interop/lab`).",
        "",
        f"Measured {measured:%Y-%m-%d} beside tailscale {official_version()}, Linux {platform.release().split('-')[0]}, {os.cpu_count()} CPUs.",
        "",
    ]
    matrix = data.get("matrix")
    if matrix:
        lines += ["## Time from the first packet to a direct path", "", "![matrix](nat-matrix.svg)", "", "Kinds of site:", ""]
        lines += [f"- **{k}**: {KINDS.get(k, k)}" for k in matrix["Kinds"]]
        lines += [
            "",
            f"Seconds, median of {matrix['Tries']} tries, {matrix['Link']}. In each cell: official to official · **official to ours** ·",
            "**ours to official** · **ours to ours**; the row is the side that sends the first packet. All nodes have just been started and all",
            f"mappings forgotten before a try; a ping of ten a second runs for {matrix['Window']} s, and a path is direct once its data comes over",
            "UDP at both ends. In brackets: tries that were direct, when not all were.",
            "",
        ]
        lines += matrix_table(matrix) + [""] + matrix_summary(matrix) + [""]
    bad = data.get("matrix-bad-links")
    if bad:
        lines += ["## The same on bad links", ""]
        lines += [f"{bad['Tries']} tries, {bad['Link']} at the outer link of each site, in each direction.", ""]
        lines += matrix_table(bad) + [""] + matrix_summary(bad) + [""]
    silence = data.get("silence")
    if silence:
        lines += [
            "## Longest silence after a change",
            "",
            "A ping of ten a second from the official node and from ours to one official peer; the longest time without an answer in the 15 s after",
            f"the event, and when data came directly again. {len(silence[0]['Official'])} rounds: median (least–most). Each event meets both nodes at once.",
            "",
        ]
        lines += silence_table(silence) + [""]
    idle = data.get("idle")
    if idle:
        lines += ["## Idle", ""]
        lines += ["A node without traffic, from a minute after its last ping; two regions, two peers.", ""]
        lines += idle_table(idle) + [""]
        if idle[0].get("Kinds"):
            lines += [
                "\"No data\" are acknowledgements, and probes that control sends every 15 s to see whether the connection lives. An idle node",
                "of ours hardly sends anything by itself: it acknowledges what the servers send on the two connections over which it is reached,",
                "and its system asks who the router is. \"Other\" is IPv6 asking for routers.",
                "",
            ]
    idle = data.get("idle-long")
    if idle:
        lines += ["The same for longer: tailscaled measures and asks its router for mappings less often the longer it is idle.", ""]
        lines += idle_table(idle) + [""]
    return "\n".join(lines)


def main():
    folder = pathlib.Path(sys.argv[1])
    docs = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs"
    # Go writes an empty list as null.
    filled = lambda o: {k: [] if v is None else v for k, v in o.items()}
    files = list(folder.glob("*.json"))
    data = {p.stem: json.loads(p.read_text(), object_hook=filled) for p in files}
    if not data:
        sys.exit("report: no results in " + str(folder))
    docs.mkdir(exist_ok=True)
    measured = datetime.date.fromtimestamp(max(p.stat().st_mtime for p in files))
    (docs / "nat-matrix.md").write_text(document(data, measured))
    if "matrix" in data:
        (docs / "nat-matrix.svg").write_text(picture(data["matrix"]))


main()
