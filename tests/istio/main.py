"""All scenarios of Istio. `make istio-test`."""

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
    sys.exit(scenario.main(sys.argv[1:], "docs/platforms/istio.md", "istio-test"))
