"""What the published code does otherwise, one switch each (for an experiment): DEVIATE=opacity,start ..."""

import os

KNOWN = {
    "opacity",
    "extent",
    "world",
    "start",
    "heads",
    "scale",
    "color",
    "derive",
    "tau",
    "rotation",
    "rejoin",
    "prune",
    "view",
}
ACTIVE = set(filter(None, os.environ.get("DEVIATE", "").split(",")))
if "all" in ACTIVE:
    ACTIVE = (ACTIVE | KNOWN) - {"all"}
for name in [n for n in ACTIVE if n.startswith("-")]:
    ACTIVE -= {name, name[1:]}
assert ACTIVE <= KNOWN, ACTIVE - KNOWN


def on(name: str) -> bool:
    assert name in KNOWN
    return name in ACTIVE
