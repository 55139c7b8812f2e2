"""Runs the scenarios; tests/istio/run calls it, in a network of its own.

Arguments: words of titles, to run only these; `--update` writes the table into docs/platforms/istio.md.
"""

import signal
import sys

import scenario
# Each adds its scenarios, and the table of the document has them in this order.
import examples  # noqa: F401
import deployed  # noqa: F401
import images  # noqa: F401
import changes  # noqa: F401
import neighbours  # noqa: F401
import ambient  # noqa: F401

if __name__ == "__main__":
    # Whoever stops us stops what we have started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(scenario.main(sys.argv[1:]))
